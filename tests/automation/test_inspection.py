"""What an inspection finds, and what its report says of the one before."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from automation.cluster_objects import ClusterObjects
from automation.inspection.catalogue import CHECKS
from automation.inspection.cluster import ORDER, InspectionScope, inspect_cluster
from automation.inspection.report import build_report
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.api.attributes import AccessAttributes, Scope
from core.errors import Forbidden
from storage_api.models import KindSync
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.alerts.conftest import beat, fleet, write  # noqa: F401  # fleet is a fixture

POD_SPEC: dict[str, Any] = {
    "containers": [{"name": "app", "image": "registry:5000/shop/web"}],
}
GOOD_SPEC: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True},
    "containers": [
        {
            "name": "app",
            "image": "web@sha256:0123",
            "resources": {
                "requests": {"cpu": "1", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            },
            "readinessProbe": {"httpGet": {"port": 80}},
            "livenessProbe": {"httpGet": {"port": 80}},
        }
    ],
}


def allow(_act: AccessAttributes) -> Scope:
    """Everything may be read."""
    return Scope()


def certificate(days: float) -> str:
    """A PEM certificate that ends so many days from now, as a Secret holds it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.com")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def workload(name: str, pod_spec: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """A Deployment of the namespace shop."""
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", **rest.pop("meta", {})},
        "spec": {
            "replicas": 1,
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec},
            **rest.pop("spec", {}),
        },
        **rest,
    }


def collected(cluster: Cluster, *plurals: str) -> None:
    """Say that the kinds are collected, besides those of the fixture."""
    for plural in plurals:
        kind = KINDS[plural]
        KindSync.objects.create(
            cluster=cluster,
            group=kind.group,
            version=kind.version,
            plural=plural,
            kind=kind.name,
            namespaced=kind.namespaced,
            resource_type=kind.name,
            phase="watching",
        )


@pytest.fixture
def whole(fleet: Cluster) -> Cluster:  # noqa: F811
    """A cluster of which every kind that is inspected stands in the store."""
    known = {"pods", "deployments", "nodes", "secrets", "replicasets"}
    collected(fleet, *(plural for plural in ORDER if plural not in known))
    beat(fleet)
    return fleet


def checks_of(part: dict[str, Any], name: str) -> set[str]:
    """The checks that an object does not pass."""
    return {finding["check"] for finding in part["findings"] if finding["object"]["name"] == name}


def test_findings_of_workloads_out_of_the_store(whole: Cluster) -> None:
    privileged = {
        "hostNetwork": True,
        "volumes": [{"name": "d", "hostPath": {"path": "/var/run/docker.sock"}}],
        "containers": [
            {
                "name": "app",
                "image": "web:latest",
                "securityContext": {"privileged": True, "runAsUser": 0},
            }
        ],
    }
    write(
        workload("bare", POD_SPEC),
        workload("good", GOOD_SPEC, spec={"replicas": 2}),
        workload("covered", GOOD_SPEC, spec={"replicas": 2}),
        workload("strong", privileged),
        {
            "kind": "PodDisruptionBudget",
            "apiVersion": "policy/v1",
            "metadata": {"name": "pdb", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "covered"}}},
        },
    )
    part = inspect_cluster(whole, InspectionScope(allow))
    assert part["skipped"] == []
    assert checks_of(part, "bare") == {
        "no-requests",
        "no-limits",
        "no-readiness-probe",
        "no-liveness-probe",
        "single-replica",
        "image-latest",
        "runs-as-root",
    }
    assert checks_of(part, "good") == {"no-disruption-budget"}
    assert checks_of(part, "covered") == set()
    assert {"privileged", "host-path", "host-namespaces", "runs-as-root"} <= checks_of(
        part, "strong"
    )
    # Nothing was read from the cluster, which does not exist.
    assert None not in part["ages"].values()
    finding = next(each for each in part["findings"] if each["object"]["name"] == "bare")
    assert finding["object"]["link"].startswith("/api/v1/kubernetes/deployments/bare?cluster_id=")
    assert finding["fix"] == CHECKS[finding["check"]].fix


def test_documents_of_any_shape_end_no_inspection(whole: Cluster) -> None:
    odd = {"containers": [{"name": "c", "image": "nginx"}]}
    texts = {
        # Agents may leave out what an object is.
        "Pod": [{"metadata": {"name": "bare", "namespace": "shop"}, "spec": odd}],
        "Deployment": [{"kind": 7, "metadata": {"name": "odd", "namespace": "shop"}}],
        "ClusterRoleBinding": [
            {
                "metadata": {"name": "odd"},
                "roleRef": {"name": "cluster-admin"},
                "subjects": [{"name": {}}],
            }
        ],
    }
    for owners in ("x", [7], [{"kind": {}}]):
        metadata = {"name": "owned", "namespace": "shop", "ownerReferences": owners}
        texts["Pod"].append({"metadata": metadata})
    for kind, documents in texts.items():
        for number, document in enumerate(documents):
            space = str(document["metadata"].get("namespace", ""))
            key = Key(whole.name, kind, space, f"odd-{number}")
            bulk.write([WriteRecord(key, orjson.dumps(document))])
    report = inspect_cluster(whole, InspectionScope(allow))
    assert "bare" in {finding["object"]["name"] for finding in report["findings"]}
    assert "owned" not in {finding["object"]["name"] for finding in report["findings"]}


def test_limit_ranges_and_autoscalers_count(whole: Cluster) -> None:
    limits = {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}
    write(
        workload("bare", POD_SPEC),
        {
            "kind": "LimitRange",
            "apiVersion": "v1",
            "metadata": {"name": "limits", "namespace": "shop"},
            "spec": {"limits": [limits]},
        },
        {
            "kind": "HorizontalPodAutoscaler",
            "apiVersion": "autoscaling/v2",
            "metadata": {"name": "bare", "namespace": "shop"},
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 2,
                "scaleTargetRef": {"kind": "Deployment", "name": "bare"},
            },
            "status": {"currentReplicas": 2},
        },
    )
    found = checks_of(inspect_cluster(whole, InspectionScope(allow)), "bare")
    assert not found & {"no-requests", "no-limits", "single-replica"}
    assert {"no-disruption-budget", "autoscaler-at-maximum"} <= found


def test_nodes_certificates_quotas_rights_and_versions(whole: Cluster) -> None:
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    write(
        {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": "n1"},
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "False", "message": "kubelet stopped"},
                    {"type": "DiskPressure", "status": "True"},
                ],
                "nodeInfo": {"kubeletVersion": "v1.31.2"},
            },
        },
        {
            "kind": "Secret",
            "apiVersion": "v1",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": "shop"},
            "data": {"tls.crt": certificate(3), "tls.key": "c2VjcmV0LWtleQ=="},
        },
        {
            "kind": "ResourceQuota",
            "apiVersion": "v1",
            "metadata": {"name": "quota", "namespace": "shop"},
            "status": {"hard": {"pods": "10", "cpu": "4"}, "used": {"pods": "10", "cpu": "100m"}},
        },
        {
            "kind": "ClusterRole",
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": "everything"},
            "rules": [rule],
        },
        {
            "kind": "ClusterRoleBinding",
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": "people"},
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": "eve"}],
        },
        {
            "kind": "ClusterRoleBinding",
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {
                "name": "cluster-admin",
                "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            },
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "Group", "name": "system:masters"}],
        },
        {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "metadata": {"name": "data", "namespace": "shop"},
            "status": {"phase": "Pending"},
        },
    )
    part = inspect_cluster(whole, InspectionScope(allow))
    assert checks_of(part, "n1") == {
        "node-not-ready",
        "node-pressure",
        "node-cordoned",
        "node-version-skew",
    }
    assert checks_of(part, "tls") == {"certificate-expires"}
    assert checks_of(part, "quota") == {"quota-near-limit"}
    assert checks_of(part, "everything") == {"rbac-wildcard"}
    assert checks_of(part, "people") == {"cluster-admin"}
    assert checks_of(part, "cluster-admin") == set()
    assert checks_of(part, "data") == {"claim-pending"}
    assert "c2VjcmV0" not in str(part)


def test_api_versions_by_managed_fields(whole: Cluster) -> None:
    entries = [
        {"manager": "helm", "operation": "Update", "apiVersion": "extensions/v1beta1"},
        {"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1"},
    ]
    body = workload("old", GOOD_SPEC)
    key = Key("east", "Deployment", "shop", "old")
    omitted = orjson.dumps({"managedFields": entries})
    bulk.write([WriteRecord(key, orjson.dumps(body), omitted=omitted)])
    part = inspect_cluster(whole, InspectionScope(allow))
    finding = next(each for each in part["findings"] if each["check"] == "removed-api")
    assert finding["message"] == ("written as extensions/v1beta1 (removed in 1.16; use apps/v1)")


def test_what_may_not_be_read_is_named(whole: Cluster) -> None:
    def refuse(act: AccessAttributes) -> Scope:
        if act.kind in ("nodes", "clusterroles"):
            raise Forbidden(f"you may not list {act.kind}")
        return Scope(namespaces=frozenset(["shop"]) if act.kind == "deployments" else None)

    write(
        workload("bare", POD_SPEC),
        workload("other", POD_SPEC, meta={"namespace": "bank"}),
    )
    part = inspect_cluster(whole, InspectionScope(refuse))
    assert [row["kind"] for row in part["skipped"]] == ["nodes", "clusterroles"]
    assert part["objects"]["deployments"] == 1
    assert checks_of(part, "other") == set()


def test_a_report_says_what_is_new_and_gone(whole: Cluster) -> None:
    write(workload("bare", POD_SPEC))
    first = inspect_cluster(whole, InspectionScope(allow))
    before = build_report([first], None)
    assert {row["state"] for row in before["findings"]} == {"new"}
    write(
        workload("=cmd", POD_SPEC),
        workload("bare", {**POD_SPEC, "containers": GOOD_SPEC["containers"]}),
    )
    after = build_report([inspect_cluster(whole, InspectionScope(allow))], first["findings"])
    states = {
        (row["object"]["name"], row["check"]): row["state"]
        for row in [*after["findings"], *after["gone"]]
    }
    assert states["bare", "runs-as-root"] == "same"
    assert states["bare", "image-latest"] == "gone"
    assert states["=cmd", "image-latest"] == "new"
    assert after["summary"]["gone"] == len(after["gone"]) == 5


def test_a_live_list_is_read_where_the_store_has_no_copy(cluster: Cluster) -> None:
    reader = ClusterObjects(cluster, allow)
    names = [obj["metadata"]["name"] for obj in reader.read(KINDS["namespaces"])]
    assert "default" in names
    assert reader.ages == {"namespaces": None}
