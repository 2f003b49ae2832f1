"""What the front costs: the same web server asked directly and through it, in turns.

And with half-sent requests that stay open, and beside clients that read nothing.
"""

import asyncio
import socket
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.load import load, measure
from bench.processes import (
    administrator,
    fronted,
    migrated,
    web,
)

CLIENTS = 8
SECONDS = 3.0
ROUNDS = 5
HALF_SENT = 500
DEAF = 300
DEAF_SECONDS = 10.0
SCHEMA = b"GET /api/schema HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def _load(port: int, request: bytes) -> list[float]:
    return await load(port, request, clients=CLIENTS, seconds=SECONDS)


def _measure(port: int, request: bytes) -> tuple[float, float, float]:
    """(answers a second, median, 99th percentile)."""
    rate = measure(port, request, clients=CLIENTS, seconds=SECONDS)
    return rate.per_second, rate.median, rate.p99


def _memory(pid: int) -> int:
    """MiB that the process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


async def _send_halves(port: int, stack: ExitStack) -> None:
    for _ in range(HALF_SENT):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: lo")
        stack.callback(writer.transport.abort)


async def _load_with_halves(port: int, request: bytes) -> list[float]:
    with ExitStack() as stack:
        await _send_halves(port, stack)
        return await _load(port, request)


def _connect(port: int, source: str) -> socket.socket:
    address = ("127.0.0.1", port)
    return socket.create_connection(address, timeout=120, source_address=(source, 0))


def _longest_beside_deaf(port: int) -> float:
    """Seconds of the slowest new client, while those of another address read nothing."""
    longest = 0.0
    with ExitStack() as stack:
        for _ in range(DEAF):
            deaf = stack.enter_context(_connect(port, "127.0.0.2"))
            deaf.sendall(SCHEMA + SCHEMA)
        end = time.monotonic() + DEAF_SECONDS
        while (began := time.monotonic()) < end:
            with _connect(port, "127.0.0.1") as client:
                client.sendall(HEALTHZ)
                while client.recv(65536):
                    pass
            longest = max(longest, time.monotonic() - began)
    return longest


def run() -> None:
    """Print the ratios."""
    with (
        migrated() as environ,
        tempfile.TemporaryDirectory(prefix="kubegale-bench-") as folder,
        ExitStack() as stack,
    ):
        token = administrator(environ)
        address, _ = stack.enter_context(web(environ))
        plain = int(address.rpartition(":")[2])
        patient = {**environ, "EDGE_HEAD_SECONDS": "600"}
        port, _, front = stack.enter_context(fronted(patient, folder))
        pid = front.pid
        template = b"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n"
        print(f"memory of the front, idle: {_memory(pid)} MB")
        for path in (b"/healthz", b"/api/v1/auth/me"):
            request = template % (path, token.encode())
            pairs = [(_measure(plain, request), _measure(port, request)) for _ in range(ROUNDS)]
            for position, what in enumerate(("answers a second", "p50", "p99")):
                ratios = [ours[position] / bare[position] for bare, ours in pairs]
                bare, ours = (
                    statistics.median(pair[side][position] for pair in pairs) for side in (0, 1)
                )
                print(
                    f"{path.decode()} {what}: {statistics.median(ratios):.2f} of plain gunicorn "
                    f"({min(ratios):.2f}-{max(ratios):.2f}; {bare:.4g} and {ours:.4g})"
                )
        request = template % (b"/healthz", token.encode())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            durations = runner.run(_load_with_halves(port, request))
        p99 = durations[len(durations) * 99 // 100]
        print(
            f"beside {HALF_SENT} half-sent requests:"
            f" {len(durations) / SECONDS:.0f} answers a second,"
            f" p99 {p99 * 1000:.1f} ms"
        )
        longest = _longest_beside_deaf(port)
        print(f"beside {DEAF} that read nothing: /healthz in {longest:.2f} s at most")
        print(f"memory of the front, after: {_memory(pid)} MB")
