"""The web server's own worker beside gunicorn's threads, on the same data.

Two web processes are asked in turns of half a second, so that what else the machine does meets both
alike. The median of the pairs' ratios is shown, and the processor time of an answer.
"""

import os
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench import small
from bench.load import Rate, measure
from bench.processes import (
    children_seconds,
    migrated,
    web,
)

SECONDS = 0.5
PAIRS = int(os.environ.get("BENCH_PAIRS") or 20)
CLIENTS = (1, 8, 32)
# What gunicorn reads beside its file of settings, of both sides.
SIDES = ("--worker-class gthread", "")


@dataclass(slots=True)
class Side:
    """One web process."""

    server: small.Server
    master: int
    rates: list[Rate] = field(default_factory=list)
    processor: float = 0.0

    def ask(self, request: bytes, clients: int) -> None:
        """One turn."""
        before = children_seconds(self.master)
        port = self.server.port
        self.rates.append(measure(port, request, clients=clients, seconds=SECONDS))
        self.processor += children_seconds(self.master) - before

    def forget(self) -> None:
        """Begin another row."""
        self.rates.clear()
        self.processor = 0.0

    def describe(self) -> str:
        """Answers a second, their median and what one cost."""
        rate = statistics.median(turn.per_second for turn in self.rates)
        median = statistics.median(turn.median for turn in self.rates)
        answers = sum(turn.per_second * SECONDS for turn in self.rates)
        cost = self.processor / answers
        return f"{rate:.0f}/s, p50 {median * 1e3:.1f} ms, {cost * 1e3:.2f} ms of processor"


def _compare(what: str, request: bytes, *, clients: int, sides: list[Side]) -> None:
    for number in range(PAIRS):
        # Each begins as often as the other.
        for side in sides if number % 2 else sides[::-1]:
            side.ask(request, clients)
    threads, shared = sides
    pairs = zip(threads.rates, shared.rates, strict=True)
    ratio = statistics.median(own.per_second / other.per_second for other, own in pairs)
    print(
        f"{what}, {clients} clients: gunicorn's threads {threads.describe()};"
        f" shared epoll {shared.describe()}; {ratio:.2f} times the rate"
        f" (load {os.getloadavg()[0]:.0f})",
        flush=True,
    )
    for side in sides:
        side.forget()


def run() -> None:
    """Print the table."""
    with (
        migrated() as environ,
        tempfile.TemporaryDirectory(prefix="kubegale-bench-") as folder,
        ExitStack() as stack,
    ):
        token, cluster, _ = stack.enter_context(small.collected(environ, folder))
        sides = []
        for arguments in SIDES:
            changed = {**environ, "GUNICORN_CMD_ARGS": arguments}
            address, master = stack.enter_context(web(changed))
            server = small.Server(urlsplit(address).port or 0, token)
            sides.append(Side(server, master.pid))
        server = sides[0].server
        reads = small.read_requests(server, cluster)
        for what, path in reads.items():
            for clients in CLIENTS:
                request = server.request(path)
                _compare(what, request, clients=clients, sides=sides)
        _compare("PUT (bcs), audited", small.written(server), clients=8, sides=sides)
