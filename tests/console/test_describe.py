"""What the page of an object shows beside its state: kubectl describe's tables, keys, and who can do what."""

import base64
import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from playwright.sync_api import expect

from access.models import AuditEntry, Grant
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.console.browser import Walk
from tests.console.conftest import Make


def page_words(client: Client, address: str) -> str:
    """The words of a page without its frame, one blank between them."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.content[-2000:]
    text = answer.content.decode().partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


RULE = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "scale<b>"]}
OBJECTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("roles", {"rules": [RULE]}, ["Rules", "API groups", "apps", "deployments", "scale&lt;b&gt;"]),
    (
        "rolebindings",
        {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "it"},
            "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": "robots"}],
        },
        ["Role/it", "Subjects", "ServiceAccount", "bot", "robots"],
    ),
    (
        "horizontalpodautoscalers",
        {
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2,
                "maxReplicas": 9,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 65},
                        },
                    }
                ],
            }
        },
        [
            "Deployment/web",
            "resource cpu on pods",
            "&lt;unknown&gt; 65%",
            "0 current / 0 desired",
        ],
    ),
    (
        "poddisruptionbudgets",
        {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}},
        ["Min available 1", "app=web", "Allowed disruptions"],
    ),
    (
        "networkpolicies",
        {
            "spec": {
                "podSelector": {},
                "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 5432}]}],
                "policyTypes": ["Ingress"],
            }
        },
        ["Pod selector &lt;all&gt;", "Allowed ingress", "5432/TCP"],
    ),
    (
        "persistentvolumeclaims",
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "3Gi"}},
            }
        },
        ["Requested 3Gi", "ReadWriteOnce", "Volume mode"],
    ),
    (
        "limitranges",
        {"spec": {"limits": [{"type": "Container", "default": {"cpu": "750m"}}]}},
        ["Container cpu", "750m", "Default limit"],
    ),
]


ROLLOUT = {
    "spec": {
        "selector": {"matchLabels": {"app": "it"}},
        "template": {
            "metadata": {"labels": {"app": "it"}},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
        },
    }
}


@pytest.mark.parametrize(
    ("plural", "content", "expected"), OBJECTS, ids=[plural for plural, _, _ in OBJECTS]
)
def test_a_page_shows_what_kubectl_describe_shows(
    visitor: Client,
    cluster: Cluster,
    make: Make,
    plural: str,
    content: dict[str, Any],
    expected: list[str],
) -> None:
    make(plural, {"metadata": {"name": "it"}, **content})
    words = page_words(visitor, f"/clusters/{cluster.pk}/{plural}/{make.space}/it")
    assert [part for part in expected if part not in words] == []


def test_a_namespace_says_its_phase_and_finalizers_in_words(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    words = page_words(visitor, f"/clusters/{cluster.pk}/namespaces/-/{make.space}")
    assert "Phase Active" in words
    assert "Finalizers kubernetes" in words


def test_a_cronjob_says_when_it_runs_in_words_and_when_next(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    containers = [{"name": "main", "image": "nginx:1"}]
    pod = {"restartPolicy": "Never", "containers": containers}
    template = {"spec": {"template": {"spec": pod}}}
    spec = {"schedule": "30 8,20 * * *", "jobTemplate": template}
    make("cronjobs", {"metadata": {"name": "it"}, "spec": spec})
    zoned = {**spec, "schedule": "@hourly", "timeZone": "Asia/Shanghai"}
    make("cronjobs", {"metadata": {"name": "macro"}, "spec": zoned})
    base = f"/clusters/{cluster.pk}/cronjobs/{make.space}"
    words = page_words(visitor, f"{base}/it")
    assert "30 8,20 * * * (every day at 08:30, 20:30)" in words
    assert re.search(r"Next run \d{4}-\d\d-\d\d \d\d:30:00 , if the cluster goes by UTC", words)
    assert "Schedule @hourly" in page_words(visitor, f"{base}/macro")


def test_a_node_says_its_taints_and_lease(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster
) -> None:
    node = apiserver.list("nodes")[0]
    name = node["metadata"]["name"]
    address = f"/clusters/{cluster.pk}/nodes/-/{name}"
    words = page_words(visitor, address)
    assert "Taints &lt;none&gt;" in words
    assert " Lease " not in words
    lease = {
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "renewTime": "2026-01-02T03:04:05.000000Z"},
    }
    apiserver.load("leases.coordination.k8s.io", [lease])
    assert f"Lease {name} , renewed 2026-01-02 03:04:05" in page_words(visitor, address)


def test_a_template_is_made_of_what_somebody_installs(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    make("configmaps", {"metadata": {"name": "it"}})
    make("roles", {"metadata": {"name": "it"}, "rules": []})
    base = f"/clusters/{cluster.pk}"
    for address, is_offered in (
        (f"{base}/configmaps/{make.space}/it", True),
        (f"{base}/roles/{make.space}/it", False),
        (f"{base}/namespaces/-/{make.space}", False),
    ):
        page = visitor.get(address).content.decode()
        assert ("Make a template of this" in page) == is_offered, address
    assert "/-/_template" in visitor.get(f"{base}/configmaps").content.decode()
    assert "/-/_template" not in visitor.get(f"{base}/pods").content.decode()


def test_the_columns_of_a_rollout_have_kubectls_names(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    make("deployments", {"metadata": {"name": "it"}, **ROLLOUT})
    words = page_words(visitor, f"/clusters/{cluster.pk}/deployments?namespace={make.space}")
    assert "Ready Up-to-date Available" in words


def test_a_built_in_kind_without_a_table_has_kubectls_columns(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster
) -> None:
    metadata = {"name": "edge-class"}
    spec = {"controller": "example.com/edge"}
    apiserver.load("ingressclasses.networking.k8s.io", [{"metadata": metadata, "spec": spec}])
    address = f"/clusters/{cluster.pk}/ingressclasses.v1.networking.k8s.io"
    words = page_words(visitor, address)
    assert "Ingress classes" in words
    assert "Controller" in words
    assert "example.com/edge" in words


def test_what_selects_or_binds_leads_to_what_it_is_about(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    labels = {"app": "shop"}
    containers = [{"name": "main", "image": "nginx:1"}]
    make("serviceaccounts", {"metadata": {"name": "robot"}})
    make(
        "pods",
        {
            "metadata": {"name": "shop-0", "labels": labels},
            "spec": {"containers": containers, "serviceAccountName": "robot"},
        },
    )
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}]}
    make("poddisruptionbudgets", {"metadata": {"name": "few"}, "spec": {"selector": selector}})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    scaling = {"scaleTargetRef": target, "maxReplicas": 3}
    make("horizontalpodautoscalers", {"metadata": {"name": "more"}, "spec": scaling})
    make("roles", {"metadata": {"name": "reads"}, "rules": []})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"}
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": make.space}
    binding = {"metadata": {"name": "binds"}, "roleRef": role, "subjects": [subject]}
    make("rolebindings", binding)
    base = f"/clusters/{cluster.pk}"
    for page, links in (
        ("poddisruptionbudgets/few", ["pods/shop-0"]),
        ("horizontalpodautoscalers/more", ["deployments/shop"]),
        ("roles/reads", ["rolebindings/binds"]),
        ("rolebindings/binds", ["roles/reads"]),
        ("serviceaccounts/robot", ["pods/shop-0", "rolebindings/binds"]),
    ):
        plural, _slash, name = page.partition("/")
        beside = visitor.get(f"{base}/{plural}/{make.space}/{name}/beside").content.decode()
        for link in links:
            kind, _slash, other = link.partition("/")
            assert f'href="{base}/{kind}/{make.space}/{other}"' in beside, (page, link)


def test_a_definition_shows_its_versions_schema_and_objects(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {"size": {"type": "integer", "description": "How large <it> is."}},
            }
        },
    }
    versions = [
        {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
        }
    ]
    group = f"{make.space}.example.com"
    names = {"plural": "gizmos", "singular": "gizmo", "kind": "Gizmo", "listKind": "GizmoList"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
    make("customresourcedefinitions", {"metadata": {"name": f"gizmos.{group}"}, "spec": spec})
    address = f"/clusters/{cluster.pk}/customresourcedefinitions/-/gizmos.{group}"
    words = page_words(visitor, address)
    assert "Versions Version Served Stored Deprecated Objects v1 yes yes no gizmos" in words
    assert "spec.size integer * How large &lt;it&gt; is." in words
    table = f"/clusters/{cluster.pk}/gizmos.v1.{group}"
    assert table in visitor.get(address).content.decode()


def test_who_can_do_what_is_answered_out_of_roles_and_bindings(
    visitor: Client, cluster: Cluster, make: Make, db: None
) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["pods", "*/scale"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    subjects = [
        {"kind": "User", "name": "grace", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "bot", "namespace": make.space},
    ]
    make("serviceaccounts", {"metadata": {"name": "bot"}})
    make("roles", {"metadata": {"name": "reader"}, "rules": rules})
    make("rolebindings", {"metadata": {"name": "b"}, "roleRef": role, "subjects": subjects})
    base = f"/clusters/{cluster.pk}/-/access"

    def who(verb: str, resource: str, namespace: str) -> str:
        words = page_words(visitor, f"{base}?verb={verb}&resource={resource}&namespace={namespace}")
        return words.partition("Who can " + verb)[2]

    assert "User grace" in who("get", "pods", make.space)
    assert "grace" not in who("delete", "pods", make.space)
    assert "grace" not in who("get", "pods", "")
    assert "grace" in who("delete", "deployments.apps", make.space)
    assert "grace" not in who("delete", "deployments.extensions", make.space)
    assert "grace" in who("get", "deployments/scale", make.space)
    own = page_words(visitor, f"{base}?kind=ServiceAccount&name=bot&home={make.space}")
    assert "reader" in own
    assert "deployments" in own
    account = f"/clusters/{cluster.pk}/serviceaccounts/{make.space}/bot"
    assert "/-/access?kind=ServiceAccount&amp;name=bot" in visitor.get(account).content.decode()
    viewer = get_user_model().objects.create_user("looks")
    Grant.objects.create(user=viewer, role="viewer", cluster=cluster)
    other = Client()
    other.force_login(viewer)
    assert other.get(base).status_code == 403
    assert other.get(f"{base}?verb=get&resource=pods").status_code == 403


def test_keys_of_secrets_are_shown_one_by_one_and_in_the_audit_trail(
    walk: Walk, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    data = {"token": base64.b64encode(b"swordfish").decode()}
    make("secrets", {"metadata": {"name": "door"}, "type": "Opaque", "data": data})
    where = f"/clusters/{cluster.pk}/secrets/{make.space}/door"
    page = walk.open(where)
    row = page.locator('[data-key-name="token"]')
    expect(row).to_contain_text("••••")
    expect(page.locator("main")).not_to_contain_text("swordfish")
    row.get_by_role("button", name="Reveal").click()
    expect(row.locator("[data-value]")).to_have_text("swordfish")
    assert walk.axe() == []
    row.get_by_role("button", name="Hide").click()
    expect(row.locator("[data-value]")).to_have_text("••••••••")
    entry = AuditEntry.objects.filter(verb="reveal").latest("pk")
    assert "token" in str(entry.__dict__)
    assert "swordfish" not in str(entry.__dict__)
    row.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("Value")).to_have_value("")
    page.get_by_label("Value").fill("opensesame")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("token was set.")).to_be_visible()
    stored = (apiserver.get("secrets", "door", make.space) or {})["data"]["token"]
    assert base64.b64decode(stored) == b"opensesame"
    assert not walk.is_wider_than_the_window()


def test_a_secret_is_revealed_only_to_who_may_see_values(
    cluster: Cluster, make: Make, db: None
) -> None:
    data = {"token": base64.b64encode(b"swordfish").decode()}
    make("secrets", {"metadata": {"name": "door"}, "type": "Opaque", "data": data})
    viewer = get_user_model().objects.create_user("looks")
    Grant.objects.create(user=viewer, role="viewer", cluster=cluster)
    client = Client()
    client.force_login(viewer)
    where = f"/clusters/{cluster.pk}/secrets/{make.space}/door"
    page = client.get(where).content.decode()
    assert "data-reveal-key" not in page
    refused = client.post(f"{where}/keys/reveal", {"key": "token"}, content_type="application/json")
    assert refused.status_code == 403
    assert b"swordfish" not in refused.content


def test_keys_of_configmaps_are_set_added_and_removed(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    make("configmaps", {"metadata": {"name": "conf"}, "data": {"a": "1", "b": "2"}})
    where = f"/clusters/{cluster.pk}/configmaps/{make.space}/conf"

    def data() -> dict[str, str]:
        return dict((apiserver.get("configmaps", "conf", make.space) or {})["data"])

    def version() -> str:
        form = visitor.get(f"{where}/keys/edit?key=b").content.decode()
        return re.search(r'name="version" value="(\d+)"', form)[1]  # type: ignore[index]

    first = version()
    edit = {"value": "line\r\nnext", "version": first}
    assert visitor.post(f"{where}/keys/edit?key=a", edit).status_code == 302
    assert data() == {"a": "line\nnext", "b": "2"}
    # The form is older than that change.
    assert visitor.post(f"{where}/keys/edit?key=b", edit).status_code == 422
    added = {"key": "c", "value": "3", "version": version()}
    assert visitor.post(f"{where}/keys/edit", added).status_code == 302
    removed = {"what": "remove", "version": version()}
    assert visitor.post(f"{where}/keys/edit?key=b", removed).status_code == 302
    assert data() == {"a": "line\nnext", "c": "3"}


def test_events_name_their_objects_and_lead_to_them(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    about = {"kind": "Pod", "namespace": make.space, "name": "web-1"}
    event = {
        "metadata": {"name": "web-1.18ec52ff6617909c"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off <b>restarting</b> failed container",
        "count": 7,
    }
    make("events", event)
    answer = visitor.get(f"/clusters/{cluster.pk}/events?namespace={make.space}")
    text = answer.content.decode()
    assert f'href="/clusters/{cluster.pk}/pods/{make.space}/web-1">Pod web-1</a>' in text
    assert "Back-off &lt;b&gt;restarting&lt;/b&gt; failed container" in text
    # The row is called by its reason: the generated name is in nobody's way.
    assert re.search(r"<th scope=\"row\"><a [^>]*>BackOff</a>", text)
    heads = re.findall(r"data-column=\"([^\"]+)\"", text)
    assert heads == ["Reason", "namespace", "Type", "Object", "Message", "Count", "Last seen"]


@pytest.mark.parametrize("width", [1280, 390])
def test_events_are_read_without_scrolling_sideways(
    walk: Walk, cluster: Cluster, make: Make, width: int
) -> None:
    about = {"kind": "Pod", "namespace": make.space, "name": "web-6d4cf56db6-x2x7k"}
    message = "Back-off restarting failed container app in pod web-6d4cf56db6-x2x7k_default"
    head = {"metadata": {"name": "web-6d4cf56db6-x2x7k.18ec52ff6617909c"}, "type": "Warning"}
    make("events", {**head, "involvedObject": about, "reason": "BackOff", "message": message})
    page = walk.page
    page.set_viewport_size({"width": width, "height": 800})
    walk.open(f"/clusters/{cluster.pk}/events?namespace={make.space}")
    cells = page.locator("tbody tr").first.locator("th:visible, td:visible")
    expect(cells.last).to_be_visible()
    edges = cells.evaluate_all("all => all.map(cell => cell.getBoundingClientRect().right)")
    assert max(edges) <= width
    assert not walk.axe()


@pytest.mark.parametrize(
    ("query", "reasons"),
    [
        ("", {"BackOff", "Scheduled"}),
        ("warnings=1", {"BackOff"}),
        ("reason=Scheduled", {"Scheduled"}),
        ("reason=Scheduled,type=Normal", set()),
        ("object_kind=pods", {"BackOff"}),
        ("object_kind=Job", {"Scheduled"}),
        ("q=nightly", {"Scheduled"}),
        ("source=kubelet", {"BackOff"}),
        ("message=OF%20web-1", {"BackOff"}),
        ("message=web-2", set()),
    ],
)
def test_events_are_filtered_by_what_they_say(
    visitor: Client, cluster: Cluster, make: Make, query: str, reasons: set[str]
) -> None:
    rows = [("Warning", "BackOff", "Pod", "web-1"), ("Normal", "Scheduled", "Job", "nightly")]
    sources = {"Pod": "kubelet", "Job": "cron"}
    for event_type, reason, kind, name in rows:
        about = {"kind": kind, "namespace": make.space, "name": name}
        head = {"metadata": {"name": f"{name}.18ec52"}, "involvedObject": about}
        said = {"source": {"component": sources[kind]}, "message": f"Message of {name}"}
        make("events", {**head, **said, "type": event_type, "reason": reason})
    address = f"/clusters/{cluster.pk}/events?namespace={make.space}&{query}"
    text = visitor.get(address).content.decode()
    assert set(re.findall(r"<th scope=\"row\"><a [^>]*>(\w+)</a>", text)) == reasons


def test_a_container_that_ended_has_no_terminal(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    containers = [{"name": "main", "image": "registry.example.com/a/long/path/app:1.2.3"}]
    setup = [{"name": "setup", "image": "busybox:1", "command": ["true"]}]
    spec = {"containers": containers, "initContainers": setup}
    make("pods", {"metadata": {"name": "two"}, "spec": spec}, running=True)
    where = f"/clusters/{cluster.pk}/pods/{make.space}/two"
    page = visitor.get(where).content.decode()
    assert "/terminal?container=main" in page
    assert "/terminal?container=setup" not in page
    assert "Container setup does not run" in page_words(
        visitor, f"{where}/terminal?container=setup"
    )


def test_every_page_has_its_icon(db: None) -> None:
    answer = Client().get("/favicon.ico")
    assert answer.status_code == 302
    assert answer["Location"].endswith("console/icon.svg")


@pytest.mark.parametrize("model", ["resource", "change", "event"])
def test_the_admin_site_searches_the_store(visitor: Client, model: str) -> None:
    page = visitor.get(f"/admin/storage_api/{model}/?q=web")
    assert page.status_code == 200
    assert b'name="q"' in page.content
