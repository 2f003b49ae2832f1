"""What a person is offered leads somewhere: menus and buttons do not only refuse."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client

from access.models import Grant
from alerts.models import Channel
from clusters.models import Cluster
from manifest_templates.models import Template
from tenants.models import Tenant

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


def test_an_operator_is_offered_templates_of_their_tenants_only(cluster: Cluster) -> None:
    cache.clear()
    client = member("operator", cluster=cluster, namespace="team-a")
    # Without a tenant, the form would only be refused.
    assert b'href="/templates/new"' not in client.get("/templates").content
    assert client.get("/templates/new").status_code == 403
    table = f"/clusters/{cluster.pk}/configmaps?namespace=team-a"
    assert b"/-/_template" not in client.get(table).content
    tenant = Tenant.objects.create(cluster=cluster, namespace="team-a", uid="a")
    Tenant.objects.create(cluster=cluster, namespace="team-b", uid="b")
    assert b"/-/_template" in client.get(table).content
    assert b'href="/templates/new"' in client.get("/templates").content
    form = client.get("/templates/new").content.decode()
    assert '<option value="tenant"' in form
    assert '<option value="all"' not in form
    assert f'<option value="{tenant.pk}">team-a' in form
    assert "team-b" not in form
    values = {
        "name": "web",
        "scope": "tenant",
        "tenant": tenant.pk,
        "version": "1.0.0",
        "body": "kind: ConfigMap",
        "schema": "{}",
    }
    assert client.post("/templates/new", values).status_code == 302
    assert Template.objects.get(name="web").tenant == tenant


def test_a_channel_is_offered_the_tenants_in_which_one_may_write(cluster: Cluster) -> None:
    cache.clear()
    client = member("viewer", cluster=cluster, namespace="team-b")
    mia = User.objects.get(username="mia")
    Grant.objects.create(user=mia, role="operator", cluster=cluster, namespace="team-a")
    mine = Tenant.objects.create(cluster=cluster, namespace="team-a", uid="a")
    theirs = Tenant.objects.create(cluster=cluster, namespace="team-b", uid="b")
    form = client.get("/alerts/channels/new").content.decode()
    assert f'<option value="{mine.pk}">team-a' in form
    assert f'<option value="{theirs.pk}"' not in form
    ada = User.objects.create_user("ada")
    for tenant in (mine, theirs):
        Channel.objects.create(
            name=tenant.namespace, kind="slack", owner=ada, tenant=tenant, config={}
        )
    page = client.get("/alerts/channels").content.decode()
    near, far = (Channel.objects.get(tenant=tenant).pk for tenant in (mine, theirs))
    assert f'/alerts/channels/{near}/delete"' in page
    assert f'/alerts/channels/{far}/delete"' not in page


def test_an_admin_of_a_namespace_sees_the_groups_that_have_grants_there(cluster: Cluster) -> None:
    cache.clear()
    near = Group.objects.create(name="near")
    far = Group.objects.create(name="far")
    Grant.objects.create(group=near, role="viewer", cluster=cluster, namespace="team-a")
    Grant.objects.create(group=far, role="viewer", cluster=cluster, namespace="team-b")
    client = member("admin", cluster=cluster, namespace="team-a")
    page = client.get("/groups").content.decode()
    assert f'href="/groups/{near.pk}"' in page
    assert f'href="/groups/{far.pk}"' not in page
    assert b"see the members" in client.get(f"/groups/{near.pk}").content
    assert client.get(f"/groups/{far.pk}").status_code == 403
