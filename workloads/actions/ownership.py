"""What belongs to a workload: its pods, and the events about it and them."""

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from workloads.actions.revisions import label_selector, list_jobs, list_replica_sets
from workloads.objects.subject import ObjectRef, controller_of


def owner_chain(ref: ObjectRef, item: Object) -> dict[str, Object]:
    """By uid: the workload itself and what stands between it and its pods."""
    between: list[Object] = []
    if ref.kind.plural == "deployments":
        between = list_replica_sets(ref, item)
    elif ref.kind.plural == "cronjobs":
        between = list_jobs(ref, item)
    return {one["metadata"]["uid"]: one for one in (item, *between)}


def list_pods(ref: ObjectRef, known: dict[str, Object] | None = None) -> list[Object]:
    """The pods that the workload controls, directly or through its ReplicaSets or Jobs."""
    item = ref.read()
    known = known or owner_chain(ref, item)
    selector = "" if ref.kind.plural == "cronjobs" else label_selector(item["spec"].get("selector"))
    found = list_all(ref.client, KINDS["pods"], ref.namespace, labelSelector=selector)
    return [pod for pod in found if controller_of(pod).get("uid") in known]


def event_uids(ref: ObjectRef) -> frozenset[str]:
    """The uids of the workload, of its pods and of what stands between."""
    known = owner_chain(ref, ref.read())
    return frozenset(known) | {pod["metadata"]["uid"] for pod in list_pods(ref, known)}
