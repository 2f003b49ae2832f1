"""Files in pods: 200 MB up and down, beside `kubectl cp` where there is one, and a bare client.

All ways end in the same simulated container, and the digests must be equal. They take turns, so
that a busy machine is as busy for each; then `/healthz` of the event-driven server is asked during
one more transfer. The bare client (one exec, bytes that are not checked) shows how much of the time
is the simulated cluster's own.
"""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import httpx
import yaml

from bench.processes import (
    administrator,
    manage,
    migrated,
    peak,
    processor_seconds,
    running,
    simulated,
    until,
    wait_for,
    web,
)
from launcher.ports import free_port

MEGABYTES = 200
ROUNDS = 3
MB = 1_000_000
BASE = "/api/v1/kubernetes/pods"
POD = {
    "metadata": {"name": "files"},
    "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
}


@contextmanager
def _asked_meanwhile(address: str) -> Iterator[list[float]]:
    """How many seconds /healthz took, each time that it was asked within the block."""
    durations: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address) as client:
            while not ended.wait(0.02):
                began = time.perf_counter()
                client.get("/healthz")
                durations.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield durations
    finally:
        ended.set()
        asking.join()


def _rate(work: Callable[[], object]) -> float:
    """Megabytes a second of moving the file once."""
    began = time.perf_counter()
    work()
    return MEGABYTES / (time.perf_counter() - began)


def _measure(
    address: str, token: str, place: dict[str, object], source: Path
) -> tuple[float, float]:
    """(up, down) in MB/s through KubeGale; AssertionError when a digest differs."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, timeout=600) as client:

        def up() -> None:
            words = {"path": "/tmp", "name": "big", "overwrite": "true"}  # noqa: S108 - in the container
            query = {**place, **words}
            with source.open("rb") as body:
                answer = client.post(f"{BASE}/files/files", params=query, content=body).json()
            assert answer["data"]["items"][0]["sha256"] == digest, answer

        def down() -> None:
            received = hashlib.sha256()
            query = {**place, "path": "/tmp/big"}  # noqa: S108 - in the container
            with client.stream("GET", f"{BASE}/files/files/download", params=query) as answer:
                for part in answer.iter_bytes():
                    received.update(part)
            assert received.hexdigest() == digest

        return _rate(up), _rate(down)


def _measure_kubectl(kubeconfig: Path, source: Path) -> tuple[float, float]:
    """(up, down) in MB/s of `kubectl cp`."""
    target = source.with_name("copy")

    def copy(*words: str) -> None:
        command = ["kubectl", "--kubeconfig", str(kubeconfig), "cp", "--retries=0", *words]
        subprocess.run(command, check=True, capture_output=True)

    up = _rate(lambda: copy(str(source), "default/files:/tmp/copied"))
    down = _rate(lambda: copy("default/files:/tmp/copied", str(target)))
    assert target.read_bytes() == source.read_bytes()
    return up, down


def _measure_bare(kubeconfig: Path, source: Path) -> tuple[float, float]:
    """(up, down) in MB/s of a client that only sends and counts."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    token = document["users"][0]["user"]["token"]

    async def exchange(command: str, body: bytes = b"") -> int:
        """How many bytes the command wrote."""
        pairs = [("command", word) for word in ("sh", "-c", command)]
        pairs += [("stdout", "true"), ("stdin", "true" if body else "false")]
        path = "/api/v1/namespaces/default/pods/files/exec"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.ws_connect(
                f"{cluster['server']}{path}?{urlencode(pairs)}",
                ssl=context,
                protocols=["v5.channel.k8s.io"],
            ) as socket,
        ):
            for start in range(0, len(body), 128 * 1024):
                await socket.send_bytes(b"\0" + body[start : start + 128 * 1024])
            if body:
                # Of protocol v5: standard input ends.
                await socket.send_bytes(b"\xff\0")
            return sum([len(message.data) - 1 async for message in socket])

    body = source.read_bytes()
    up = _rate(lambda: asyncio.run(exchange("cat >/tmp/bare", body)))
    down = _rate(lambda: asyncio.run(exchange("cat /tmp/bare")))
    return up, down


def run() -> None:
    """Everything on loopback, each server a process of its own."""
    limits = {"FILES_UPLOAD_BYTES": str(2 * MEGABYTES * MB)}
    with tempfile.TemporaryDirectory() as folder, migrated(**limits) as environ:
        source = Path(folder) / "big"
        source.write_bytes(os.urandom(MB) * MEGABYTES)
        with simulated(environ, folder, 1) as kubeconfig:
            words = ("bench", "--kubeconfig", str(kubeconfig))
            cluster = json.loads(manage(environ, "register_cluster", *words))["id"]
            _compare(environ, kubeconfig, cluster, administrator(environ), source)


def _compare(
    environ: dict[str, str], kubeconfig: Path, cluster: int, token: str, source: Path
) -> None:
    place = {"cluster_id": cluster, "namespace": "default"}
    port = free_port()
    command = ["uvicorn", "kubegale.asgi:application", "--port", str(port), "--no-access-log"]
    address = f"http://127.0.0.1:{port}"
    _make_pod(environ, token, place)
    with running([sys.executable, "-m", *command], environ) as server:
        wait_for(f"{address}/healthz")
        until(lambda: _is_ready(address, token, place))
        before = peak(server.pid)
        ways = {"KubeGale": lambda: _measure(address, token, place, source)}
        if shutil.which("kubectl"):
            ways["kubectl cp"] = lambda: _measure_kubectl(kubeconfig, source)
        ways["bare client"] = lambda: _measure_bare(kubeconfig, source)
        rates: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        used = 0.0
        for _ in range(ROUNDS):
            for way, measure in ways.items():
                began = processor_seconds(server.pid)
                rates[way].append(measure())
                used += processor_seconds(server.pid) - began
        medians = {
            way: (statistics.median(up for up, _ in of), statistics.median(down for _, down in of))
            for way, of in rates.items()
        }
        own_up, own_down = medians["KubeGale"]
        for way, (up, down) in medians.items():
            ratio = f"KubeGale {own_up / up:.2f} and {own_down / down:.2f} of it"
            print(f"{way}: up {up:.0f} MB/s, down {down:.0f} MB/s; {ratio}")
        each = used / ROUNDS / (2 * MEGABYTES) * 100
        print(f"the server used {each:.2f} s of processor time for 100 MB")
        print(f"the server took {peak(server.pid) - before:.0f} MiB more")
        with _asked_meanwhile(address) as durations:
            _measure(address, token, place, source)
        durations.sort()
        usual = durations[len(durations) // 2] * 1000
        late = durations[int(len(durations) * 0.99)] * 1000
        print(f"/healthz meanwhile: median {usual:.1f} ms, 99 % {late:.1f} ms")


def _make_pod(environ: dict[str, str], token: str, place: dict[str, object]) -> None:
    with web(environ) as (address, _):
        answer = httpx.post(
            f"{address}{BASE}",
            json={**place, "content": POD},
            headers={"Authorization": f"Bearer {token}"},
        ).json()
    assert answer["code"] == 0, answer


def _is_ready(address: str, token: str, place: dict[str, object]) -> bool:
    answer = httpx.get(
        f"{address}{BASE}/files/files/download",
        params={**place, "path": "/etc/hostname"},
        headers={"Authorization": f"Bearer {token}"},
    )
    return answer.headers["content-type"] == "application/octet-stream"
