"""A page of objects through the whole stack against the bare HTTP calls to the API server."""

import base64
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import urllib3
import yaml

from bench.processes import (
    administrator,
    manage,
    migrated,
    peak_memory,
    simulated,
    web,
)

PODS = 10_000
ROUNDS = 11


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _paired(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float, float]:
    """(our median, bare median, median of the ratios), in seconds.

    Taken in turns, so that a slow moment hits both.
    """
    # The first call of each opens its connection.
    ours()
    bare()
    pairs = [(_timed(ours), _timed(bare)) for _ in range(ROUNDS)]
    return (
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(mine / theirs for mine, theirs in pairs),
    )


def _bare(kubeconfig: Path, *, keeps_connection: bool = True) -> Callable[[str], bytes]:
    """The API server and nothing else.

    Over one TLS connection (the floor), or a new one for each call (as curl).
    """
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    user = config["users"][0]["user"]
    authority = kubeconfig.with_suffix(".ca")
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    pool = urllib3.PoolManager(ca_certs=str(authority), timeout=60)
    headers = {
        "Authorization": f"Bearer {user['token']}",
        "Accept": "application/json",
    }

    def call(path: str) -> bytes:
        body: bytes = pool.request("GET", cluster["server"] + path, headers=headers).data
        if not keeps_connection:
            pool.clear()
        return body

    return call


def _ours(address: str, token: str, cluster: int) -> Callable[[str], dict[str, Any]]:
    """One kept connection to our web server; the envelope is decoded, as every client does."""
    pool = urllib3.PoolManager(timeout=60)
    headers = {"Authorization": f"Bearer {token}"}
    pods = f"{address}/api/v1/kubernetes/pods?cluster_id={cluster}"

    def call(query: str) -> dict[str, Any]:
        response = pool.request("GET", f"{pods}&{query}", headers=headers)
        answer = orjson.loads(response.data)
        assert answer["code"] == 0, answer
        data: dict[str, Any] = answer["data"]
        return data

    return call


def _report(
    name: str,
    bound: float,
    ours: Callable[[], object],
    bare: Callable[[], object],
) -> None:
    mine, floor, ratio = _paired(ours, bare)
    print(
        f"{name}: {mine * 1000:.1f} ms against {floor * 1000:.1f} ms bare,"
        f" ratio {ratio:.2f} (bound: {bound})"
    )


def _measure(
    call: Callable[[str], dict[str, Any]],
    bare: Callable[[str], bytes],
    curl: Callable[[str], bytes],
) -> None:
    page = call("keyword=load&page=300&pageSize=20")
    assert page["total"] == PODS, page["total"]
    assert len(page["items"]) == 20, len(page["items"])
    whole = "/api/v1/pods"
    first = "/api/v1/pods?limit=20"
    _report(
        "page of 20 out of 10,000, keyword, exact total",
        3.0,
        lambda: call("keyword=load&page=3&pageSize=20"),
        lambda: bare(whole),
    )
    _report(
        "page 300 of 500, no keyword",
        3.0,
        lambda: call("page=300&pageSize=20"),
        lambda: bare(whole),
    )
    _report(
        "first page of 20, cut by the API server, bare call as curl",
        1.3,
        lambda: call("page=1&pageSize=20"),
        lambda: curl(first),
    )
    _report(
        "first page of 20, bare call on a kept connection",
        1.3,
        lambda: call("page=1&pageSize=20"),
        lambda: bare(first),
    )


def run() -> None:
    """10,000 pods of about 4 KB; prints ratios and the web process's peak memory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        migrated() as environ,
        simulated(environ, folder, PODS) as kubeconfig,
    ):
        bare = _bare(kubeconfig)
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
        with web(environ) as (address, master):
            _measure(
                _ours(address, token, cluster),
                bare,
                _bare(kubeconfig, keeps_connection=False),
            )
            print(f"web process peak: {peak_memory(master.pid):.0f} MB (bound: 250 MB)")
