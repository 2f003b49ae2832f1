"""Nodes: cordon and uncordon, and the pods on them."""

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from workloads.objects.object_ref import ObjectRef

NODES = KINDS["nodes"]


def set_schedulable(ref: ObjectRef, *, schedulable: bool, dry_run: bool = False) -> Object:
    """The node after kubectl cordon or uncordon; doing it twice changes nothing."""
    # kubectl uncordon removes the field rather than setting it to false.
    unschedulable = None if schedulable else True
    body = {"spec": {"unschedulable": unschedulable}}
    return ref.patch(body, patch="strategic", dry_run=dry_run)


def list_pods(ref: ObjectRef, selector: str = "") -> list[Object]:
    """Every pod bound to the node that matches the label selector."""
    field = f"spec.nodeName={ref.name}"
    pods = list_all(
        ref.client,
        KINDS["pods"],
        "",
        fieldSelector=field,
        labelSelector=selector,
    )
    return list(pods)
