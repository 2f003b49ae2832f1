"""Many watchers, old versions, bookmarks, and what a bad day brings."""

import asyncio
import json
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
import urllib3

from simcluster import faults
from simcluster.testing import RunningCluster, running_cluster
from simcluster.tests.conftest import api_of, run_in_thread

WATCHERS, CHANGES = 500, 25


async def watch_until_done(session: aiohttp.ClientSession, url: str) -> list[str]:
    seen = []
    async with session.get(url) as response:
        async for line in response.content:
            meta = json.loads(line)["object"]["metadata"]
            seen.append(f"{meta['name']}@{meta['resourceVersion']}")
            if meta["name"] == "last":
                break
    return seen


async def watch_all(cluster: RunningCluster) -> list[list[str]]:
    context = ssl.create_default_context(cadata=cluster.authority)
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    headers = {"Authorization": f"Bearer {cluster.token}"}
    base = f"{cluster.url}/api/v1/namespaces/crowd/configmaps"
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await session.post(
            f"{cluster.url}/api/v1/namespaces",
            json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "crowd"}},
        )
        async with session.get(base) as response:
            version = (await response.json())["metadata"]["resourceVersion"]
        watches = [
            asyncio.create_task(
                watch_until_done(session, f"{base}?watch=1&resourceVersion={version}")
            )
            for _ in range(WATCHERS)
        ]
        while cluster.watches < WATCHERS // 2:
            await asyncio.sleep(0.05)
        for name in [*(f"c{number}" for number in range(CHANGES)), "last"]:
            async with session.post(
                base, json={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
            ) as response:
                assert response.status == 201
        return await asyncio.gather(*watches)


def test_five_hundred_watchers_lose_nothing() -> None:
    with running_cluster(controllers=False, kubelet=False) as cluster:
        seen = run_in_thread(watch_all(cluster))
        assert len(seen) == WATCHERS
        assert all(one == seen[0] for one in seen)
        assert [name.partition("@")[0] for name in seen[0]] == [
            *(f"c{number}" for number in range(CHANGES)),
            "last",
        ]
        cluster.wait(lambda: cluster.watches == 0)


def test_bookmarks_never_overtake_and_history_expires(sim: RunningCluster) -> None:
    api = api_of(sim)
    version = api.get("/api/v1/configmaps").body["metadata"]["resourceVersion"]
    events = api.watch(
        f"/apis/coordination.k8s.io/v1/leases?resourceVersion={version}&allowWatchBookmarks=true",
        seconds=3,
    )
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) >= int(version)
    sim.compact()
    gone = api.watch(f"/api/v1/configmaps?resourceVersion={int(version) - 1}", seconds=1)
    assert (gone[0]["type"], gone[0]["object"]["code"], gone[0]["object"]["reason"]) == (
        "ERROR",
        410,
        "Expired",
    )


def test_a_bounded_history_expires_the_oldest_version() -> None:
    with running_cluster(history=10, controllers=False, kubelet=False) as cluster:
        api = api_of(cluster)
        version = api.get("/api/v1/configmaps").body["metadata"]["resourceVersion"]
        for number in range(20):
            api.post(
                "/api/v1/namespaces/default/configmaps",
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}},
            )
        assert (
            api.watch(f"/api/v1/configmaps?resourceVersion={version}", seconds=1)[0]["object"][
                "code"
            ]
            == 410
        )
        assert (
            api.get(
                f"/api/v1/configmaps?resourceVersion={version}&resourceVersionMatch=Exact"
            ).status
            == 410
        )


@pytest.fixture
def troubled() -> RunningCluster:
    with running_cluster(controllers=False, kubelet=False) as cluster:
        yield cluster  # type: ignore[misc]


def test_faults_refuse_delay_cut_and_garble(troubled: RunningCluster) -> None:
    api = api_of(troubled)
    troubled.faults.add(path="/api/v1/nodes", action="status", code=429, times=1)
    busy = api.get("/api/v1/nodes")
    assert (busy.status, busy.body["reason"], busy.headers["Retry-After"]) == (
        429,
        "TooManyRequests",
        "1",
    )
    assert api.get("/api/v1/nodes").status == 200
    troubled.faults.add(path="/api/v1/pods", action="garbage", times=1)
    assert api.get("/api/v1/pods").raw.startswith(b"<html>")
    troubled.faults.add(path="/api/v1/pods", action="delay", seconds=0.3, times=1)
    began = time.monotonic()
    api.get("/api/v1/pods")
    assert time.monotonic() - began >= 0.3
    troubled.faults.add(path="/api/v1/pods", action="cut", times=1)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        api.get("/api/v1/pods")
    troubled.faults.add(path="/api/v1/nodes", action="cut-stream", bytes=50, times=1)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        api.get("/api/v1/nodes")
    assert api.get("/api/v1/nodes").status == 200


def test_an_open_watch_is_cut_in_the_middle(troubled: RunningCluster) -> None:
    troubled.faults.add(path="watch=1", action="cut-stream", seconds=0.3, times=1)
    api = api_of(troubled)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        api.watch("/api/v1/namespaces", seconds=5)
    assert len(api.watch("/api/v1/namespaces", seconds=1)) == 4


def test_the_same_seed_brings_the_same_faults(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(
        "seed: 7\nrules:\n- {path: /version, action: status, code: 500, probability: 0.5}\n"
    )

    def run() -> list[int]:
        with running_cluster(controllers=False, kubelet=False, faults=faults.load(path)) as cluster:
            api = api_of(cluster)
            return [api.get("/version").status for _ in range(12)]

    first = run()
    assert set(first) == {200, 500}
    assert run() == first


def test_a_faults_file_with_an_unknown_action_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("rules:\n- {path: /, action: explode}\n")
    with pytest.raises(ValueError, match="unknown fault action 'explode'"):
        faults.load(path)
