"""A shell is its user's alone, and none goes on without its recording."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from access import grants, tokens
from clusters.models import Cluster
from tests.caller import Caller
from tests.scripted_cluster import Scripted
from tests.socket_server import Peer, peer

Ticket = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def web(scripted: Scripted) -> None:
    """Pods to have shells in."""
    scripted.add_pod("web", "app", "side")
    scripted.add_pod("other", "app")


def connected(client: Peer) -> dict[str, Any]:
    """The status frame that says so."""
    client.until(lambda peer: "connected" in peer.states())
    return next(frame for frame in client.frames if frame.get("state") == "connected")


def prints(client: Peer, words: str) -> None:
    """The shell of this socket still works."""
    half = len(words) // 2
    client.send(type="data", data={"input": f"echo {words[:half]}''{words[half:]}\n"})
    client.until(lambda peer: words in peer.output)


def operator(cluster: Cluster, name: str, **token: Any) -> Caller:
    """Somebody with the role operator in the namespace default."""
    user = User.objects.create_user(name, None, None)
    grants.give(
        user=user, role=grants.role_of("operator"), cluster=cluster.name, namespace="", by=""
    )
    return Caller(tokens.create_api_token(user, "t", **token)[1])


@pytest.mark.parametrize(
    ("whose", "victim", "path"),
    [
        ("another", "nodes/node-1/terminal", "pods/web/terminal"),
        ("another", "pods/web/terminal", "pods/web/terminal"),
        ("own", "pods/web/terminal", "pods/other/terminal"),
        ("own", "pods/web/terminal", "nodes/node-1/terminal"),
        ("own", "pods/web/terminal", "pods/web/terminal"),
        ("narrower", "pods/web/terminal", "pods/web/terminal"),
    ],
)
def test_no_ticket_leads_into_a_shell_that_lives(
    caller: Caller, registered: Cluster, ticket: Ticket, whose: str, victim: str, path: str
) -> None:
    thief = caller
    if whose == "another":
        thief = operator(registered, "omar")
    elif whose == "narrower":
        boss = User.objects.get(username="boss")
        narrow = tokens.create_api_token(boss, "n", scopes=["write", "terminal", "admin"])
        thief = Caller(narrow[1])
    issued = ticket(victim)
    with peer(issued["terminal_url"]) as client:
        connected(client)
        prints(client, "the-secret")
        body = {"cluster_id": registered.pk, "namespace": "default", "session": issued["session"]}
        claimed = thief.data("POST", path, body)
        with peer(claimed["terminal_url"]) as other:
            assert other.end() == 4003
            assert other.output == ""
            assert "connected" not in other.states()
        prints(client, "still-mine")


def test_a_session_of_the_callers_own_making_opens_nothing(
    scripted: Scripted, ticket: Ticket
) -> None:
    claimed = ticket("pods/web/terminal", session="a" * 32)
    with peer(claimed["terminal_url"]) as client:
        assert client.end() == 4003
    assert not [path for _, path, _ in scripted.requests if path.endswith("/exec")]


def test_the_id_of_a_session_is_read_nowhere(
    caller: Caller, registered: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("nodes/node-1/terminal", record=True)
    with peer(issued["terminal_url"]) as client:
        prints(client, "on-the-node")
        pod = next(pod for place, pod in scripted.pods.items() if place[0] == "kube-system")
        assert issued["session"][:12] not in json.dumps(pod)
        listed = caller.data("GET", "terminal-recordings", cluster_id=registered.pk)["items"]
        assert len(listed) == 1
        assert issued["session"] not in json.dumps(listed)


def test_the_pod_of_a_nodes_shell_lets_in_only_who_may_be_on_the_node(
    caller: Caller, registered: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    with peer(ticket("nodes/node-1/terminal")["terminal_url"]) as client:
        prints(client, "on-the-node")
        name = next(name for space, name in scripted.pods if space == "kube-system")
        where = {"cluster_id": registered.pk, "namespace": "kube-system"}
        path = f"pods/{name}/terminal"
        assert operator(registered, "omar").code("POST", path, where) == 1005
        assert caller.code("POST", path, where) == 0


def test_who_comes_back_is_asked_again_whether_they_may(
    scripted: Scripted, ticket: Ticket, settings: Any
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 600.0
    issued = ticket("pods/web/terminal")
    with peer(issued["terminal_url"]) as client:
        token = connected(client)["token"]
        prints(client, "before")
    User.objects.filter(username="boss").update(is_superuser=False)
    with peer(issued["terminal_url"].partition("?")[0]) as again:
        again.send(type="attach", session=issued["session"], token=token)
        assert again.end() == 4003
        assert again.output == ""


def test_a_shell_that_waits_for_its_client_ends_with_the_right(
    scripted: Scripted, ticket: Ticket, settings: Any
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.3
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        prints(client, "before")
    assert scripted.do(lambda: [socket.closed for socket in scripted.sockets]) == [False]
    User.objects.filter(username="boss").update(is_superuser=False)
    deadline = time.monotonic() + 15
    while not scripted.do(lambda: all(socket.closed for socket in scripted.sockets)):
        assert time.monotonic() < deadline, "the shell goes on"
        time.sleep(0.05)


# --- recordings -----------------------------------------------------------------------------------------------------
@contextmanager
def unwritable(table: str) -> Iterator[None]:
    """A table that cannot be written."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")


def test_a_recorded_session_that_is_over_lends_its_name_to_no_unrecorded_shell(
    caller: Caller, scripted: Scripted, registered: Cluster, ticket: Ticket, settings: Any
) -> None:
    settings.TERMINAL_RECORDING = "always"
    issued = ticket("pods/web/terminal")
    with peer(issued["terminal_url"]) as client:
        prints(client, "first")
        client.send(type="data", data={"input": "exit\n"})
        assert client.end() == 1000
    before = len(scripted.requests)
    claimed = ticket("pods/web/terminal", session=issued["session"])
    with peer(claimed["terminal_url"]) as client:
        assert client.end() == 4003
    assert not [path for _, path, _ in scripted.requests[before:] if path.endswith("/exec")]
    assert len(caller.data("GET", "terminal-recordings", cluster_id=registered.pk)["items"]) == 1


@pytest.mark.parametrize("path", ["pods/web/terminal", "nodes/node-1/terminal"])
@pytest.mark.parametrize("mode", ["always", "asked"])
def test_a_shell_whose_recording_cannot_begin_does_not_open(
    scripted: Scripted, ticket: Ticket, settings: Any, mode: str, path: str
) -> None:
    settings.TERMINAL_RECORDING = mode
    issued = ticket(path, record=True)
    before = len(scripted.requests)
    with unwritable("workloads_recording"), peer(issued["terminal_url"]) as client:
        assert client.end() == 1011
    assert scripted.requests[before:] == []


def test_a_shell_whose_recording_can_no_longer_be_written_ends(
    ticket: Ticket, settings: Any
) -> None:
    settings.TERMINAL_RECORDING = "always"
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        prints(client, "before")
        with unwritable("workloads_recordingchunk"):
            client.send(type="data", data={"input": "seq 1 20000\n"})
            assert client.end() == 1011


@pytest.mark.parametrize(("mode", "code"), [("always", 1008), ("asked", 1000)])
def test_where_all_is_recorded_a_full_recording_ends_the_shell(
    ticket: Ticket, settings: Any, mode: str, code: int
) -> None:
    settings.TERMINAL_RECORDING = mode
    settings.TERMINAL_RECORDING_BYTES = 5000
    with peer(ticket("pods/web/terminal", record=True)["terminal_url"]) as client:
        client.send(type="data", data={"input": "seq 1 20000\nexit\n"})
        assert client.end() == code
