"""Who made a change: our audit trail for what went through us, managedFields for what did not."""

from typing import Any

import pytest

from clusters import registry
from clusters.models import Cluster
from tests.caller import Caller
from tests.storage_api.collecting import collecting, eventually
from tests.turning import finish

WEB: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "a:1"}]},
        },
    },
}


def kubectl(
    cluster: Cluster, method: str, path: str, body: Any = None, *, manager: str = "", **options: Any
) -> None:
    """A request past us, as a script of somebody else would send it."""
    registry.client(cluster).request(
        method, path, query={"fieldManager": manager}, body=body, **options
    )


@pytest.fixture
def history(admin: Caller, watched: Cluster) -> Any:
    """Reads the history of one object once it has so many lines."""

    def read(kind: str, name: str, lines: int, **more: Any) -> list[dict[str, Any]]:
        asked = {
            "cluster_id": watched.pk,
            "kind": kind,
            "namespace": "default",
            "name": name,
            **more,
        }

        def look() -> Any:
            found = admin.data("GET", "history", **asked)["items"]
            return found if len(found) >= lines else None

        found: list[dict[str, Any]] = eventually(look)
        assert len(found) == lines, found
        return found

    return read


def test_what_went_through_us_bears_the_users_name(
    admin: Caller, watched: Cluster, history: Any
) -> None:
    where = {"cluster_id": watched.pk, "namespace": "default"}
    with collecting():
        admin.data("POST", "deployments", {**where, "content": WEB})
        history("deployments", "web", 1)
        admin.data("POST", "deployments/web/scale", {**where, "replicas": 3})
        history("deployments", "web", 2)
        admin.data("DELETE", "deployments/web", **where, confirm="true")
        gone, scaled, made = history("deployments", "web", 3)
    assert [
        (line["op"], line["who"]["user"], line["who"]["verb"]) for line in (made, scaled, gone)
    ] == [
        ("add", "admin", "create"),
        ("change", "admin", "scale"),
        ("delete", "admin", "delete"),
    ]
    assert {line["who"]["source"] for line in (made, scaled, gone)} == {"audit"}
    assert {"path": ["spec", "replicas"], "op": "replace", "from": 1, "to": 3} in scaled["changes"]


def test_what_went_past_us_bears_the_managers_name(
    admin: Caller, watched: Cluster, history: Any
) -> None:
    where = {"cluster_id": watched.pk, "namespace": "default"}
    path = "/api/v1/namespaces/default/configmaps"
    with collecting():
        kubectl(
            watched,
            "POST",
            path,
            {"metadata": {"name": "conf"}, "data": {"a": "1"}},
            manager="kubectl-create",
        )
        history("configmaps", "conf", 1)
        admin.data("PUT", "configmaps/conf", {**where, "content": {"data": {"a": "2"}}})
        history("configmaps", "conf", 2)
        kubectl(
            watched,
            "PATCH",
            f"{path}/conf",
            {"data": {"b": "3"}},
            manager="argocd",
            content_type="application/merge-patch+json",
        )
        history("configmaps", "conf", 3)
        kubectl(watched, "DELETE", f"{path}/conf")
        lines = list(reversed(history("configmaps", "conf", 4)))
    who = [
        line["who"] and (line["who"]["source"], line["who"]["user"], line["who"]["manager"])
        for line in lines
    ]
    assert who == [
        ("managedFields", None, "kubectl-create"),
        ("audit", "admin", "kubegale"),
        ("managedFields", None, "argocd"),
        None,
    ], "nobody can say who deleted it"
    assert lines[2]["who"]["operation"] == "Update"
    assert (
        admin.data("GET", "history", **where, kind="configmaps", name="conf", diff="false")[
            "items"
        ][1]["changes"]
        is None
    )


def test_what_is_gone_is_found_again(admin: Caller, watched: Cluster) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    asked = {"cluster_id": watched.pk, "kind": "configmaps", "namespace": "default"}
    with collecting():
        for name in ("gone", "back", "back-2"):
            kubectl(watched, "POST", path, {"metadata": {"name": name}})
        eventually(lambda: len(admin.data("GET", "history", **asked)["items"]) >= 3)
        for name in ("gone", "back", "back-2"):
            kubectl(watched, "DELETE", f"{path}/{name}")
        eventually(lambda: len(admin.data("GET", "history", **asked, op="delete")["items"]) == 3)
        kubectl(watched, "POST", path, {"metadata": {"name": "back"}})
        eventually(
            lambda: admin.data("GET", "history", **asked, name="back")["items"][0]["op"] == "add"
        )
    names = [
        line["name"] for line in admin.data("GET", "history", **asked, deleted="true")["items"]
    ]
    assert sorted(names) == ["back-2", "gone"]
    assert [
        line["name"]
        for line in admin.data("GET", "history", **asked, deleted="true", keyword="GO")["items"]
    ] == ["gone"]


def test_what_an_operation_did_bears_the_name_of_who_asked_for_it(
    admin: Caller, watched: Cluster, history: Any
) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    with collecting():
        for name in ("a", "b"):
            kubectl(
                watched,
                "POST",
                path,
                {"metadata": {"name": name}, "data": {"x": "1"}},
                manager="kubectl",
            )
        history("configmaps", "b", 1)
        order = {
            "cluster_id": watched.pk,
            "namespace": "default",
            "action": "delete",
            "names": ["a", "b"],
            "confirm": True,
        }
        finish(admin.data("POST", "bulk/configmaps", order)["operation_id"])
        for name in ("a", "b"):
            gone, made = history("configmaps", name, 2)
            assert (gone["op"], gone["who"]["user"], gone["who"]["verb"]) == (
                "delete",
                "admin",
                "delete",
            )
            assert made["who"]["manager"] == "kubectl"
