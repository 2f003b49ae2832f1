"""PostgreSQL and Redis for the length of a test run: temporary, quick, gone at its end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import processes
from launcher.postgres import Postgres
from launcher.valkey import Valkey


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
    home = Path(tempfile.mkdtemp(prefix="kubegale-test-"))
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        environ = dict(os.environ)
        valkey, postgres = Valkey(home, environ, quick=True), Postgres(home, environ, quick=True)
        started: list[tuple[Postgres | Valkey, processes.Child]] = []
        if redis:
            started.append((valkey, _start(valkey, cleanup)))
        if database:
            started.append((postgres, _start(postgres, cleanup)))
        for server, child in started:
            server.wait(child)
        yield Addresses(postgres.url() if database else None, valkey.url() if redis else None)


def _start(server: Postgres | Valkey, cleanup: ExitStack) -> processes.Child:
    child = processes.start(server.command())
    cleanup.callback(processes.stop, [child])
    return child
