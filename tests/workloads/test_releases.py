"""Helm releases out of their records."""

import base64
import gzip
import json
from typing import Any

import pytest

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.access.conftest import Person, person
from tests.caller import Caller
from tests.workloads.conftest import template

__all__ = ["person"]

PASSWORD = "correct-horse-battery"


def manifest(image: str) -> str:
    """What Helm rendered: a Secret, a Deployment, and a kind that the cluster does not have."""
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
        },
    }
    wonder = {"apiVersion": "example.com/v1", "kind": "Wonder", "metadata": {"name": "w"}}
    return (
        "---\n# Source: shop/templates/secret.yaml\napiVersion: v1\nkind: Secret\n"
        f"metadata:\n  name: door\nstringData:\n  password: {PASSWORD}\n"
        f"---\n{json.dumps(web)}\n---\n{json.dumps(wonder)}\n"
    )


def release(revision: int, *, status: str = "deployed", image: str = "nginx:1") -> dict[str, Any]:
    """A release as Helm stores it."""
    return {
        "name": "shop",
        "namespace": "x",
        "version": revision,
        "info": {
            "status": status,
            "last_deployed": "2026-11-01T10:00:00.000000000Z",
            "description": "Upgrade complete",
            "notes": "Open the shop.",
        },
        "chart": {
            "metadata": {"name": "shop", "version": "1.2.3", "appVersion": "9"},
            "values": {"replicas": 1, "auth": {"password": "", "user": "admin"}, "extra": True},
        },
        "config": {"auth": {"password": PASSWORD}, "image": image, "extra": None},
        "manifest": manifest(image),
    }


def packed(value: object) -> str:
    """The text under `data.release` as Helm makes it; a Secret has it in base64 once more."""
    return base64.b64encode(gzip.compress(json.dumps(value).encode())).decode()


class Records:
    """Writes records into a namespace as Helm's drivers do."""

    def __init__(self, admin: Caller, cluster: Cluster, namespace: str) -> None:
        self.admin = admin
        self.target = {"cluster_id": cluster.pk, "namespace": namespace}

    def add(
        self,
        revision: int,
        *,
        name: str = "shop",
        status: str = "deployed",
        text: str | None = None,
        kind: str = "secrets",
        **facts: Any,
    ) -> None:
        if text is None:
            text = packed(release(revision, status=status, **facts))
        metadata = {
            "name": f"sh.helm.release.v1.{name}.v{revision}",
            "labels": {
                "owner": "helm",
                "name": name,
                "status": status,
                "version": str(revision),
            },
        }
        content: dict[str, Any] = {"metadata": metadata, "data": {"release": text}}
        if kind == "secrets":
            content["data"] = {"release": base64.b64encode(text.encode()).decode()}
            content["type"] = "helm.sh/release.v1"
        self.admin.data("POST", kind, {**self.target, "content": content})

    def get(self, path: str = "", **query: Any) -> Any:
        """The data of a call below /releases."""
        return self.admin.data("GET", f"releases{path}", **self.target, **query)


@pytest.fixture
def recorded(admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster) -> Records:
    return Records(admin, cluster, space)


def test_the_last_revision_of_each_release_is_listed(recorded: Records, space: str) -> None:
    recorded.add(1, status="superseded")
    recorded.add(10, status="deployed")
    recorded.add(9, status="superseded")
    recorded.add(1, name="gone", status="uninstalled")
    recorded.add(1, name="mapped", kind="configmaps")
    page = recorded.get()
    assert [(item["name"], item["revision"]) for item in page["items"]] == [
        ("mapped", 1),
        ("shop", 10),
    ]
    shop = page["items"][1]
    assert (shop["chart"], shop["version"], shop["app_version"]) == ("shop", "1.2.3", "9")
    assert (shop["namespace"], shop["status"]) == (space, "deployed")
    assert page["total"] == 2
    assert recorded.get(all="true")["total"] == 3
    assert recorded.get(pageSize=1, page=2)["items"][0]["name"] == "shop"


def test_a_release_tells_its_values_manifest_and_what_belongs_to_it(
    recorded: Records, admin: Caller, space: str
) -> None:
    recorded.add(1)
    content = {"metadata": {"name": "door"}, "stringData": {"password": PASSWORD}}
    admin.data("POST", "secrets", {**recorded.target, "content": content})
    shop = recorded.get("/shop")
    assert shop["notes"] == "Open the shop."
    assert shop["values"]["auth"] == {"password": PASSWORD}
    assert shop["computed_values"] == {
        "replicas": 1,
        "auth": {"password": PASSWORD, "user": "admin"},
        "image": "nginx:1",
    }
    assert shop["manifest"] == manifest("nginx:1")
    assert [(row["kind"], row["namespace"], row["status"]) for row in shop["resources"]] == [
        ("Secret", space, "Current"),
        ("Deployment", space, "NotFound"),
        ("Wonder", "", "Unknown"),
    ]


def test_values_need_the_right_to_secrets(
    recorded: Records, person: Person, cluster: Cluster, space: str
) -> None:
    recorded.add(1)
    recorded.add(2, image="nginx:2")
    viewer = person("viewer", cluster=cluster, namespace=space)
    shop = viewer.data("GET", "releases/shop", **recorded.target)
    assert shop["values"]["auth"] == {"password": "***"}
    assert "kind: Secret" in shop["manifest"]
    for query in ({}, {"what": "values"}):
        answer = viewer.data(
            "GET", "releases/shop/diff", **recorded.target, **{"from": 1, "to": 2}, **query
        )
        assert PASSWORD not in json.dumps(answer)
    assert PASSWORD not in json.dumps(shop)
    stranger = person("viewer", cluster=cluster, namespace="elsewhere")
    assert stranger.code("GET", "releases/shop", **recorded.target) == 1005


def test_revisions_are_listed_and_compared(recorded: Records) -> None:
    recorded.add(1, status="superseded")
    recorded.add(2, image="nginx:2")
    history = recorded.get("/shop/history")
    assert [(row["revision"], row["status"]) for row in history["items"]] == [
        (1, "superseded"),
        (2, "deployed"),
    ]
    values = recorded.get("/shop/diff", **{"from": 1, "to": 2, "what": "values"})
    assert "-image: nginx:1\n+image: nginx:2\n" in values["diff"]
    assert "nginx:2" in recorded.get("/shop/diff", **{"from": 1, "to": 2})["diff"]
    assert recorded.get("/shop", revision=1)["revision"] == 1
    wrong = recorded.admin("GET", "releases/shop/diff", **recorded.target, **{"from": 0, "to": 2})
    assert (wrong["code"], wrong["data"]["field"]) == (1001, "from")
    assert recorded.admin.code("GET", "releases/none", **recorded.target) == 1004
    assert recorded.admin.code("GET", "releases/none/history", **recorded.target) == 1004


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not base64!", "broken"),
        (base64.b64encode(b"\x1f\x8b\x08 no gzip").decode(), "broken"),
        (packed([1]), "broken"),
        (packed({"chart": 5}), "broken"),
        (base64.b64encode(gzip.compress(b"[" * 100_000)).decode(), "broken"),
        (base64.b64encode(gzip.compress(b" " * (9 << 20))).decode(), "too large"),
    ],
    # A compressed text holds the time: in a name, the processes of a run would disagree.
    ids=["text", "header", "list", "chart", "json", "size"],
)
def test_a_record_that_cannot_be_read_is_shown_as_such(
    recorded: Records, text: str, error: str
) -> None:
    recorded.add(1, name="bad", text=text)
    recorded.add(1)
    items = recorded.get()["items"]
    assert [(item["name"], item.get("error")) for item in items] == [
        ("bad", error),
        ("shop", None),
    ]
    assert recorded.get("/bad")["error"] == error
