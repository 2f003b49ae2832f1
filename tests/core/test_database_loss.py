"""A database that is killed while the web server writes to it, and comes back."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from launcher.testing import running_servers
from tests.storage_api.collecting import eventually
from tests.storage_api.test_kills import crash
from tests.storeserver import Answer, Store, running_store

DOCUMENTS = "/k8s/dynamic/namespace_resources/clusters/c/namespaces/n/Pod"
WRITERS = 4
CRASHES = 2
# Acknowledged writes before, between and after the crashes.
WRITES = 20


class Writers:
    """Threads that write one document after the other, and what the server acknowledged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopping = threading.Event()
        self.acknowledged: list[str] = []
        self.refusals: list[Answer] = []

    def write(self, writer: int) -> None:
        """Write until stopped."""
        number = 0
        while not self._stopping.is_set():
            name = f"pod-{writer}-{number}"
            answer = self._store.raw("PUT", f"{DOCUMENTS}/{name}", {"data": {"writer": name}})
            if answer.status == 200 and answer.json["result"]:
                self.acknowledged.append(name)
            else:
                self.refusals.append(answer)
            number += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """For the length of the block; a thread that broke raises at its end."""
        with ThreadPoolExecutor(WRITERS) as threads:
            tasks = [threads.submit(self.write, writer) for writer in range(WRITERS)]
            try:
                yield
            finally:
                self._stopping.set()
            for task in tasks:
                task.result()

    def wait_for_more(self) -> None:
        """Until the server has acknowledged some more."""
        count = len(self.acknowledged) + WRITES
        eventually(lambda: len(self.acknowledged) >= count, seconds=90)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_acknowledged_write_is_lost_when_the_database_is_killed() -> None:
    with running_servers(redis=False) as addresses:
        address = str(addresses.database_url)
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            env={**os.environ, "DATABASE_URL": address},
            check=True,
            capture_output=True,
        )
        _make_durable(address)
        with running_store("", DATABASE_URL=address, LOG_LEVEL="CRITICAL") as store:
            writers = Writers(store)
            with writers.running():
                writers.wait_for_more()
                for _ in range(CRASHES):
                    crash(address)
                    writers.wait_for_more()
            stored = _stored(store)
    assert set(writers.acknowledged) <= set(stored)
    for refusal in writers.refusals:
        # In the words of the API, without anything of the database's.
        assert b"psycopg" not in refusal.body
        assert refusal.json["result"] is False


def _make_durable(address: str) -> None:
    """Have commits wait for the disk, as servers do that are no test's."""
    with contextlib.closing(psycopg2.connect(address)) as session, session.cursor() as cursor:
        session.autocommit = True
        name = sql.Identifier(session.info.dbname)
        statement = sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(name)
        cursor.execute(statement)


def _stored(store: Store) -> list[Any]:
    """The names of all documents, each with its own content."""
    items = store.data("GET", DOCUMENTS, limit=100_000)
    assert all(item["data"]["writer"] == item["resourceName"] for item in items)
    return [item["resourceName"] for item in items]
