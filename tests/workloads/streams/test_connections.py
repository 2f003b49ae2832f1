"""What the socket server holds of clusters: connections end with the registration that they were made for."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from clusters.models import Cluster
from tests.caller import Caller
from tests.launcher.watching import eventually
from tests.scripted_cluster import Scripted
from tests.socket_server import Peer, peer

Ticket = Callable[..., dict[str, Any]]
ESTABLISHED = "01"


@pytest.fixture(autouse=True)
def web(scripted: Scripted, settings: Any) -> None:
    """A pod to read; rights and registrations are looked at all the time."""
    scripted.add_pod("web", "app")
    scripted.write("web", "app", b"2026-01-01T00:00:00.000000001Z hello\n")
    settings.STREAM_REAUTHORISE_SECONDS = 0.2


def connections(scripted: Scripted) -> int:
    """How many the scripted cluster has accepted that are open."""
    port = f":{urlsplit(scripted.url).port:04X}"
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == ESTABLISHED for row in rows)


def hello(client: Peer) -> bool:
    """Whether the log's line is there."""
    return any(frame["type"] == "log" for frame in client.frames)


def test_a_changed_cluster_leaves_no_client_open(
    scripted: Scripted, registered: Cluster, ticket: Ticket, caplog: pytest.LogCaptureFixture
) -> None:
    def reads_as(name: str) -> bool:
        with peer(ticket("pods/web/logs/stream", follow=False)["ws_url"]) as client:
            assert client.end() == 1000
        return scripted.impersonated[-1][2] == name

    with peer(ticket("pods/web/logs/stream")["ws_url"]) as first:
        first.until(hello)
        Cluster.objects.filter(pk=registered.pk).update(impersonate=True)
        assert eventually(lambda: reads_as("boss"), seconds=10)
        # The client before is in use: its stream goes on.
        scripted.write("web", "app", b"2026-01-01T00:00:01.000000001Z again\n")
        first.until(lambda client: sum(frame["type"] == "log" for frame in client.frames) == 2)
    Cluster.objects.filter(pk=registered.pk).update(impersonate=False)
    assert eventually(lambda: reads_as(""), seconds=10)
    gc.collect()
    assert "Unclosed" not in caplog.text


@pytest.mark.parametrize("path", ["pods/web/logs/stream", "pods/web/terminal"])
def test_a_removed_cluster_ends_what_is_open_and_leaves_no_connection(
    scripted: Scripted, registered: Cluster, ticket: Ticket, caller: Caller, path: str
) -> None:
    issued = ticket(path)
    with peer(issued.get("ws_url") or issued["terminal_url"]) as client:
        client.until(lambda peer: "connected" in peer.states())
        assert eventually(lambda: connections(scripted) > 0)
        assert caller.raw("DELETE", f"clusters/{registered.pk}").status_code == 200
        assert client.end() == 4003
    assert eventually(lambda: connections(scripted) == 0, seconds=10)


def test_a_log_followed_over_http_ends_with_its_cluster(
    registered: Cluster, caller: Caller
) -> None:
    query = {"cluster_id": registered.pk, "namespace": "default", "container": "app"}
    answer = caller.client.get(
        "/api/v1/kubernetes/pods/web/logs",
        query_params={**query, "follow": "true"},
        headers={"Accept": "text/event-stream"},
    )
    events = iter(answer.streaming_content)
    while b"hello" not in next(events):
        pass
    assert caller.raw("DELETE", f"clusters/{registered.pk}").status_code == 200
    assert b"the cluster is no longer registered" in list(events)[-1]
