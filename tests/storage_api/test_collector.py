"""The collector keeps the store true to the clusters."""

import asyncio
import logging
from functools import partial
from typing import Any

import orjson
import pytest
import yaml

from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.collector.cluster_collector import COMMITS_AT_ONCE, CommitPace
from storage_api.collector.queue import Position, QueueItem, WriteQueue, is_news
from storage_api.models import Change, Event, KindSync, Resource
from storage_api.protection import unseal_all
from storage_api.services import multicluster
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope
from tests.storage_api.collecting import (
    collecting,
    eventually,
    in_store,
    is_true,
    quick,
    replayed,
    wait_true,
)


def config_map(name: str, value: str = "1", namespace: str = "default") -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"value": value},
    }


def test_every_object_of_a_cluster_comes_into_the_store_and_stays_true(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load_pods(120)
    with collecting():
        wait_true(server, "watched")
        server.load("configmaps", [config_map("later")])
        wait_true(server, "watched")
        server.call(
            server.store.remove, "pods", "default", server.list("pods")[0]["metadata"]["name"]
        )
        wait_true(server, "watched")
    assert replayed("watched") == in_store("watched")
    assert "managedFields" not in Resource.objects.filter(resource_type="Pod")[0].data["metadata"]


def requests(server: RunningCluster, text: str) -> list[dict[str, str]]:
    """The queries of list and watch requests for a collection."""
    return [
        dict(request.query)
        for request in server.requests
        if request.path.endswith(f"/{text}") and request.method == "GET"
    ]


def watching(name: str) -> bool:
    """Whether every kind of a cluster is watched."""
    phases = set(KindSync.objects.filter(cluster__name=name).values_list("phase", flat=True))
    return phases == {KindSync.Phase.WATCHING}


def test_a_restart_resumes_the_watches_and_lists_nothing_again(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load_pods(60)
    with collecting():
        eventually(lambda: is_true(server, "watched") and watching("watched"))
    places = Change.objects.count()
    server.load("configmaps", [config_map("while-away")])
    server.call(server.store.remove, "pods", "default", server.list("pods")[0]["metadata"]["name"])
    server.requests.clear()
    with collecting():
        wait_true(server, "watched")
    assert Change.objects.count() == places + 2
    assert all(
        "watch" in query for query in [*requests(server, "pods"), *requests(server, "configmaps")]
    )
    assert replayed("watched") == in_store("watched")


def test_history_lost_by_the_cluster_is_listed_again_and_deletions_found(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load_pods(60)
    with collecting():
        eventually(lambda: is_true(server, "watched") and watching("watched"))
    server.call(server.store.remove, "pods", "default", server.list("pods")[0]["metadata"]["name"])
    server.load("configmaps", [config_map("while-away")])
    server.compact()
    with collecting():
        wait_true(server, "watched")
        assert any("watch" not in query for query in requests(server, "pods"))
    assert replayed("watched") == in_store("watched")


def test_secrets_are_stored_as_sealed_hashes_of_their_place(
    server: RunningCluster, watched: Cluster
) -> None:
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"password": "aHVudGVyMg==", "again": "aHVudGVyMg=="},
        }
        for name in ("s", "t")
    ]
    server.load("secrets", secrets)
    with collecting():
        wait_true(server, "watched")
    rows = Resource.objects.filter(resource_type="Secret")
    sealed = [value for row in rows for value in row.data["data"].values()]
    assert len(set(sealed)) == 4
    assert not any("aHVudGVyMg" in str(row.data) or "hmac" in str(row.data) for row in rows)
    hashes = [
        value
        for row in rows
        for value in orjson.loads(unseal_all(orjson.dumps(row.data)))["data"].values()
    ]
    assert len(set(hashes)) == 4
    assert all(value.startswith("hmac-sha256:") for value in hashes)


def test_events_go_to_the_event_store_once(server: RunningCluster, watched: Cluster) -> None:
    event = {
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting",
        "source": {"component": "kubelet"},
        "lastTimestamp": "2026-01-02T03:04:05Z",
    }
    server.load("events", [event])
    with collecting():
        eventually(lambda: watching("watched") and Event.objects.exists())
    server.compact()
    server.load("events", [{**event, "metadata": {"name": "web.2", "namespace": "default"}}])
    server.compact()
    with collecting():
        eventually(lambda: Event.objects.count() == 2)
    kept = Event.objects.order_by("id")[0]
    assert (kept.cluster_id, kept.kind, kept.level, kept.component, kept.type) == (
        "watched",
        "Pod",
        "Warning",
        "kubelet",
        "BackOff",
    )
    assert kept.extra_info == {"namespace": "default", "name": "web", "kind": "Pod"}
    assert f"{kept.event_time:%Y-%m-%dT%H:%M:%SZ}" == "2026-01-02T03:04:05Z"
    assert not Resource.objects.filter(resource_type="Event").exists()


def definition(group: str, *short: str) -> dict[str, Any]:
    """A definition of Services in a group, with short names."""
    names = {
        "shortNames": list(short),
        "kind": "Service",
        "plural": "services",
        "singular": "service",
        "listKind": "ServiceList",
    }
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"services.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def create(watched: Cluster, path: str, body: dict[str, Any]) -> None:
    """An object, created over the API."""
    registry.client(watched).request("POST", path, body=body)


def test_kinds_of_equal_names_are_kept_apart_and_go_with_their_definition(
    server: RunningCluster, watched: Cluster
) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    with collecting():
        eventually(lambda: watching("watched"))
        for group in ("a.example.com", "b.example.com"):
            create(watched, definitions, definition(group, f"w{group[0]}"))
            body = {
                "apiVersion": f"{group}/v1",
                "kind": "Service",
                "metadata": {"name": "same"},
                "spec": {"group": group},
            }
            eventually(partial(server.cluster.table.find, group, "v1", "services"))
            create(watched, f"/apis/{group}/v1/namespaces/default/services", body)
        types = ("Service.a.example.com", "Service.b.example.com")
        eventually(
            lambda: (
                Resource.objects.filter(resource_type__in=types, resource_name="same").count() == 2
            )
        )
        assert multicluster.find_kind("WA").group == "a.example.com"
        definition_b = f"{definitions}/services.b.example.com"
        patch = [{"op": "replace", "path": "/spec/names/shortNames", "value": ["other"]}]
        registry.client(watched).request(
            "PATCH", definition_b, body=patch, content_type="application/json-patch+json"
        )
        eventually(lambda: KindSync.objects.filter(aliases__contains=["other"]).exists())
        registry.client(watched).request("DELETE", f"{definitions}/services.a.example.com")
        eventually(lambda: not Resource.objects.filter(resource_type=types[0]).exists())
        eventually(lambda: not KindSync.objects.filter(resource_type=types[0]).exists())
    assert Resource.objects.filter(resource_type=types[1]).count() == 1


def test_a_cluster_restored_from_an_old_copy_is_listed_again(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load_pods(30)
    with collecting():
        eventually(lambda: is_true(server, "watched") and watching("watched"))

    def restore() -> None:
        server.store.revision -= 20
        server.store.remove(
            "pods", "default", server.store.collection("pods").keys[0].partition("/")[2]
        )
        server.store.compact()

    server.call(restore)
    with collecting():
        wait_true(server, "watched")
    assert replayed("watched") == in_store("watched")


def test_an_overloaded_cluster_is_asked_again_when_it_said(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load_pods(10)
    server.faults.add(path="^/api/v1/pods", action="status", code=429, retry_after=1, times=2)
    with collecting():
        wait_true(server, "watched")
    asked = [request.at for request in server.requests if request.path == "/api/v1/pods"]
    assert asked[1] - asked[0] >= 0.8


def test_a_document_that_the_database_cannot_hold_is_kept_as_near_as_possible(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load("configmaps", [config_map("odd", "a\0b")])
    with collecting():
        wait_true(server, "watched")
        eventually(lambda: not KindSync.objects.get(resource_type="ConfigMap").exact)
    assert (
        Resource.objects.get(resource_type="ConfigMap", resource_name="odd").data["data"]["value"]
        == "a\ufffdb"
    )


def test_a_slow_database_stops_the_reading(server: RunningCluster, watched: Cluster) -> None:
    """With a queue of a few kilobytes the reflectors wait for the writer, and nothing is lost."""
    server.load_pods(200)
    with collecting(quick(intervals={"batch": 7}, queue_bytes=160_000)):
        wait_true(server, "watched", seconds=60)
    assert replayed("watched") == in_store("watched")


def test_credentials_that_may_not_list_everything_are_followed_where_they_may(
    emptied: None, server: RunningCluster, caplog: pytest.LogCaptureFixture
) -> None:
    client = registry.connect(server.kubeconfig_yaml)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]
    client.request("POST", f"{rbac}/clusterroles", body={"metadata": {"name": "r"}, "rules": rules})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "some", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    client.request("POST", f"{rbac}/clusterrolebindings", body=binding)
    server.load("configmaps", [config_map("seen")])
    text = yaml.safe_dump(server.add_user("some"))
    registry.register(name="partly", kubeconfig_text=text)
    with collecting(), caplog.at_level(logging.INFO):
        eventually(lambda: Resource.objects.filter(resource_name="seen").exists())
        eventually(lambda: KindSync.objects.filter(plural="pods", phase="refused").exists())
    assert not [record for record in caplog.records if record.exc_info]


def test_single_changes_do_not_wait_for_company_and_floods_do() -> None:
    pace = CommitPace(gather=0.05, now=0.0)
    burst = [pace.wait_seconds(now=0.0) for _ in range(COMMITS_AT_ONCE)]
    assert burst == [0.0] * COMMITS_AT_ONCE
    # Batches that follow each other wait, as long as they go on coming.
    moment = 0.0
    for _ in range(100):
        assert pace.wait_seconds(moment) == 0.05
        moment += 0.05
    # A quiet second later the next change is committed at once again.
    assert pace.wait_seconds(moment + 1.0) == 0.0


def test_bookmarks_wait_for_something_that_somebody_waits_for() -> None:
    scope = WatchScope(KINDS["configmaps"])
    key = Key("c-1", "ConfigMap", "default", "web")

    async def follow() -> list[QueueItem]:
        queue = WriteQueue(lambda: 1_000_000)
        bookmarks = [Position(scope, str(version)) for version in range(60)]
        for bookmark in bookmarks:
            await queue.put(bookmark)
        waiting = asyncio.create_task(queue.wait_for_news(60))
        while not waiting.done():
            # Whoever waits sees each of these, and goes on waiting, until the record comes.
            await queue.put(Position(scope, "60"))
            await asyncio.sleep(0)
            if len(queue) == 100:
                assert not waiting.done()
                await queue.put(WriteRecord(key, b"{}"), Position(scope, "61"))
        await waiting
        # Without news it ends, too.
        await WriteQueue(lambda: 1_000_000).wait_for_news(0)
        return await queue.take_waiting(1000)

    items = asyncio.run(asyncio.wait_for(follow(), 30))
    assert sum(map(is_news, items)) == 1
