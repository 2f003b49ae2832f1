"""The settings of `make run`, so that `manage.py` in another shell reaches the same database."""

from collections.abc import Callable, Mapping
from pathlib import Path

from launcher import programs
from launcher.postgres import ROLE


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that are missing in `environ` and known in the data folder; {} without one.

    The folder is KUBEGALE_DATA_DIR, by default .data.
    """
    home = programs.ROOT / (environ.get("KUBEGALE_DATA_DIR") or ".data")
    try:
        settings = _stored_settings(home)
    except OSError:
        return {}
    return {
        name: value
        for name, value in settings.items()
        if not environ.get(name) and not environ.get(f"{name}_FILE")
    }


def _stored_settings(home: Path) -> dict[str, str]:
    """The settings of the data folder; OSError when a file of it is missing."""

    def read(name: str) -> str:
        return (home / name).read_text().strip()

    postgres = f"{ROLE}:{read('postgres.password')}@127.0.0.1:{read('postgres.port')}"
    redis = f":{read('redis.password')}@127.0.0.1:{read('redis.port')}"
    gateway = _gateway(home, read)
    return {
        **gateway,
        "DATABASE_URL": f"postgres://{postgres}/{ROLE}",
        "REDIS_URL": f"redis://{redis}/0",
        "SECRET_KEY": read("secret.key"),
        "FIELD_ENCRYPTION_KEYS": read("field-encryption.keys"),
    }


def _gateway(home: Path, read: Callable[[str], str]) -> dict[str, str]:
    """Where the gateway of `make run` is, for the kubeconfigs that `manage.py` prints."""
    try:
        port = read("gateway.port")
    except OSError:
        # The folder is that of a version that had no gateway.
        return {}
    return {
        "GATEWAY_ADDRESS": f"127.0.0.1:{port}",
        "GATEWAY_URL": f"https://127.0.0.1:{port}",
        "GATEWAY_DATA_DIR": str(home),
    }
