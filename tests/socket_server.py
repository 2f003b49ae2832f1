"""The WebSocket server in a thread, and a client that reads its frames."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

Frame = dict[str, Any]


@contextlib.contextmanager
def socket_server() -> Iterator[int]:
    """uvicorn with our application; yields its port."""
    from kubegale.asgi import application

    server = uvicorn.Server(
        uvicorn.Config(
            application,
            port=0,
            log_level="warning",
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started:
        assert time.monotonic() < deadline, "the socket server did not start"
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)


class Peer:
    """One client; keeps every frame that came."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self.code: int | None = None
        self.reason = ""

    def send(self, **frame: Any) -> None:
        """Send a frame."""
        self.connection.send(json.dumps(frame))

    def read(self, seconds: float = 15) -> Frame | None:
        """The next frame; None when the connection was closed."""
        try:
            frame: Frame = json.loads(self.connection.recv(timeout=seconds))
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else 1006
            self.reason = closed.rcvd.reason if closed.rcvd else ""
            return None
        self.frames.append(frame)
        return frame

    def until(self, condition: Callable[["Peer"], Any], seconds: float = 20) -> Any:
        """Read until the condition holds; AssertionError when it never does."""
        deadline = time.monotonic() + seconds
        while not (found := condition(self)):
            assert time.monotonic() < deadline, self.frames[-20:]
            assert self.read(max(deadline - time.monotonic(), 0.01)) is not None, (
                self.code,
                self.frames[-20:],
            )
        return found

    def end(self, seconds: float = 20) -> int:
        """Read to the end; the close code."""
        deadline = time.monotonic() + seconds
        while self.read(max(deadline - time.monotonic(), 0.01)) is not None:
            pass
        assert self.code is not None
        return self.code

    @property
    def lines(self) -> list[str]:
        """What the log frames said."""
        return [frame["data"]["content"] for frame in self.frames if frame["type"] == "log"]

    @property
    def output(self) -> str:
        """What the terminal printed."""
        return "".join(frame["data"]["output"] for frame in self.frames if frame["type"] == "data")

    def types(self) -> list[str]:
        """The types of the frames that came."""
        return [frame["type"] for frame in self.frames]

    def states(self) -> list[str]:
        """The states that status frames named."""
        return [frame["state"] for frame in self.frames if frame["type"] == "status"]


@contextlib.contextmanager
def peer(url: str, **options: Any) -> Iterator[Peer]:
    """Connect."""
    with connect(url, compression=None, open_timeout=10, **options) as connection:
        yield Peer(connection)
