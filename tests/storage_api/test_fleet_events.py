"""The Events of many clusters: filters, the last report of each, and what a caller may see."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from access import grants
from access.tokens import create_api_token
from clusters.models import Cluster
from core.times import rfc3339
from storage_api.collector.reports import event_report
from storage_api.history import fleet_events
from storage_api.services import events
from storage_api.services.multicluster import ClusterScope
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill


def report(
    cluster: Cluster,
    name: str,
    message: str,
    *,
    minutes: int = 1,
    version: int = 1,
    **members: Any,
) -> None:
    """Store an Event about the pod of that name, as the collector does."""
    moment = timezone.now() - timedelta(minutes=minutes)
    event = {
        "metadata": {
            "name": f"{name}.18ec52",
            "namespace": "shop",
            "uid": f"{cluster.name}-{name}",
            "resourceVersion": str(version),
            **members.pop("metadata", {}),
        },
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": name},
        "type": "Normal",
        "reason": "Started",
        "message": message,
        "source": {"component": "kubelet"},
        "count": version,
        "lastTimestamp": rfc3339(moment),
        **members,
    }
    events.add_event(event_report(orjson.dumps(event), cluster.name))


@pytest.fixture
def fleet(db: None) -> tuple[Cluster, Cluster]:
    """Two clusters with three Events of the last hour, and one that is older."""
    east = fill("east", [])
    west = fill("west", [])
    report(east, "web", "Back-off restarting", type="Warning", reason="BackOff", minutes=5)
    report(east, "web", "Back-off 100% restarting", type="Warning", reason="BackOff", version=2)
    job = {"kind": "Job", "namespace": "bank", "name": "nightly"}
    report(
        east,
        "nightly",
        "Created pod",
        minutes=3,
        metadata={"namespace": "bank"},
        involvedObject=job,
        source={},
        reportingComponent="job-controller",
    )
    report(west, "db", "Started container", minutes=4)
    report(west, "old", "Started container", minutes=70)
    return east, west


def reasons(answer: dict[str, Any]) -> list[tuple[str, str, int]]:
    """(cluster, event's object, count) in the order of an answer."""
    return [
        (item["cluster_name"], item["involvedObject"]["name"], item["count"])
        for item in answer["items"]
    ]


WEB = ("east", "web", 2)
NIGHTLY = ("east", "nightly", 1)
DB = ("west", "db", 1)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ({}, [WEB, NIGHTLY, DB]),
        ({"type": "Warning"}, [WEB]),
        ({"reason": "Started"}, [NIGHTLY, DB]),
        ({"source": "job-controller"}, [NIGHTLY]),
        ({"resource_type": "po", "resource_name": "db"}, [DB]),
        ({"resource_type": "jobs"}, [NIGHTLY]),
        ({"keyword": "NIGHT"}, [NIGHTLY]),
        ({"namespaces": "bank,other"}, [NIGHTLY]),
        ({"clusters": "west"}, [DB]),
        ({"message": "back-OFF 100% r"}, [WEB]),
        # The text of an earlier report is not what the Event says.
        ({"message": "back-off restarting"}, []),
        ({"pageSize": 1, "page": 2}, [NIGHTLY]),
    ],
)
def test_events_of_all_clusters_are_filtered(
    admin: Caller,
    fleet: tuple[Cluster, Cluster],
    query: dict[str, Any],
    rows: list[tuple[str, str, int]],
) -> None:
    answer = admin.data("GET", "multicluster/events", **query)
    assert reasons(answer) == rows
    assert answer["total"] == (3 if "page" in query else len(rows))
    assert answer["truncated"] is False


def test_a_text_is_bounded_and_so_is_what_is_looked_through(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    for name in ("message", "reason", "source", "keyword"):
        refusal = admin("GET", "multicluster/events", **{name: "a" * 201})
        assert refusal["code"] == 1001
        assert name in refusal["msg"]
    assert admin.code("GET", "multicluster/events", message="a\0") == 1001
    assert admin.code("GET", "multicluster/events", at="2026-01-01T00:00:00Z") == 1001
    assert admin.code("GET", "events", cluster_id=fleet[0].pk, message="a" * 201) == 1001
    places = [ClusterScope(cluster.pk, cluster.name) for cluster in fleet]
    search = fleet_events.EventSearch(places=places)
    now = timezone.now()
    events_of_two = fleet_events.page(search, now, offset=0, size=9, max_reports=2)
    assert [name for name, _event in events_of_two.items] == ["east", "east"]
    assert events_of_two.truncated


def test_events_are_those_of_the_callers_clusters(fleet: tuple[Cluster, Cluster]) -> None:
    user = get_user_model().objects.create_user("west-viewer")
    grants.give(user=user, role=grants.Role.VIEWER, cluster="west")
    viewer = Caller(create_api_token(user, "t")[1])
    assert reasons(viewer.data("GET", "multicluster/events")) == [DB]
    assert reasons(viewer.data("GET", "multicluster/events", clusters="east")) == []
    stranger = get_user_model().objects.create_user("stranger")
    assert Caller(create_api_token(stranger, "t")[1]).code("GET", "multicluster/events") == 1005
