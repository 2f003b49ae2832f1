"""Restarting a pod: a controlled one is deleted and its controller makes another; a bare one is made again by us, as an operation."""

from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta

import orjson
from django.conf import settings
from django.utils import timezone

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import ClusterUnavailable, Conflict, Invalid, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import Again, Result, Step, Target
from operations.models import Operation, OperationStep
from workloads.objects.subject import ObjectRef, call_with_namespace_check, controller_of

PODS = KINDS["pods"]
MIRROR = "kubernetes.io/config.mirror"
RECREATED_BY = "kubegale.io/recreated-by-operation"
TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  # the prefix of a volume's name
CLUSTER_SET_FIELDS = (
    "nodeName",
    "ephemeralContainers",
    "priority",
    "preemptionPolicy",
    "serviceAccount",
)


@dataclass(frozen=True, slots=True)
class RestartOptions:
    """How a pod is to be restarted; `grace` is in seconds, None leaves it to the pod."""

    force: bool = False
    dry_run: bool = False
    grace: int | None = None


def delete_options(uid: str, *, grace: int | None = None, dry_run: bool = False) -> Object:
    """DeleteOptions that hit this very pod and no later one of its name."""
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    return {**options, "dryRun": ["All"]} if dry_run else options


def restart(ref: ObjectRef, wish: RestartOptions) -> tuple[Result, Object | None]:
    """(the answer, the manifest to make the pod again from when nothing else does). Invalid for what must not be restarted."""
    pod = ref.read()
    uid, owner = pod["metadata"]["uid"], controller_of(pod)
    data: Result = {
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": uid,
        "action": "deleted",
        "dry_run": wish.dry_run,
    }
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        raise Invalid(
            "a static pod belongs to its node's kubelet and cannot be restarted from here",
            reason="MirrorPod",
        )
    if not owner and not wish.force:
        raise Invalid(
            "no controller would make this pod again; force=true deletes it and makes it again",
            reason="BarePod",
        )
    if owner:
        _delete(ref, uid, wish)
        return {**data, "controller": {"kind": owner.get("kind"), "name": owner.get("name")}}, None
    # A refusal should be the caller's answer, but nothing may be deleted before the manifest is safe in a row.
    _delete(ref, uid, RestartOptions(grace=wish.grace, dry_run=True))
    return {**data, "action": "recreated"}, None if wish.dry_run else recreation_manifest(pod)


def _delete(ref: ObjectRef, uid: str, wish: RestartOptions) -> None:
    options = delete_options(uid, grace=wish.grace, dry_run=wish.dry_run)
    client, space = ref.client, ref.namespace
    call_with_namespace_check(
        client,
        PODS,
        space,
        lambda: client.delete(PODS, ref.name, namespace=space, options=options),
    )


def recreation_manifest(pod: Object) -> Object:
    """The pod as its author wrote it, without what the cluster added."""
    spec = deepcopy(pod["spec"])
    for name in CLUSTER_SET_FIELDS:
        spec.pop(name, None)
    spec["volumes"] = [
        volume
        for volume in spec.get("volumes") or []
        if not volume["name"].startswith(TOKEN_VOLUME)
    ]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [
            mount for mount in mounts if not mount["name"].startswith(TOKEN_VOLUME)
        ]
    kept = {
        key: pod["metadata"][key]
        for key in ("name", "namespace", "labels", "annotations")
        if pod["metadata"].get(key)
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": spec}


def create(
    subject: ObjectRef, uid: str, body: Object, *, grace: int | None, requested_by: str
) -> Operation:
    """A pending operation that deletes the pod and makes it again; the manifest waits in the row."""
    target = Target(subject.cluster, "pods", subject.namespace, subject.name)
    parameters = {"uid": uid, "manifest": body, "grace": grace}
    return lifecycle.create(
        "recreate",
        target,
        requested_by=requested_by,
        parameters=parameters,
        exclusive=f"recreate/{uid}",
    )


def run(operation: Operation) -> Again | Result:
    """Delete, wait until it is gone, make it again; each step is safe to repeat."""
    assert operation.cluster is not None  # noqa: S101  # made with one
    ref = ObjectRef(operation.cluster, PODS, operation.namespace, operation.name)
    lifecycle.plan(
        operation, [Step("delete", "delete the old pod"), Step("create", "make the new pod")]
    )
    delete, create_step = lifecycle.steps(operation)
    try:
        if delete.state in OperationStep.OPEN and not _gone(ref, operation, delete):
            return Again(settings.ROLLOUT_POLL_SECONDS)
        made = _make(ref, operation)
    except ClusterUnavailable as error:
        lifecycle.move(delete, "running", error.message)
        _check_deadline(operation, error)
        return Again(settings.ROLLOUT_POLL_SECONDS * 5)
    lifecycle.move(create_step, "succeeded", f"uid {made['metadata']['uid']}")
    lifecycle.remember(operation, manifest=None)
    return {"name": ref.name, "uid": made["metadata"]["uid"], "action": "recreated"}


def _check_deadline(operation: Operation, error: ClusterUnavailable) -> None:
    if operation.started_at and timezone.now() - operation.started_at > timedelta(
        seconds=settings.ROLLOUT_DEADLINE_SECONDS
    ):
        raise error


def _gone(ref: ObjectRef, operation: Operation, step: OperationStep) -> bool:
    """Whether the old pod is gone; deletes it when that was not done yet."""
    uid = operation.parameters["uid"]
    try:
        metadata = ref.read()["metadata"]
        if metadata["uid"] != uid:
            raise Conflict("another pod of that name was made meanwhile", reason="Replaced")
        if not metadata.get("deletionTimestamp"):
            _delete(ref, uid, RestartOptions(grace=operation.parameters["grace"]))
    except NotFound:
        lifecycle.move(step, "succeeded", "it is gone")
        return True
    lifecycle.move(step, "running", "waiting for it to end")
    return False


def _make(ref: ObjectRef, operation: Operation) -> Object:
    body = deepcopy(operation.parameters["manifest"])
    body["metadata"].setdefault("annotations", {})[RECREATED_BY] = str(operation.pk)
    try:
        made: Object = orjson.loads(ref.client.create(PODS, body, namespace=ref.namespace))
    except Conflict:
        made = ref.read()
        if (made["metadata"].get("annotations") or {}).get(RECREATED_BY) != str(operation.pk):
            raise Rejected(
                "another pod of that name was made meanwhile", reason="AlreadyExists"
            ) from None
    return made
