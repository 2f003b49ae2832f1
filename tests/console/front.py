"""The front before the tests' two servers, so that a browser finds pages, transfers and sockets at one address."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from edge.front import Front, listener
from edge.limits import Limits


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


class _Relay:
    """The front reaches its servers over unix sockets, those of the tests listen on ports."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect the two for as long as both are there."""
        task = asyncio.ensure_future(self._join(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_pass_on(reader, server_writer), _pass_on(server_reader, writer))

    async def wait_until_idle(self) -> None:
        """Return once the front has closed all connections, and the servers have seen it."""
        if self._connections:
            await asyncio.wait(self._connections, timeout=20)


@contextlib.contextmanager
def running_front(web_port: int, socket_port: int) -> Iterator[str]:
    """The front's address, at the host name for which sessions of tests are."""
    started = threading.Event()
    bound = listener("127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve(folder: str) -> None:
        web, sockets = (str(Path(folder) / name) for name in ("web", "sockets"))
        relays = {web: _Relay(web_port), sockets: _Relay(socket_port)}
        servers = [
            await asyncio.start_unix_server(relay.accept, path) for path, relay in relays.items()
        ]
        front = Front(web, sockets, Limits(stop_seconds=1))
        await front.listen(bound, sockets_only=False)
        started.set()
        await stop.wait()
        await front.stop()
        for server in servers:
            server.close()
        for relay in relays.values():
            await relay.wait_until_idle()

    def run(folder: str) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve(folder))

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=run, args=(folder,), daemon=True)
        thread.start()
        assert started.wait(20), "the front did not start"
        try:
            yield f"http://localhost:{bound.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
