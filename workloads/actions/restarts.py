"""Restarting a pod.

A controlled pod is deleted and its controller creates another. A bare pod is recreated by an
operation, which keeps its manifest.
"""

from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta

import orjson
from django.conf import settings
from django.utils import timezone

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import (
    ClusterUnavailable,
    Conflict,
    Invalid,
    NotFound,
    Rejected,
)
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation, OperationStep
from workloads.objects.object_ref import ObjectRef, call_with_namespace_check, controller_of

PODS = KINDS["pods"]
MIRROR = "kubernetes.io/config.mirror"
RECREATED_BY = "kubegale.io/recreated-by-operation"
TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  # the prefix of a volume's name
# Fields of a pod's spec that scheduler and admission fill in.
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
    """DeleteOptions that match this very pod and no later one of its name."""
    options: Object = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": uid},
    }
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    if dry_run:
        options["dryRun"] = ["All"]
    return options


def restart(ref: ObjectRef, options: RestartOptions) -> tuple[Result, Object | None]:
    """(the answer, the manifest to recreate the pod from when no controller does).

    Invalid for a static pod, and for a bare pod without `force`.
    """
    pod = ref.read()
    uid = pod["metadata"]["uid"]
    owner = controller_of(pod)
    _check_restartable(pod, is_bare=not owner, force=options.force)
    data: Result = {
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": uid,
        "action": "deleted",
        "dry_run": options.dry_run,
    }
    if owner:
        _delete(ref, uid, options)
        return {
            **data,
            "controller": {
                "kind": owner.get("kind"),
                "name": owner.get("name"),
            },
        }, None
    # A dry run first: a refusal should be the caller's answer, but nothing may be deleted before
    # the manifest is stored in the operation's row.
    _delete(ref, uid, RestartOptions(grace=options.grace, dry_run=True))
    manifest = None if options.dry_run else recreation_manifest(pod)
    return {**data, "action": "recreated"}, manifest


def _check_restartable(pod: Object, *, is_bare: bool, force: bool) -> None:
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        raise Invalid(
            "a static pod belongs to its node's kubelet and cannot be restarted from here",
            reason="MirrorPod",
        )
    if is_bare and not force:
        raise Invalid(
            "no controller would recreate this pod; force=true deletes and recreates it",
            reason="BarePod",
        )


def _delete(ref: ObjectRef, uid: str, options: RestartOptions) -> None:
    body = delete_options(uid, grace=options.grace, dry_run=options.dry_run)
    call_with_namespace_check(
        ref.client,
        PODS,
        ref.namespace,
        lambda: ref.client.delete(PODS, ref.name, namespace=ref.namespace, options=body),
    )


def recreation_manifest(pod: Object) -> Object:
    """The pod as its author wrote it, without what the cluster added."""
    spec = deepcopy(pod["spec"])
    for name in CLUSTER_SET_FIELDS:
        spec.pop(name, None)
    # Admission adds a fresh volume with the service account's token, and its mounts.
    spec["volumes"] = _without_token(spec.get("volumes") or [])
    for container in [
        *(spec.get("initContainers") or []),
        *spec["containers"],
    ]:
        container["volumeMounts"] = _without_token(container.get("volumeMounts") or [])
    metadata = {
        key: pod["metadata"][key]
        for key in ("name", "namespace", "labels", "annotations")
        if pod["metadata"].get(key)
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
    }


def _without_token(volumes: list[Object]) -> list[Object]:
    return [volume for volume in volumes if not volume["name"].startswith(TOKEN_VOLUME)]


def create(
    ref: ObjectRef,
    uid: str,
    body: Object,
    *,
    grace: int | None,
    requested_by: str,
) -> Operation:
    """A pending operation that recreates the pod; its manifest is stored in the row.

    Conflict while another restart of the pod is running.
    """
    target = OperationTarget(ref.cluster, "pods", ref.namespace, ref.name)
    parameters = {"uid": uid, "manifest": body, "grace": grace}
    return lifecycle.create(
        "recreate",
        target,
        requested_by=requested_by,
        parameters=parameters,
        exclusive=f"recreate/{uid}",
    )


def run(operation: Operation) -> RequeueAfter | Result:
    """Delete the pod, wait until it is gone, create it again; each step is safe to repeat.

    {"name", "uid", "action"} at the end; ClusterUnavailable after ROLLOUT_DEADLINE_SECONDS.
    """
    assert operation.cluster is not None  # noqa: S101  # created with one
    ref = ObjectRef(operation.cluster, PODS, operation.namespace, operation.name)
    lifecycle.plan(
        operation,
        [
            Step("delete", "delete the old pod"),
            Step("create", "create the new pod"),
        ],
    )
    delete_step, create_step = lifecycle.steps(operation)
    try:
        if delete_step.state in OperationStep.OPEN and not _is_deleted(ref, operation, delete_step):
            return RequeueAfter(settings.ROLLOUT_POLL_SECONDS)
        pod = _recreate(ref, operation)
    except ClusterUnavailable as error:
        lifecycle.move(delete_step, "running", error.message)
        _check_deadline(operation, error)
        # A cluster that does not answer is asked less often.
        return RequeueAfter(settings.ROLLOUT_POLL_SECONDS * 5)
    lifecycle.move(create_step, "succeeded", f"uid {pod['metadata']['uid']}")
    # The manifest may contain secrets: it stays in the row only as long as it is needed.
    lifecycle.remember(operation, manifest=None)
    return {
        "name": ref.name,
        "uid": pod["metadata"]["uid"],
        "action": "recreated",
    }


def _check_deadline(operation: Operation, error: ClusterUnavailable) -> None:
    if operation.started_at is None:
        return
    deadline = timedelta(seconds=settings.ROLLOUT_DEADLINE_SECONDS)
    if timezone.now() - operation.started_at > deadline:
        raise error


def _is_deleted(ref: ObjectRef, operation: Operation, step: OperationStep) -> bool:
    """Whether the old pod no longer exists; deletes it unless its deletion has begun."""
    uid = operation.parameters["uid"]
    try:
        metadata = ref.read()["metadata"]
        if metadata["uid"] != uid:
            raise Conflict(
                "another pod of that name was created meanwhile",
                reason="Replaced",
            )
        if not metadata.get("deletionTimestamp"):
            _delete(
                ref,
                uid,
                RestartOptions(grace=operation.parameters["grace"]),
            )
    except NotFound:
        lifecycle.move(step, "succeeded", "deleted")
        return True
    lifecycle.move(step, "running", "waiting for the pod to terminate")
    return False


def _recreate(ref: ObjectRef, operation: Operation) -> Object:
    """The new pod; Rejected when there is another of its name."""
    body = deepcopy(operation.parameters["manifest"])
    body["metadata"].setdefault("annotations", {})[RECREATED_BY] = str(operation.pk)
    try:
        pod: Object = orjson.loads(ref.client.create(PODS, body, namespace=ref.namespace))
    except Conflict:
        # Our own pod, when an earlier attempt's answer was lost: its annotation tells.
        pod = ref.read()
        annotations = pod["metadata"].get("annotations") or {}
        if annotations.get(RECREATED_BY) != str(operation.pk):
            raise Rejected(
                "another pod of that name was created meanwhile",
                reason="AlreadyExists",
            ) from None
    return pod
