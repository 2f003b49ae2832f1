"""Deployment: one ReplicaSet per template, rolled from the old to the new."""

import copy
import math
from typing import Any

from simcluster import clock
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.objects import get_annotations, get_conditions, is_terminating
from simcluster.resources import Object

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_SETS = "replicasets.apps"
_NOT_COPIED = {
    REVISION,
    DESIRED,
    MAXIMUM,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
}


def amount(value: Any, total: int, *, up: bool) -> int:
    """An absolute number or a percentage of the total."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * total / 100
        return math.ceil(share) if up else math.floor(share)
    return int(value or 0)


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """One step of the rollout, then the status."""
    client = Client(cluster, "deployment-controller")
    if is_terminating(obj):
        return None
    sets = client.owned(_SETS, obj)
    current = next(
        (replica_set for replica_set in sets if _same_template(replica_set, obj)),
        None,
    )
    if obj["spec"].get("paused"):
        _scale_proportionally(client, obj, sets)
        return _report(cluster, client, obj["metadata"], current)
    # The first template, or a changed one: it gets a set of its own.
    if current is None:
        current = _new_set(client, obj, sets)
        sets = client.owned(_SETS, obj)
    # Rolled back to an older template, an existing set gets the newest number.
    obj = _number(client, obj, current, sets)
    current = (
        client.get(_SETS, obj["metadata"]["namespace"], current["metadata"]["name"]) or current
    )
    old = _without(sets, current)
    if obj["spec"]["strategy"]["type"] == "Recreate":
        _recreate(client, obj, current, old)
    else:
        _roll(client, obj, current, old)
    _forget_old_sets(client, obj, old)
    return _report(cluster, client, obj["metadata"], current)


def _template(owner: Object) -> Object:
    # The hash is added by the controller: templates are compared without it.
    template: Object = copy.deepcopy(owner["spec"]["template"])
    (template.get("metadata") or {}).get("labels", {}).pop("pod-template-hash", None)
    return template


def _same_template(replica_set: Object, obj: Object) -> bool:
    return _template(replica_set) == _template(obj)


def _new_set(client: Client, obj: Object, sets: list[Object]) -> Object:
    digest = pods.template_hash(_template(obj), obj.get("status", {}).get("collisionCount", 0))
    template = _template(obj)
    template.setdefault("metadata", {}).setdefault("labels", {})["pod-template-hash"] = digest
    selector = copy.deepcopy(obj["spec"]["selector"])
    selector.setdefault("matchLabels", {})["pod-template-hash"] = digest
    meta = obj["metadata"]
    body: Object = {
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": _copied_annotations(obj)
            | _size_notes(obj)
            | {REVISION: str(_last_revision(sets) + 1)},
            "ownerReferences": [pods.owner_reference(obj)],
        },
        # Empty at first: the strategy decides how fast it grows.
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }
    if obj["spec"].get("minReadySeconds"):
        body["spec"]["minReadySeconds"] = obj["spec"]["minReadySeconds"]
    return client.create(_SETS, body)


def _copied_annotations(obj: Object) -> Object:
    return {key: value for key, value in get_annotations(obj).items() if key not in _NOT_COPIED}


def _size_notes(obj: Object) -> Object:
    replicas = obj["spec"].get("replicas", 1)
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + _surge(obj))}


def _surge(obj: Object) -> int:
    # Surge is rounded up and unavailability down, so that a rollout errs on the safe side.
    rolling = obj["spec"]["strategy"].get("rollingUpdate") or {}
    return amount(rolling.get("maxSurge"), obj["spec"].get("replicas", 1), up=True)


def _unavailable(obj: Object) -> int:
    rolling = obj["spec"]["strategy"].get("rollingUpdate") or {}
    allowed = amount(rolling.get("maxUnavailable"), obj["spec"].get("replicas", 1), up=False)
    # Both rounded to zero would stop the rollout: Kubernetes then lets one pod be unavailable.
    return allowed if allowed or _surge(obj) else 1


def _without(sets: list[Object], current: Object) -> list[Object]:
    uid = current["metadata"]["uid"]
    return [replica_set for replica_set in sets if replica_set["metadata"]["uid"] != uid]


def _available(replica_set: Object) -> int:
    return int(replica_set.get("status", {}).get("availableReplicas", 0))


def _total_size(sets: list[Object]) -> int:
    return sum(replica_set["spec"]["replicas"] for replica_set in sets)


def _revision(replica_set: Object) -> int:
    """The revision in the annotation; 0 for a text there that is no number."""
    text = get_annotations(replica_set).get(REVISION, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _last_revision(sets: list[Object]) -> int:
    return max((_revision(replica_set) for replica_set in sets), default=0)


def _number(client: Client, obj: Object, current: Object, sets: list[Object]) -> Object:
    """Give the current set the highest revision, and the deployment the same."""
    others = _without(sets, current)
    revision = max(_revision(current), _last_revision(others) + 1)
    notes = _copied_annotations(obj) | _size_notes(obj) | {REVISION: str(revision)}
    old_notes = get_annotations(current)
    if {**old_notes, **notes} != old_notes:
        current["metadata"]["annotations"] = {**old_notes, **notes}
        client.update(_SETS, current)
    if get_annotations(obj).get(REVISION) != str(revision):
        # The generation counts changes of annotations by users, not this one.
        generation = obj["metadata"].get("generation", 1)
        obj["metadata"]["annotations"] = {
            **get_annotations(obj),
            REVISION: str(revision),
        }
        obj = client.update_status("deployments.apps", obj)
        obj["metadata"]["generation"] = generation
    return obj


def _set_scale(client: Client, obj: Object, replica_set: Object, replicas: int) -> None:
    have = replica_set["spec"].get("replicas", 1)
    notes = {**get_annotations(replica_set), **_size_notes(obj)}
    if have == replicas and notes == replica_set["metadata"].get("annotations"):
        return
    replica_set["spec"]["replicas"] = replicas
    replica_set["metadata"]["annotations"] = notes
    client.update(_SETS, replica_set)
    if have != replicas:
        word = "up" if replicas > have else "down"
        message = (
            f"Scaled {word} replica set {replica_set['metadata']['name']} from {have} to {replicas}"
        )
        client.event(obj, "ScalingReplicaSet", message)


def _recreate(client: Client, obj: Object, current: Object, old: list[Object]) -> None:
    for replica_set in old:
        _set_scale(client, obj, replica_set, 0)
    # Recreate: the last old pod is gone before the first new one comes.
    if any(client.owned("pods", replica_set) for replica_set in old):
        return
    _set_scale(client, obj, current, obj["spec"].get("replicas", 1))


def _roll(client: Client, obj: Object, current: Object, old: list[Object]) -> None:
    desired = obj["spec"].get("replicas", 1)
    total = _total_size([current, *old])
    have = current["spec"]["replicas"]
    if have > desired:
        _set_scale(client, obj, current, desired)
    elif have < desired:
        # Old and new pods together are at most the desired number and the surge.
        headroom = desired + _surge(obj) - total
        _set_scale(client, obj, current, min(desired, have + max(headroom, 0)))
    elif not old:
        _set_scale(client, obj, current, desired)
    shrinking = [replica_set for replica_set in old if replica_set["spec"]["replicas"]]
    _scale_down_old(client, obj, current, shrinking)


def _scale_down_old(client: Client, obj: Object, current: Object, old: list[Object]) -> None:
    desired = obj["spec"].get("replicas", 1)
    least = desired - _unavailable(obj)
    # New pods that are not available yet may still fail: old ones stay in their place.
    unready_new = current["spec"]["replicas"] - _available(current)
    total = _total_size([current, *old])
    spare = total - least - unready_new
    # Unavailable old pods first: their end costs no availability.
    for replica_set in old:
        broken = replica_set["spec"]["replicas"] - _available(replica_set)
        drop = min(broken, spare)
        if drop > 0:
            spare -= drop
            _set_scale(client, obj, replica_set, replica_set["spec"]["replicas"] - drop)
    available = sum(_available(replica_set) for replica_set in [*old, current])
    spare = min(spare, available - least)
    for replica_set in old:
        drop = min(replica_set["spec"]["replicas"], max(spare, 0))
        if drop > 0:
            spare -= drop
            _set_scale(client, obj, replica_set, replica_set["spec"]["replicas"] - drop)


def _scale_proportionally(client: Client, obj: Object, sets: list[Object]) -> None:
    # A paused deployment still scales; with several sets their shares stay as they are.
    running = [replica_set for replica_set in sets if replica_set["spec"]["replicas"]]
    if len(running) == 1:
        _set_scale(client, obj, running[0], obj["spec"].get("replicas", 1))


def _forget_old_sets(client: Client, obj: Object, old: list[Object]) -> None:
    idle = [
        replica_set
        for replica_set in old
        if not replica_set["spec"]["replicas"] and not replica_set.get("status", {}).get("replicas")
    ]
    excess = len(idle) - obj["spec"].get("revisionHistoryLimit", 10)
    for replica_set in sorted(idle, key=_revision)[: max(excess, 0)]:
        client.delete(_SETS, replica_set)


def _report(cluster: Cluster, client: Client, meta: Object, current: Object | None) -> float | None:
    obj = client.get("deployments.apps", meta["namespace"], meta["name"])
    if obj is None:
        return None
    sets = client.owned(_SETS, obj)
    new = next(
        (
            replica_set
            for replica_set in sets
            if current is not None and replica_set["metadata"]["uid"] == current["metadata"]["uid"]
        ),
        None,
    )
    status = _status(obj, sets, new)
    again = _conditions(cluster, client, obj, status, new)
    if status != obj.get("status"):
        client.update_status("deployments.apps", {**obj, "status": status})
    return again


def _status(obj: Object, sets: list[Object], new: Object | None) -> Object:
    def total(name: str) -> int:
        return sum(replica_set.get("status", {}).get(name, 0) for replica_set in sets)

    desired = obj["spec"].get("replicas", 1)
    counts = {
        "replicas": total("replicas"),
        "updatedReplicas": (new or {}).get("status", {}).get("replicas", 0),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": total("availableReplicas"),
        "unavailableReplicas": max(max(desired, total("replicas")) - total("availableReplicas"), 0),
    }
    status: Object = {"observedGeneration": obj["metadata"].get("generation", 1)}
    status |= {key: value for key, value in counts.items() if value}
    status["terminatingReplicas"] = total("terminatingReplicas")
    status["conditions"] = copy.deepcopy(get_conditions(obj))
    if "collisionCount" in obj.get("status", {}):
        status["collisionCount"] = obj["status"]["collisionCount"]
    return status


def _conditions(
    cluster: Cluster,
    client: Client,
    obj: Object,
    status: Object,
    new: Object | None,
) -> float | None:
    desired = obj["spec"].get("replicas", 1)
    enough = status.get("availableReplicas", 0) >= desired - _unavailable(obj)
    if enough:
        pods.set_condition(
            status,
            "Available",
            "True",
            reason="MinimumReplicasAvailable",
            message="Deployment has minimum availability.",
            updated=True,
        )
    else:
        message = "Deployment does not have minimum availability."
        pods.set_condition(
            status,
            "Available",
            "False",
            reason="MinimumReplicasUnavailable",
            message=message,
            updated=True,
        )
    _failure_condition(status, new)
    if obj["spec"].get("paused"):
        pods.set_condition(
            status,
            "Progressing",
            "Unknown",
            reason="DeploymentPaused",
            message="Deployment is paused",
            updated=True,
        )
        return None
    return _progress(cluster, obj, status, new)


def _failure_condition(status: Object, new: Object | None) -> None:
    failures = [
        condition
        for condition in (new or {}).get("status", {}).get("conditions") or ()
        if condition["type"] == "ReplicaFailure"
    ]
    if not failures:
        # A failure that lasts keeps its times, else each look at it would be a change.
        status["conditions"] = [
            condition for condition in status["conditions"] if condition["type"] != "ReplicaFailure"
        ]
    for condition in failures:
        pods.set_condition(
            status,
            "ReplicaFailure",
            "True",
            reason=condition["reason"],
            message=condition["message"],
            updated=True,
        )


def _replica_counts(status: Object) -> Object:
    """The part of a status whose change counts as progress."""
    ignored = ("conditions", "observedGeneration", "terminatingReplicas")
    return {key: value for key, value in status.items() if key not in ignored}


def _progress(cluster: Cluster, obj: Object, status: Object, new: Object | None) -> float | None:
    if new is None:
        return None
    desired = obj["spec"].get("replicas", 1)
    name = new["metadata"]["name"]
    done = (
        status.get("updatedReplicas", 0) == status.get("replicas", 0) == desired
        and status.get("availableReplicas", 0) >= desired
    )
    old = next(
        (condition for condition in status["conditions"] if condition["type"] == "Progressing"),
        None,
    )
    if done:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        pods.set_condition(
            status,
            "Progressing",
            "True",
            reason="NewReplicaSetAvailable",
            message=message,
            updated=True,
        )
        return None
    moved = _replica_counts(status) != _replica_counts(obj.get("status", {}))
    deadline = float(obj["spec"].get("progressDeadlineSeconds", 600))
    # A rollout that has failed stays so until something moves.
    if old is not None and old.get("reason") == "ProgressDeadlineExceeded" and not moved:
        return None
    if old is not None and not moved and old["reason"] != "NewReplicaSetAvailable":
        waited = cluster.clock.since(old["lastUpdateTime"])
        if waited > deadline:
            message = f'ReplicaSet "{name}" has timed out progressing.'
            pods.set_condition(
                status,
                "Progressing",
                "False",
                reason="ProgressDeadlineExceeded",
                message=message,
                updated=True,
            )
            return None
        return max(deadline - waited, 1.0) + 1
    pods.set_condition(
        status,
        "Progressing",
        "True",
        reason="ReplicaSetUpdated",
        message=f'ReplicaSet "{name}" is progressing.',
        updated=True,
    )
    for condition in status["conditions"]:
        if condition["type"] == "Progressing" and moved:
            condition["lastUpdateTime"] = clock.timestamp()
    return deadline
