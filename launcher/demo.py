"""The settings of what `make run` keeps in its data folder, so that `manage.py` beside it reaches the same database."""

from collections.abc import Mapping
from pathlib import Path

from launcher import programs
from launcher.postgres import ROLE


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are missing and that the data folder (KUBEGALE_DATA_DIR, default .data) knows; none without such a folder."""
    home = programs.ROOT / (environ.get("KUBEGALE_DATA_DIR") or ".data")
    try:
        found = _kept(home)
    except OSError:
        return {}
    return {
        name: value
        for name, value in found.items()
        if not environ.get(name) and not environ.get(f"{name}_FILE")
    }


def _kept(home: Path) -> dict[str, str]:
    def read(name: str) -> str:
        return (home / name).read_text().strip()

    return {
        "DATABASE_URL": f"postgres://{ROLE}:{read('postgres.password')}@127.0.0.1:{read('postgres.port')}/{ROLE}",
        "REDIS_URL": f"redis://:{read('redis.password')}@127.0.0.1:{read('redis.port')}/0",
        "SECRET_KEY": read("secret.key"),
        "FIELD_ENCRYPTION_KEYS": read("field-encryption.keys"),
    }
