"""What of an old version is written, and what belongs to the server or to the live object."""

from typing import Any

from clusters.kinds import KINDS
from storage_api.history import restore_plan

META = {
    "name": "x",
    "namespace": "n",
    "uid": "old",
    "resourceVersion": "1",
    "generation": 3,
    "creationTimestamp": "2026-01-01T00:00:00Z",
}


def old(plural: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """An old version."""
    return {
        "kind": KINDS[plural].name,
        "metadata": {**META, **metadata},
        "spec": spec or {},
        "status": {"a": 1},
    }


def test_a_live_object_keeps_its_identity_owners_and_addresses() -> None:
    live = old(
        "services",
        {"clusterIP": "10.0.0.9", "ports": [2]},
        uid="new",
        resourceVersion="7",
        finalizers=["f"],
    )
    live["metadata"]["annotations"] = {restore_plan.LAST_APPLIED: "{}"}
    plan = restore_plan.build_plan(
        old("services", {"clusterIP": "10.0.0.1", "ports": [1]}, ownerReferences=[{"uid": "gone"}]),
        live,
        KINDS["services"],
    )
    assert plan.body["metadata"] == {
        "name": "x",
        "namespace": "n",
        "resourceVersion": "7",
        "finalizers": ["f"],
        "annotations": {restore_plan.LAST_APPLIED: "{}"},
    }
    assert plan.body["spec"] == {"clusterIP": "10.0.0.9", "ports": [1]}
    assert set(plan.left_out) == {"metadata.ownerReferences", "metadata.finalizers"}
    assert plan.body["status"] == {"a": 1}


def test_what_is_made_anew_is_bound_to_nothing_that_is_gone() -> None:
    finalizers = ["foregroundDeletion", "example.com/keep"]
    pod = restore_plan.build_plan(
        old(
            "pods",
            {"nodeName": "n1"},
            ownerReferences=[{}],
            finalizers=finalizers,
            deletionTimestamp="t",
        ),
        None,
        KINDS["pods"],
    )
    assert pod.body["metadata"] == {
        "name": "x",
        "namespace": "n",
        "finalizers": ["example.com/keep"],
    }
    assert (pod.body["spec"], "status" in pod.body) == ({}, False)
    assert pod.left_out == ("metadata.ownerReferences", "spec.nodeName")
    service = restore_plan.build_plan(
        old("services", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
        None,
        KINDS["services"],
    )
    assert service.body["spec"] == {}
    headless = restore_plan.build_plan(
        old("services", {"clusterIP": "None"}), None, KINDS["services"]
    )
    assert headless.body["spec"] == {"clusterIP": "None"}
    labels = {"controller-uid": "u", "app": "j"}
    job = restore_plan.build_plan(
        old("jobs", {"selector": {"a": "b"}, "template": {"metadata": {"labels": labels}}}),
        None,
        KINDS["jobs"],
    )
    assert job.body["spec"] == {"template": {"metadata": {"labels": {"app": "j"}}}}
    claim = restore_plan.build_plan(
        old("persistentvolumeclaims", annotations={restore_plan.BINDING[0]: "yes"}),
        None,
        KINDS["persistentvolumeclaims"],
    )
    assert claim.body["metadata"]["annotations"] == {}
