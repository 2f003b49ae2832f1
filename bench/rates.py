"""Small requests a second: one and two web processes, and one behind the front, in turns.

`BENCH_TREE`, a checkout of another version, adds one web process of that version on the same data.
"""

import os
import statistics
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg2

from bench import small
from bench.load import Rate, measure
from bench.processes import (
    children_seconds,
    fronted,
    migrated,
    process_fields,
    processor_seconds,
    web,
)

SECONDS = 1.0
TURNS = int(os.environ.get("BENCH_TURNS") or 7)
CLIENTS = (1, 8, 32)
SEARCH = "/api/v1/kubernetes/multicluster/search?q=7-b"


def _postmaster(database_url: str) -> int:
    """The process that all sessions of the database are children of, on this machine."""
    with closing(psycopg2.connect(database_url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        return int(process_fields(pid)[1])


@dataclass(slots=True)
class Side:
    """A way to reach the product, and what its turns gave."""

    name: str
    server: small.Server
    master: int
    postmaster: int
    front: int = 0
    rates: list[Rate] = field(default_factory=list)
    # Seconds of the web processes, the front and PostgreSQL.
    web_seconds: float = 0.0
    front_seconds: float = 0.0
    database_seconds: float = 0.0

    def ask(self, request: bytes, clients: int) -> None:
        """One turn."""
        web = children_seconds(self.master)
        front = processor_seconds(self.front)
        database = children_seconds(self.postmaster)
        port = self.server.port
        self.rates.append(measure(port, request, clients=clients, seconds=SECONDS))
        self.web_seconds += children_seconds(self.master) - web
        self.front_seconds += processor_seconds(self.front) - front
        self.database_seconds += children_seconds(self.postmaster) - database

    def describe(self) -> str:
        """Answers a second, their median, and the milliseconds of processor for one."""
        rate = statistics.median(turn.per_second for turn in self.rates)
        median = statistics.median(turn.median for turn in self.rates)
        answers = sum(turn.per_second * SECONDS for turn in self.rates)
        costs = [self.web_seconds, self.front_seconds, self.database_seconds]
        web, front, database = (seconds / answers * 1e3 for seconds in costs)
        return (
            f"{rate:.0f}/s, p50 {median * 1e3:.2f} ms;"
            f" web {web:.2f}, front {front:.2f}, PostgreSQL {database:.2f} ms of processor"
        )

    def forget(self) -> None:
        """Begin another row."""
        self.rates.clear()
        self.web_seconds = self.front_seconds = self.database_seconds = 0.0


def _compare(what: str, request: bytes, *, clients: int, sides: list[Side]) -> None:
    """Print a row for each side."""
    for number in range(TURNS):
        # Each begins as often as the other.
        for side in sides if number % 2 else sides[::-1]:
            side.ask(request, clients)
    print(f"{what}, {clients} clients (load {os.getloadavg()[0]:.1f})")
    for side in sides:
        print(f"  {side.name}: {side.describe()}", flush=True)
        side.forget()


def run() -> None:
    """Print the table."""
    with (
        migrated() as environ,
        tempfile.TemporaryDirectory(prefix="kubegale-bench-") as folder,
        ExitStack() as stack,
    ):
        token, cluster, _ = stack.enter_context(small.collected(environ, folder))
        postmaster = _postmaster(environ["DATABASE_URL"])
        sides: list[Side] = []
        if tree := os.environ.get("BENCH_TREE"):
            address, child = stack.enter_context(web(environ, tree))
            server = small.Server(urlsplit(address).port or 0, token)
            sides.append(Side("other version, one process", server, child.pid, postmaster))
        for count in ("1", "2"):
            bound = {**environ, "WEB_CONCURRENCY": count}
            address, child = stack.enter_context(web(bound))
            server = small.Server(urlsplit(address).port or 0, token)
            sides.append(Side(f"web processes: {count}", server, child.pid, postmaster))
            place = tempfile.mkdtemp(dir=folder)
            port, child, front = stack.enter_context(fronted(bound, place))
            server = small.Server(port, token)
            name = f"behind the front: {count}"
            sides.append(Side(name, server, child.pid, postmaster, front.pid))
        server = sides[-1].server
        reads = small.read_requests(server, cluster)
        for what, path in reads.items():
            for clients in CLIENTS:
                _compare(what, server.request(path), clients=clients, sides=sides)
        _compare("PUT (bcs), audited", small.written(server), clients=8, sides=sides)
        _compare("search", server.request(SEARCH), clients=1, sides=sides)
