"""What workload controllers share: making pods, counting them, comparing templates."""

import copy
import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

from simcluster import clock
from simcluster.client import Client
from simcluster.objects import (
    get_annotations,
    get_conditions,
    is_finished,
    is_terminating,
)
from simcluster.resources import Object

_HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def active(pods: list[Object]) -> list[Object]:
    """Pods that run or will run: neither ended nor being deleted."""
    return [pod for pod in pods if not is_finished(pod) and not is_terminating(pod)]


def ready_since(pod: Object) -> str:
    """When the pod became ready; empty when it is not."""
    for condition in get_conditions(pod):
        if condition["type"] == "Ready" and condition["status"] == "True":
            return str(condition.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
    return ""


def is_ready(pod: Object) -> bool:
    """Whether the pod is ready."""
    return bool(ready_since(pod))


def is_available(pod: Object, min_ready: int, time: clock.Clock) -> bool:
    """Whether the pod has been ready for `minReadySeconds`."""
    since = ready_since(pod)
    return bool(since) and (not min_ready or time.since(since) >= min_ready)


def template_hash(template: Object, collisions: int = 0) -> str:
    """The short hash of a pod template, as in the names of ReplicaSets."""
    raw = orjson.dumps(template, option=orjson.OPT_SORT_KEYS) + str(collisions).encode()
    number = int.from_bytes(hashlib.sha256(raw).digest()[:6], "big")
    letters = []
    for _ in range(10):
        number, at = divmod(number, len(_HASH_LETTERS))
        letters.append(_HASH_LETTERS[at])
    return "".join(letters)


def owner_reference(owner: Object) -> Object:
    """The reference that makes `owner` the controller."""
    meta = owner["metadata"]
    head = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
    }
    return {**head, "controller": True, "blockOwnerDeletion": True}


def from_template(
    owner: Object,
    template: Object,
    *,
    name: str = "",
    labels: Object | None = None,
) -> Object:
    """A pod out of its owner's template; with a generated name by default."""
    template = copy.deepcopy(template)
    meta = template.get("metadata") or {}
    pod_meta: Object = {"name": name} if name else {"generateName": f"{owner['metadata']['name']}-"}
    pod_meta |= {
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    pod_meta["labels"] = {**(meta.get("labels") or {}), **(labels or {})}
    if meta.get("annotations"):
        pod_meta["annotations"] = meta["annotations"]
    if meta.get("finalizers"):
        pod_meta["finalizers"] = meta["finalizers"]
    return {"metadata": pod_meta, "spec": template["spec"]}


def set_condition(
    status: Object,
    kind: str,
    value: str,
    *,
    reason: str = "",
    message: str = "",
    updated: bool = False,
) -> None:
    """Write a condition; its transition time moves only when its value does."""
    conditions = status.setdefault("conditions", [])
    now = clock.timestamp(datetime.now(UTC))
    old = next((condition for condition in conditions if condition["type"] == kind), None)
    same = old is not None and old["status"] == value
    body: dict[str, Any] = {"type": kind, "status": value}
    unchanged = (
        same
        and old is not None
        and old.get("reason", "") == reason
        and old.get("message", "") == message
    )
    if updated:
        body["lastUpdateTime"] = old["lastUpdateTime"] if unchanged and old is not None else now
    # A new reason or message alone is no transition.
    body["lastTransitionTime"] = old["lastTransitionTime"] if same and old is not None else now
    if reason:
        body["reason"] = reason
    if message:
        body["message"] = message
    if old is None:
        conditions.append(body)
    else:
        conditions[conditions.index(old)] = body


def deletion_order(pod: Object) -> tuple[Any, ...]:
    """Sort key: the pods to delete first are unassigned, pending, unready, and young."""
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(
        pod.get("status", {}).get("phase", "Pending"), 0
    )
    cost = int(get_annotations(pod).get("controller.kubernetes.io/pod-deletion-cost", 0))
    age = -clock.parse(pod["metadata"]["creationTimestamp"]).timestamp()
    # False sorts first: unassigned before assigned, unready before ready.
    return bool(pod["spec"].get("nodeName")), phase, is_ready(pod), cost, age


def scale_to(
    client: Client,
    owner: Object,
    pods: list[Object],
    replicas: int,
    template: Object,
) -> None:
    """Create or delete pods until the count is right, with an event for each."""
    for _ in range(replicas - len(pods)):
        try:
            pod = client.create("pods", from_template(owner, template))
        except Exception as error:
            client.event(owner, "FailedCreate", f"Error creating: {error}", warning=True)
            raise
        client.event(owner, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
    for pod in sorted(pods, key=deletion_order)[: max(len(pods) - replicas, 0)]:
        client.delete("pods", pod)
        client.event(owner, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
