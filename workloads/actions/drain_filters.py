"""Which pods leave a node that is drained, which stay and which forbid it: kubectl's filters, in kubectl's order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils import timezone

from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import NotFound
from workloads.actions.restarts import MIRROR
from workloads.objects.subject import controller_of

FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class DrainFlags:
    """kubectl drain's flags under their own names; times are in seconds, -1 leaves the grace period to each pod."""

    ignore_daemonsets: bool = True
    delete_emptydir_data: bool = False
    force: bool = False
    grace_period: int = -1
    timeout: int = 300
    pod_selector: str = ""
    skip_wait_for_delete_timeout: int = 0
    disable_eviction: bool = False


class DrainVerdict(StrEnum):
    """What becomes of a pod."""

    EVICT = "evict"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class PodDecision:
    """The verdict on one pod, and why."""

    pod: Object
    verdict: DrainVerdict
    message: str = ""


Filter = Callable[[ClusterClient, Object, DrainFlags], tuple[DrainVerdict, str]]
OKAY = (DrainVerdict.EVICT, "")


def _finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in FINISHED


def _already_deleted(
    client: ClusterClient, pod: Object, flags: DrainFlags
) -> tuple[DrainVerdict, str]:
    stamp, limit = pod["metadata"].get("deletionTimestamp"), flags.skip_wait_for_delete_timeout
    if (
        limit > 0
        and stamp
        and (timezone.now() - datetime.fromisoformat(stamp)).total_seconds() > limit
    ):
        return DrainVerdict.SKIP, f"it has been terminating for more than {limit} s"
    return OKAY


def _daemon_set(client: ClusterClient, pod: Object, flags: DrainFlags) -> tuple[DrainVerdict, str]:
    owner = controller_of(pod)
    if owner.get("kind") != "DaemonSet" or _finished(pod):
        return OKAY
    if not _exists(client, pod, owner):
        if flags.force:
            return DrainVerdict.EVICT, f"its DaemonSet {owner['name']} does not exist any more"
        return (
            DrainVerdict.REFUSE,
            f"its DaemonSet {owner['name']} does not exist any more (force deletes it)",
        )
    if flags.ignore_daemonsets:
        return DrainVerdict.SKIP, "it belongs to a DaemonSet"
    return DrainVerdict.REFUSE, "it belongs to a DaemonSet (ignore_daemonsets leaves it alone)"


def _exists(client: ClusterClient, pod: Object, owner: Mapping[str, Any]) -> bool:
    try:
        client.get(KINDS["daemonsets"], owner["name"], namespace=pod["metadata"]["namespace"])
    except NotFound:
        return False
    return True


def _mirror(client: ClusterClient, pod: Object, flags: DrainFlags) -> tuple[DrainVerdict, str]:
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return DrainVerdict.SKIP, "it is a static pod of the node"
    return OKAY


def _local_storage(
    client: ClusterClient, pod: Object, flags: DrainFlags
) -> tuple[DrainVerdict, str]:
    local = any("emptyDir" in volume for volume in pod["spec"].get("volumes") or [])
    if not local or _finished(pod):
        return OKAY
    if flags.delete_emptydir_data:
        return DrainVerdict.EVICT, "its emptyDir data will be lost"
    return (
        DrainVerdict.REFUSE,
        "it has local storage in an emptyDir (delete_emptydir_data gives it up)",
    )


def _unreplicated(
    client: ClusterClient, pod: Object, flags: DrainFlags
) -> tuple[DrainVerdict, str]:
    if _finished(pod) or controller_of(pod):
        return OKAY
    if flags.force:
        return DrainVerdict.EVICT, "no controller will make it again"
    return DrainVerdict.REFUSE, "no controller would make it again (force deletes it)"


FILTERS: tuple[Filter, ...] = (
    _already_deleted,
    _daemon_set,
    _mirror,
    _local_storage,
    _unreplicated,
)


def decide(client: ClusterClient, pod: Object, flags: DrainFlags) -> PodDecision:
    """The first filter that does not let the pod go decides."""
    warnings = []
    for check in FILTERS:
        verdict, message = check(client, pod, flags)
        if verdict is not DrainVerdict.EVICT:
            return PodDecision(pod, verdict, message)
        if message:
            warnings.append(message)
    return PodDecision(pod, DrainVerdict.EVICT, "; ".join(warnings))
