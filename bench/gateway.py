"""What the gateway costs: the same requests sent to a cluster and through the gateway, in turns."""

import asyncio
import base64
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
import yaml

from bench.processes import (
    administrator,
    manage,
    migrated,
    running,
    simulated,
    until,
    wait_for,
)
from launcher.ports import free_port

PODS = 10_000
GETS = 300
ROUNDS = 5
WATCHES = 1_000
MEGABYTES = 100
PORTFORWARD = "/api/v1/namespaces/default/pods/p/portforward"


@dataclass(frozen=True)
class Side:
    """Where requests go: the cluster itself, or the gateway."""

    host: str
    port: int
    base: str
    context: ssl.SSLContext
    token: str

    @classmethod
    def read(cls, text: str) -> "Side":
        """Of a kubeconfig."""
        document: Any = yaml.safe_load(text)
        cluster = document["clusters"][0]["cluster"]
        parts = urlsplit(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(
            host=str(parts.hostname),
            port=int(parts.port or 443),
            base=parts.path,
            context=ssl.create_default_context(cadata=authority),
            token=document["users"][0]["user"]["token"],
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection(
            self.host, self.port, ssl=self.context, server_hostname=self.host, limit=1 << 20
        )

    def head(self, path: str, *more: str) -> bytes:
        """A GET."""
        lines = [f"GET {self.base}{path} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"Authorization: Bearer {self.token}", *more, "", ""]
        return "\r\n".join(lines).encode()


async def _read_body(reader: asyncio.StreamReader) -> int:
    """The bytes of an answer's body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    if b"content-length: " in head:
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        return length
    size = 0
    while True:
        chunk = int(await reader.readuntil(b"\r\n"), 16)
        await reader.readexactly(chunk + 2)
        size += chunk
        if not chunk:
            return size


async def _gets(side: Side) -> list[float]:
    """Milliseconds of each get over one kept connection."""
    reader, writer = await side.connect()
    request = side.head("/api/v1/namespaces/default")
    milliseconds = []
    for _ in range(GETS):
        began = time.perf_counter()
        writer.write(request)
        await _read_body(reader)
        milliseconds.append((time.perf_counter() - began) * 1000)
    writer.close()
    return milliseconds


async def _list(side: Side) -> float:
    """MB a second of the list of all pods."""
    reader, writer = await side.connect()
    began = time.perf_counter()
    writer.write(side.head("/api/v1/pods"))
    size = await _read_body(reader)
    writer.close()
    return size / 1e6 / (time.perf_counter() - began)


async def _forward(side: Side) -> float:
    """MB a second through a forwarded port."""
    reader, writer = await side.connect()
    writer.write(side.head(PORTFORWARD, "Connection: Upgrade", "Upgrade: SPDY/3.1"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head, head
    began = time.perf_counter()
    left = MEGABYTES * 1_000_000
    while left > 0:
        left -= len(await reader.read(1 << 20))
    seconds = time.perf_counter() - began
    writer.transport.abort()
    return MEGABYTES / seconds


def _memory(pid: int) -> int:
    """MB that the process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


async def _idle_watches(side: Side, pid: int) -> int:
    """MB of the process while WATCHES watches are open and silent."""
    with ExitStack() as stack:
        path = "/api/v1/namespaces/kube-public/configmaps?watch=1"
        for _ in range(WATCHES):
            reader, writer = await side.connect()
            writer.write(side.head(path))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
            stack.callback(writer.transport.abort)
        await asyncio.sleep(2)
        return _memory(pid)


@contextmanager
def _gateway(environ: dict[str, str], folder: str) -> Iterator[tuple[dict[str, str], int]]:
    """(environment with the gateway's address, its process)."""
    bound = {
        **environ,
        "GATEWAY_ADDRESS": f"127.0.0.1:{free_port()}",
        "GATEWAY_DATA_DIR": folder,
    }
    port = str(free_port())
    command = [sys.executable, "-m", "uvicorn", "kubegale.asgi:application", "--port", port]
    with running([*command, "--log-level", "warning"], bound) as process:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield bound, process.pid


def _compare(what: str, pairs: list[tuple[float, float]]) -> None:
    ratios = [through / direct for direct, through in pairs]
    direct, through = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    print(
        f"{what}: {statistics.median(ratios):.2f} of direct "
        f"({min(ratios):.2f}-{max(ratios):.2f}; {direct:.4g} and {through:.4g})",
        flush=True,
    )


def run() -> None:
    """Print the ratios."""
    with (
        migrated() as environ,
        tempfile.TemporaryDirectory(prefix="kubegale-bench-") as folder,
        ExitStack() as stack,
    ):
        administrator(environ)
        kubeconfig = stack.enter_context(simulated(environ, folder, PODS))
        port = Path(folder) / "port.kubeconfig"
        stack.enter_context(running([sys.executable, "-m", "bench.port", str(port)], environ))
        until(port.exists, seconds=60)
        for name, path in (("many", kubeconfig), ("port", port)):
            arguments = ("register_cluster", name, "--kubeconfig", str(path))
            manage(environ, *arguments)
        bound, pid = stack.enter_context(_gateway(environ, folder))
        print(f"memory of the process, idle: {_memory(pid)} MB", flush=True)
        sides = {
            name: (
                Side.read(path.read_text()),
                Side.read(manage(bound, "kubeconfig", "bench", "--cluster", name)),
            )
            for name, path in (("many", kubeconfig), ("port", port))
        }
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            _measure(runner, sides, pid)


def _measure(runner: asyncio.Runner, sides: dict[str, tuple[Side, Side]], pid: int) -> None:
    added = []
    for _ in range(ROUNDS):
        direct, through = (statistics.median(runner.run(_gets(side))) for side in sides["many"])
        added.append(through - direct)
    print(
        f"get: +{statistics.median(added):.2f} ms ({min(added):.2f}-{max(added):.2f})", flush=True
    )
    runner.run(_list(sides["many"][0]))
    lists = [
        (runner.run(_list(sides["many"][0])), runner.run(_list(sides["many"][1])))
        for _ in range(ROUNDS)
    ]
    _compare(f"list of {PODS} pods, MB a second", lists)
    forwards = [
        (runner.run(_forward(sides["port"][0])), runner.run(_forward(sides["port"][1])))
        for _ in range(ROUNDS)
    ]
    _compare(f"{MEGABYTES} MB through a port, MB a second", forwards)
    print(f"memory of the process, after: {_memory(pid)} MB", flush=True)
    memory = runner.run(_idle_watches(sides["many"][1], pid))
    print(f"memory of the process with {WATCHES} idle watches: {memory} MB", flush=True)
