"""Connections to the web server that the front uses again, and what is never sent twice."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
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
async def running_front(
    folder: Path, handler: Handler, limits: Limits | None = None
) -> AsyncIterator[int]:
    """The port of a front before a web server of one function."""
    path = str(folder / "web")
    server = await asyncio.start_unix_server(handler, path)
    front = Front(path, path, limits or Limits())
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


async def get(port: int, path: str, source: str = "127.0.0.1") -> bytes:
    """The answer to a GET on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(head("GET", path, b"Connection: close\r\n"))
    answer = await reader.read()
    writer.close()
    return answer


class Threads:
    """A web server that says which process it is, and answers `/slow` once it may."""

    def __init__(self) -> None:
        self.process = b"1"
        self.may_end = asyncio.Event()
        self.began: asyncio.Queue[str] = asyncio.Queue()
        # Which process each request has reached.
        self.reached: list[tuple[str, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which stays with the process that has accepted it."""
        process = self.process
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while lines := await reader.readuntil(b"\r\n\r\n"):
                path = lines.split(b" ")[1].decode()
                self.reached.append((path, process))
                self.began.put_nowait(path)
                if path == "/slow":
                    await self.may_end.wait()
                named = b"HTTP/1.1 200 OK\r\nX-Kubegale-Process: %b\r\n" % process
                writer.write(named + b"Content-Length: 2\r\n\r\nok")
        writer.close()


def test_who_asks_and_leaves_has_no_more_threads_than_who_waits(tmp_path: Path) -> None:
    async def check() -> None:
        web = Threads()
        limits = Limits(requests_per_address=1)
        async with running_front(tmp_path, web.serve, limits) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("GET", "/slow"))
            assert await web.began.get() == "/slow"
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            writer.transport.abort()
            following = asyncio.create_task(get(port, "/following"))
            # Others are answered, and by then the front has seen all of that.
            for _ in range(3):
                assert status(await get(port, "/other", "127.0.0.3")) == 200
                assert await web.began.get() == "/other"
            assert not following.done()
            web.may_end.set()
            assert status(await following) == 200

    asyncio.run(asyncio.wait_for(check(), 60))


def test_no_request_waits_for_a_busy_process_while_another_is_idle(tmp_path: Path) -> None:
    async def check() -> None:
        web = Threads()
        limits = Limits(requests_per_address=100, web_threads=2)
        async with running_front(tmp_path, web.serve, limits) as port:
            slow = [asyncio.create_task(get(port, "/slow")) for _ in range(5)]
            for _ in slow:
                await web.began.get()
            web.may_end.set()
            answers = await asyncio.gather(*slow)
            assert not any(b"Process" in answer for answer in answers)
            web.may_end.clear()
            # Five connections lead to the first process. From now on the second one accepts.
            web.process = b"2"
            web.reached.clear()
            slow = [asyncio.create_task(get(port, "/slow")) for _ in range(2)]
            for _ in slow:
                await web.began.get()
            assert status(await get(port, "/other")) == 200
            assert web.reached == [("/slow", b"1"), ("/slow", b"1"), ("/other", b"2")]
            # The connections to the first process are used again once it has a thread.
            web.may_end.set()
            await asyncio.gather(*slow)
            web.may_end.clear()
            slow = [asyncio.create_task(get(port, "/slow")) for _ in range(3)]
            for _ in range(4):
                await web.began.get()
            assert {process for _, process in web.reached[3:]} == {b"1", b"2"}
            web.may_end.set()
            await asyncio.gather(*slow)

    asyncio.run(asyncio.wait_for(check(), 60))


def test_bodies_in_the_smallest_chunks_hold_nobody_up(tmp_path: Path) -> None:
    """Each takes a thousand times as long to read as its bytes; others are served in between."""
    sizes: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                sizes.append(len(await read_request(reader)))
                writer.write(OK)
        writer.close()

    async def check() -> None:
        limits = Limits(body_grace_seconds=120, body_idle_seconds=120)
        async with running_front(tmp_path, answer, limits) as port:
            assert status(await get(port, "/", "127.0.0.3")) == 200
            lines = b"Transfer-Encoding: chunked\r\nConnection: close\r\n"
            wire = head("POST", PATH, lines) + b"1\r\nx\r\n" * 15_000 + b"0\r\n\r\n"
            clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in clients:
                writer.write(wire)
                await writer.drain()
            for _ in range(3):
                assert status(await get(port, "/", "127.0.0.3")) == 200
            assert sizes == [0] * 4
            for reader, writer in clients:
                assert status(await reader.read()) == 200
                writer.close()
            assert sizes[4:] == [15_000] * 20

    asyncio.run(asyncio.wait_for(check(), 120))
