"""Connections of the front, on both event loops that it may run on."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from edge.connections import Connection

Loops = Callable[[], asyncio.AbstractEventLoop]


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_answer_is_read_though_the_server_closed_before_it_read_the_request(
    loops: Loops,
) -> None:
    ours, theirs = socket.socketpair()

    async def exchange() -> bytes:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(Connection, sock=ours)
        connection.keep_answer()
        theirs.sendall(b"refused")
        theirs.close()
        # Fails at once, before the loop has read anything.
        connection.write(bytes(500_000))
        while await connection.more():
            pass
        return connection.take()

    with asyncio.Runner(loop_factory=loops) as runner:
        assert runner.run(exchange()) == b"refused"


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_read", [False, True])
def test_a_write_that_nobody_can_have_read_is_known(loops: Loops, is_read: bool) -> None:
    """The server has stopped reading before the write, or closes after it."""
    ours, theirs = socket.socketpair()

    async def exchange() -> bool:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(Connection, sock=ours)
        if is_read:
            connection.write(b"request")
            await asyncio.to_thread(theirs.recv, 100)
            theirs.close()
        else:
            theirs.shutdown(socket.SHUT_RD)
            theirs.close()
            connection.write(b"request")
        while await connection.more():
            pass
        return connection.is_refused

    with asyncio.Runner(loop_factory=loops) as runner:
        assert runner.run(exchange()) is not is_read


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_wait_has_its_own_end(loops: Loops) -> None:
    """One timer serves them all: it ends none too early, and none is forgotten for a later one."""
    ours, theirs = socket.socketpair()

    async def wait_in_turns() -> list[bytes]:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(Connection, sock=ours)
        theirs.sendall(b"a")
        soon = loop.time() + 0.05
        assert await connection.more(loop.time() + 1000)
        words = [connection.take()]
        later = asyncio.create_task(connection.more(loop.time() + 1000))
        loop.call_at(soon, theirs.sendall, b"b")
        assert await later
        words.append(connection.take())
        with pytest.raises(TimeoutError):
            await connection.more(loop.time() + 0.01)
        # The end of a wait that came to its aim must not end the next one.
        theirs.sendall(b"c")
        soon = loop.time() + 0.05
        assert await connection.more(soon)
        words.append(connection.take())
        loop.call_at(soon + 0.01, theirs.sendall, b"d")
        assert await connection.more(loop.time() + 1000)
        return [*words, connection.take()]

    with asyncio.Runner(loop_factory=loops) as runner:
        assert runner.run(wait_in_turns()) == [b"a", b"b", b"c", b"d"]
    theirs.close()
