"""What can be done to a workload: one table, kind -> verb -> function (contract 1.3).

An action is one change in the API server, so that a refusal is the caller's answer. What takes
longer is named in the outcome (`rollout`) and becomes an operation.
"""

import secrets
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.utils import timezone

from clusters import dns_names
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from core.errors import Conflict, DomainError, Invalid, Rejected
from core.retry import retry_on_conflict
from workloads.actions import revisions
from workloads.actions.revisions import REVISION
from workloads.actions.rollouts import Tracking
from workloads.objects.object_ref import ObjectRef

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
PAUSED_PARTITION = "kubegale.io/paused-partition"
RERUN_OF = "kubegale.io/rerun-of"
# A partition above every ordinal: the largest int32.
EVERYTHING = 2**31 - 1
TRIES = 6
# Annotations that a rollback leaves as they are, like kubectl.
KEPT_ANNOTATIONS = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)
# Labels by which the Job controller recognises the pods of one Job.
JOB_LABELS = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)


@dataclass(frozen=True, slots=True)
class ActionOptions:
    """The parameters of an action; each action reads those that it knows."""

    dry_run: bool = False
    replicas: int | None = None
    current_replicas: int | None = None
    revision: int = 0
    name: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """What an action did: the answer, and the rollout that follows when there is one."""

    data: Object
    rollout: Tracking | None = None
    warnings: list[str] = field(default_factory=list)


Action = Callable[[ObjectRef, ActionOptions], ActionOutcome]


def _answer(ref: ObjectRef, *, changed: bool, **more: Any) -> Object:
    return {
        "kind": ref.kind.name,
        "name": ref.name,
        "namespace": ref.namespace,
        "changed": changed,
        **more,
    }


def _track_rollout(item: Object, options: ActionOptions) -> Tracking | None:
    """The rollout of a changed object; a dry run starts none."""
    return None if options.dry_run else Tracking(item)


@dataclass(frozen=True, slots=True)
class UnsupportedAction:
    """An action that a kind does not have; routed all the same, so that the caller learns why."""

    reason: str

    def __call__(self, ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
        """Invalid for every object."""
        raise Invalid(f"{ref.kind.name}: {self.reason}", reason="ActionNotSupported")


# --- scale --------------------------------------------------------------------
def _required_replicas(options: ActionOptions) -> int:
    if options.replicas is None:
        raise Invalid("replicas is required", field="replicas")
    return options.replicas


def scale(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Set replicas through the scale subresource; warns of an autoscaler that will undo it.

    Conflict when `current_replicas` is set and the object has another number.
    """
    replicas = _required_replicas(options)
    current = ref.read(subresource="scale")
    previous = current["spec"].get("replicas", 0)
    body: Object = {"spec": {"replicas": replicas}}
    if options.current_replicas is not None:
        if previous != options.current_replicas:
            raise Conflict(
                f"{ref.name} has {previous} replicas, not {options.current_replicas}",
                reason="Conflict",
            )
        # The number may still change before the patch arrives: the API server compares too.
        body["metadata"] = {"resourceVersion": current["metadata"]["resourceVersion"]}
    ref.patch(body, subresource="scale", dry_run=options.dry_run)
    changed = previous != replicas
    data = _answer(ref, changed=changed, replicas=replicas, previous_replicas=previous)
    rollout = None if options.dry_run else Tracking(ref.read(), until="scaled")
    return ActionOutcome(data, rollout, _autoscaler_warnings(ref))


def _autoscaler_warnings(ref: ObjectRef) -> list[str]:
    """One sentence for each HorizontalPodAutoscaler that sets this object's replicas."""
    try:
        autoscalers = list_all(ref.client, KINDS["horizontalpodautoscalers"], ref.namespace)
    except DomainError:
        # A warning less: the scaling itself has succeeded.
        return []
    return [_autoscaler_warning(item) for item in autoscalers if _scales(item["spec"], ref)]


def _scales(spec: Object, ref: ObjectRef) -> bool:
    target = spec.get("scaleTargetRef") or {}
    return (target.get("kind"), target.get("name")) == (
        ref.kind.name,
        ref.name,
    )


def _autoscaler_warning(item: Object) -> str:
    name = item["metadata"]["name"]
    # The API server's default of minReplicas is 1.
    minimum = item["spec"].get("minReplicas", 1)
    maximum = item["spec"].get("maxReplicas")
    return (
        f"HorizontalPodAutoscaler {name} manages the replicas and may set them again, "
        f"from {minimum} to {maximum}"
    )


def scale_job(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """A Job's replicas are its parallelism; 0 pauses it without ending it."""
    replicas = _required_replicas(options)
    previous = ref.read()["spec"].get("parallelism", 1)
    ref.patch({"spec": {"parallelism": replicas}}, dry_run=options.dry_run)
    changed = previous != replicas
    return ActionOutcome(
        _answer(
            ref,
            changed=changed,
            replicas=replicas,
            previous_replicas=previous,
        )
    )


# --- rollback -----------------------------------------------------------------
def rollback(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Return to a revision's pod template: kubectl rollout undo; revision 0 is the previous one.

    Nothing changes when it is the current one. Rejected while paused, NotFound without it.
    """
    owner = ref.read()
    if owner["spec"].get("paused"):
        raise Rejected(
            "a paused Deployment cannot be rolled back; resume it first",
            reason="Paused",
        )
    revision = revisions.find(revisions.history(ref, owner), options.revision)
    current_template = revisions.normalized_template(owner["spec"]["template"])
    is_current = revision.template == current_template
    data = _answer(
        ref,
        changed=not is_current,
        no_op=is_current,
        revision=revision.number,
        revision_name=revision.holder["metadata"]["name"],
    )
    if is_current:
        message = f"the current template is already that of revision {revision.number}"
        return ActionOutcome({**data, "message": message})
    if ref.kind.plural == "deployments":
        body = _template_patch(owner, revision)
        item = ref.patch(body, patch="json", dry_run=options.dry_run)
    else:
        # The data of a ControllerRevision is a strategic merge patch of its owner.
        item = ref.patch(
            revision.holder["data"],
            patch="strategic",
            dry_run=options.dry_run,
        )
    return ActionOutcome(data, _track_rollout(item, options), _on_delete_warnings(item))


def _template_patch(owner: Object, revision: revisions.Revision) -> list[Object]:
    """kubectl's patch: the template, and the annotations that belong to the revision."""
    current = owner["metadata"].get("annotations") or {}
    previous = revision.holder["metadata"].get("annotations") or {}
    annotations = {key: value for key, value in current.items() if key in KEPT_ANNOTATIONS}
    annotations |= {key: value for key, value in previous.items() if key not in KEPT_ANNOTATIONS}
    return [
        # Another object may have taken the name meanwhile.
        {
            "op": "test",
            "path": "/metadata/uid",
            "value": owner["metadata"]["uid"],
        },
        {
            "op": "replace",
            "path": "/spec/template",
            "value": revision.template,
        },
        {
            "op": "add",
            "path": "/metadata/annotations",
            "value": annotations,
        },
    ]


def _on_delete_warnings(item: Object) -> list[str]:
    if (item["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return ["the update strategy is OnDelete: pods change only when they are deleted"]
    return []


# --- restart, pause, resume ---------------------------------------------------
def restart(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Replace all pods at the pace of the update strategy: kubectl rollout restart."""
    before = ref.read()
    if before["spec"].get("paused"):
        raise Rejected(
            "a paused Deployment cannot be restarted; resume it first",
            reason="Paused",
        )
    # A bulk operation gives its own time, so that a repeated step changes nothing.
    restarted_at = options.at or f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"
    annotations = {RESTARTED_AT: restarted_at}
    body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    item = ref.patch(body, patch="strategic", dry_run=options.dry_run)
    changed = item["metadata"].get("generation") != before["metadata"].get("generation")
    data = _answer(ref, changed=changed or options.dry_run, restarted_at=restarted_at)
    return ActionOutcome(data, _track_rollout(item, options), _on_delete_warnings(item))


def _switch(field_name: str, value: bool) -> Action:
    """An action that sets a boolean of the spec; doing it twice changes nothing."""

    def switch(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
        previous = bool(ref.read()["spec"].get(field_name))
        ref.patch({"spec": {field_name: value}}, dry_run=options.dry_run)
        return ActionOutcome(_answer(ref, changed=previous != value, **{field_name: value}))

    return switch


def resume_deployment(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """kubectl rollout resume; changes made while it was paused are rolled out now."""
    was_paused = bool(ref.read()["spec"].get("paused"))
    item = ref.patch({"spec": {"paused": False}}, dry_run=options.dry_run)
    rollout = _track_rollout(item, options) if was_paused else None
    return ActionOutcome(_answer(ref, changed=was_paused, paused=False), rollout)


def _retry_on_conflict(act: Action) -> Action:
    """The action, read and written again on a conflict: controllers write these objects often."""

    def retry(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
        return retry_on_conflict(lambda: act(ref, options), tries=TRIES)

    return retry


def pause_stateful_set(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Pause the rollout: no pod is updated while the partition is above every ordinal.

    The previous partition is stored in an annotation. Invalid with update strategy OnDelete.
    """
    item = ref.read()
    strategy = item["spec"].get("updateStrategy") or {}
    annotations = item["metadata"].get("annotations") or {}
    if strategy.get("type") == "OnDelete":
        raise Invalid(
            "StatefulSet: with update strategy OnDelete there is no rolling update to pause",
            reason="ActionNotSupported",
        )
    # Pausing again would store the huge partition as the previous one.
    if PAUSED_PARTITION in annotations:
        return ActionOutcome(_answer(ref, changed=False, paused=True))
    previous = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    ref.patch(
        _partition_patch(item, EVERYTHING, str(previous)),
        dry_run=options.dry_run,
    )
    return ActionOutcome(_answer(ref, changed=True, paused=True))


def resume_stateful_set(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Restore the partition that pausing replaced."""
    item = ref.read()
    previous = (item["metadata"].get("annotations") or {}).get(PAUSED_PARTITION)
    if previous is None:
        return ActionOutcome(_answer(ref, changed=False, paused=False))
    # Anyone may write the annotation; partitions are int32.
    partition = int(previous) if previous.isdecimal() and len(previous) < 10 else 0
    item = ref.patch(_partition_patch(item, partition, None), dry_run=options.dry_run)
    return ActionOutcome(_answer(ref, changed=True, paused=False), _track_rollout(item, options))


def _partition_patch(item: Object, partition: int, previous: str | None) -> Object:
    """A merge patch of the partition; `previous` goes into the annotation, None removes it."""
    rolling_update = {"partition": partition}
    return {
        "metadata": {
            # Conflict when the partition was changed meanwhile.
            "resourceVersion": item["metadata"]["resourceVersion"],
            "annotations": {PAUSED_PARTITION: previous},
        },
        "spec": {
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": rolling_update,
            }
        },
    }


# --- jobs ---------------------------------------------------------------------
def _job_name(base: str, middle: str, requested: str) -> str:
    """The requested name, or a generated one; Invalid when it is no DNS label."""
    name = requested
    if not name:
        # 63 characters at most: base, "-", middle, "-", five random ones.
        start = base[: 62 - len(middle) - 6].rstrip("-")
        name = f"{start}-{middle}-{secrets.token_hex(3)[:5]}"
    # The name of a Job has to be a label of its pods.
    if not dns_names.LABEL.match(name):
        raise Invalid(
            "name must be a DNS label of at most 63 letters, digits and '-'",
            field="name",
        )
    return name


def _create_job(ref: ObjectRef, job: Object, options: ActionOptions) -> ActionOutcome:
    query = {"dryRun": "All"} if options.dry_run else {}
    raw = ref.client.create(KINDS["jobs"], job, namespace=ref.namespace, **query)
    created = orjson.loads(raw)
    name = created["metadata"]["name"]
    return ActionOutcome(_answer(ref, changed=True, job=name, object=created))


def trigger(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Create a Job from the CronJob's template now: kubectl create job --from."""
    owner = ref.read()
    template = owner["spec"]["jobTemplate"]
    template_metadata = template.get("metadata") or {}
    owner_reference = {
        "apiVersion": owner["apiVersion"],
        "kind": "CronJob",
        "name": ref.name,
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": _job_name(ref.name, "manual", options.name),
        "labels": template_metadata.get("labels") or {},
        "annotations": {
            "cronjob.kubernetes.io/instantiate": "manual",
            **(template_metadata.get("annotations") or {}),
        },
        "ownerReferences": [owner_reference],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": template["spec"],
    }
    return _create_job(ref, job, options)


def rerun(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Create a copy of the Job under a new name; the old Job stays.

    Rejected for a Job with manualSelector.
    """
    old = ref.read()
    if old["spec"].get("manualSelector"):
        raise Rejected(
            "a Job with manualSelector cannot be cloned: both Jobs would select the same pods",
            reason="ManualSelector",
        )
    spec = deepcopy(old["spec"])
    # The API server generates selector and labels for each Job; a suspended copy would not run.
    for name in ("selector", "suspend", "manualSelector"):
        spec.pop(name, None)
    _strip_job_labels(spec["template"].get("metadata") or {})
    metadata = {
        "labels": dict(old["metadata"].get("labels") or {}),
        "annotations": {RERUN_OF: ref.name},
        "name": _job_name(ref.name, "rerun", options.name),
    }
    _strip_job_labels(metadata)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": spec,
    }
    return _create_job(ref, job, options)


def _strip_job_labels(metadata: Mapping[str, Any]) -> None:
    labels = metadata.get("labels") or {}
    for name in JOB_LABELS:
        labels.pop(name, None)


# --- the table ----------------------------------------------------------------
VERBS = (
    "scale",
    "rollback",
    "restart",
    "pause",
    "resume",
    "suspend",
    "trigger",
    "rerun",
)
_NOT_A_CRONJOB = UnsupportedAction("only a CronJob can be triggered")
_NOT_A_JOB = UnsupportedAction("only a Job can be run again")
_NOT_SUSPENDED = UnsupportedAction("it cannot be suspended; only Jobs and CronJobs can")
_COMMON: Mapping[str, Action] = {
    "suspend": _NOT_SUSPENDED,
    "trigger": _NOT_A_CRONJOB,
    "rerun": _NOT_A_JOB,
}
_SUSPEND = _switch("suspend", True)
_UNSUSPEND = _switch("suspend", False)

ACTIONS: Mapping[str, Mapping[str, Action]] = {
    "deployments": {
        **_COMMON,
        "scale": scale,
        "rollback": rollback,
        "restart": restart,
        "pause": _switch("paused", True),
        "resume": resume_deployment,
    },
    "statefulsets": {
        **_COMMON,
        "scale": scale,
        "rollback": rollback,
        "restart": restart,
        "pause": _retry_on_conflict(pause_stateful_set),
        "resume": _retry_on_conflict(resume_stateful_set),
    },
    "daemonsets": {
        **_COMMON,
        "scale": UnsupportedAction("it cannot be scaled, its pods follow the nodes"),
        "rollback": rollback,
        "restart": restart,
        "pause": UnsupportedAction("it cannot be paused"),
        "resume": UnsupportedAction("it cannot be paused, so there is nothing to resume"),
    },
    "jobs": {
        **_COMMON,
        "scale": scale_job,
        "rollback": UnsupportedAction("it has no revisions to roll back to"),
        "restart": rerun,
        "pause": _SUSPEND,
        "resume": _UNSUSPEND,
        "suspend": _SUSPEND,
        "rerun": rerun,
    },
    "cronjobs": {
        **_COMMON,
        "scale": UnsupportedAction("it cannot be scaled, it creates one Job at a time"),
        "rollback": UnsupportedAction("it has no revisions to roll back to"),
        "restart": UnsupportedAction("it is not restarted; trigger it instead"),
        "pause": _SUSPEND,
        "resume": _UNSUSPEND,
        "suspend": _SUSPEND,
        "trigger": trigger,
    },
}


def is_possible(plural: str, verb: str) -> bool:
    """Whether the kind has the action."""
    return not isinstance(ACTIONS[plural][verb], UnsupportedAction)


def run(ref: ObjectRef, verb: str, options: ActionOptions) -> ActionOutcome:
    """Run an action; Invalid, with the reason, for one that the kind does not have."""
    return ACTIONS[ref.kind.plural][verb](ref, options)
