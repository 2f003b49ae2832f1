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


async def _unix_socket(path: str, port: int) -> asyncio.Server:
    """The front reaches its servers over unix sockets, the tests' listen on ports."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(reader, server_writer), _pass_on(server_reader, writer))

    return await asyncio.start_unix_server(connected, path)


@contextlib.contextmanager
def running_front(web_port: int, socket_port: int) -> Iterator[str]:
    """The front's address."""
    started = threading.Event()
    bound = listener("127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve(folder: str) -> None:
        web, sockets = (str(Path(folder) / name) for name in ("web", "sockets"))
        servers = [await _unix_socket(web, web_port), await _unix_socket(sockets, socket_port)]
        front = Front(web, sockets, Limits(stop_seconds=1))
        await front.listen(bound, sockets_only=False)
        started.set()
        await stop.wait()
        await front.stop()
        for server in servers:
            server.close()

    def run(folder: str) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve(folder))

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=run, args=(folder,), daemon=True)
        thread.start()
        assert started.wait(20), "the front did not start"
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
