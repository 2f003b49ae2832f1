"""The progress of an operation over a WebSocket."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters.models import Cluster
from operations import lifecycle
from operations.lifecycle import OperationTarget
from operations.models import Operation
from tests.caller import Caller
from tests.socket_server import Peer, peer


@pytest.fixture
def operation(registered: Cluster) -> Operation:
    """One that waits."""
    return lifecycle.create(
        "drain",
        OperationTarget(cluster=registered, resource="nodes", name="node-1"),
        requested_by="boss",
    )


def events(client: Peer) -> list[dict[str, Any]]:
    """What the event frames showed."""
    return [frame["data"] for frame in client.frames if frame["type"] == "event"]


def test_every_change_comes_until_it_is_over(caller: Caller, operation: Operation) -> None:
    issued = caller.data("POST", f"operations/{operation.pk}/stream")
    with peer(issued["ws_url"]) as client:
        client.until(lambda peer: events(peer))
        assert (events(client)[0]["event_type"], events(client)[0]["object"]["state"]) == (
            "ADDED",
            "pending",
        )
        lifecycle.cancel(operation)
        assert client.end() == 1000
    assert (events(client)[-1]["event_type"], events(client)[-1]["object"]["state"]) == (
        "MODIFIED",
        "cancelled",
    )
    assert client.states() == ["eof"]


def test_a_bearer_token_in_the_header_opens_it_too(
    operation: Operation, caller: Caller, socket_port: int
) -> None:
    url = f"ws://127.0.0.1:{socket_port}/ws/operations/{operation.pk}"
    boss = get_user_model().objects.get(username="boss")
    stranger = get_user_model().objects.create_user("stranger", "s@example.com", "not-used-here-1")
    for user, code in ((boss, None), (stranger, 4004)):
        token = create_api_token(user, "t")[1]
        with peer(url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            if code is None:
                client.until(lambda peer: events(peer))
            else:
                assert client.end() == code
    with peer(url, additional_headers={"Authorization": "Bearer nonsense"}) as client:
        assert client.end() == 4001
    assert Caller(token).code("POST", f"operations/{operation.pk}/stream") == 1004
