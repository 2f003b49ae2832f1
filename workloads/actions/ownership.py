"""What belongs to a workload: its pods, and the events about it and them."""

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from workloads.actions.revisions import jobs, label_selector, replica_sets
from workloads.objects.subject import Subject, controller_of


def owners(subject: Subject, item: Object) -> dict[str, Object]:
    """By uid: the workload itself and what stands between it and its pods."""
    between: list[Object] = []
    if subject.kind.plural == "deployments":
        between = replica_sets(subject, item)
    elif subject.kind.plural == "cronjobs":
        between = jobs(subject, item)
    return {one["metadata"]["uid"]: one for one in (item, *between)}


def pods(subject: Subject, known: dict[str, Object] | None = None) -> list[Object]:
    """The pods that the workload controls, directly or through its ReplicaSets or Jobs."""
    item = subject.read()
    known = known or owners(subject, item)
    selector = (
        "" if subject.kind.plural == "cronjobs" else label_selector(item["spec"].get("selector"))
    )
    found = list_all(subject.client, KINDS["pods"], subject.namespace, labelSelector=selector)
    return [pod for pod in found if controller_of(pod).get("uid") in known]


def event_uids(subject: Subject) -> frozenset[str]:
    """The uids of the workload, of its pods and of what stands between."""
    known = owners(subject, subject.read())
    return frozenset(known) | {pod["metadata"]["uid"] for pod in pods(subject, known)}
