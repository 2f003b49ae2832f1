"""PostgreSQL and Redis for the length of a test run, in a temporary folder."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import processes
from launcher.postgres import Postgres
from launcher.valkey import Valkey

PREFIX = "kubegale-test-"
YOUNG = 60.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """What DATABASE_URL and REDIS_URL are to be; None for a server that was not asked for."""

    database_url: str | None
    redis_url: str | None


@contextmanager
def running_servers(*, database: bool = True, redis: bool = True) -> Iterator[Addresses]:
    """Start the servers in a temporary folder, stop them and remove it at the end.

    They also end when this process dies without a word, even by SIGKILL (Linux).
    """
    _sweep()
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    with ExitStack() as cleanup, (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        environ = dict(os.environ)
        valkey = Valkey(home, environ, quick=True)
        postgres = Postgres(home, environ, quick=True)
        started: list[tuple[Postgres | Valkey, processes.Child]] = []
        if redis:
            started.append((valkey, _start(valkey, cleanup)))
        if database:
            started.append((postgres, _start(postgres, cleanup)))
        for server, child in started:
            server.wait(child)
        yield Addresses(
            database_url=postgres.url() if database else None,
            redis_url=valkey.url() if redis else None,
        )


def _sweep() -> None:
    """Remove the folders of runs that were killed: their locks are free."""
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            with (home / "lock").open() as lock:
                # A young one may be about to take its lock.
                if time.time() - os.fstat(lock.fileno()).st_mtime < YOUNG:
                    continue
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home, ignore_errors=True)
        except OSError:
            continue


def _start(server: Postgres | Valkey, cleanup: ExitStack) -> processes.Child:
    child = processes.start(server.command())
    cleanup.callback(processes.stop, [child])
    return child
