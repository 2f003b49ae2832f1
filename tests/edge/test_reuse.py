"""Connections to the web server that the front uses again, and what is never sent twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.front import Front, listener
from edge.limits import Limits
from launcher.ports import free_port
from tests.edge.running import body, head, status

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATH = "/api/v1/kubernetes/pods"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def running_front(folder: Path, handler: Handler) -> AsyncIterator[int]:
    """The port of a front before a web server of one function."""
    path = str(folder / "web")
    server = await asyncio.start_unix_server(handler, path)
    front = Front(path, path, Limits())
    port = free_port()
    await front.listen(listener("127.0.0.1", port), sockets_only=False)
    try:
        yield port
    finally:
        await front.stop()
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request."""
    lines = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = lines.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length or 0))


async def put(port: int, text: bytes) -> bytes:
    """The answer to a PUT on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = b"Connection: close\r\nContent-Length: %d\r\n" % len(text)
    writer.write(head("PUT", PATH, lines) + text)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(("size", "connections"), [(10, 1), (40_000, 3)])
def test_small_writes_share_a_connection(tmp_path: Path, size: int, connections: int) -> None:
    opened: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        try:
            while True:
                assert len(await read_request(reader)) == size
                writer.write(OK)
        except asyncio.IncompleteReadError:
            writer.close()

    async def run() -> list[bytes]:
        async with running_front(tmp_path, answer) as port:
            return [await put(port, b"x" * size) for _ in range(3)]

    assert [status(answer) for answer in asyncio.run(run())] == [200] * 3
    assert len(opened) == connections


def test_a_write_that_was_read_is_never_sent_again(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                bodies.append(await read_request(reader))
                if len(bodies) == 2:
                    # It may have been done, and nobody says so.
                    break
                writer.write(OK)
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    async def run() -> list[bytes]:
        async with running_front(tmp_path, answer) as port:
            return [await put(port, text) for text in (b"first", b"second", b"third")]

    answers = asyncio.run(run())
    assert [status(answer) for answer in answers] == [200, 502, 200]
    # As other errors there.
    assert json.loads(body(answers[1]))["code"] == 5001
    assert bodies == [b"first", b"second", b"third"]
