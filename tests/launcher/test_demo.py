"""manage.py beside a running demo uses the demo's database."""

from pathlib import Path

from launcher import demo


def test_what_is_missing_comes_from_the_data_folder(tmp_path: Path) -> None:
    files = {
        "postgres.password": "pw",
        "postgres.port": "5001",
        "redis.password": "rw",
        "redis.port": "6001",
        "secret.key": "sk",
    }
    for name, text in {**files, "field-encryption.keys": "fk"}.items():
        (tmp_path / name).write_text(f"{text}\n")
    found = demo.environment(
        {
            "KUBEGALE_DATA_DIR": str(tmp_path),
            "SECRET_KEY": "mine",
            "REDIS_URL_FILE": "/run/secrets/redis",
        }
    )
    assert found == {
        "DATABASE_URL": "postgres://kubegale:pw@127.0.0.1:5001/kubegale",
        "FIELD_ENCRYPTION_KEYS": "fk",
    }


def test_without_a_data_folder_nothing_is_known(tmp_path: Path) -> None:
    assert demo.environment({"KUBEGALE_DATA_DIR": str(tmp_path)}) == {}
