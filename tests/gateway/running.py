"""The gateway in a thread, kubectl before it and a raw API server behind it."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from django.contrib.auth import get_user_model

from access.models import Grant
from access.tokens import create_api_token
from gateway.listening import Gateway


def find_kubectls() -> list[str]:
    """Every kubectl of this machine, the oldest first: those before 1.31 speak SPDY."""
    usual = shutil.which("kubectl")
    if usual is None:
        return []
    beside = sorted(Path(os.path.realpath(usual)).parent.glob("kubectl.1.*"))
    paths = [str(path) for path in beside if os.access(path, os.X_OK)]
    return paths or [usual]


def eventually(condition: Any, seconds: float = 20) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Running:
    """The gateway; `url` is where clients reach it, `socket` is the front's way to it."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.gateway: Gateway
        self.port = 0
        self.folder = folder
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def do(self, coroutine: Any) -> Any:
        """What the coroutine gives, run in the gateway's thread."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(30)

    async def start(self) -> None:
        """Listen on a free port."""
        self.gateway = Gateway()
        await self.gateway.start()
        self.port = self.gateway.ports[0]

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"https://127.0.0.1:{self.port}"

    def connect(self) -> ssl.SSLSocket:
        """A connection whose bytes the test writes itself."""
        context = ssl.create_default_context(cafile=str(self.folder / "gateway" / "ca.crt"))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def exchange(self, raw: bytes) -> bytes:
        """All that comes back for bytes, until the gateway closes the connection."""
        with self.connect() as connection:
            connection.sendall(raw)
            answer = b""
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while data := connection.recv(65536):
                    answer += data
            return answer

    def status(self, head: str, token: str = "", *, method: str = "GET") -> int:
        """The status that a request with this target (and further lines) is answered with."""
        target, _, more = head.partition("\r\n")
        lines = [f"{method} {target} HTTP/1.1", "Host: gateway", "Connection: close"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        lines += [more] if more else []
        return int(self.exchange("\r\n".join([*lines, "", ""]).encode("latin-1")).split(b" ", 2)[1])


@dataclass
class Kubectl:
    """kubectl with one kubeconfig."""

    program: str
    config: Path

    def run(self, *arguments: str, input: str = "", seconds: float = 60) -> Any:
        """The finished process."""
        return subprocess.run(
            [self.program, "--kubeconfig", str(self.config), *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={
                **os.environ,
                "HOME": str(self.config.parent),
                "KUBE_EDITOR": "sed -i s/red/blue/",
            },
        )

    def __call__(self, *arguments: str, input: str = "") -> str:
        """What it prints; it has to succeed."""
        done = self.run(*arguments, input=input)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def refused(self, *arguments: str, input: str = "") -> str:
        """What it prints on standard error; it has to fail."""
        done = self.run(*arguments, input=input)
        assert done.returncode != 0, done.stdout
        return str(done.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """A process that runs on until the end of the block."""
        process = subprocess.Popen(
            [self.program, "--kubeconfig", str(self.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HOME": str(self.config.parent)},
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def new_token(
    name: str,
    role: str = "",
    *,
    cluster: Any = None,
    namespace: str = "",
    scopes: tuple[str, ...] = (),
) -> str:
    """An API token of a new user with one grant; without a role of one who has none."""
    user = get_user_model().objects.create_user(name)
    if role:
        Grant.objects.create(user=user, role=role, cluster=cluster, namespace=namespace)
    return create_api_token(user, "tests", scopes=scopes)[1]


def write_kubeconfig(path: Path, running: Running, cluster: str, token: str) -> Path:
    """A kubeconfig for one cluster behind the gateway."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"{running.url}/kube/{cluster}",
                    "certificate-authority": str(running.folder / "gateway" / "ca.crt"),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path.write_text(yaml.safe_dump(document))
    return path


# --- an API server that is bytes ------------------------------------------------------------------
@dataclass
class RawServer:
    """Keeps what comes, and answers by a function of the test: `answer(head, reader, writer)`."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    answer: Callable[[str, Any, Any], Any] | None = None
    # Connections that are open now.
    open: int = 0

    @property
    def kubeconfig(self) -> str:
        """How to reach it, with a token that no client may see."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {"name": "raw", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
                ],
                "users": [{"name": "raw", "user": {"token": "cluster-token"}}],
                "contexts": [{"name": "raw", "context": {"cluster": "raw", "user": "raw"}}],
                "current-context": "raw",
            }
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                assert self.answer is not None
                if await self.answer(head, reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.open -= 1
            writer.close()


@contextlib.contextmanager
def raw_server() -> Iterator[RawServer]:
    """A RawServer in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = RawServer()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(server.serve, "127.0.0.1", 0)

    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:

        async def stop() -> None:
            listening.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
