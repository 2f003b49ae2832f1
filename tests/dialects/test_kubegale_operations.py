"""The published KubeGale document, operation by operation: each is routed, and takes its method."""

import pytest
from django.test import Client
from django.urls import resolve

WORKLOADS = ("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs")
PLAIN = (
    *WORKLOADS,
    *("services", "ingresses", "endpoints"),
    *("persistentvolumes", "persistentvolumeclaims", "storageclasses"),
    *("configmaps", "secrets"),
    *("roles", "clusterroles", "rolebindings", "clusterrolebindings", "serviceaccounts"),
)

OPERATIONS = [
    *(
        "GET clusters",
        "GET clusters/1",
        "POST clusters",
        "PUT clusters/1",
        "DELETE clusters/1",
        "GET clusters/1/namespaces",
    ),
    *(
        "GET pods",
        "GET pods/x",
        "POST pods",
        "DELETE pods/x",
        "POST pods/x/restart",
        "GET pods/x/logs",
        "GET pods/x/terminal",
    ),
    *("GET pods/x/events", "GET pods/metrics"),
    *(f"{verb} {kind}" for kind in PLAIN for verb in ("GET", "POST")),
    *(f"{verb} {kind}/x" for kind in PLAIN for verb in ("GET", "PUT", "DELETE")),
    *(
        f"{verb} {kind}/x/{action}"
        for kind in WORKLOADS
        for verb, action in (("POST", "scale"), ("POST", "rollback"), ("GET", "revisions"))
    ),
    *(
        "GET nodes",
        "GET nodes/x",
        "PUT nodes/x",
        "DELETE nodes/x",
        "POST nodes/x/schedule",
        "POST nodes/x/drain",
    ),
    *("GET nodes/metrics", "GET nodes/x/terminal"),
    *("GET namespaces", "GET namespaces/x", "POST namespaces", "DELETE namespaces/x"),
    *("GET namespaces/x/resourcequotas", "GET namespaces/x/limitranges"),
    *(
        "GET metrics/cluster",
        "GET metrics/nodes",
        "GET metrics/pods",
        "GET metrics/stats",
        "GET events",
    ),
]


def test_the_document_has_139_operations() -> None:
    assert len(OPERATIONS) == len(set(OPERATIONS)) == 139


@pytest.mark.django_db
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_documented_operation_is_routed(operation: str) -> None:
    method, path = operation.split()
    match = resolve(f"/api/v1/kubernetes/{path}")
    assert match.url_name != "kubegale-unknown"
    actions = getattr(match.func, "actions", None) or {name: name for name in dir(match.func.cls)}  # type: ignore[attr-defined]
    assert method.lower() in actions
    assert Client().generic(method, f"/api/v1/kubernetes/{path}").status_code == 401


def test_literal_addresses_win_over_names() -> None:
    for path in ("pods/metrics", "nodes/metrics"):
        assert "name" not in resolve(f"/api/v1/kubernetes/{path}").kwargs
