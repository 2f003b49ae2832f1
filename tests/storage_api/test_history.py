"""What was: versions, differences, and reads of the past."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from access import grants
from access.tokens import create_api_token
from clusters.models import Cluster
from storage_api.collector import reports
from storage_api.services import bulk, events, retention
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill


def pod(name: str, phase: str, image: str = "a:1", namespace: str = "shop") -> dict[str, Any]:
    """A pod's document."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"u-{name}",
            "labels": {"app": name},
        },
        "spec": {"containers": [{"name": "c", "image": image}], "nodeName": "n1"},
        "status": {"phase": phase},
    }


def store(*documents: dict[str, Any], gone: str = "") -> str:
    """Write as the collector does; a moment after it, before anything that follows."""
    records = []
    for body in documents:
        key = Key("past", body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        records.append(WriteRecord(key, orjson.dumps(body)))
    if gone:
        records.append(WriteRecord(Key("past", "Pod", "shop", gone), None))
    bulk.write(records)
    time.sleep(0.005)
    now = datetime.now(UTC)
    time.sleep(0.005)
    return now.isoformat()


@pytest.fixture
def cluster(db: None) -> Cluster:
    """A cluster with nothing in it yet."""
    return fill("past", [])


def names(page: dict[str, Any]) -> list[str]:
    """The names of items."""
    return [item["metadata"]["name"] for item in page["items"]]


def test_a_cluster_is_read_as_it_was(admin: Caller, cluster: Cluster) -> None:
    first = store(pod("web", "Pending"), pod("db", "Running"))
    second = store(pod("web", "Running"), gone="db")
    third = store(pod("web", "Running", "a:2"), pod("late", "Pending", namespace="other"))
    at = {"cluster_id": cluster.pk, "namespace": "shop"}
    assert admin.data("GET", "pods/web", at=first, **at)["status"]["phase"] == "Pending"
    assert admin.data("GET", "pods/web", at=second, **at)["spec"]["containers"][0]["image"] == "a:1"
    assert admin.data("GET", "pods/db", at=first, **at)["metadata"]["uid"] == "u-db"
    assert admin.code("GET", "pods/db", at=second, **at) == 1004
    assert names(admin.data("GET", "pods", cluster_id=cluster.pk, at=first)) == ["db", "web"]
    assert names(admin.data("GET", "pods", cluster_id=cluster.pk, at=second)) == ["web"]
    whole = admin.data("GET", "pods", cluster_id=cluster.pk, at=third, pageSize=1)
    assert (names(whole), whole["total"]) == (["late"], 2)
    assert names(
        admin.data(
            "GET", "pods", cluster_id=cluster.pk, at=first, fieldSelector="status.phase=Pending"
        )
    ) == ["web"]
    assert names(
        admin.data("GET", "pods", cluster_id=cluster.pk, at=third, labelSelector="app=late")
    ) == ["late"]


def test_what_is_not_kept_is_not_made_up(admin: Caller, cluster: Cluster) -> None:
    store(pod("web", "Pending"))
    before = "2020-01-01T00:00:00Z"
    assert admin.code("GET", "pods", cluster_id=cluster.pk, at=before) == 1001
    assert admin.code("GET", "pods/web", cluster_id=cluster.pk, namespace="shop", at=before) != 0
    assert admin.code("GET", "pods", cluster_id=cluster.pk, at="yesterday") == 1001
    Cluster.objects.update(impersonate=True)
    assert admin.code("GET", "pods", cluster_id=cluster.pk, at=str(time.time())) == 1005


def test_the_history_of_an_object_says_what_changed(admin: Caller, cluster: Cluster) -> None:
    store(pod("web", "Pending"), pod("db", "Running"))
    store(pod("web", "Running"))
    store(gone="web")
    asked = {"cluster_id": cluster.pk, "kind": "pods", "namespace": "shop"}
    items = admin.data("GET", "history", name="web", **asked)["items"]
    assert [item["op"] for item in items] == ["delete", "change", "add"]
    assert items[1]["changes"] == [
        {"path": ["status", "phase"], "op": "replace", "from": "Pending", "to": "Running"}
    ]
    deleted = admin.data("GET", "history", op="delete", **asked)["items"]
    assert [item["name"] for item in deleted] == ["web"], "deleted objects can be found"
    page = admin.data("GET", "history", pageSize=3, **asked)
    rest = admin.data("GET", "history", pageSize=3, cursor=page["next_cursor"], **asked)
    assert (len(page["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 1, "")
    assert admin.code("GET", "history", op="x", **asked) == 1001
    refusal = admin("GET", "history", **asked, manager="a\0")
    assert (refusal["data"], refusal["msg"]) == (
        {"field": "manager"},
        "manager contains a NUL character",
    )
    assert admin.code("GET", "history", cluster_id=cluster.pk, kind="gadgets") == 1004


def test_two_moments_are_compared(admin: Caller, cluster: Cluster) -> None:
    first = store(pod("web", "Pending"))
    store(pod("web", "Running", "a:2"))
    asked = {
        "cluster_id": cluster.pk,
        "kind": "Pod",
        "namespace": "shop",
        "name": "web",
        "from": first,
    }
    changes = {
        ".".join(change["path"]): change["to"]
        for change in admin.data("GET", "history/diff", **asked)["changes"]
    }
    assert changes == {"spec.containers.0.image": "a:2", "status.phase": "Running"}
    assert admin.data("GET", "history/diff", **asked, to=first)["changes"] == []


def test_the_past_shows_no_more_than_the_present(admin: Caller, cluster: Cluster) -> None:
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "shop"},
        "data": {"k": "hmac-sha256:1"},
    }
    store(secret)
    now = store({**secret, "data": {"k": "hmac-sha256:2"}})
    answer = admin.raw(
        "GET", "history", cluster_id=cluster.pk, kind="secrets", namespace="shop", name="s"
    ).content.decode()
    assert '"path":["data","k"]' in answer
    assert "hmac" not in answer
    assert admin.data("GET", "secrets/s", cluster_id=cluster.pk, namespace="shop", at=now)[
        "data"
    ] == {"k": "***"}
    user = get_user_model().objects.create_user("viewer")
    grants.give(user=user, role=grants.Role.VIEWER)
    viewer = Caller(create_api_token(user, "t")[1])
    assert viewer.code("GET", "history", cluster_id=cluster.pk, kind="Pod") == 0
    stranger = Caller(create_api_token(get_user_model().objects.create_user("stranger"), "t")[1])
    for path in ("history", "history/diff", "pods"):
        assert (
            stranger.code(
                "GET", path, cluster_id=cluster.pk, kind="Pod", namespace="shop", name="web", at=now
            )
            == 1005
        )


def test_many_clusters_are_read_as_they_were(admin: Caller, cluster: Cluster) -> None:
    fill("young", [])
    first = store(pod("web", "Pending"), pod("db", "Running"))
    store(pod("web", "Running"), gone="db")
    there = {"at": first, "total": "true"}
    page = admin.data("GET", "multicluster/resources/pods", **there)
    assert ([item["metadata"]["name"] for item in page["items"]], page["total"]) == (
        ["db", "web"],
        2,
    )
    assert [problem["cluster_name"] for problem in page["partial_errors"]] == ["young"], (
        "whose log does not reach back is named"
    )
    assert page["items"][1]["status"] == {"phase": "Pending"}
    assert page["items"][1]["cluster_name"] == "past"
    assert names(
        admin.data(
            "GET", "multicluster/resources/pods", at=first, fieldSelector="status.phase=Running"
        )
    ) == ["db"]
    assert names(
        admin.data("GET", "multicluster/resources/pods", at=first, labelSelector="app=web")
    ) == ["web"]
    seen, cursor = [], ""
    while True:
        part = admin.data(
            "GET",
            "multicluster/resources/pods",
            at=first,
            pageSize=1,
            orderby="-created",
            cursor=cursor,
        )
        seen += names(part)
        if not (cursor := part["next_cursor"]):
            break
    assert sorted(seen) == ["db", "web"]
    assert admin.code("GET", "multicluster/resources/pods", at="2020-01-01T00:00:00Z") == 1001
    assert admin.code("GET", "multicluster/resources/pods", at=first, owner="u") == 1001


def test_what_is_answered_as_of_now_only_says_so(admin: Caller, cluster: Cluster) -> None:
    now = store(pod("web", "Running"))
    where = {"cluster_id": cluster.pk, "namespace": "shop"}
    for path in (
        "deployments/web/pods",
        "deployments/web/revisions",
        "metrics/pods",
        "multicluster/overview",
    ):
        assert admin.code("GET", path, **where, at=now) == 1001, path
    assert admin.code("GET", "multicluster/search", q="web", at=now) == 1001
    for path in ("pods", "pods/web", "events", "multicluster/resources/pods"):
        answer = admin("GET", path, **where, at=str(time.time() + 3600))
        assert (answer["code"], "future" in answer["msg"]) == (1001, True), path


def test_a_kind_that_has_not_changed_since_the_log_began_is_known_all_the_time(
    admin: Caller, cluster: Cluster
) -> None:
    store(pod("web", "Running"))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE storage_resource SET change_time = now() - interval '90 days' WHERE cluster_id = 'past'"
        )
        cursor.execute("DELETE FROM storage_change WHERE cluster_id = 'past'")
    retention.create_partitions(datetime.now(UTC).date() - timedelta(days=3), days=0)
    two_days_ago = str(time.time() - 2 * 86400)
    assert names(admin.data("GET", "pods", cluster_id=cluster.pk, at=two_days_ago)) == ["web"]
    assert admin.code("GET", "pods", cluster_id=cluster.pk, at=str(time.time() - 5 * 86400)) == 1001


def report(
    name: str,
    version: int,
    *,
    count: int = 1,
    minutes: float = 0,
    kind: str = "Pod",
    namespace: str = "shop",
) -> None:
    """What the collector keeps of an Event that came so many minutes ago."""
    moment = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"e-{name}",
        "resourceVersion": str(version),
    }
    involved = {"kind": kind, "name": "web", "namespace": namespace, "uid": f"u-{name}"}
    event = {
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": involved,
        "count": count,
        "lastTimestamp": moment,
        "reason": "Made",
    }
    events.add_event(reports.event_report(orjson.dumps(event), "past"))
    time.sleep(0.005)


def test_a_series_is_ordered_and_counted_in_the_store_too(admin: Caller, cluster: Cluster) -> None:
    report("plain", 1, minutes=2)
    last = datetime.now(UTC) - timedelta(minutes=1)
    event = {
        "metadata": {"name": "series", "namespace": "shop", "uid": "e-s", "resourceVersion": "2"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop", "uid": "u-s"},
        "eventTime": (last - timedelta(hours=3)).isoformat(),
        "series": {"count": 42, "lastObservedTime": last.isoformat()},
    }
    events.add_event(reports.event_report(orjson.dumps(event), "past"))
    items = admin.data("GET", "events", cluster_id=cluster.pk, at=datetime.now(UTC).isoformat())
    assert names(items) == ["series", "plain"]
    assert items["items"][0]["count"] == 42


def test_events_are_read_as_they_were(admin: Caller, cluster: Cluster) -> None:
    report("old", 1, minutes=90)
    report("web", 2, minutes=2)
    report("node", 3, kind="Node", namespace="default", minutes=1)
    before = datetime.now(UTC).isoformat()
    time.sleep(0.005)
    report("web", 4, count=7)
    now = datetime.now(UTC).isoformat()
    at = {"cluster_id": cluster.pk, "at": before}
    assert names(admin.data("GET", "events", **at)) == ["node", "web"], (
        "newest first, and an hour of them"
    )
    assert [
        item["count"]
        for item in admin.data("GET", "events", **at, resource_type="pods", resource_name="web")[
            "items"
        ]
    ] == [1]
    assert [
        item["count"]
        for item in admin.data("GET", "events", cluster_id=cluster.pk, at=now, namespace="shop")[
            "items"
        ]
    ] == [7]
    assert names(
        admin.data("GET", "events", **at, fieldSelector="involvedObject.kind!=Node,reason=Made")
    ) == ["web"]
    assert admin.data("GET", "events/web", **at, namespace="shop")["kind"] == "Event"
    assert admin.code("GET", "events/old", **at, namespace="shop") == 1004
    assert admin.code("GET", "events", **at, fieldSelector="count=1") == 1001
    assert admin.code("GET", "events", cluster_id=cluster.pk, at="2020-01-01T00:00:00Z") == 1001
    store(pod("web", "Running"))
    later = datetime.now(UTC).isoformat()
    assert names(
        admin.data("GET", "pods/web/events", cluster_id=cluster.pk, namespace="shop", at=later)
    ) == ["web"]


def backdate(days: int) -> None:
    """Make everything stored so far that many days older, as if it had come then."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE storage_change SET at = at - %s * interval '1 day'", [days])
        cursor.execute(
            "UPDATE storage_resource SET change_time = change_time - %s * interval '1 day'", [days]
        )


def test_the_past_of_what_never_changes_outlives_the_log(admin: Caller, cluster: Cluster) -> None:
    today = datetime.now(UTC)
    retention.create_partitions(today.date() - timedelta(days=7), days=8)
    store(pod("web", "Pending"), pod("db", "Running"), pod("gone", "Running"))
    store(pod("web", "Running"), gone="gone")
    backdate(10)
    retention.drop_partitions(today.date(), keep_days=7)
    assert admin.data("GET", "history", cluster_id=cluster.pk, kind="Pod")["items"] == []
    store(pod("web", "Failed"), pod("db", "Failed"))
    store(gone="db")
    yesterday = {"cluster_id": cluster.pk, "at": (today - timedelta(days=1)).isoformat()}
    assert names(admin.data("GET", "pods", **yesterday)) == ["db", "web"]
    assert (
        admin.data("GET", "pods/web", namespace="shop", **yesterday)["status"]["phase"] == "Running"
    )
    (change, _) = admin.data(
        "GET", "history", cluster_id=cluster.pk, kind="Pod", namespace="shop", name="db"
    )["items"][::-1]
    assert [each["to"] for each in change["changes"]] == ["Failed"]
    backdate(9)
    retention.drop_partitions(today.date(), keep_days=7)
    assert names(admin.data("GET", "pods", **yesterday)) == ["web"], (
        "what was deleted before the log begins is no more"
    )
