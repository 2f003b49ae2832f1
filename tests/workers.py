"""Real Celery workers and beats as processes, on the test's own database and a broker of choice."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection

from tests.tuning import tuned

ROOT = Path(__file__).resolve().parent.parent


def database_url() -> str:
    """The address of the test database."""
    found = connection.settings_dict
    user, password = quote(found["USER"], safe=""), quote(found["PASSWORD"], safe="")
    return f"postgres://{user}:{password}@{found['HOST']}:{found['PORT']}/{found['NAME']}"


class Program:
    """One process of ours with its log; the whole process group dies with `kill`."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115  # lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "kubegale", *words],
            cwd=ROOT,
            env=environ,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def text(self) -> str:
        """What it said so far."""
        return Path(self.log.name).read_text()

    def kill(self) -> None:
        """SIGKILL, to it and its children, as an out-of-memory killer or a lost machine would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """At once: nobody needs its last words."""
        if self.process.poll() is None:
            self.kill()
        self.log.close()


def environment(redis_url: str, **settings: object) -> dict[str, str]:
    """The settings of the processes."""
    return tuned(
        {
            **os.environ,
            "DATABASE_URL": database_url(),
            "REDIS_URL": redis_url,
            **settings,
        }
    )


@contextmanager
def running(*words: str, environ: dict[str, str]) -> Iterator[Any]:
    """A program for the length of a block."""
    program = Program(list(words), environ)
    try:
        yield program
    finally:
        program.stop()
