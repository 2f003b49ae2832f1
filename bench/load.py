"""Clients that ask one address over kept connections, as many as it answers."""

import asyncio
import ssl
import time
from dataclasses import dataclass

import uvloop


@dataclass(frozen=True, slots=True)
class Rate:
    """How a server answered: answers a second, and seconds that they took."""

    per_second: float
    median: float
    p99: float


async def load(
    port: int,
    request: bytes,
    *,
    clients: int,
    seconds: float,
    tls: ssl.SSLContext | None = None,
) -> list[float]:
    """Seconds that each answer took, sorted; every answer must be 200 or 201."""
    durations: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        while (began := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 20"), head
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            durations.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return sorted(durations)


def measure(
    port: int,
    request: bytes,
    *,
    clients: int,
    seconds: float,
    tls: ssl.SSLContext | None = None,
) -> Rate:
    """The rate of one round."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        durations = runner.run(load(port, request, clients=clients, seconds=seconds, tls=tls))
    count = len(durations)
    return Rate(count / seconds, durations[count // 2], durations[count * 99 // 100])
