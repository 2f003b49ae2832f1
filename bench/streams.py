"""300 log streams and 50 terminals on one socket process.

Its memory, and what they do to plain requests at the same time.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import urllib3

from bench.processes import (
    administrator,
    manage,
    migrated,
    peak_memory,
    running,
    wait_for,
    web,
)
from launcher.ports import free_port

LOGS = 300
TERMINALS = 50
PODS = 10
ROUNDS = 8
REQUESTS = 25
NAMESPACE = "bench"


class Api:
    """Our JSON API on one kept connection."""

    def __init__(self, address: str, token: str, cluster: int) -> None:
        self._pool = urllib3.PoolManager(timeout=60)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._base = f"{address}/api/v1/kubernetes"
        self._where = {
            "cluster_id": cluster,
            "namespace": NAMESPACE,
        }

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The data of an answer."""
        return self._data(
            self._pool.request(
                "POST",
                f"{self._base}/{path}",
                headers=self._headers,
                body=orjson.dumps({**self._where, **body}),
            )
        )

    def get(self, path: str) -> dict[str, Any]:
        """The data of an answer."""
        return self._data(
            self._pool.request(
                "GET",
                f"{self._base}/{path}",
                headers=self._headers,
                fields={**self._where, "pageSize": 20},
            )
        )

    @staticmethod
    def _data(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        answer = orjson.loads(response.data)
        assert answer["code"] == 0, answer
        data: dict[str, Any] = answer["data"]
        return data


def _pods(api: Api) -> list[str]:
    """Names of pods that print and run."""
    api.post("namespaces", content={"metadata": {"name": NAMESPACE}})
    labels = {"app": "bench"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "nginx"}]},
    }
    spec = {
        "replicas": PODS,
        "selector": {"matchLabels": labels},
        "template": template,
    }
    api.post(
        "deployments",
        content={"metadata": {"name": "bench"}, "spec": spec},
    )
    while True:
        pods = [
            pod
            for pod in api.get("pods")["items"]
            if pod.get("status", {}).get("phase") == "Running"
        ]
        if len(pods) == PODS:
            return [pod["metadata"]["name"] for pod in pods]
        time.sleep(0.2)


PLAIN = {
    "plain request of our own rows (clusters)": "clusters",
    "plain request that asks the API server (a page of pods)": "pods",
}


def _latency(api: Api) -> dict[str, float]:
    """The median in seconds of each plain request."""
    times: dict[str, list[float]] = {name: [] for name in PLAIN}
    for _ in range(REQUESTS):
        for name, path in PLAIN.items():
            started = time.perf_counter()
            api.get(path)
            times[name].append(time.perf_counter() - started)
            time.sleep(0.02)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def _compare(api: Api, stopped: list[int]) -> dict[str, tuple[float, float, float]]:
    """(alone, under load, ratio) of each plain request, medians of rounds.

    In each round the processes `stopped` stand still and then go on, so that whatever else the
    machine does hits both.
    """
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in PLAIN}
    for _ in range(ROUNDS):
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        alone = _latency(api)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        time.sleep(2)
        loaded = _latency(api)
        for name in PLAIN:
            rounds[name].append((alone[name], loaded[name]))
    medians = {
        name: [statistics.median(column) for column in zip(*pairs, strict=True)]
        for name, pairs in rounds.items()
    }
    ratios = {
        name: statistics.median(busy / idle for idle, busy in pairs)
        for name, pairs in rounds.items()
    }
    return {name: (medians[name][0], medians[name][1], ratios[name]) for name in PLAIN}


def _cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measure(api: Api, pids: Mapping[str, int]) -> None:
    """`pids`: the processes whose share of a core is printed, by name."""
    names = _pods(api)
    _latency(api)
    clients = subprocess.Popen(
        [sys.executable, "-m", "bench.stream_clients"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert clients.stdin
    assert clients.stdout
    try:
        logs = [
            api.post(
                f"pods/{names[number % PODS]}/logs/stream",
                tail_lines=10,
            )["ws_url"]
            for number in range(LOGS)
        ]
        terminals = [
            api.post(f"pods/{names[number % PODS]}/terminal")["terminal_url"]
            for number in range(TERMINALS)
        ]
        clients.stdin.write(json.dumps({"logs": logs, "terminals": terminals}) + "\n")
        clients.stdin.flush()
        assert json.loads(clients.stdout.readline()) == {"opened": LOGS + TERMINALS}
        time.sleep(5)
        clients.stdin.write("\n")
        clients.stdin.flush()
        started = time.perf_counter()
        before = {name: _cpu(pid) for name, pid in pids.items()}
        time.sleep(10)
        seconds = time.perf_counter() - started
        shares = {name: (_cpu(pid) - before[name]) / seconds for name, pid in pids.items()}
        clients.stdin.write("\n")
        clients.stdin.flush()
        tally = json.loads(clients.stdout.readline())
        plain = _compare(api, [pids["sockets"], clients.pid])
    finally:
        clients.terminate()
        clients.wait(10)
    print(
        f"{LOGS} log streams and {TERMINALS} terminals: {tally['alive']} alive,"
        f" {tally['lines_per_second']:.0f} lines/s, {tally['dropped']} dropped"
    )
    print(f"keystroke to echo: median {tally['echo_p50']:.1f} ms, 95th {tally['echo_p95']:.1f} ms")
    for name, (alone, loaded, ratio) in plain.items():
        print(
            f"{name}: median {alone * 1000:.1f} ms alone, {loaded * 1000:.1f} ms beside them,"
            f" ratio {ratio:.2f} (bound: 1.25)"
        )
    print(
        "processor: " + ", ".join(f"{name} {share:.2f} of a core" for name, share in shares.items())
    )
    print(f"socket process peak: {peak_memory(pids['sockets']):.0f} MB (bound: 300 MB)")


def run() -> None:
    """Everything on loopback, each server a process of its own."""
    ws = free_port()
    limits = {
        "LOG_STREAMS_PER_USER": "1000",
        "LOG_SOURCES_PER_USER": "1000",
        "TERMINALS_PER_USER": "1000",
        "KUBEGALE_TUNING": '{"TICKET_SECONDS": 300}',
        "WS_BASE_URL": f"ws://127.0.0.1:{ws}",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        migrated(**limits) as environ,
    ):
        kubeconfig = Path(folder) / "kubeconfig"
        options = [
            "--port",
            str(free_port()),
            "--kubeconfig-out",
            str(kubeconfig),
            "--time-scale",
            "4",
        ]
        with running([sys.executable, "-m", "simcluster", *options], environ) as simulated:
            while not kubeconfig.exists():
                time.sleep(0.1)
            cluster = json.loads(
                manage(
                    environ,
                    "register_cluster",
                    "bench",
                    "--kubeconfig",
                    str(kubeconfig),
                )
            )["id"]
            token = administrator(environ)
            flags = [
                "--port",
                str(ws),
                "--log-level",
                "warning",
                "--no-access-log",
                "--ws-per-message-deflate",
                "false",
            ]
            command = [
                sys.executable,
                "-m",
                "uvicorn",
                "kubegale.asgi:application",
                *flags,
            ]
            with (
                web(environ) as (address, _),
                running(command, environ) as sockets,
            ):
                wait_for(f"http://127.0.0.1:{ws}/healthz")
                _measure(
                    Api(address, token, cluster),
                    {
                        "sockets": sockets.pid,
                        "simulated API server": simulated.pid,
                    },
                )
