"""The console's table pages against the API calls behind them, over 10,000 pods.

And what pages weigh.
"""

import gzip
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import orjson
import urllib3

from bench.objects import PODS, _report
from bench.processes import (
    administrator,
    manage,
    migrated,
    running,
    simulated,
    web,
)

PASSWORD = "bench-only-1"  # noqa: S105  # of a server that lives for seconds
BOUND = 2.0
WEIGHT = 300_000
TABLE = {"HX-Request": "true", "HX-Target": "table"}
PAGES = (
    "/",
    "/clusters/{cluster}",
    "/clusters/{cluster}/pods",
    "/clusters/register",
    "/search?q=load",
)


class Person:
    """A session of the console on a kept connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pool = urllib3.PoolManager(timeout=60)
        form = self.get("/signin").decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert token
        answer = self.pool.request(
            "POST",
            f"{address}/signin",
            fields={
                "csrfmiddlewaretoken": token[1],
                "username": "bench",
                "password": PASSWORD,
            },
            headers={"Cookie": self.cookie},
            encode_multipart=False,
            redirect=False,
        )
        assert answer.status == 302, answer.status
        self.cookie = "; ".join(
            line.partition(";")[0] for line in answer.headers.getlist("Set-Cookie")
        )

    cookie = ""

    def get(self, path: str, **headers: str) -> bytes:
        """A page."""
        answer = self.pool.request(
            "GET",
            self.address + path,
            headers={"Cookie": self.cookie, **headers},
        )
        assert answer.status in (200, 304), (path, answer.status)
        if not self.cookie:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return bytes(answer.data)


def _api(address: str, token: str, cluster: int) -> Callable[[str], dict[str, Any]]:
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


def _tables(
    person: Person,
    call: Callable[[str], dict[str, Any]],
    table: str,
    where: str,
) -> None:
    def compare(name: str, query: str, api: str, **headers: str) -> None:
        _report(
            f"{name}, {where}",
            BOUND,
            lambda: person.get(f"{table}?{query}", **headers),
            lambda: call(api),
        )

    compare("whole page of 50 rows", "", "page=1&pageSize=50")
    compare("its rows alone", "", "page=1&pageSize=50", **TABLE)
    compare("page of 1,000 rows", "size=1000", "page=1&pageSize=1000")
    compare(
        "filter as typed",
        "q=load-99",
        "keyword=load-99&pageSize=50",
        **TABLE,
    )
    compare(
        "sorted by age, page 100",
        "sort=-created&page=100",
        "orderby=-created&page=100&pageSize=50",
        **TABLE,
    )
    compare(
        "sorted by restarts",
        "sort=-restarts",
        "orderby=-restarts&pageSize=50",
        **TABLE,
    )
    compare(
        "what is in trouble",
        "troubled=1",
        "troubled=true&pageSize=50",
        **TABLE,
    )


def _weights(person: Person, cluster: int) -> None:
    """Every page with all that it loads, as a browser gets it from a compressing server."""
    for path in PAGES:
        page = person.get(path.format(cluster=cluster))
        loaded = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.decode())) | {
            "/static/console/js/times.js"
        }
        total = sum(
            len(gzip.compress(body))
            for body in [
                page,
                *(person.get(address) for address in loaded),
            ]
        )
        print(
            f"{path.format(cluster=1)} weighs {total / 1000:.0f} kB compressed"
            f" in {len(loaded) + 1} files (bound: {WEIGHT / 1000:.0f} kB)"
        )


def _until_fresh(address: str, token: str, cluster: int) -> None:
    """Wait until lists of pods come from the store."""
    headers = {"Authorization": f"Bearer {token}"}
    while True:
        answer = urllib3.request(
            "GET",
            f"{address}/api/v1/kubernetes/pods?cluster_id={cluster}&pageSize=1",
            headers=headers,
        )
        if "X-Data-Age" in answer.headers and answer.json()["data"]["total"] == PODS:
            return
        time.sleep(0.2)


def run() -> None:
    """10,000 pods of about 4 KB, first without and then with the collector."""
    with (
        tempfile.TemporaryDirectory() as folder,
        migrated() as environ,
        simulated(environ, folder, PODS) as kubeconfig,
    ):
        cluster = json.loads(
            manage(
                environ,
                "register_cluster",
                "bench",
                "--kubeconfig",
                str(kubeconfig),
            )
        )["id"]
        token = administrator(environ, PASSWORD)
        with web(environ) as (address, _):
            _measure(environ, address, token, cluster)


def _measure(environ: dict[str, str], address: str, token: str, cluster: int) -> None:
    person = Person(address)
    call = _api(address, token, cluster)
    table = f"/clusters/{cluster}/pods"
    _report(
        "whole page of 50 rows, live",
        BOUND,
        lambda: person.get(table),
        lambda: call("page=1&pageSize=50"),
    )
    with running([sys.executable, "manage.py", "collect"], environ):
        _until_fresh(address, token, cluster)
        _tables(person, call, table, "from the store")
        _weights(person, cluster)
