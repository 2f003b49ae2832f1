"""Pages of objects without a browser: what is on them, that nothing of a cluster is taken for markup, and what rights leave of them."""

import re
import uuid
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from access import grants
from access.policy import Right, Role
from billing.models import Order
from billing.services import orders
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.models import ClusterSync, KindSync
from tests.caller import Caller
from tests.workloads.conftest import workload

pytestmark = pytest.mark.django_db
MARKUP = "<img src=x onerror=alert(1)>\x1b]0;pwned\x07\x1b[31m\u202e"


@pytest.fixture
def space(admin: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin.data(
        "POST", "namespaces", {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
    )
    return name


def put(admin: Caller, cluster: Cluster, space: str, plural: str, content: dict[str, Any]) -> str:
    """Make an object; the address of its page."""
    made = admin.data(
        "POST", plural, {"cluster_id": cluster.pk, "namespace": space, "content": content}
    )
    return f"/clusters/{cluster.pk}/{plural}/{space}/{made['metadata']['name']}"


def harmless(text: str) -> bool:
    """Whether the planted text is there, as text alone."""
    # What stands in a field to be edited stays as it was entered.
    outside = re.sub(r'value="[^"]*"', "", text)
    return (
        "&lt;img src=x onerror=alert(1)&gt;" in text
        and "<img src=x" not in text
        and not re.search("[\x1b\x07\u202e]", outside)
    )


def test_text_of_a_cluster_is_never_markup_and_moves_no_cursor(
    visitor: Client, admin: Caller, cluster: Cluster, space: str
) -> None:
    pod = {
        "metadata": {"name": "planted", "annotations": {"note": MARKUP}},
        "spec": {
            "containers": [
                {"name": "main", "image": "nginx", "env": [{"name": "TEXT", "value": MARKUP}]}
            ]
        },
    }
    address = put(admin, cluster, space, "pods", pod)
    about = {
        "kind": "Pod",
        "name": "planted",
        "namespace": space,
        "uid": admin.data("GET", f"namespaces/{space}/pods/planted", cluster_id=cluster.pk)[
            "metadata"
        ]["uid"],
    }
    event = {
        "metadata": {"name": "planted.1"},
        "involvedObject": about,
        "reason": "Planted",
        "message": MARKUP,
        "type": "Warning",
    }
    put(admin, cluster, space, "events", event)
    config = put(
        admin,
        cluster,
        space,
        "configmaps",
        {"metadata": {"name": "planted"}, "data": {"text": MARKUP}},
    )
    for page in (
        address,
        f"{address}/yaml",
        f"{address}/events",
        f"{address}/beside",
        config,
        f"{config}/yaml",
    ):
        answer = visitor.get(page)
        assert answer.status_code == 200, page
        assert harmless(answer.content.decode()), page


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        ({}, "Ports 80/TCP"),
        ({"limits": {"cpu": "1"}}, "Ports 80/TCP · requests cpu 1 · limits cpu 1"),
        ({"requests": {"cpu": "1"}}, "Ports 80/TCP · requests cpu 1"),
    ],
)
def test_a_containers_line_has_separators_only_between_its_parts(
    visitor: Client,
    admin: Caller,
    cluster: Cluster,
    space: str,
    resources: dict[str, Any],
    line: str,
) -> None:
    container = {
        "name": "main",
        "image": "nginx",
        "ports": [{"containerPort": 80}],
        "resources": resources,
    }
    pod = {"metadata": {"name": "plain"}, "spec": {"containers": [container]}}
    address = put(admin, cluster, space, "pods", pod)
    assert f'<p class="faint">{line}</p>' in visitor.get(address).content.decode()


def test_events_with_a_series_show_how_often(
    visitor: Client, admin: Caller, cluster: Cluster, apiserver: RunningCluster, space: str
) -> None:
    config = {"metadata": {"name": "shown"}}
    address = put(admin, cluster, space, "configmaps", config)
    event = {
        "metadata": {"name": "shown.1", "namespace": space},
        "involvedObject": {"kind": "ConfigMap", "name": "shown", "namespace": space},
        "reason": "Often",
        "eventTime": "2026-01-01T00:00:00.000001Z",
        "series": {"count": 4242, "lastObservedTime": "2026-01-06T00:00:00.500000Z"},
    }
    apiserver.load("events", [event])
    assert "×4242" in visitor.get(f"{address}/events").content.decode()
    table = visitor.get(f"/clusters/{cluster.pk}/events?namespace={space}").content.decode()
    assert "4242" in table


def test_where_credentials_may_not_look_everywhere_a_namespace_is_asked_for(
    visitor: Client, admin: Caller, cluster: Cluster, apiserver: RunningCluster, space: str
) -> None:
    body = {
        "metadata": {"name": "look"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}],
    }
    put(admin, cluster, space, "roles", body)
    binding = {
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "look"},
        "subjects": [
            {"kind": "User", "name": f"user-{space}", "apiGroup": "rbac.authorization.k8s.io"}
        ],
    }
    put(admin, cluster, space, "rolebindings", binding)
    put(admin, cluster, space, "configmaps", {"metadata": {"name": "shown"}})
    config = yaml.safe_dump(apiserver.add_user(f"user-{space}"))
    made = admin.data("POST", "clusters", {"name": "limited", "kubeconfig": config})
    base = f"/clusters/{made['id']}"
    asked = visitor.get(f"{base}/configmaps")
    assert asked.status_code == 200
    assert 'name="namespace" value=""' in asked.content.decode()
    assert ">shown<" in visitor.get(f"{base}/configmaps?namespace={space}").content.decode()
    # What is loaded beside it is no mishap either.
    picker = visitor.get(f"{base}/-/namespaces?chosen={space}")
    assert (picker.status_code, f"selected>{space}<" in picker.content.decode()) == (200, True)
    nodes = visitor.get(f"{base}/-/nodes", headers={"HX-Request": "true"})
    assert (nodes.status_code, "nodes is forbidden" in nodes.content.decode()) == (200, True)
    refused = visitor.get(f"{base}/nodes")
    assert "The cluster itself refuses this" in refused.content.decode()
    visitor.post(f"{base}/-/change", {"name": "limited", "namespaces": f"{space}, elsewhere"})
    assert admin.data("GET", f"clusters/{made['id']}")["namespaces"] == sorted([space, "elsewhere"])
    assert ">shown<" in visitor.get(f"{base}/configmaps").content.decode()


def test_text_of_people_is_never_markup(
    visitor: Client, admin: Caller, cluster: Cluster, space: str
) -> None:
    admin.data(
        "PUT",
        f"tenants/{space}",
        {"cluster_id": cluster.pk, "contact": MARKUP, "description": MARKUP},
    )
    order, _ = orders.pay(
        orders.create(orders.PurchaseRequest(units=1, duration=1)), by=MARKUP, reference=MARKUP
    )
    for page in (
        f"/tenants?keyword={space}",
        f"/tenants/{cluster.pk}/{space}",
        f"/orders/{order.pk}",
    ):
        answer = visitor.get(page)
        assert answer.status_code == 200, page
        assert harmless(answer.content.decode()), page


def test_values_of_secrets_are_shown_only_when_asked_for(
    visitor: Client, admin: Caller, cluster: Cluster, space: str
) -> None:
    address = put(
        admin, cluster, space, "secrets", {"metadata": {"name": "pw"}, "data": {"key": "bWFya2Vy"}}
    )
    for page in (address, f"{address}/yaml", f"{address}/beside"):
        assert b"bWFya2Vy" not in visitor.get(page).content, page
    assert b"bWFya2Vy" in visitor.get(f"{address}/yaml?whole=1").content
    viewer = Client()
    user = User.objects.create(username="vic")
    grants.give(user=user, role=Role.VIEWER)
    viewer.force_login(user)
    assert b"bWFya2Vy" not in viewer.get(f"{address}/yaml?whole=1").content


def test_who_may_not_change_anything_is_told_so_and_nothing_changes(
    admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster
) -> None:
    address = put(admin, cluster, space, "deployments", workload(replicas=1))
    viewer, user = Client(), User.objects.create(username="vic")
    grants.give(user=user, role=Role.VIEWER)
    viewer.force_login(user)
    shown = viewer.get(address)
    assert shown.status_code == 200
    offered = shown.content.decode()
    assert not [
        link
        for link in ("data-act=", "/edit", 'href="/people"', "/clusterroles")
        if link in offered
    ]
    assert f'href="/clusters/{cluster.pk}/nodes"' in offered, "a role on all of it shows its nodes"
    nodes = viewer.get(f"/clusters/{cluster.pk}/-/nodes").content.decode()
    node = nodes.partition('<th scope="row"><a href="')[2].partition('"')[0]
    shown = viewer.get(node)
    assert shown.status_code == 200
    assert not [
        link for link in ("data-act=", "/edit", "/terminal") if link in shown.content.decode()
    ]
    apiserver.requests.clear()
    for verb, form in (
        ("scale", {"replicas": "5", "current": "1"}),
        ("restart", {}),
        ("pause", {}),
        ("delete", {"typed": "web"}),
    ):
        answer = viewer.post(f"{address}/act/{verb}", form)
        assert answer.status_code == 403, verb
        assert "Ask an administrator" in answer.content.decode(), verb
    many = {"verb": "delete", "row": [f"{space}/web"], "sure": "1", "typed": "deployments"}
    assert viewer.post(f"/clusters/{cluster.pk}/deployments/-/_many", many).status_code == 403
    assert viewer.post("/orders/new", {"units": "1", "duration": "1"}).status_code == 403
    assert viewer.get("/people").status_code == 403
    assert not Order.objects.exists()
    assert {request.method for request in apiserver.requests} <= {"GET"}


def test_a_scale_that_somebody_was_faster_with_is_refused(
    visitor: Client, admin: Caller, cluster: Cluster, space: str
) -> None:
    address = put(admin, cluster, space, "deployments", workload(replicas=2))
    answer = visitor.post(f"{address}/act/scale", {"replicas": "5", "current": "1"})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "has 2 replicas, not 1" in text
    assert 'value="5"' in text, "what was entered is still there"
    assert (
        visitor.post(f"{address}/act/scale", {"replicas": "many", "current": "2"}).status_code
        == 400
    )
    assert visitor.get(f"{address}/act/suspend").status_code == 400
    assert visitor.get(f"{address}/act/nonsense").status_code == 400


def test_a_cronjob_is_run_now_and_suspended(
    visitor: Client, admin: Caller, cluster: Cluster, space: str
) -> None:
    content = {
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 3 * * *",
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {
                            "restartPolicy": "Never",
                            "containers": [{"name": "main", "image": "busybox"}],
                        }
                    }
                }
            },
        },
    }
    address = put(admin, cluster, space, "cronjobs", content)
    made = visitor.post(f"{address}/act/trigger")
    assert re.fullmatch(
        rf"/clusters/{cluster.pk}/jobs/{space}/nightly-manual-\w+", made["Location"]
    )
    assert visitor.get(made["Location"]).status_code == 200
    assert visitor.post(f"{address}/act/suspend")["Location"] == address
    page = visitor.get(address).content.decode()
    assert "/act/resume" in page
    assert "/act/suspend" not in page


def test_custom_kinds_have_pages_too(visitor: Client, admin: Caller, cluster: Cluster) -> None:
    group = f"x{uuid.uuid4().hex[:6]}.example.com"
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        },
    }
    definition = {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    admin.data(
        "POST", "customresourcedefinitions", {"cluster_id": cluster.pk, "content": definition}
    )
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"size": 3},
    }
    admin.data(
        "POST",
        f"resources/{group}/v1/widgets",
        {"cluster_id": cluster.pk, "namespace": "default", "content": widget},
    )
    address = f"/clusters/{cluster.pk}/widgets.v1.{group}/default/one"
    about = {"apiVersion": f"{group}/v1", "kind": "Widget", "name": "one", "namespace": "default"}
    event = {
        "metadata": {"name": f"one.{group}"},
        "involvedObject": about,
        "reason": "Resized",
        "message": "three inches",
        "type": "Normal",
    }
    put(admin, cluster, "default", "events", event)
    for page in ("/events", "/beside"):
        assert "three inches" in visitor.get(address + page).content.decode(), page
    assert "<h2>Widget</h2>" in visitor.get(address).content.decode()
    for page in ("", "/yaml", "/events", "/beside", "/history", "/act/delete"):
        assert visitor.get(address + page).status_code == 200, page
    assert visitor.post(f"{address}/act/delete", {"typed": "one"})["Location"].endswith(
        f"widgets.v1.{group}"
    )
    assert visitor.get(address).status_code == 404


def define(admin: Caller, cluster: Cluster, group: str, **names: Any) -> None:
    """A custom kind in two versions, of which v1 is stored."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": name, "served": True, "storage": name == "v1", "schema": schema}
        for name in ("v1beta1", "v1")
    ]
    spec = {"group": group, "names": names, "scope": "Namespaced", "versions": versions}
    content = {"metadata": {"name": f"{names['plural']}.{group}"}, "spec": spec}
    where = {"cluster_id": cluster.pk}
    admin.data("POST", "customresourcedefinitions", {**where, "content": content})


@pytest.mark.parametrize("collected", [False, True])
def test_addresses_name_kinds_by_any_of_their_names(
    visitor: Client, admin: Caller, cluster: Cluster, collected: bool
) -> None:
    """As far as definitions may be read, and from what was collected."""
    word = f"w{uuid.uuid4().hex[:6]}"
    group = f"{word}.example.com"
    plural, short, kind = f"{word}s", f"{word}sh", word.capitalize()
    if collected:
        sync = ClusterSync.objects.create(
            cluster=cluster, stored_as=cluster.name, expires_at=timezone.now()
        )
        KindSync.objects.create(
            cluster_id=sync.pk,
            kind=kind,
            plural=plural,
            group=group,
            version="v1",
            namespaced=True,
            resource_type=kind,
            aliases=[word, short],
        )
    else:
        define(admin, cluster, group, plural=plural, singular=word, kind=kind, shortNames=[short])
    base = f"/clusters/{cluster.pk}"
    for name in (plural, word, kind, short, f"{plural}.{group}", f"{short}.{group}"):
        answer = visitor.get(f"{base}/{name}?namespace=x&q=a")
        assert (answer.status_code, answer.get("Location")) == (
            302,
            f"{base}/{plural}.v1.{group}?namespace=x&q=a",
        ), name
    answer = visitor.get(f"{base}/{short}/x/one/yaml")
    assert answer["Location"] == f"{base}/{plural}.v1.{group}/x/one/yaml"
    for name, known in {
        "Pod": "pods",
        "po": "pods",
        "deploy": "deployments",
        "deployments.apps": "deployments",
    }.items():
        assert visitor.get(f"{base}/{name}")["Location"] == f"{base}/{known}", name
    assert visitor.get(f"{base}/{word}x").status_code == 404
    assert visitor.get(f"{base}/{plural}.other.example.com").status_code == 404
    assert visitor.post(f"{base}/{short}/x/one/act/delete").status_code == 404


def test_a_name_of_several_kinds_names_their_groups(
    visitor: Client, admin: Caller, cluster: Cluster
) -> None:
    word = f"w{uuid.uuid4().hex[:6]}"
    for group in (f"a.{word}.example.com", f"b.{word}.example.com"):
        names = {"plural": f"{word}s", "singular": word, "kind": word.capitalize()}
        define(admin, cluster, group, **names, shortNames=[f"{word}sh"])
    for name in (f"{word}s", word, f"{word}sh"):
        answer = visitor.get(f"/clusters/{cluster.pk}/{name}")
        assert answer.status_code == 400
        page = answer.content.decode()
        assert f"{word}s.a.{word}.example.com, {word}s.b.{word}.example.com" in page
    chosen = visitor.get(f"/clusters/{cluster.pk}/{word}sh.b.{word}.example.com")
    assert chosen["Location"] == f"/clusters/{cluster.pk}/{word}s.v1.b.{word}.example.com"


def test_every_scope_of_a_token_can_be_chosen(visitor: Client) -> None:
    page = visitor.get("/tokens").content.decode()
    assert [scope for scope in Right if f'value="{scope}"' not in page] == []
