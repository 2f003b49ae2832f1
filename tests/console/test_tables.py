"""The table of each kind: what it shows, how it narrows, sorts and follows."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters.kinds import KINDS
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller

TABLE = {"HX-Request": "true", "HX-Target": "table"}
# What a browser would run, colour or hide if it were not made harmless; none of it may come out as it is.
NASTY = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31mred\x1b]0;title\x07\u202eevil"
)


@pytest.fixture
def space() -> str:
    """The name of a namespace in which nobody else puts anything, not even the cluster."""
    return f"c-{uuid.uuid4().hex[:8]}"


def limits_of(space: str, count: int, **labels: str) -> list[dict[str, Any]]:
    """LimitRanges, which no controller adds to."""
    return [
        {
            "metadata": {"name": f"map-{number:03}", "namespace": space, "labels": labels},
            "spec": {"limits": []},
        }
        for number in range(count)
    ]


def names(client: Client, address: str) -> list[str]:
    """The names in the rows of a table."""
    page = client.get(address, headers=TABLE).content.decode()
    return [part.partition('"')[0].partition("/")[2] for part in page.split('<tr data-row="')[1:]]


@pytest.mark.parametrize("plural", sorted(KINDS))
def test_every_kind_has_a_table(visitor: Client, cluster: Cluster, plural: str) -> None:
    answer = visitor.get(f"/clusters/{cluster.pk}/{plural}")
    assert answer.status_code == 200
    assert f'href="/clusters/{cluster.pk}/{plural}" aria-current="page"' in answer.content.decode()


def test_a_table_narrows_by_name_label_and_namespace_and_turns_pages(
    visitor: Client, apiserver: RunningCluster, cluster: Cluster, space: str
) -> None:
    apiserver.load("limitranges", limits_of(space, 60, app="web"))
    base = f"/clusters/{cluster.pk}/limitranges?namespace={space}"
    assert names(visitor, base) == [f"map-{number:03}" for number in range(50)]
    assert names(visitor, f"{base}&page=2") == [f"map-{number:03}" for number in range(50, 60)]
    assert names(visitor, f"{base}&q=P-01") == [f"map-{number:03}" for number in range(10, 20)]
    assert names(visitor, f"{base}&label=app%3Dweb&sort=-name&size=100")[:2] == [
        "map-059",
        "map-058",
    ]
    assert names(visitor, f"{base}&label=app%21%3Dweb") == []
    page = visitor.get(f"{base}&page=2").content.decode()
    assert "51–60 of 60" in page
    assert 'rel="prev"' in page
    assert 'rel="next"' not in page


def test_a_selector_that_cannot_be_read_is_said_in_the_table(
    visitor: Client, cluster: Cluster
) -> None:
    answer = visitor.get(f"/clusters/{cluster.pk}/pods?label=%3D%3D", headers=TABLE)
    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()


def test_a_table_that_did_not_change_is_answered_without_rows(
    visitor: Client, apiserver: RunningCluster, cluster: Cluster, space: str
) -> None:
    apiserver.load("limitranges", limits_of(space, 3))
    address = f"/clusters/{cluster.pk}/limitranges?namespace={space}"
    mark = visitor.get(address, headers=TABLE)["ETag"]
    again = visitor.get(address, headers={**TABLE, "If-None-Match": mark})
    assert (again.status_code, again.content) == (304, b"")
    apiserver.load("limitranges", [{"metadata": {"name": "one-more", "namespace": space}}])
    changed = visitor.get(address, headers={**TABLE, "If-None-Match": mark})
    assert changed.status_code == 200
    assert "one-more" in changed.content.decode()


def test_what_a_cluster_says_is_shown_and_never_obeyed(
    visitor: Client, apiserver: RunningCluster, cluster: Cluster, space: str
) -> None:
    metadata = {
        "name": "nasty",
        "namespace": space,
        "labels": {"app": "web"},
        "annotations": {"note": NASTY},
    }
    pod = {
        "spec": {"containers": [{"name": "c", "image": NASTY}], "nodeName": NASTY},
        "status": {"phase": NASTY, "podIP": NASTY},
    }
    apiserver.load("pods", [{"metadata": metadata, **pod}])
    about = {"kind": "Pod", "name": NASTY, "namespace": space}
    apiserver.load(
        "events",
        [
            {
                "metadata": metadata,
                "reason": NASTY,
                "message": NASTY,
                "type": "Warning",
                "involvedObject": about,
            }
        ],
    )
    for plural in ("pods", "events"):
        page = visitor.get(f"/clusters/{cluster.pk}/{plural}?namespace={space}").content.decode()
        assert "nasty" in page
        assert "alert(1)" in page
        for what in ("<script>alert", "<img src=x", "\x1b", "\x07", "\u202e"):
            assert what not in page
        assert "\u241b[31mred" in page


def test_a_table_shows_no_more_than_its_viewer_may_see(
    apiserver: RunningCluster, cluster: Cluster, space: str, db: None
) -> None:
    apiserver.load("limitranges", limits_of(space, 2))
    user = User.objects.create_user("viewer")
    client = Client()
    client.force_login(user)
    refused = client.get(f"/clusters/{cluster.pk}/limitranges")
    assert refused.status_code == 403
    assert "Ask an administrator" in refused.content.decode()
    grants.give(user=user, role=Role.VIEWER, cluster=str(cluster.pk), namespace=space)
    assert names(client, f"/clusters/{cluster.pk}/limitranges") == ["map-000", "map-001"]
    assert client.get(f"/clusters/{cluster.pk}/secrets").status_code in (200, 403)
    assert client.get(f"/clusters/{cluster.pk}/nodes").status_code == 403


def test_an_unknown_cluster_kind_or_page_says_what_to_do_next(
    visitor: Client, cluster: Cluster
) -> None:
    for address, words in {
        "/clusters/999999/pods": "Choose another cluster",
        f"/clusters/{cluster.pk}/nonsense": "Not found",
        f"/clusters/{cluster.pk}/widgets.v1.nowhere.example": "Not found",
        "/nowhere": "There is no page at this address.",
    }.items():
        answer = visitor.get(address, headers={"Accept": "text/html"})
        assert answer.status_code == 404, address
        assert words in answer.content.decode(), address
        assert answer["X-Request-Id"] in answer.content.decode()
    assert visitor.get("/nowhere")["Content-Type"].startswith("text/plain")
    for address in ("/tenants", "/history", "/orders/new"):
        assert visitor.get(f"{address}?cluster_id={'9' * 5000}").status_code < 500
    form = {"name": "team", "cluster_id": "9" * 40}
    answer = visitor.post("/tenants/new", form)
    assert (answer.status_code, "more than 64 bits" in answer.content.decode()) == (400, True)


def test_a_custom_kind_has_the_columns_that_its_definition_names(
    visitor: Client, apiserver: RunningCluster, cluster: Cluster, space: str
) -> None:
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        },
        {"name": "Since", "type": "date", "jsonPath": ".status.since"},
        {"name": "Until", "type": "date", "jsonPath": ".status.until"},
        {"name": "Never", "type": "date", "jsonPath": ".status.never"},
        {"name": "Hidden", "type": "string", "jsonPath": ".spec.hidden", "priority": 1},
    ]
    kind = f"gizmo{uuid.uuid4().hex[:6]}"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": schema,
        "additionalPrinterColumns": columns,
    }
    names_of = {
        "plural": f"{kind}s",
        "singular": kind,
        "kind": kind.capitalize(),
        "listKind": f"{kind.capitalize()}List",
    }
    spec = {
        "group": "console.example",
        "scope": "Namespaced",
        "names": names_of,
        "versions": [version],
    }
    caller = Gateway(visitor)
    caller.create(
        cluster,
        "customresourcedefinitions",
        {"metadata": {"name": f"{kind}s.console.example"}, "spec": spec},
    )
    status = {
        "conditions": [{"type": "Other", "status": "No"}, {"type": "Ready", "status": NASTY}],
        "since": "2020-01-01T00:00:00Z",
        "until": "9999-12-31T23:59:59Z",
        "never": "0001-01-01T00:00:00+23:00",
    }
    made = {
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"size": 42, "hidden": "x"},
        "status": status,
    }
    caller.create(cluster, f"resources/console.example/v1/{kind}s", made, namespace="default")
    # There the last moment of all is in the year 10000.
    visitor.cookies["zone"] = "Asia/Shanghai"
    page = visitor.get(f"/clusters/{cluster.pk}/{kind}s.v1.console.example").content.decode()
    assert ">Size</th>" in page
    assert ">42</span>" in page
    assert "Hidden" not in page
    assert "<script>alert" not in page
    assert 'datetime="2020-01-01T00:00:00Z"' in page
    assert 'datetime="9999-12-31T23:59:59Z"' in page


class Gateway:
    """Makes objects through the API as the person of a session."""

    def __init__(self, client: Client) -> None:
        user = User.objects.get(pk=client.session["_auth_user_id"])
        self.caller = Caller(create_api_token(user, "tests")[1])

    def create(self, cluster: Cluster, path: str, content: dict[str, Any], **more: str) -> None:
        """Create an object."""
        self.caller.data("POST", path, {"cluster_id": cluster.pk, "content": content, **more})
