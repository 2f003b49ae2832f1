"""`python -m bench.stream_clients`: opens sockets until its standard input is closed.

Their addresses come on standard input.
"""

import asyncio
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect


@dataclass
class Tally:
    """What the clients received."""

    opened: int = 0
    lines: int = 0
    dropped: int = 0
    begun: float = math.inf
    echoes: list[float] = field(default_factory=list)


async def _logs(url: str, tally: Tally) -> None:
    async with connect(url, compression=None) as socket:
        tally.opened += 1
        async for message in socket:
            frame = json.loads(message)
            tally.lines += frame["type"] == "log"
            tally.dropped += frame.get("count", 0)


async def _terminal(url: str, tally: Tally) -> None:
    """A keystroke every second, until it is seen."""
    async with connect(url, compression=None) as socket:
        tally.opened += 1
        number = 0
        while True:
            number += 1
            mark = f"mark{number}x"
            await socket.send(
                json.dumps(
                    {
                        "type": "data",
                        "data": {"input": f"echo {mark}\n"},
                    }
                )
            )
            started = time.perf_counter()
            await _receive(socket, mark)
            if started > tally.begun:
                tally.echoes.append(time.perf_counter() - started)
            await asyncio.sleep(1)


async def _receive(socket: ClientConnection, mark: str) -> None:
    """Read until the text was received."""
    text = ""
    while mark not in text:
        frame = json.loads(await socket.recv())
        text += frame["data"]["output"] if frame["type"] == "data" else ""


async def main() -> None:
    """Read a line of JSON with the addresses; answer with a line when all are open.

    Then a tally of the time between two more lines.
    """
    addresses = json.loads(sys.stdin.readline())
    tally = Tally()
    tasks = [asyncio.create_task(_logs(url, tally)) for url in addresses["logs"]]
    tasks += [asyncio.create_task(_terminal(url, tally)) for url in addresses["terminals"]]
    while tally.opened < len(tasks):
        await asyncio.sleep(0.1)
        for task in tasks:
            if task.done():
                task.result()
    print(json.dumps({"opened": tally.opened}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    tally.begun = time.perf_counter()
    before = tally.lines
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    seconds = time.perf_counter() - tally.begun
    echoes = sorted(tally.echoes)
    alive = sum(not task.done() for task in tasks)
    p50 = p95 = 0.0
    if echoes:
        p50 = statistics.median(echoes)
        p95 = echoes[int(len(echoes) * 0.95)]
    rate = (tally.lines - before) / seconds
    print(
        json.dumps(
            {
                "alive": alive,
                "lines_per_second": rate,
                "dropped": tally.dropped,
                "echo_p50": p50 * 1000,
                "echo_p95": p95 * 1000,
            }
        ),
        flush=True,
    )
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
