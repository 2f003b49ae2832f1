"""Recordings of terminals over the API: filters, and the search in what was printed."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User

from access import grants, tokens
from clusters.models import Cluster
from tests.caller import Caller
from workloads.models import Recording, RecordingChunk
from workloads.streams.recording_search import MATCHES

Event = tuple[float, str]


def record(cluster: Cluster, number: int, chunks: list[list[Event]], **fields: Any) -> Recording:
    """A recording with these pieces of output in chunks; it begins at hour `number`."""
    texts = [
        "".join(orjson.dumps([time, "o", output]).decode() + "\n" for time, output in events)
        for events in chunks
    ]
    fields = {"username": "ada", "namespace": "shop", "pod": f"web-{number}", **fields}
    row = Recording.objects.create(
        session=f"{number:032x}", cluster=cluster, size=sum(map(len, texts)), **fields
    )
    started = datetime(2026, 1, 1, number, tzinfo=UTC)
    Recording.objects.filter(pk=row.pk).update(started_at=started)
    for index, text in enumerate(texts):
        RecordingChunk.objects.create(recording=row, number=index, events=text)
    return row


@pytest.mark.parametrize(
    ("filters", "pods"),
    [
        ({"user": "eve"}, ["api-7"]),
        ({"name": "WEB"}, ["web-2", "web-1"]),
        ({"container": "side"}, ["web-2"]),
        ({"since": "2026-01-01T02:00:00Z"}, ["api-7", "web-2"]),
        ({"until": "2026-01-01T02:00:00Z"}, ["web-1"]),
        ({"namespace": "other"}, []),
    ],
)
def test_recordings_are_filtered(
    admin: Caller, cluster: Cluster, filters: dict[str, str], pods: list[str]
) -> None:
    record(cluster, 1, [])
    record(cluster, 2, [], container="side")
    record(cluster, 3, [], pod="api-7", username="eve")
    page = admin.data("GET", "terminal-recordings", cluster_id=cluster.pk, **filters)
    assert [item["pod"] for item in page["items"]] == pods
    assert page["total"] == len(pods)


def test_what_was_printed_is_searched_across_events_chunks_and_escapes(
    admin: Caller, cluster: Cluster
) -> None:
    typed = [(1.0, "$ r"), (1.5, "m -rf"), (2.0, " /da\x1b[3")]
    record(cluster, 1, [typed, [(2.5, "1mta\x1b[0m\r\n"), (3.0, "gone\r\n")]])
    record(cluster, 2, [[(1.0, "nothing\r\n")]])
    record(cluster, 3, [[(float(number), "RM -RF /DATA again\r\n") for number in range(9)]])
    where = {"cluster_id": cluster.pk, "text": "rm -rf /data"}
    page = admin.data("GET", "terminal-recordings", **where)
    assert [item["pod"] for item in page["items"]] == ["web-3", "web-1"]
    again, first = (item["matches"] for item in page["items"])
    assert first == [{"time": 1.0, "text": "$ rm -rf /data"}]
    assert [match["time"] for match in again] == list(range(MATCHES))
    assert page["search"]["complete"] is True
    assert page["search"]["recordings"] == 3
    second = admin.data("GET", "terminal-recordings", **where, page=2, pageSize=1)
    assert [item["pod"] for item in second["items"]] == ["web-1"]
    assert second["total"] == 2


def test_a_search_says_when_it_has_not_read_everything(
    admin: Caller, cluster: Cluster, settings: Any
) -> None:
    record(cluster, 1, [[(1.0, "needle")]])
    newer = record(cluster, 2, [[(1.0, "needle")]])
    settings.TERMINAL_RECORDING_SEARCH_BYTES = newer.size
    page = admin.data("GET", "terminal-recordings", cluster_id=cluster.pk, text="needle")
    assert [item["pod"] for item in page["items"]] == ["web-2"]
    assert page["search"] == {"complete": False, "recordings": 1, "bytes": newer.size}
    settings.TERMINAL_RECORDING_SEARCH_BYTES = 10 * newer.size
    settings.TERMINAL_RECORDING_SEARCH_ROWS = 1
    page = admin.data("GET", "terminal-recordings", cluster_id=cluster.pk, text="needle")
    assert page["search"] == {"complete": False, "recordings": 1, "bytes": newer.size}
    code = admin.code("GET", "terminal-recordings", cluster_id=cluster.pk, text="n" * 201)
    assert code == 1001


def test_a_shell_in_the_pod_of_a_nodes_terminal_is_one_on_the_node(
    cluster: Cluster, settings: Any
) -> None:
    settings.NODE_TERMINAL_NAMESPACE = "shop"
    row = record(cluster, 1, [[(1.0, "needle")]], pod="node-terminal-abc")
    user = User.objects.create_user("omar")
    grants.give(user=user, role=grants.role_of("operator"), cluster=cluster.name)
    caller = Caller(tokens.create_api_token(user, "t")[1])
    where = {"cluster_id": cluster.pk, "namespace": "shop"}
    assert caller.data("GET", "terminal-recordings", **where)["items"] == []
    assert caller.data("GET", "terminal-recordings", **where, text="needle")["items"] == []
    assert caller.code("GET", f"terminal-recordings/{row.pk}") == 1004
