"""Which pods a drain evicts, skips or is refused by: kubectl's filters, in kubectl's order."""

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
from workloads.objects.object_ref import controller_of

FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class DrainFlags:
    """kubectl drain's flags under their own names.

    Times are in seconds; a grace period of -1 leaves it to each pod, a timeout of 0 is none.
    """

    ignore_daemonsets: bool = True
    delete_emptydir_data: bool = False
    force: bool = False
    grace_period: int = -1
    timeout: int = 300
    pod_selector: str = ""
    skip_wait_for_delete_timeout: int = 0
    disable_eviction: bool = False


class DrainVerdict(StrEnum):
    """What a drain does with a pod."""

    EVICT = "evict"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class PodDecision:
    """The verdict on one pod, and the reason."""

    pod: Object
    verdict: DrainVerdict
    message: str = ""


Filter = Callable[[ClusterClient, Object, DrainFlags], tuple[DrainVerdict, str]]
OKAY = (DrainVerdict.EVICT, "")


def _is_finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in FINISHED


def _already_deleted(
    client: ClusterClient, pod: Object, flags: DrainFlags
) -> tuple[DrainVerdict, str]:
    deleted_at = pod["metadata"].get("deletionTimestamp")
    limit = flags.skip_wait_for_delete_timeout
    if limit <= 0 or not deleted_at:
        return OKAY
    age = (timezone.now() - datetime.fromisoformat(deleted_at)).total_seconds()
    if age > limit:
        return (
            DrainVerdict.SKIP,
            f"it has been terminating for more than {limit} s",
        )
    return OKAY


def _daemon_set(client: ClusterClient, pod: Object, flags: DrainFlags) -> tuple[DrainVerdict, str]:
    owner = controller_of(pod)
    if owner.get("kind") != "DaemonSet" or _is_finished(pod):
        return OKAY
    # The DaemonSet controller ignores the cordon, so an evicted pod would be back at once.
    if not _daemon_set_exists(client, pod, owner):
        message = f"its DaemonSet {owner['name']} does not exist any more"
        if flags.force:
            return DrainVerdict.EVICT, message
        return DrainVerdict.REFUSE, f"{message} (force deletes it)"
    if flags.ignore_daemonsets:
        return DrainVerdict.SKIP, "it belongs to a DaemonSet"
    return (
        DrainVerdict.REFUSE,
        "it belongs to a DaemonSet (ignore_daemonsets leaves it alone)",
    )


def _daemon_set_exists(client: ClusterClient, pod: Object, owner: Mapping[str, Any]) -> bool:
    try:
        client.get(
            KINDS["daemonsets"],
            owner["name"],
            namespace=pod["metadata"]["namespace"],
        )
    except NotFound:
        return False
    return True


def _mirror_pod(client: ClusterClient, pod: Object, flags: DrainFlags) -> tuple[DrainVerdict, str]:
    # The API server only mirrors a static pod; the kubelet runs it from a file.
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return DrainVerdict.SKIP, "it is a static pod of the node"
    return OKAY


def _local_storage(
    client: ClusterClient, pod: Object, flags: DrainFlags
) -> tuple[DrainVerdict, str]:
    volumes = pod["spec"].get("volumes") or []
    has_empty_dir = any("emptyDir" in volume for volume in volumes)
    if not has_empty_dir or _is_finished(pod):
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
    if _is_finished(pod) or controller_of(pod):
        return OKAY
    if flags.force:
        return DrainVerdict.EVICT, "no controller will recreate it"
    return (
        DrainVerdict.REFUSE,
        "no controller would recreate it (force deletes it)",
    )


FILTERS: tuple[Filter, ...] = (
    _already_deleted,
    _daemon_set,
    _mirror_pod,
    _local_storage,
    _unreplicated,
)


def decide(client: ClusterClient, pod: Object, flags: DrainFlags) -> PodDecision:
    """What to do with a pod: the first filter that does not let it be evicted decides."""
    warnings = []
    for check in FILTERS:
        verdict, message = check(client, pod, flags)
        if verdict is not DrainVerdict.EVICT:
            return PodDecision(pod, verdict, message)
        if message:
            warnings.append(message)
    return PodDecision(pod, DrainVerdict.EVICT, "; ".join(warnings))
