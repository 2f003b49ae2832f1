"""Clusters that are asked in their callers' names hear them on every socket's way too."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from access.models import ExternalIdentity
from clusters.models import Cluster
from tests.scripted_cluster import Scripted
from tests.socket_server import peer

Ticket = Callable[..., dict[str, Any]]
BOSS = ("boss", ["team-blue"])


@pytest.fixture
def impersonated(registered: Cluster, ticket: Ticket, scripted: Scripted) -> Cluster:
    """The scripted cluster, asked in its callers' names; the caller has a group, and one that no cluster is told of."""
    scripted.add_pod("web", "app")
    boss = User.objects.get(username="boss")
    boss.groups.create(name="team-blue")
    boss.groups.create(name="system:masters")
    Cluster.objects.filter(pk=registered.pk).update(impersonate=True)
    return registered


def names(scripted: Scripted, since: int) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """(user, groups) by method and the address's last word."""
    return {
        (method, path.rpartition("/")[2]): (user, groups)
        for method, path, user, groups in scripted.impersonated[since:]
    }


def test_a_log_is_read_in_its_callers_name(
    impersonated: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("pods/web/logs/stream")
    before = len(scripted.impersonated)
    scripted.write("web", "app", b"2026-01-01T00:00:00.000000000Z here\n")
    with peer(issued["ws_url"]) as client:
        client.until(lambda peer: "log" in peer.types())
    assert names(scripted, before) == {("GET", "web"): BOSS, ("GET", "log"): BOSS}
    issued = ticket("pods/logs/stream", labelSelector="a=b")
    before = len(scripted.impersonated)
    with peer(issued["ws_url"]) as client:
        client.until(lambda peer: "connected" in peer.states())
        until(lambda: len(scripted.impersonated) > before + 1)
    assert set(map(str, names(scripted, before).values())) == {str(BOSS)}


def until(condition: Callable[[], Any]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_shells_are_opened_in_their_callers_name(
    impersonated: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("pods/web/terminal")
    before = len(scripted.impersonated)
    with peer(issued["terminal_url"]) as client:
        client.until(lambda peer: "$" in peer.output)
        scripted.close_shells()
        client.end()
    assert names(scripted, before) == {("GET", "exec"): BOSS, ("GET", "web"): BOSS}


def test_the_debug_pod_of_a_node_is_its_callers(
    impersonated: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("nodes/node-1/terminal", namespace=None)
    before = len(scripted.impersonated)
    with peer(issued["terminal_url"]) as client:
        client.until(lambda peer: "$" in peer.output)
        client.send(type="close")
        client.end()
    until(lambda: ("kube-system",) not in {place[:1] for place in scripted.pods})
    callers = names(scripted, before)
    assert {method for method, _ in callers} == {"POST", "GET", "DELETE"}
    assert ("GET", "exec") in callers
    assert list(callers.values()) == [BOSS] * len(callers)


def test_another_caller_of_the_same_client_is_named_apart_and_a_provider_names_no_local_user(
    impersonated: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("pods/web/terminal")
    with peer(issued["terminal_url"]) as client:
        client.until(lambda peer: "$" in peer.output)
        ExternalIdentity.objects.create(
            user=User.objects.get(username="boss"), issuer="https://sso.example", subject="1"
        )
        other = ticket("pods/web/terminal")
        before = len(scripted.impersonated)
        with peer(other["terminal_url"]) as second:
            second.until(lambda peer: "$" in peer.output)
    assert names(scripted, before)["GET", "exec"] == ("oidc:boss", ["team-blue"])


def test_a_user_of_the_clusters_own_is_never_named(
    impersonated: Cluster, scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("pods/web/terminal")
    User.objects.filter(username="boss").update(username="system:admin")
    before = len(scripted.impersonated)
    with peer(issued["terminal_url"]) as client:
        assert client.end() == 4003
    assert scripted.impersonated[before:] == []
