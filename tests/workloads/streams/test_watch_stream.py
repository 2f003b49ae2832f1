"""The watch of many clusters over a WebSocket."""

from typing import Any

import pytest

from access.models import ApiToken
from clusters.models import Cluster
from tests.caller import Caller
from tests.socket_server import Peer, peer
from tests.storage_api.conftest import emptied
from tests.storage_api.test_multicluster import fill, thing
from tests.storage_api.test_watch import write

__all__ = ["emptied"]


@pytest.fixture
def east(emptied: None, registered: Cluster, settings: Any) -> Cluster:
    """A cluster with two pods."""
    settings.STORAGE_WATCH_POLL = 0.05
    return fill("east", [thing("Pod", "a", "shop"), thing("Pod", "b", "shop")])


def names(client: Peer) -> list[tuple[str, str]]:
    """(type, name) of the event frames."""
    return [
        (frame["data"]["event_type"], frame["data"]["name"])
        for frame in client.frames
        if frame["type"] == "event"
    ]


def test_changes_come_as_frames_and_go_on_after_a_break(caller: Caller, east: Cluster) -> None:
    issued = caller.data(
        "POST", "watch/stream", {"clusters": ["east"], "kinds": "pods", "after": 0}
    )
    with peer(issued["ws_url"]) as client:
        client.until(lambda peer: len(names(peer)) == 2)
        write("east", "Pod", "a", status={"phase": "Running"})
        client.until(lambda peer: names(peer)[2:] == [("MODIFIED", "a")])
    frame = client.frames[-1]
    assert frame["data"]["object"]["status"] == {"phase": "Running"}
    assert (frame["data"]["cluster_name"], frame["data"]["kind"]) == ("east", "Pod")
    write("east", "Pod", "b")
    again = caller.data("POST", "watch/stream", {"clusters": "east"})
    with peer(f"{again['ws_url']}&after={frame['seq']}") as client:
        client.until(lambda peer: names(peer) == [("DELETED", "b")])
    assert client.frames[0]["state"] == "connected"


def test_a_lost_place_has_a_close_code_of_its_own(caller: Caller, east: Cluster) -> None:
    assert caller.code("POST", "watch/stream", {"labelSelector": "in ("}) == 1001
    issued = caller.data("POST", "watch/stream", {"after": 10**12})
    with peer(issued["ws_url"]) as client:
        assert client.end() == 4011
    assert (client.frames[-1]["data"]["status"], "latest" in client.frames[-1]["data"]) == (
        410,
        True,
    )


def test_who_is_signed_out_is_cut_off(caller: Caller, east: Cluster, settings: Any) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.2
    settings.STREAM_PING_SECONDS = 0.2
    issued = caller.data("GET", "watch/stream")
    with peer(issued["ws_url"]) as client:
        client.until(lambda peer: peer.states() == ["connected"])
        ApiToken.objects.update(revoked_at="2026-01-01T00:00:00Z")
        assert client.end() == 4001
