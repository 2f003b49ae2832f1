"""pytest plugin: real PostgreSQL and Redis for the run, and the environment that the settings need, before Django loads them.

`DATABASE_URL` and `REDIS_URL` are used when given; what is missing is started by the launcher and stopped at the end.
Workers of xdist inherit the servers of their controller; each has a database of its own in both.
"""

import os
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from launcher import secretfiles
from launcher.testing import running_servers

_running = ExitStack()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start what is missing and set the environment; runs before pytest-django loads the settings."""
    options = early_config.known_args_namespace
    if not (options.help or options.version):
        _start_missing_servers()
    _set_environment()


def pytest_unconfigure() -> None:
    """Stop what we started."""
    _running.close()


def _start_missing_servers() -> None:
    database, redis = "DATABASE_URL" not in os.environ, "REDIS_URL" not in os.environ
    if not (database or redis):
        return
    addresses = _running.enter_context(running_servers(database=database, redis=redis))
    if addresses.database_url:
        os.environ["DATABASE_URL"] = addresses.database_url
    if addresses.redis_url:
        os.environ["REDIS_URL"] = addresses.redis_url


def _set_environment() -> None:
    os.environ.setdefault("SECRET_KEY", secretfiles.secret_key())
    os.environ.setdefault("FIELD_ENCRYPTION_KEYS", secretfiles.fernet_key())
    os.environ.setdefault("ALLOWED_HOSTS", "localhost,127.0.0.1,testserver")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw") and "REDIS_URL" in os.environ:
        os.environ["REDIS_URL"] = _redis_database(
            os.environ["REDIS_URL"], int(worker.removeprefix("gw")) + 1
        )


def _redis_database(address: str, offset: int) -> str:
    """The address with the database number moved on by `offset`."""
    parts = urlsplit(address)
    return parts._replace(path=f"/{int(parts.path.strip('/') or 0) + offset}").geturl()
