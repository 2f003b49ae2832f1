"""The streaming watch over HTTP."""

import http.client
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from tests.storeserver import Store, running_store


@contextmanager
def following(store: Store, path: str, **options: Any) -> Iterator[http.client.HTTPResponse]:
    """The stream of a watch."""
    session = http.client.HTTPConnection(store.host, store.port, timeout=30)
    try:
        session.request("POST", store.prefix + path, json.dumps(options))
        yield session.getresponse()
    finally:
        session.close()


def entries(response: http.client.HTTPResponse) -> list[dict[str, Any]]:
    """All objects of a stream, to its end."""
    return [json.loads(line) for line in response.read().split(b"\n") if line]


def summary(found: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    """(type, name) of each."""
    return [(entry["type"], entry["value"] and entry["value"]["resourceName"]) for entry in found]


def test_changes_arrive_as_they_happen(store: Store, cid: str, pods: str) -> None:
    store.data("PUT", f"{pods}/before", {"data": {}})
    with following(store, f"/dynamic/watch/{cid}/Pod", maxEvents=3, timeout=20 * 10**9) as stream:
        assert stream.headers["Transfer-Encoding"] == "chunked"
        assert stream.readline() == b"\n"
        store.data("PUT", f"{pods}/a", {"data": {"v": 1}})
        assert json.loads(stream.readline())["value"]["data"] == {"v": 1}
        store.data("PUT", f"{pods}/a", {"data": {"v": 1}})
        store.data("PUT", f"{pods}/a", {"data": {"v": 2}})
        store.data("DELETE", f"{pods}/a")
        rest = entries(stream)
    assert summary(rest) == [(3, "a"), (2, "a"), (-1, None)]
    assert rest[1]["value"]["data"] == {"v": 2}
    assert rest[2] == {"type": -1, "value": None}


def test_a_watch_goes_on_where_it_was_left(store: Store, cid: str, pods: str) -> None:
    for version in range(5):
        store.data("PUT", f"{pods}/web", {"data": {"v": version}})
    with following(
        store, f"/dynamic/watch/{cid}/Pod", maxEvents=2, timeout=10**10, since=0
    ) as stream:
        first = entries(stream)
    assert [entry["value"]["data"]["v"] for entry in first[:-1]] == [0, 1]
    with following(
        store, f"/dynamic/watch/{cid}/Pod?since={first[1]['seq']}", timeout=10**9
    ) as stream:
        rest = entries(stream)
    assert [entry["value"]["data"]["v"] for entry in rest[:-1]] == [2, 3, 4]
    with following(
        store, f"/dynamic/watch/{cid}/Pod", since=0, timeout=10**9, mustDiff="data.other"
    ) as stream:
        assert summary(entries(stream)) == [(1, "web"), (-1, None)]


def test_big_documents_come_one_after_the_other(store: Store, cid: str, pods: str) -> None:
    for number in range(4):
        store.data(
            "PUT", f"{pods}/big-{number}", {"data": random.Random(number).randbytes(400_000).hex()}
        )
    with following(
        store, f"/dynamic/watch/{cid}/Pod", since=0, maxEvents=4, timeout=10**10
    ) as stream:
        found = entries(stream)
    assert summary(found) == [*((1, f"big-{number}") for number in range(4)), (-1, None)]
    assert {len(entry["value"]["data"]) for entry in found[:-1]} == {800_000}


def test_containers_are_taskgroups_where_there_are_any(store: Store, cid: str, pods: str) -> None:
    started = time.monotonic()
    with following(store, f"/dynamic/watch/containers/{cid}") as stream:
        assert entries(stream) == [{"type": -1, "value": None}], "neither of them: it ends at once"
    assert time.monotonic() - started < 20
    store.data("PUT", f"{pods}/web", {"data": {}})
    with following(store, f"/dynamic/watch/containers/{cid}", since=0, timeout=10**9) as stream:
        assert summary(entries(stream)) == [(1, "web"), (-1, None)]
    store.data("PUT", pods.replace("Pod", "taskgroup") + "/group", {"data": {}})
    with following(store, f"/dynamic/watch/containers/{cid}", since=0, timeout=10**9) as stream:
        assert summary(entries(stream)) == [(1, "group"), (-1, None)]


@pytest.mark.parametrize("options", [{"maxEvents": "x"}, {"timeout": []}, {"mustDiff": {}}])
def test_a_watch_that_is_not_understood_is_refused(
    store: Store, cid: str, options: dict[str, Any]
) -> None:
    assert store("POST", f"/dynamic/watch/{cid}/Pod", options)["code"] == 10006


def test_streams_are_bounded_and_kept_alive(django_db_setup: None, cid: str) -> None:
    limits = {
        "STORAGE_WATCH_STREAMS_PER_CLIENT": "2",
        "STORAGE_WATCH_HEARTBEAT": "0.2",
        "STORAGE_WATCH_POLL": "0.05",
        "WEB_THREADS": "8",
    }
    with running_store(str(connection.settings_dict["NAME"]), **limits) as store:
        path = f"/dynamic/watch/{cid}/Pod"
        with following(store, path) as first, following(store, path) as second:
            assert first.readline() == second.readline() == b"\n"
            refused = store.raw("POST", path)
            assert (refused.status, refused.json["result"], refused.headers["Retry-After"]) == (
                429,
                False,
                "6",
            )
            started = time.monotonic()
            # Some may have come already.
            assert [first.readline() for _ in range(8)] == [b"\n"] * 8
            assert 0.3 < time.monotonic() - started < 15
        deadline = time.monotonic() + 10
        while (
            answer := store.raw("POST", path, {"timeout": 10**8})
        ).status == 429 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert answer.status == 200


def named(found: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    """(type, name) of each entry of a feed of metrics."""
    return [(entry["type"], entry["value"] and entry["value"]["name"]) for entry in found]


def test_metrics_are_watched_by_type(store: Store, cid: str) -> None:
    """As metricservice watches them: `mustDiff` data.version, deletions of its own type alone, no end while nothing happens."""
    path = f"/metric/clusters/{cid}/namespaces/test"
    store.data("PUT", f"{path}/metric/before", {"data": {"version": "v0"}})
    options = {"selfOnly": False, "maxEvents": 4, "timeout": 0, "mustDiff": "data.version"}
    with following(store, f"/metric/watch/{cid}/metric", **options) as stream:
        assert stream.readline() == b"\n"
        for call, name, body in (
            ("PUT", "collector/other", {"data": {"version": "v1"}}),
            ("PUT", "metric/web", {"data": {"version": "v1", "port": 80}}),
            ("PUT", "metric/web", {"data": {"version": "v1", "port": 81}}),
            ("DELETE", "collector/other", None),
            ("PUT", "metric/web", {"data": {"version": "v2", "port": 81}}),
            ("DELETE", "metric/web", None),
            ("DELETE", "metric/web", None),
            ("DELETE", "metric/before", None),
        ):
            store.data(call, f"{path}/{name}", body)
        found = entries(stream)
    assert named(found) == [(1, "web"), (3, "web"), (2, "web"), (2, "before"), (-1, None)]
    assert [entry["value"]["data"]["version"] for entry in found[:3]] == ["v1", "v2", "v2"]
    assert (found[0]["value"]["clusterId"], found[0]["value"]["type"]) == (cid, "metric")
    last = {"since": found[1]["seq"], "timeout": 10**8}
    with following(store, f"/metric/watch/{cid}/metric", **last) as stream:
        assert named(entries(stream)) == [(2, "web"), (2, "before"), (-1, None)]


def test_a_report_that_says_the_same_again_is_no_change(store: Store, cid: str) -> None:
    path = f"/metric/clusters/{cid}/namespaces/test/app/web"
    for version in ("v1", "v1", "v2"):
        store.data("PUT", path, {"data": {"version": version}})
    with following(store, f"/metric/watch/{cid}/app", since=0, timeout=10**8) as stream:
        assert named(entries(stream)) == [(1, "web"), (3, "web"), (-1, None)]
    with following(store, f"/metric/watch/{cid}/none", timeout=10**8) as stream:
        assert entries(stream) == [{"type": -1, "value": None}]
    go = replace(store, prefix="/bcsstorage/v1")
    with following(go, f"/metric/watch/{cid}/app", since=0, timeout=10**8) as stream:
        assert "T" in entries(stream)[0]["value"]["updateTime"]
