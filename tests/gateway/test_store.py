"""The past and the fleet: what kubectl and clients read out of the store through the gateway."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from django.db import connection
from django.utils import timezone

from access.models import AuditEntry
from core.times import rfc3339
from simcluster.testing import RunningCluster
from storage_api.models import Change
from storage_api.services import bulk, events
from storage_api.services.bulk import WriteRecord
from storage_api.services.events import EventReport
from storage_api.services.resources import Key
from tests.gateway.conftest import KUBECTLS
from tests.gateway.running import Kubectl, Running, new_token, write_kubeconfig
from tests.gateway.stored import TABLE, StoreClient, StoredCluster

RUNNING = {"status": {"phase": "Running"}}


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE storage_resource, storage_change, storage_base, storage_gap, storage_event"
        )


@pytest.fixture
def emptied(transactional_db: None) -> Iterator[None]:
    """A store without rows: its tables are not Django's to flush."""
    _empty()
    yield
    _empty()


@pytest.fixture
def east(emptied: None) -> StoredCluster:
    """A cluster with pods in two namespaces."""
    east = StoredCluster("east")
    for namespace in ("shop", "other"):
        east.write("namespaces", namespace, status={"phase": "Active"})
    east.write("pods", "web-1", "shop", spec={"nodeName": "n1"}, **RUNNING)
    east.write("pods", "web-2", "shop", metadata={"labels": {"app": "web"}}, **RUNNING)
    east.write("pods", "only-east", "other", status={"phase": "Pending"})
    return east


@pytest.fixture
def west(emptied: None) -> StoredCluster:
    """Another cluster, with a pod of the same name."""
    west = StoredCluster("west")
    west.write("pods", "web-1", "shop", metadata={"labels": {"app": "web"}}, **RUNNING)
    return west


@pytest.fixture
def client(running: Running, admin_token: str) -> StoreClient:
    """An administrator's."""
    return StoreClient(running, admin_token)


def moment() -> str:
    """Now, behind everything that was written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found: datetime = cursor.fetchone()[0]
    # What follows is later by more than the millisecond to which the log rounds.
    time.sleep(0.005)
    return rfc3339(found + timedelta(milliseconds=2), digits=3)


# --- what the caller may do -----------------------------------------------------------------------
def can(client: StoreClient, target: str, verb: str, resource: str, **rest: str) -> str:
    """ "" when the caller may, else why not."""
    attributes = {"verb": verb, "resource": resource, **rest}
    status = client.review(target, "SelfSubjectAccessReview", resourceAttributes=attributes)
    assert status["allowed"] is not bool(status["reason"])
    return str(status["reason"])


def test_reviews_of_the_fleet_and_the_past_answer_for_the_caller(
    running: Running,
    client: StoreClient,
    east: StoredCluster,
    west: StoredCluster,
    apiserver: RunningCluster,
) -> None:
    # It is asked whether the namespace of a grant is still the same.
    east.row.kubeconfig = apiserver.kubeconfig_yaml
    east.row.save()
    token = new_token("vera", "viewer", cluster=east.row, namespace="shop")
    viewer = StoreClient(running, token)
    past = f"east@{moment()}"
    for target in ("fleet", past):
        assert can(client, target, "list", "secrets") == ""
        assert can(viewer, target, "list", "pods", namespace="shop") == ""
        assert can(viewer, target, "get", "pods", namespace="other")
        assert can(viewer, target, "get", "nodes")
        assert "is not stored" in can(client, target, "get", "gadgets", group="example.com")
        assert can(client, target, "get", "pods", subresource="log")
        assert "read-only" in can(client, target, "delete", "pods")
        assert "read-only" in can(client, target, "*", "*")
        assert viewer.review(target, "SelfSubjectReview")["userInfo"]["username"] == "vera"
    assert can(client, "fleet", "watch", "pods") == ""
    assert can(client, past, "watch", "pods")
    assert can(client, "fleet", "watch", "events")
    rules = viewer.review("fleet", "SelfSubjectRulesReview", namespace="shop")
    verbs = {rule["resources"][0]: rule["verbs"] for rule in rules["resourceRules"]}
    assert verbs["deployments"] == ["get", "list", "watch"]
    assert "nodes" not in verbs
    rules = viewer.review(past, "SelfSubjectRulesReview", namespace="shop")
    assert {"get", "list"} == {verb for rule in rules["resourceRules"] for verb in rule["verbs"]}
    other = StoreClient(running, new_token("olga", "viewer", cluster=west.row))
    with pytest.raises(AssertionError, match="does not exist"):
        can(other, past, "get", "pods")


@pytest.mark.skipif(not KUBECTLS, reason="kubectl is not installed")
@pytest.mark.parametrize("program", sorted({KUBECTLS[0], KUBECTLS[-1]}) if KUBECTLS else [])
def test_kubectl_asks_what_it_may_do_in_the_fleet(
    running: Running, east: StoredCluster, tmp_path: Path, program: str
) -> None:
    token = new_token("vera", "viewer", cluster=east.row)
    config = write_kubeconfig(tmp_path / "config", running, "fleet", token)
    kubectl = Kubectl(program, config)
    assert kubectl("auth", "can-i", "list", "pods") == "yes\n"
    refused = kubectl.run("auth", "can-i", "delete", "pods").stdout
    assert refused.startswith("no - the fleet is read-only")
    rows = kubectl("auth", "can-i", "--list").splitlines()
    assert any(row.startswith("deployments.apps") and "[get list watch]" in row for row in rows)


# --- the fleet ------------------------------------------------------------------------------------
def test_a_list_of_the_fleet_names_the_cluster_of_every_object(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    answer = client.get("fleet/api/v1/pods")
    assert answer.status == 200
    assert answer.json["kind"] == "PodList"
    assert answer.names == ["east/only-east", "east/web-1", "east/web-2", "west/web-1"]
    assert "kind" not in answer.json["items"][0]
    table = client.get("fleet/api/v1/pods", TABLE).json
    assert [column["name"] for column in table["columnDefinitions"]][:3] == [
        "Cluster", "Name", "Ready",
    ]  # fmt: skip
    assert [row["cells"][:2] for row in table["rows"]][-1] == ["west", "web-1"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    alone = client.get("fleet/api/v1/namespaces/shop/pods", "application/yaml")
    assert [item["metadata"]["name"] for item in yaml.safe_load(alone.body)["items"]] == [
        "web-1", "web-2", "web-1",
    ]  # fmt: skip


def test_what_an_agent_has_stored_breaks_no_list(client: StoreClient, east: StoredCluster) -> None:
    texts = (b"{}", b"null", b"7", b'{"metadata": null}', b'{"metadata": {"annotations": 7}}')
    bulk.write(
        [
            WriteRecord(Key("east", "Pod", "odd", f"odd-{number}"), text)
            for number, text in enumerate(texts)
        ]
    )
    for place in ("fleet", f"east@{moment()}"):
        path = f"{place}/api/v1/namespaces/odd/pods"
        assert len(client.get(path).json["items"]) == len(texts)
        assert len(client.get(path, TABLE).json["rows"]) == len(texts)
        assert client.get(f"{path}/odd-0").status == 200


def test_kubectl_can_read_what_an_agent_has_stored(
    client: StoreClient, east: StoredCluster
) -> None:
    texts = (
        # kubectl takes an object with items for a list, and sorts by what is text.
        b'{"kind": "List", "items": [1]}',
        b'{"kind": 7, "apiVersion": []}',
        b'{"metadata": {"name": 7, "labels": [1], "ownerReferences": "x", "creationTimestamp": 5}}',
        b'{"status": {"containerStatuses": [{"restartCount": 1000000000000000000000000000000}]}}',
        b'{"status": {"initContainerStatuses": [{"restartCount": 1e300}]}}',
    )
    for number, text in enumerate(texts):
        bulk.write([WriteRecord(Key("east", "Pod", "odd", f"odd-{number}"), text)])
    path = "fleet/api/v1/namespaces/odd/pods"
    items = client.get(path).json["items"]
    assert len(items) == len(texts)
    assert not [item for item in items if "items" in item]
    odd = ("name", "labels", "ownerReferences", "creationTimestamp")
    assert not [item for item in items if item["metadata"].keys() & set(odd)]
    assert len(client.get(path, TABLE).json["rows"]) == len(texts)
    for number in range(len(texts)):
        pod = client.get(f"{path}/odd-{number}").json
        assert (pod["kind"], pod["apiVersion"]) in (("Pod", "v1"), ("List", "v1"))


SELECTORS = [
    ("labelSelector=kubegale.io/cluster%3Dwest", ["west/web-1"]),
    ("labelSelector=kubegale.io/cluster!%3Dwest,app%3Dweb", ["east/web-2"]),
    ("labelSelector=kubegale.io/cluster+in+(east,west),app", ["east/web-2", "west/web-1"]),
    ("labelSelector=kubegale.io/cluster+notin+(east)", ["west/web-1"]),
    ("labelSelector=kubegale.io/cluster,!app", ["east/only-east", "east/web-1"]),
    ("labelSelector=!kubegale.io/cluster", []),
    ("fieldSelector=spec.nodeName%3Dn1", ["east/web-1"]),
    ("fieldSelector=status.phase!%3DRunning", ["east/only-east"]),
    ("fieldSelector=metadata.name%3Dweb-1,metadata.namespace%3Dshop", ["east/web-1", "west/web-1"]),
]


def test_selectors_choose_objects_and_clusters(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    for query, names in SELECTORS:
        assert client.get(f"fleet/api/v1/pods?{query}").names == names, query


def test_bad_options_are_refused_as_an_api_server_refuses_them(
    client: StoreClient, east: StoredCluster
) -> None:
    refusals = {
        "labelSelector=a%3D%3D%3Db": 400,
        "fieldSelector=spec.foo%3Dbar": 400,
        "fieldSelector=nonsense": 400,
        "limit=-1": 400,
        "continue=garbage": 400,
        "resourceVersion=x": 400,
        "resourceVersionMatch=Exact": 400,
        "resourceVersion=999999999999&resourceVersionMatch=NotOlderThan": 504,
        "includeObject=Some": 400,
        "watch=1&timeoutSeconds=soon": 400,
        "watch=1&sendInitialEvents=true": 400,
    }
    for query, status in refusals.items():
        answer = client.get(f"fleet/api/v1/pods?{query}", TABLE)
        assert (query, answer.status) == (query, status)
        assert answer.json["kind"] == "Status"
    message = client.get("fleet/api/v1/pods?fieldSelector=spec.foo%3Dbar").json["message"]
    assert message == "field label not supported: spec.foo"
    assert client.get("fleet/api/v1/pods", "application/vnd.kubernetes.protobuf").status == 406
    assert client.get("fleet/api/v1/nothings").status == 404
    assert client.get("fleet/api/v1/pods/web-1").status == 404
    assert client.get("fleet/api/v1/namespaces/shop/pods/web-1/log").status == 405
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = client.get("fleet/api/v1/namespaces/shop/pods/web-1", method=method)
        assert (answer.status, answer.json["reason"]) == (405, "MethodNotAllowed")


def test_pages_of_a_list_are_all_of_one_state(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    page = client.get("fleet/api/v1/pods?limit=2")
    names = page.names
    # What happens between two pages is not in the list, but behind it in a watch.
    east.delete("pods", "web-2", "shop")
    east.write("pods", "web-3", "shop", **RUNNING)
    west.write("pods", "web-1", "shop", status={"phase": "Failed"})
    phases = []
    while token := page.json["metadata"].get("continue"):
        page = client.get(f"fleet/api/v1/pods?limit=1&continue={token}")
        names += page.names
        phases += [item["status"]["phase"] for item in page.json["items"]]
    assert names == ["east/only-east", "east/web-1", "east/web-2", "west/web-1"]
    assert phases == ["Running", "Running"]
    version = page.json["metadata"]["resourceVersion"]
    exact = client.get(f"fleet/api/v1/pods?resourceVersion={version}&resourceVersionMatch=Exact")
    assert exact.names == names
    with client.watch(f"fleet/api/v1/pods?watch=1&resourceVersion={version}") as watch:
        assert watch.take(3) == ["DELETED east/web-2", "ADDED east/web-3", "MODIFIED west/web-1"]


def test_a_long_list_comes_in_pieces_and_whole(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    names = [f"many-{number:04d}" for number in range(1203)]
    west.write_many("configmaps", names, "shop", data={"k": "v" * 200})
    east.write("configmaps", "first", "shop")
    answer = client.get("fleet/api/v1/configmaps")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.names == ["east/first", *(f"west/{name}" for name in names)]
    rows = client.get("fleet/api/v1/configmaps?includeObject=None", TABLE).json["rows"]
    assert [row["cells"][1] for row in rows] == ["first", *names]
    assert "object" not in rows[0]


def test_one_object_of_the_fleet_or_the_clusters_that_have_its_name(
    client: StoreClient, running: Running, east: StoredCluster, west: StoredCluster
) -> None:
    one = client.get("fleet/api/v1/namespaces/other/pods/only-east").json
    assert one["metadata"]["annotations"] == {"kubegale.io/cluster": "east"}
    assert (one["kind"], one["apiVersion"]) == ("Pod", "v1")
    several = client.get("fleet/api/v1/namespaces/shop/pods/web-1")
    assert several.status == 409
    assert "east, west" in several.json["message"]
    assert client.get("fleet/api/v1/namespaces/shop/pods/nobody").status == 404
    viewer = StoreClient(running, new_token("vera", "viewer", cluster=west.row))
    seen = viewer.get("fleet/api/v1/namespaces/shop/pods/web-1")
    assert seen.json["metadata"]["annotations"]["kubegale.io/cluster"] == "west"


def test_callers_see_what_rest_would_show_them(
    running: Running, east: StoredCluster, west: StoredCluster, apiserver: RunningCluster
) -> None:
    # It is asked whether the namespace of a grant is still the same.
    east.row.kubeconfig = apiserver.kubeconfig_yaml
    east.row.save()
    inside = StoreClient(running, new_token("ina", "viewer", cluster=east.row, namespace="other"))
    assert inside.get("fleet/api/v1/pods").names == ["east/only-east"]
    assert inside.get("fleet/api/v1/namespaces/shop/pods").names == []
    assert inside.get("fleet/api/v1/nodes").status == 403
    assert inside.get("fleet/api/v1/namespaces").names == ["east/other"]
    at = moment()
    assert inside.get(f"east@{at}/api/v1/namespaces/other/pods").names == ["/only-east"]
    assert inside.get(f"east@{at}/api/v1/pods").names == ["/only-east"]
    assert inside.get(f"east@{at}/api/v1/namespaces/shop/pods").status == 403
    forbidden = inside.get(f"east@{at}/api/v1/nodes").json
    assert 'User "ina" cannot list resource "nodes"' in forbidden["message"]
    # A cluster that one may not see is one that does not exist.
    hidden = inside.get(f"west@{at}/api/v1/pods")
    missing = inside.get(f"nowhere@{at}/api/v1/pods")
    assert hidden.status == missing.status == 404
    assert hidden.json["message"].replace("west", "nowhere") == missing.json["message"]
    nobody = StoreClient(running, new_token("nora"))
    assert nobody.get("fleet/api/v1/pods").status == 403
    west.row.impersonate = True
    west.row.save()
    viewer = StoreClient(running, new_token("vic", "viewer"))
    assert viewer.get("fleet/api/v1/namespaces/shop/pods").names == ["east/web-1", "east/web-2"]
    assert viewer.get(f"west@{at}/api/v1/pods").status == 403


def test_values_of_secrets_are_masked_and_reads_of_them_audited(
    client: StoreClient, east: StoredCluster
) -> None:
    east.write("secrets", "key", "shop", type="Opaque", data={"k": "hmac-sha256:c0ffee"})
    at = moment()
    for target in ("fleet", f"east@{at}", f"fleet@{at}"):
        for path in ("secrets", "namespaces/shop/secrets/key"):
            answer = client.get(f"{target}/api/v1/{path}")
            assert answer.status == 200
            assert b"c0ffee" not in answer.body
            assert b"kubegale-sealed" not in answer.body
            # Clients with types decode it as base64.
            assert b'"k":"Kioq"' in answer.body
        table = client.get(f"{target}/api/v1/secrets?includeObject=Object", TABLE)
        assert b"c0ffee" not in table.body
    entries = AuditEntry.objects.filter(kind="secrets", dialect="gateway")
    assert set(entries.values_list("cluster", "verb", "name")) == {
        ("east", "list", ""),
        ("east", "get", "key"),
    }


def test_discovery_has_what_is_collected(client: StoreClient, east: StoredCluster) -> None:
    assert client.get("fleet/api").json["versions"] == ["v1"]
    groups = [group["name"] for group in client.get("fleet/apis").json["groups"]]
    assert groups == ["apiextensions.k8s.io", "apps", "example.com"]
    resources = {
        resource["name"]: resource
        for resource in client.get("fleet/apis/example.com/v1").json["resources"]
    }
    assert resources["widgets"]["shortNames"] == ["wd"]
    assert resources["widgets"]["verbs"] == ["get", "list", "watch"]
    for version in ("v2", "v2beta1"):
        accept = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        answer = client.get("fleet/api", f"{accept},application/json")
        assert answer.headers["Content-Type"] == accept
        assert answer.json["items"][0]["versions"][0]["resources"][0]["responseKind"]
    past = client.get(f"east@{moment()}/api/v1").json["resources"]
    assert {verb for resource in past for verb in resource["verbs"]} == {"get", "list"}
    assert client.get("fleet/version").json["gitVersion"] == "v1.36.2"
    assert client.get("fleet/apis/nothing").status == 404
    assert client.get("fleet/openapi/v3").status == 404


def test_custom_kinds_have_the_columns_of_their_definition(
    client: StoreClient, east: StoredCluster
) -> None:
    column = {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}
    versions = [{"name": "v1", "additionalPrinterColumns": [column]}]
    east.write("widgets", "w", "shop", spec={"size": 3})
    plain = client.get("fleet/apis/example.com/v1/widgets", TABLE).json
    assert [entry["name"] for entry in plain["columnDefinitions"]] == ["Cluster", "Name", "Age"]
    east.write("customresourcedefinitions", "widgets.example.com", spec={"versions": versions})
    table = client.get("fleet/apis/example.com/v1/widgets", TABLE).json
    assert [row["cells"] for row in table["rows"]] == [["east", "w", 3]]


# --- the past -------------------------------------------------------------------------------------
def test_a_cluster_as_it_was(client: StoreClient, east: StoredCluster) -> None:
    before = moment()
    east.delete("pods", "web-2", "shop")
    east.write("pods", "web-1", "shop", status={"phase": "Failed"})
    seconds = datetime.fromisoformat(before).timestamp()
    for address in (before, before.replace(":", "%3A"), f"{seconds:.3f}"):
        answer = client.get(f"east@{address}/api/v1/namespaces/shop/pods")
        assert answer.names == ["/web-1", "/web-2"]
        assert answer.json["items"][0]["status"]["phase"] == "Running"
        assert answer.json["items"][0]["metadata"]["resourceVersion"] == "7"
    one = client.get(f"east@{before}/api/v1/namespaces/shop/pods/web-1", TABLE).json
    # Ages count from then.
    assert [row["cells"][2] for row in one["rows"]] == ["Running"]
    assert client.get(f"fleet@{before}/api/v1/namespaces/shop/pods").names == [
        "east/web-1", "east/web-2",
    ]  # fmt: skip
    later = moment()
    assert client.get(f"east@{later}/api/v1/namespaces/shop/pods").names == ["/web-1"]
    assert client.get(f"east@{later}/api/v1/namespaces/shop/pods/web-2").status == 404
    page = client.get(f"east@{before}/api/v1/namespaces/shop/pods?limit=1")
    token = page.json["metadata"]["continue"]
    rest = client.get(f"east@{before}/api/v1/namespaces/shop/pods?limit=1&continue={token}")
    assert page.names + rest.names == ["/web-1", "/web-2"]


def test_ages_of_the_past_count_from_then(client: StoreClient, east: StoredCluster) -> None:
    at = timezone.now()
    born = rfc3339(at - timedelta(minutes=5))
    east.write("pods", "young", "shop", metadata={"creationTimestamp": born})
    Change.objects.filter(resource_name="young").update(at=at - timedelta(minutes=4))
    past = rfc3339(at - timedelta(minutes=3))
    table = client.get(f"east@{past}/api/v1/namespaces/shop/pods/young", TABLE).json
    assert table["rows"][0]["cells"][4] in ("2m", "119s", "118s")


def test_times_that_cannot_be_shown_are_refused(client: StoreClient, east: StoredCluster) -> None:
    def status(time_text: str, path: str = "api/v1/pods") -> int:
        return client.get(f"east@{time_text}/{path}").status

    future = rfc3339(datetime.now(UTC) + timedelta(hours=1))
    assert [status(text) for text in ("soon", "", "2026-11-28", "1e9", future)] == [400] * 5
    assert status("99999999999999") == 400
    Change.objects.update(at=timezone.now() - timedelta(hours=1))
    assert status("2001-01-01T00:00:00Z") == 410
    at = moment()
    assert status(at, "api/v1/pods?watch=1") == 405
    assert client.get(f"east@{at}/api/v1/pods?watch=1").json["message"].startswith("the past")
    assert client.get(f"east@{at}/api/v1/pods", method="POST").status == 405


def add_event(cluster: StoredCluster, name: str, about: str) -> None:
    """An Event as the collector stores it."""
    stamp = rfc3339(timezone.now())
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": f"{cluster.name}-{name}",
        "resourceVersion": "1",
        "creationTimestamp": stamp,
    }
    document = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": metadata,
        "involvedObject": {
            "kind": "Pod",
            "namespace": "shop",
            "name": about,
            "uid": f"{cluster.name}-pods-shop-{about}",
        },
        "reason": "Started",
        "type": "Normal",
        "message": f"started on {cluster.name}",
        "lastTimestamp": stamp,
        "count": 1,
    }
    events.add_event(
        EventReport(
            event_id=f"{metadata['uid']}/1",
            env="k8s",
            kind="Pod",
            level="Normal",
            component="kubelet",
            type="Started",
            describe="",
            cluster_id=cluster.name,
            event_time=timezone.now(),
            extra_info="{}",
            data=json.dumps(document),
        )
    )


def test_events_of_the_fleet_are_listed(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    add_event(east, "b", "web-1")
    add_event(east, "a", "web-2")
    add_event(west, "c", "web-1")
    assert client.get("fleet/api/v1/events").names == ["east/a", "east/b", "west/c"]
    about = "fieldSelector=involvedObject.name%3Dweb-1,involvedObject.uid%3Deast-pods-shop-web-1"
    assert client.get(f"fleet/api/v1/namespaces/shop/events?{about}").names == ["east/b"]
    page = client.get("fleet/api/v1/events?limit=2")
    token = page.json["metadata"]["continue"]
    assert client.get(f"fleet/api/v1/events?continue={token}").names == ["west/c"]
    assert client.get("fleet/api/v1/namespaces/shop/events/c").json["reason"] == "Started"
    assert client.get("fleet/api/v1/events?watch=1").status == 405
