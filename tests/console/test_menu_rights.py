"""What a person is offered leads somewhere: menus and buttons do not only refuse."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client

from access.models import Grant
from clusters.models import Cluster

User = get_user_model()
PLACES = ("/", "/templates", "/tenants", "/alerts/rules", "/alerts/channels", "/alerts/silences")


def member(role: str, *, cluster: Cluster | None, namespace: str = "") -> Client:
    """A session of somebody with one grant."""
    user = User.objects.create_user("mia", password="a long enough password")
    Grant.objects.create(user=user, role=role, cluster=cluster, namespace=namespace)
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_no_menu_entry_only_refuses(cluster: Cluster, role: str) -> None:
    cache.clear()
    client = member(role, cluster=cluster, namespace="default")
    addresses = set()
    for place in (*PLACES, f"/clusters/{cluster.pk}"):
        page = client.get(place).content.decode()
        links = re.findall(r'href="(/[^"#]*)"', page)
        addresses |= {link for link in links if not link.startswith(("/static", "/admin", "/api"))}
    refused = {link for link in addresses if is_refused(client, link)}
    assert refused == set()


def is_refused(client: Client, link: str) -> bool:
    """Whether the page behind a link says only that it is not allowed."""
    return client.get(link.replace("&amp;", "&")).status_code == 403


def test_a_person_of_one_namespace_is_not_told_of_nodes(cluster: Cluster) -> None:
    cache.clear()
    client = member("admin", cluster=cluster, namespace="team-a")
    choices = client.get("/all/pods").content.decode()
    assert '<option value="deployments"' in choices
    assert '<option value="nodes"' not in choices
    assert "every node is ready" not in client.get("/failing").content.decode()
    assert "every node is ready" not in client.get("/troubles").content.decode()


def test_an_operator_is_offered_templates_of_tenants_only(cluster: Cluster) -> None:
    cache.clear()
    client = member("operator", cluster=cluster, namespace="team-a")
    assert b'href="/templates/new"' in client.get("/templates").content
    form = client.get("/templates/new").content
    assert b'<option value="tenant"' in form
    assert b'<option value="all"' not in form
