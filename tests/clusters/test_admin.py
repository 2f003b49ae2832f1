"""Clusters in the admin: refused and tried like everywhere else, never shown."""

from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.test import Client

from clusters.models import Cluster
from clusters.registry import default

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    """An administrator, signed in."""
    client = Client()
    client.force_login(
        get_user_model().objects.create_superuser("root", "root@example.com", "not-used-here-1")
    )
    return client


def form(text: str, **fields: Any) -> dict[str, Any]:
    """What the page sends."""
    return {"name": "from-admin", "description": "", "labels": "{}", "kubeconfig": text, **fields}


def test_a_cluster_is_registered_and_its_kubeconfig_never_shown(
    browser: Client, apiserver: Any
) -> None:
    assert (
        browser.post(
            "/admin/clusters/cluster/add/", form(apiserver.kubeconfig_yaml, is_default="on")
        ).status_code
        == 302
    )
    made = Cluster.objects.get(name="from-admin")
    assert (made.status, default().pk) == ("active", made.pk)
    token = yaml.safe_load(apiserver.kubeconfig_yaml)["users"][0]["user"]["token"]
    for path in ("", f"{made.pk}/change/"):
        page = browser.get(f"/admin/clusters/cluster/{path}")
        assert page.status_code == 200
        assert token not in page.content.decode()
    assert (
        browser.post(
            f"/admin/clusters/cluster/{made.pk}/change/", form("***", description="new")
        ).status_code
        == 302
    )
    assert Cluster.objects.get(pk=made.pk).kubeconfig == made.kubeconfig
    assert Cluster.objects.get(pk=made.pk).description == "new"


def test_a_dangerous_kubeconfig_is_refused_on_the_page(browser: Client, apiserver: Any) -> None:
    text = yaml.safe_load(apiserver.kubeconfig_yaml)
    text["users"][0]["user"]["exec"] = {"command": "touch"}
    page = browser.post("/admin/clusters/cluster/add/", form(yaml.safe_dump(text)))
    assert page.status_code == 200
    assert "it would run a command" in page.content.decode()
    assert not Cluster.objects.exists()


def test_removing_on_the_page_wipes_the_credentials(browser: Client, cluster: Cluster) -> None:
    assert (
        browser.post(f"/admin/clusters/cluster/{cluster.pk}/delete/", {"post": "yes"}).status_code
        == 302
    )
    assert Cluster.objects.get(pk=cluster.pk).kubeconfig == ""


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "SIMULATED"}, "exists already"),
        ({"name": "12345"}, "could be taken for an id"),
        ({"name": "a/b?c"}, "name must be"),
        ({"labels": "[1]"}, "labels must map text to text"),
        ({"labels": '{"a": {"b": 1}}'}, "labels must map text to text"),
        ({"kubeconfig": ""}, "required"),
    ],
)
def test_what_the_api_refuses_is_refused_on_the_page(
    browser: Client, cluster: Cluster, apiserver: Any, fields: dict[str, str], sentence: str
) -> None:
    apiserver.requests.clear()
    body = {**form(apiserver.kubeconfig_yaml), **fields}
    page = browser.post("/admin/clusters/cluster/add/", body)
    assert (page.status_code, sentence in page.content.decode()) == (200, True)
    assert Cluster.objects.count() == 1
    assert apiserver.requests == []
    body |= {"name": fields.get("name", cluster.name), "kubeconfig": "***"}
    change = browser.post(f"/admin/clusters/cluster/{cluster.pk}/change/", body)
    # Its own name, in another case too, is no other cluster's.
    good = fields.get("name") == "SIMULATED" or "kubeconfig" in fields
    assert change.status_code == (302 if good else 200)
