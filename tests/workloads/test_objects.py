"""Objects of any kind over the KubeGale routes, against an API server over the wire."""

import uuid
from typing import Any

import pytest
import yaml

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.models import KindSync
from tests.caller import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def space(admin: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin.data(
        "POST", "namespaces", {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
    )
    return name


def configmap(name: str, **data: str) -> dict[str, Any]:
    """A small object that no controller touches."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": name}},
        "data": data,
    }


def make(admin: Caller, cluster: Cluster, space: str, name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap made over the API."""
    created: dict[str, Any] = admin.data(
        "POST",
        "configmaps",
        {"cluster_id": cluster.pk, "namespace": space, "content": configmap(name, **data)},
    )
    return created


def test_an_object_lives_from_creation_to_deletion(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    created = make(admin, cluster, space, "one", key="a")
    assert (created["kind"], created["apiVersion"], created["metadata"]["namespace"]) == (
        "ConfigMap",
        "v1",
        space,
    )
    assert admin.data("GET", "configmaps/one", **where) == created
    changed = admin.data("PUT", "configmaps/one", {**where, "content": configmap("one", key="b")})
    assert changed["data"] == {"key": "b"}
    assert changed["metadata"]["uid"] == created["metadata"]["uid"]
    assert admin.data("DELETE", "configmaps/one", **where) == {}
    assert admin.code("GET", "configmaps/one", **where) == 1004


def test_content_may_be_yaml_text_or_the_bare_manifest(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    text = yaml.safe_dump(configmap("from-yaml", date="2024-01-01"))
    assert admin.data(
        "POST", "configmaps", {"cluster_id": cluster.pk, "namespace": space, "content": text}
    )["data"] == {"date": "2024-01-01"}
    bare = {**configmap("bare"), "cluster_id": cluster.pk, "namespace": space}
    assert admin.data("POST", "configmaps", bare)["metadata"]["name"] == "bare"


def test_kubernetes_text_in_yaml_stays_text(admin: Caller, cluster: Cluster, space: str) -> None:
    text = "metadata: {name: plain}\ndata: {day: 2024-01-01, time: 12:30:45, big: '0777'}\n"
    created = admin.data(
        "POST", "configmaps", {"cluster_id": cluster.pk, "namespace": space, "content": text}
    )
    assert created["data"] == {"day": "2024-01-01", "time": "12:30:45", "big": "0777"}


def test_pages_have_exact_totals_and_a_stable_order(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    names = [f"item-{number:02}" for number in range(25)]
    for name in names:
        make(admin, cluster, space, name)
    where = {"cluster_id": cluster.pk, "namespace": space, "labelSelector": "app"}
    pages = [
        admin.data("GET", "configmaps", page=page, pageSize=10, **where) for page in (1, 2, 3, 4)
    ]
    assert [page["total"] for page in pages] == [25] * 4
    assert [page["page"] for page in pages] == [1, 2, 3, 4]
    assert [item["metadata"]["name"] for page in pages for item in page["items"]] == names
    plain = admin.data(
        "GET", "configmaps", cluster_id=cluster.pk, namespace=space, pageSize=2, page=2
    )
    assert (len(plain["items"]), plain["pageSize"]) == (2, 2)
    assert plain["total"] in (25, 26)  # a real cluster adds kube-root-ca.crt


def test_a_keyword_is_part_of_a_name_whatever_its_case(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    for name in ("web-front", "web-back", "db"):
        make(admin, cluster, space, name)
    listing = admin.data(
        "GET",
        "configmaps",
        cluster_id=cluster.pk,
        namespace=space,
        keyword="WEB",
        pageSize=1,
        page=2,
    )
    assert (listing["total"], [item["metadata"]["name"] for item in listing["items"]]) == (
        2,
        ["web-front"],
    )


def test_selectors_are_the_api_servers_own(admin: Caller, cluster: Cluster, space: str) -> None:
    for name in ("a", "b"):
        make(admin, cluster, space, name)
    where = {"cluster_id": cluster.pk, "namespace": space}
    assert admin.data("GET", "configmaps", labelSelector="app in (a)", **where)["total"] == 1
    assert admin.data("GET", "configmaps", fieldSelector="metadata.name=b", **where)["total"] == 1
    assert admin.code("GET", "configmaps", labelSelector="a===b", **where) == 1001
    assert admin.code("GET", "configmaps", fieldSelector="spec.foo=bar", **where) == 1001


def test_a_stale_resource_version_is_a_conflict_and_changes_nothing(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    old = make(admin, cluster, space, "one", key="a")
    admin.data("PUT", "configmaps/one", {**where, "content": configmap("one", key="b")})
    answer = admin("PUT", "configmaps/one", {**where, "content": {**old, "data": {"key": "lost"}}})
    assert (answer["code"], answer["data"]["reason"], answer["data"]["status"]) == (
        1008,
        "Conflict",
        409,
    )
    assert admin.data("GET", "configmaps/one", **where)["data"] == {"key": "b"}


@pytest.mark.parametrize(
    ("patch", "body", "expected"),
    [
        ("application/merge-patch+json", '{"data":{"b":"2"}}', {"a": "1", "b": "2"}),
        ("application/strategic-merge-patch+json; charset=utf-8", '{"data":{"a":null}}', None),
        (
            "application/json-patch+json",
            '[{"op":"replace","path":"/data/a","value":"9"}]',
            {"a": "9"},
        ),
        (
            "application/apply-patch+yaml",
            '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"},"data":{"c":"3"}}',
            {"a": "1", "c": "3"},
        ),
    ],
)
def test_the_four_patches(
    admin: Caller, cluster: Cluster, space: str, patch: str, body: str, expected: Any
) -> None:
    make(admin, cluster, space, "one", a="1")
    changed = admin.data(
        "PATCH", "configmaps/one", body, content_type=patch, cluster_id=cluster.pk, namespace=space
    )
    assert (changed.get("data") or None) == expected


def test_an_unknown_patch_type_is_refused(admin: Caller, cluster: Cluster, space: str) -> None:
    assert (
        admin.code("PATCH", "configmaps/one", "{}", cluster_id=cluster.pk, namespace=space) == 1001
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_dry_run_changes_nothing(
    admin: Caller, cluster: Cluster, space: str, method: str
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    make(admin, cluster, space, "kept", key="a")
    match method:
        case "POST":
            admin.data(
                "POST", "configmaps", {**where, "dry_run": True, "content": configmap("new")}
            )
        case "PUT":
            assert admin.data(
                "PUT",
                "configmaps/kept",
                {**where, "content": configmap("kept", key="b")},
                dry_run="true",
            )["data"] == {"key": "b"}
        case "PATCH":
            admin.data(
                "PATCH",
                "configmaps/kept",
                '{"data":{"key":"b"}}',
                content_type="application/merge-patch+json",
                dry_run="true",
                **where,
            )
        case "DELETE":
            forecast = admin.data("DELETE", "configmaps/kept", dry_run="true", **where)
            assert (
                forecast["protected"],
                forecast["require_name"],
                forecast["impact"]["warnings"],
            ) == ("", False, [])
    listed = admin.data("GET", "configmaps", labelSelector="app", **where)["items"]
    assert [(item["metadata"]["name"], item["data"]) for item in listed] == [("kept", {"key": "a"})]


def test_secrets_are_masked_in_lists_and_whole_for_those_who_may_read_one(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    content = {
        "metadata": {"name": "pw", "annotations": {annotation: '{"data":{"key":"bWFya2Vy"}}'}},
        "data": {"key": "bWFya2Vy"},
    }
    admin.data(
        "POST", "secrets", {"cluster_id": cluster.pk, "namespace": space, "content": content}
    )
    response = admin.raw("GET", "secrets", cluster_id=cluster.pk, namespace=space)
    assert b"bWFya2Vy" not in response.content
    [listed] = [
        item for item in response.json()["data"]["items"] if item["metadata"]["name"] == "pw"
    ]
    assert listed["data"] == {"key": "***"}
    assert admin.data("GET", "secrets/pw", cluster_id=cluster.pk, namespace=space)["data"] == {
        "key": "bWFya2Vy"
    }


def test_what_is_missing_is_named(admin: Caller, cluster: Cluster, space: str) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    nowhere = {"cluster_id": cluster.pk, "namespace": "no-such-namespace"}
    assert admin.code("GET", "configmaps/x", cluster_id=999_999, namespace=space) == 1002
    assert admin.code("GET", "configmaps/x", **nowhere) == 1003
    assert admin.code("DELETE", "configmaps/x", **nowhere) == 1003
    assert admin.code("POST", "configmaps", {**nowhere, "content": configmap("x")}) == 1003
    assert admin.code("GET", "namespaces/no-such-namespace", cluster_id=cluster.pk) == 1003
    assert (
        admin.code("GET", "namespaces/no-such-namespace/limitranges", cluster_id=cluster.pk) == 1003
    )
    assert admin.code("GET", "configmaps/x", **where) == 1004
    assert admin.code("PUT", "configmaps/x", {**where, "content": configmap("x")}) == 1004
    assert admin.data("GET", "configmaps", **nowhere) == {
        "items": [],
        "total": 0,
        "page": 1,
        "pageSize": 20,
    }


def test_what_the_api_server_refuses_is_named_after_the_verb(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    make(admin, cluster, space, "one")
    again = admin("POST", "configmaps", {**where, "content": configmap("one")})
    assert (again["code"], again["data"]["reason"]) == (1007, "AlreadyExists")
    bad = admin(
        "POST", "deployments", {**where, "content": {"metadata": {"name": "Bad_Name"}, "spec": {}}}
    )
    assert (bad["code"], bad["data"]["reason"], bad["data"]["status"]) == (1007, "Invalid", 422)
    assert (
        admin.code(
            "POST",
            "secrets",
            {**where, "content": {"metadata": {"name": "s"}, "data": {"k": "%%%"}}},
        )
        == 1007
    )
    web = {"metadata": {"name": "svc"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    admin.data("POST", "services", {**where, "content": web})
    web["spec"]["ports"] = []  # type: ignore[index]
    assert admin.code("PUT", "services/svc", {**where, "content": web}) == 1008


@pytest.mark.parametrize(
    "body",
    [
        {"content": configmap("x")},
        {"cluster_id": "CLUSTER", "content": {"kind": "Secret", "metadata": {"name": "x"}}},
        {"cluster_id": "CLUSTER", "content": {"apiVersion": "v2", "metadata": {"name": "x"}}},
        {
            "cluster_id": "CLUSTER",
            "content": {**configmap("x"), "metadata": {"name": "x", "namespace": "elsewhere"}},
        },
        {"cluster_id": "CLUSTER", "content": "a: b: c"},
        {"cluster_id": "CLUSTER", "content": "a: 1\n---\nb: 2"},
        {"cluster_id": "CLUSTER", "content": ["list"]},
        {"cluster_id": "CLUSTER", "content": 5},
        {"cluster_id": "CLUSTER", "content": {"metadata": "text"}},
        {"cluster_id": "CLUSTER"},
        {"cluster_id": "CLUSTER", "clusterId": 99, "content": configmap("x")},
        {"cluster_id": [1], "content": configmap("x")},
        {"cluster_id": {"a": 1}, "content": configmap("x")},
        {
            "cluster_id": "CLUSTER",
            "namespace": "../kube-system",
            "content": {"metadata": {"name": "x"}},
        },
        "{",
        "[]",
        '{"a": NaN}',
        # Never more than 64 bits, half of a letter, or text that would blow up; the process lives on.
        {
            "cluster_id": "CLUSTER",
            "content": "metadata: {name: x}\na: 123456789012345678901234567890",
        },
        {"cluster_id": "CLUSTER", "content": {**configmap("x"), "a": 2**63}},
        {"cluster_id": "CLUSTER", "content": {**configmap("x"), "a": 10**30}},
        {"cluster_id": "CLUSTER", "content": "a: " + "{a: " * 30_000},
        {"cluster_id": "CLUSTER", "content": "metadata: {name: x}\n" + "\n" * 2**20},
        '{"a": "\\ud800"}',
        '{"a": ' * 20_000,
        '{"a": [' + "1," * 600_000 + "1]}",
        '{"a": 1e999}',
        '{"a": ' + "1" * 5000 + "}",
    ],
)
def test_input_that_makes_no_sense_is_1001_and_nothing_is_made(
    admin: Caller, cluster: Cluster, space: str, body: Any
) -> None:
    if isinstance(body, dict):
        body = {"namespace": space, **body}
        body = {key: cluster.pk if value == "CLUSTER" else value for key, value in body.items()}
    assert admin.code("POST", "configmaps", body) == 1001
    assert (
        admin.data(
            "GET", "configmaps", cluster_id=cluster.pk, namespace=space, labelSelector="app"
        )["total"]
        == 0
    )


def test_numbers_reach_the_cluster_as_kubernetes_clients_send_them(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    text = """
    metadata: {name: web}
    spec:
      replicas: 0e3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 3.0
          securityContext: {runAsUser: 1.00065e+09}
          containers: [{name: app, image: "nginx:1", args: [=, "<<"]}]
    """
    created = admin.data("POST", "deployments", {**where, "content": text})
    pod = created["spec"]["template"]["spec"]
    assert (str(created["spec"]["replicas"]), str(pod["terminationGracePeriodSeconds"])) == (
        "0",
        "3",
    )
    assert str(pod["securityContext"]["runAsUser"]) == "1000650000"
    assert pod["containers"][0]["args"] == ["=", "<<"]
    created["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 4.0
    created["metadata"].pop("resourceVersion")
    changed = admin.data("PUT", "deployments/web", {**where, "content": created})
    assert str(changed["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]) == "4"
    patched = admin.raw(
        "PATCH",
        f"deployments/web?cluster_id={cluster.pk}&namespace={space}",
        b'{"spec":{"revisionHistoryLimit":7.0}}',
        content_type="application/merge-patch+json",
    ).json()
    assert str(patched["data"]["spec"]["revisionHistoryLimit"]) == "7"
    bomb = b"a: " + b"{a: " * 30_000
    applied = admin.raw(
        "PATCH",
        f"deployments/web?cluster_id={cluster.pk}&namespace={space}",
        bomb,
        content_type="application/apply-patch+yaml",
    ).json()
    assert applied["code"] == 1001


@pytest.mark.parametrize("patch", ["merge-patch", "strategic-merge-patch", "json-patch"])
@pytest.mark.parametrize("value", ["1180591620717411303424", '"\\ud800"'])
def test_no_patch_carries_what_the_api_server_would_change_in_silence(
    admin: Caller, cluster: Cluster, space: str, patch: str, value: str
) -> None:
    admin.data(
        "POST",
        "configmaps",
        {"cluster_id": cluster.pk, "namespace": space, "content": configmap("x")},
    )
    body = (
        f'[{{"op": "add", "path": "/a", "value": {value}}}]'
        if patch == "json-patch"
        else f'{{"a": {value}}}'
    )
    answer = admin(
        "PATCH",
        f"configmaps/x?cluster_id={cluster.pk}&namespace={space}",
        body,
        content_type=f"application/{patch}+json",
    )
    assert answer["code"] == 1001, answer


@pytest.mark.parametrize(
    "query",
    [
        {"page": 0},
        {"pageSize": 0},
        {"page": "x"},
        {"pageSize": -1},
        {"page": "1.5"},
        {"page": "1_0"},
        {"page": "\u0661"},
    ],
)
def test_bad_pages_are_1001(admin: Caller, cluster: Cluster, query: dict[str, Any]) -> None:
    assert admin.code("GET", "configmaps", cluster_id=cluster.pk, **query) == 1001


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2fsecrets%2fx", "x" * 300, "a%00b", "a%0ab", "%25"]
)
def test_hostile_names_reach_nothing(
    admin: Caller, cluster: Cluster, space: str, name: str, apiserver: Any
) -> None:
    apiserver.requests.clear()
    for method in ("GET", "DELETE"):
        answer = admin.raw(method, f"configmaps/{name}", cluster_id=cluster.pk, namespace=space)
        assert answer.json()["code"] in (1001, 1004)
        assert answer.status_code in (200, 404)
    assert not [request for request in apiserver.requests if request.path.endswith("/secrets/x")]
    assert admin.code("GET", "namespaces", cluster_id=cluster.pk) == 0


def test_cluster_wide_kinds_ignore_the_namespace(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    role = {"metadata": {"name": f"role-{space}"}, "rules": []}
    admin.data(
        "POST", "clusterroles", {"cluster_id": cluster.pk, "namespace": space, "content": role}
    )
    assert (
        admin.data("GET", f"clusterroles/role-{space}", cluster_id=cluster.pk)["kind"]
        == "ClusterRole"
    )
    assert admin.data("DELETE", f"clusterroles/role-{space}", cluster_id=cluster.pk) == {}


def test_an_item_of_a_namespaced_kind_needs_its_namespace(admin: Caller, cluster: Cluster) -> None:
    assert admin.code("GET", "configmaps/x", cluster_id=cluster.pk) == 1001
    assert admin.code("DELETE", "configmaps/x", cluster_id=cluster.pk) == 1001
    assert (
        admin.code("POST", "configmaps", {"cluster_id": cluster.pk, "content": configmap("x")})
        == 1001
    )


def test_nodes_are_listed_and_changed_but_not_created(admin: Caller, cluster: Cluster) -> None:
    node = admin.data("GET", "nodes", cluster_id=cluster.pk)["items"][0]
    name = node["metadata"]["name"]
    fresh = admin.data("GET", f"nodes/{name}", cluster_id=cluster.pk)
    fresh["metadata"].setdefault("labels", {})["tested"] = "yes"
    fresh["metadata"].pop("resourceVersion")
    assert (
        admin.data("PUT", f"nodes/{name}", {"cluster_id": cluster.pk, "content": fresh})[
            "metadata"
        ]["labels"]["tested"]
        == "yes"
    )
    assert admin.raw("POST", "nodes", {"cluster_id": cluster.pk, "content": {}}).status_code == 405


def test_namespaces_and_what_is_set_on_them(admin: Caller, cluster: Cluster, space: str) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "10"}}}
    admin.data(
        "POST", "resourcequotas", {"cluster_id": cluster.pk, "namespace": space, "content": quota}
    )
    listed = admin.data("GET", f"namespaces/{space}/resourcequotas", cluster_id=cluster.pk)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["q"]
    names = admin.data("GET", f"clusters/{cluster.pk}/namespaces")["namespaces"]
    [mine] = [item for item in names if item["metadata"]["name"] == space]
    assert set(mine) == {"metadata", "status"}
    assert mine["status"]["phase"] == "Active"
    assert {"name", "uid", "creationTimestamp"} <= set(mine["metadata"])


def test_events_are_newest_first_and_found_by_what_they_are_about(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    for number in range(3):
        about = {"kind": "Pod", "name": "web" if number else "db", "namespace": space}
        event = {
            "metadata": {"name": f"e{number}"},
            "involvedObject": about,
            "lastTimestamp": f"2026-01-0{number + 1}T00:00:00Z",
            "reason": "Tested",
        }
        admin.data(
            "POST", "events", {"cluster_id": cluster.pk, "namespace": space, "content": event}
        )
    where = {"cluster_id": cluster.pk, "namespace": space}
    listing = admin.data("GET", "events", resource_type="pods", resource_name="web", **where)
    assert (listing["total"], [item["metadata"]["name"] for item in listing["items"]]) == (
        2,
        ["e2", "e1"],
    )
    assert (
        admin.data(
            "GET", "events", resource_type="Pod", resource_name="x,involvedObject.name=web", **where
        )["total"]
        == 0
    )


def test_events_are_found_by_any_name_of_a_custom_kind(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, space: str
) -> None:
    KindSync.objects.create(
        cluster=cluster,
        group="wear.example.com",
        version="v1",
        plural="shirts",
        kind="Shirt",
        namespaced=True,
        resource_type="Shirt.wear.example.com",
        aliases=["shirt", "sh"],
    )
    about = {"kind": "Shirt", "name": "red", "namespace": space}
    event = {"metadata": {"name": "red.1", "namespace": space}, "involvedObject": about}
    apiserver.load("events", [event])
    where = {"cluster_id": cluster.pk, "namespace": space}
    for word in ("shirts", "SHIRT", "sh", "shirts.wear.example.com", "Shirt"):
        assert admin.data("GET", "events", resource_type=word, **where)["total"] == 1, word
    assert admin.data("GET", "events", resource_type="Trousers", **where)["total"] == 0
    assert admin.code("GET", "events", resource_type="a,b=c", **where) == 1001


def test_events_with_a_series_are_ordered_and_counted_as_kubectl_events_does(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, space: str
) -> None:
    about = {"kind": "Pod", "name": "web", "namespace": space}
    old = {"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-05T00:00:00Z"}
    series = {"count": 42, "lastObservedTime": "2026-01-06T00:00:00.500000Z"}
    events = {
        "old": {**old, "count": 9},
        "newest": {"eventTime": "2026-01-01T00:00:00.000001Z", "series": series},
        # A series counts more than the last time of the old way.
        "both": {
            **old,
            "count": 2,
            "series": {**series, "lastObservedTime": "2026-01-06T00:00:00Z"},
        },
        "once": {"eventTime": "2026-01-05T12:00:00.000000Z", "lastTimestamp": None},
    }
    items = [
        {"metadata": {"name": name, "namespace": space}, "involvedObject": about, **event}
        for name, event in events.items()
    ]
    apiserver.load("events", items)
    listed = admin.data("GET", "events", cluster_id=cluster.pk, namespace=space)["items"]
    assert [item["metadata"]["name"] for item in listed] == ["newest", "both", "once", "old"]
    assert (listed[0]["count"], listed[0]["lastTimestamp"]) == (42, "2026-01-06T00:00:00Z")
    assert listed[0]["series"] == series
    # Of its two counts kubectl shows the series'.
    assert listed[1]["count"] == 42


def test_a_custom_resource_goes_the_same_way(admin: Caller, cluster: Cluster, space: str) -> None:
    group = f"{space}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    crd = {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "listKind": "WidgetList",
                "shortNames": ["wd"],
            },
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    admin.data("POST", "customresourcedefinitions", {"cluster_id": cluster.pk, "content": crd})
    where = {"cluster_id": cluster.pk, "namespace": space}
    base = f"resources/{group}/v1/widgets"
    created = _eventually(
        lambda: admin(
            "POST", base, {**where, "content": {"metadata": {"name": "w"}, "spec": {"size": 1}}}
        )
    )["data"]
    assert created["kind"] == "Widget"
    for word in ("widgets", "widget", "Widget", "wd"):
        assert admin.data("GET", f"resources/{group}/v1/{word}", **where)["total"] == 1, word
    assert admin.data("DELETE", f"{base}/w", **where) == {}
    assert admin.code("GET", f"resources/{group}/v1/gadgets", **where) == 1004
    assert admin.code("GET", "resources/no.such.group/v1/things", **where) == 1004
    assert admin.code("GET", "resources/BAD!/v1/things", **where) == 1001
    assert admin.data("GET", "resources/core/v1/configmaps", **where)["items"] is not None


def _eventually(call: Any) -> dict[str, Any]:
    """A real cluster serves a new kind only after a moment."""
    import time

    for _ in range(50):
        answer: dict[str, Any] = call()
        if answer["code"] == 0:
            return answer
        time.sleep(0.1)
    return answer


def test_fields_that_the_cluster_does_not_know_are_refused_when_that_is_asked_for(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    body = {
        "cluster_id": cluster.pk,
        "namespace": space,
        "content": {"metadata": {"name": "odd"}, "dater": {}},
    }
    refused = admin("POST", "configmaps", {**body, "field_validation": "Strict"})
    assert refused["code"] == 1007
    assert 'unknown field "dater"' in refused["msg"]
    assert admin.code("POST", "configmaps", {**body, "field_validation": "Sometimes"}) == 1001
    assert admin.code("GET", "configmaps/odd", cluster_id=cluster.pk, namespace=space) == 1004
    assert admin.code("POST", "configmaps", body) == 0
