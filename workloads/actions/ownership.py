"""What a workload owns: its ReplicaSets or Jobs, its pods, and the Events about all of them."""

from collections.abc import Mapping

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from workloads.actions.revisions import (
    label_selector,
    list_jobs,
    list_replica_sets,
)
from workloads.objects.object_ref import ObjectRef, controller_of


def owner_chain(ref: ObjectRef, item: Object) -> dict[str, Object]:
    """By uid: the workload itself, and its ReplicaSets or Jobs, which control its pods."""
    owners = [item]
    if ref.kind.plural == "deployments":
        owners += list_replica_sets(ref, item)
    elif ref.kind.plural == "cronjobs":
        owners += list_jobs(ref, item)
    return {owner["metadata"]["uid"]: owner for owner in owners}


def list_pods(ref: ObjectRef, owners: Mapping[str, Object] | None = None) -> list[Object]:
    """The pods that the workload controls, directly or through its ReplicaSets or Jobs.

    `owners` is the workload's `owner_chain` when the caller has it already.
    """
    item = ref.read()
    owners = owners or owner_chain(ref, item)
    # A CronJob has no selector: each of its Jobs has one of its own.
    selector = ""
    if ref.kind.plural != "cronjobs":
        selector = label_selector(item["spec"].get("selector"))
    pods = list_all(ref.client, KINDS["pods"], ref.namespace, labelSelector=selector)
    return [pod for pod in pods if controller_of(pod).get("uid") in owners]


def event_uids(ref: ObjectRef) -> frozenset[str]:
    """The uids of the workload, of its ReplicaSets or Jobs, and of its pods."""
    owners = owner_chain(ref, ref.read())
    pod_uids = {pod["metadata"]["uid"] for pod in list_pods(ref, owners)}
    return frozenset(owners) | pod_uids
