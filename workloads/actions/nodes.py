"""Nodes: whether new pods may be put on them, and which pods are there."""

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from workloads.objects.subject import ObjectRef

NODES = KINDS["nodes"]


def set_schedulable(ref: ObjectRef, *, schedulable: bool, dry_run: bool = False) -> Object:
    """The node after kubectl cordon or uncordon; doing it twice changes nothing."""
    return ref.patch(
        {"spec": {"unschedulable": None if schedulable else True}},
        patch="strategic",
        dry_run=dry_run,
    )


def list_pods(ref: ObjectRef, selector: str = "") -> list[Object]:
    """Every pod bound to the node."""
    field = f"spec.nodeName={ref.name}"
    return list(
        list_all(ref.client, KINDS["pods"], "", fieldSelector=field, labelSelector=selector)
    )
