"""Search by what objects have: labels, annotations, images, addresses, uids."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters.models import Cluster
from core.errors import Invalid
from storage_api.services import property_search
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill, thing

UID = "0f1e2d3c-1111-2222-3333-444455556666"
IMAGE = "registry.example.com:5000/team/Web:1.2@sha256:abc"


def pod(name: str, namespace: str, image: str, address: str, **meta: Any) -> Any:
    """A pod with one container."""
    return thing(
        "Pod",
        name,
        namespace,
        meta={"labels": {"app": "x"}, **meta},
        spec={"containers": [{"name": "c", "image": image}], "volumes": [{"image": {"a": 1}}]},
        status={"phase": "Running", "podIPs": [{"ip": address}, {"ip": "fd00::1"}]},
    )


@pytest.fixture
def stored(db: None) -> Cluster:
    """One cluster with a little of each kind."""
    template = {"spec": {"initContainers": [{"name": "i", "image": "nginx"}]}}
    notes = {"example.com/owner": "Ada Lovelace", "note": "a=b"}
    return fill(
        "east",
        [
            pod("a", "shop", IMAGE, "10.0.0.1", uid=UID, annotations=notes),
            pod("b", "other", "nginx:1.27", "10.0.0.2"),
            thing("Deployment", "web", "shop", spec={"template": template}),
            thing("ConfigMap", "plain", "shop", meta={"labels": {"tier": "low"}}),
            thing("Secret", "key", "shop", meta={"labels": {"app": "x"}}, data={"k": "nginx"}),
            thing(
                "Node",
                f"node-{UID}",
                meta={"uid": "another"},
                status={
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            ),
        ],
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("app=x", ["a", "b"]),
        ("label:app==x", ["a", "b"]),
        ("app=y", []),
        ("app=x image:nginx", ["b"]),
        ("app=x b", ["b"]),
        ("annotation:note=a=b", ["a"]),
        ("image:nginx", ["b", "web"]),
        ("image:nginx:1.27", ["b"]),
        ("image:web", ["a"]),
        ("image:team/web:1.2", ["a"]),
        ("image:registry.example.com:5000/team/web", ["a"]),
        ("image:eam/web", []),
        ("image:web@sha256:abc", ["a"]),
        ("10.0.0.1", ["a"]),
        ("ip:FD00:0::1", ["a", "b"]),
        ("10.0.0.9", [f"node-{UID}"]),
        (f"uid:{UID}", ["a"]),
        ("uid:44445555", ["a"]),
        # The beginning of a uid is looked for in names too.
        ("0F1E2D3C-1111", ["a", f"node-{UID}"]),
    ],
)
def test_objects_are_found_by_what_they_have(
    admin: Caller, stored: Cluster, text: str, names: list[str]
) -> None:
    answer = admin.data("GET", "multicluster/search", q=text, total="true")
    assert [item["name"] for item in answer["items"]] == names
    assert answer["total"] == len(names)


def test_properties_that_are_none_are_refused_and_rights_count(
    admin: Caller, stored: Cluster
) -> None:
    for text in ("label:app", "annotation:=x", "ip:10.0.0", "uid:abc", "image:"):
        assert admin.code("GET", "multicluster/search", q=text) == 1001
    assert admin.code("GET", "multicluster/search", q="app=x", deleted="true") == 1001
    many = " ".join(f"uid:{number:08}" for number in range(11))
    assert admin.code("GET", "multicluster/search", q=many) == 1001
    assert admin.code("GET", "multicluster/search", q="uid:00000000 " * 11) == 0
    assert property_search.parse("web") == []
    assert property_search.parse("system:node") == []
    with pytest.raises(Invalid):
        property_search.parse("label:x")
    (hit,) = admin.data("GET", "multicluster/search", q="10.0.0.1", documents="true")["items"]
    assert hit["object"]["status"]["phase"] == "Running"
    user = get_user_model().objects.create_user("ben")
    fill("west", [pod("far", "shop", "nginx", "10.0.0.1")])
    grants.give(user=user, role=Role.VIEWER, cluster="west")
    viewer = Caller(create_api_token(user, "t")[1])
    answer = viewer.data("GET", "multicluster/search", q="app=x")
    assert [item["name"] for item in answer["items"]] == ["far"]


def test_the_page_shows_a_state_for_every_kind(client: Client, stored: Cluster) -> None:
    user = get_user_model().objects.create_superuser("ada", "ada@example.com", None)
    client.force_login(user)
    page = client.get("/search?q=10.0.0.9").content.decode()
    assert f"node-{UID}" in page
    assert "Ready" in page
    assert "Running" in client.get("/search?q=image:nginx:1.27").content.decode()
    page = client.get("/search?q=tier=low").content.decode()
    assert "plain" in page
    # A ConfigMap has none, as in kubectl.
    assert 'class="status' not in page
    assert "8 or more characters" in client.get("/search?q=uid:abc").content.decode()
    assert client.get("/search/quick?q=label:").status_code == 200
