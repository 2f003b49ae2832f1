"""Whoever loses the right loses what lasts: sockets and streamed answers end soon, silent ones too."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from access import grants, sign_in, tokens, users
from access.models import ApiToken, Grant
from clusters.models import Cluster
from operations import lifecycle
from operations.lifecycle import OperationTarget
from tests.caller import Caller
from tests.scripted_cluster import Scripted
from tests.socket_server import peer

PASSWORD = "a-long-Passphrase-7"


@pytest.fixture(autouse=True)
def soon(settings: Any, scripted: Scripted) -> None:
    """Rights are looked at often, and there is a silent pod."""
    settings.STREAM_REAUTHORISE_SECONDS = 0.3
    scripted.add_pod("web", "app")


@pytest.fixture
def viewer(registered: Cluster) -> User:
    """Somebody with the role operator in the cluster."""
    user = User.objects.create_user("vera", None, PASSWORD)
    grants.give(user=user, role=grants.role_of("operator"), cluster=registered.name)
    return user


def revoke(user: User) -> None:
    """As the person would."""
    tokens.revoke(user, ApiToken.objects.get(user=user).pk)


WAYS: dict[str, Callable[[User], Any]] = {
    "grant": lambda user: Grant.objects.filter(user=user).delete(),
    "token": revoke,
    "expired": lambda user: ApiToken.objects.update(
        expires_at=timezone.now() - timedelta(seconds=1)
    ),
    "scopes": lambda user: ApiToken.objects.update(scopes=["storage:write"]),
    "clusters": lambda user: ApiToken.objects.update(clusters=["elsewhere"]),
    "user": lambda user: users.change(user, is_active=False),
}


def script(user: User) -> Caller:
    """The person's script."""
    return Caller(tokens.create_api_token(user, "script")[1])


# --- sockets --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", ["logs", "terminal", "operation"])
def test_sockets_end(
    registered: Cluster, viewer: User, scripted: Scripted, door: str, way: str
) -> None:
    where = {"cluster_id": registered.pk, "namespace": "default"}
    match door:
        case "logs":
            address = script(viewer).data("POST", "pods/web/logs/stream", where)["ws_url"]
        case "terminal":
            address = script(viewer).data("POST", "pods/web/terminal", where)["terminal_url"]
        case _:
            target = OperationTarget(registered, "pods", "default", "web")
            row = lifecycle.create("bulk", target, requested_by="vera")
            address = script(viewer).data("POST", f"operations/{row.pk}/stream")["ws_url"]
    with peer(address) as client:
        client.until(lambda peer: peer.frames)
        WAYS[way](viewer)
        assert client.end() in (4001, 4003)


@pytest.mark.parametrize("way", ["password", "signed out", "expired"])
def test_sockets_end_with_the_sign_in(
    registered: Cluster, viewer: User, settings: Any, way: str
) -> None:
    pair = sign_in.pair_for(viewer)
    if way == "expired":
        pair = short_pair(viewer)
    where = {"cluster_id": registered.pk, "namespace": "default"}
    address = Caller(pair.token).data("POST", "pods/web/logs/stream", where)["ws_url"]
    with peer(address) as client:
        client.until(lambda peer: peer.frames)
        if way == "password":
            users.change(viewer, password=PASSWORD + "-other")
        elif way == "signed out":
            sign_in.sign_out(pair.token)
        assert client.end() == 4001


def short_pair(user: User) -> sign_in.TokenPair:
    """A sign-in whose access token is over in two seconds."""
    pair = sign_in.pair_for(user)
    access = sign_in.RevocableAccessToken(pair.token.encode())
    access.set_exp(lifetime=timedelta(seconds=2))
    return sign_in.TokenPair(str(access), pair.refresh_token, 2)


# --- streamed answers -----------------------------------------------------------------------------------------------
def opened(door: str, caller: Caller, cluster: Cluster) -> Any:
    """A streamed answer on which nothing happens."""
    events = {"Accept": "text/event-stream"}
    if door == "logs":
        query = {"cluster_id": cluster.pk, "namespace": "default", "container": "app", "follow": 1}
        address = "/api/v1/kubernetes/pods/web/logs"
        return caller.client.get(address, query_params=query, headers=events)
    if door == "watch":
        return caller.client.get(
            "/api/v1/kubernetes/watch", query_params={"kinds": "pods"}, headers=events
        )
    return caller.raw("POST", f"/bcsapi/v4/storage/dynamic/watch/{cluster.name}/Pod", {})


def ends(answer: Any, seconds: float = 10.0) -> bytes:
    """What came until the end, which must come."""
    deadline = time.monotonic() + seconds
    parts: list[bytes] = []
    for part in answer.streaming_content:
        parts.append(part)
        assert time.monotonic() < deadline, "it goes on"
    return b"".join(parts)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", ["logs", "watch", "feed"])
def test_streamed_answers_end(
    registered: Cluster, viewer: User, settings: Any, door: str, way: str
) -> None:
    settings.STORAGE_WATCH_POLL = 0.05
    answer = opened(door, script(viewer), registered)
    assert answer.status_code == 200
    assert next(answer.streaming_content)
    WAYS[way](viewer)
    last = ends(answer)
    match door:
        case "logs":
            assert b"event: close" in last
        case "watch":
            assert b'"type":"ERROR"' in last
        case _:
            assert last.endswith(b'{"type":-1,"value":null}\n')
    answer.close()


def test_a_container_whose_node_has_not_even_answered_is_left_with_the_right(
    registered: Cluster, viewer: User, scripted: Scripted, settings: Any
) -> None:
    scripted.mute = True
    settings.LOG_FOLLOWERS = 1
    for _ in range(2):
        answer = opened("logs", script(viewer), registered)
        assert next(answer.streaming_content)
        Grant.objects.filter(user=viewer).delete()
        assert b"event: close" in ends(answer)
        answer.close()
        grants.give(user=viewer, role=grants.role_of("operator"), cluster=registered.name)
        ApiToken.objects.all().delete()


def demote(user: User) -> None:
    """Whoever wrote may read from now on."""
    Grant.objects.filter(user=user).delete()
    grants.give(user=user, role=grants.role_of("viewer"), cluster=Cluster.objects.get().name)


@pytest.mark.parametrize(
    "way",
    [demote, lambda user: ApiToken.objects.update(scopes=["read", "storage:read"])],
    ids=["grant", "scopes"],
)
def test_a_feed_that_shows_values_ends_with_the_right_to_them(
    registered: Cluster, viewer: User, settings: Any, way: Callable[[User], Any]
) -> None:
    settings.STORAGE_WATCH_POLL = 0.05
    address = f"/bcsapi/v4/storage/dynamic/watch/{registered.name}"
    caller = script(viewer)
    showing = caller.raw("POST", f"{address}/Secret", {})
    assert next(showing.streaming_content)
    way(viewer)
    assert ends(showing).endswith(b'{"type":-1,"value":null}\n')
    showing.close()
    masking = caller.raw("POST", f"{address}/Secret", {"timeout": 1_000_000_000})
    assert ends(masking).endswith(b'{"type":-1,"value":null}\n')
    masking.close()


def test_a_right_that_stays_ends_nothing(registered: Cluster, viewer: User) -> None:
    answer = opened("logs", script(viewer), registered)
    pulses = list(itertools.islice(pulse_times(answer), 6))
    assert pulses[-1] - pulses[0] > 1.0, "it was looked at several times"
    answer.close()


def pulse_times(answer: Any) -> Iterator[float]:
    """When something came."""
    for _ in answer.streaming_content:
        yield time.monotonic()


# --- shares ---------------------------------------------------------------------------------------------------------
def test_a_user_follows_so_many_logs_over_all_streams(
    registered: Cluster, viewer: User, scripted: Scripted, settings: Any
) -> None:
    settings.LOG_SOURCES_PER_USER = 2
    scripted.add_pod("other", "app", "side", labels={"app": "many"})
    caller = script(viewer)
    where = {"cluster_id": registered.pk, "namespace": "default"}
    first = caller.data("POST", "pods/web/logs/stream", where)["ws_url"]
    many = {**where, "labelSelector": "app=many"}
    with peer(first) as client:
        client.until(lambda peer: "connected" in peer.states())
        with peer(caller.data("POST", "pods/logs/stream", many)["ws_url"]) as second:
            second.until(lambda peer: "limited" in peer.states())
            frame = next(frame for frame in second.frames if frame.get("state") == "limited")
            assert "other/side" in frame["reason"]
            with peer(caller.data("POST", "pods/web/logs/stream", where)["ws_url"]) as third:
                assert third.end() == 4003
            assert opened("logs", caller, registered).status_code == 429
        client.send(type="close")
        client.end()
    for _ in range(3):
        answer = opened("logs", caller, registered)
        assert answer.status_code == 200
        answer.close()
    with peer(caller.data("POST", "pods/logs/stream", many)["ws_url"]) as fourth:
        scripted.write("other", "side", b"2026-01-01T00:00:00.000000000Z here\n")
        fourth.until(lambda peer: "log" in peer.types())
        assert "limited" not in fourth.states()
