"""What can be done to a workload beside changing its manifest: one table, kind -> verb -> function (contract 1.3).

An action does in one call what the API server does in one call, so that a refusal is the caller's answer. What takes longer is named in
the outcome (`rollout`, `recreate`) and becomes an operation at the edge.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.utils import timezone

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from core.errors import Conflict, DomainError, Invalid, Rejected
from core.retry import retry_on_conflict
from workloads.actions import revisions
from workloads.actions.revisions import REVISION
from workloads.actions.rollouts import Tracking
from workloads.objects.subject import ObjectRef

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
PAUSED_PARTITION = "kubegale.io/paused-partition"
RERUN_OF = "kubegale.io/rerun-of"
EVERYTHING = 2**31 - 1
TRIES = 6
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
# What a rollback leaves alone, as kubectl does.
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


@dataclass(frozen=True, slots=True)
class ActionOptions:
    """What a caller says about an action."""

    dry_run: bool = False
    replicas: int | None = None
    current_replicas: int | None = None
    revision: int = 0
    name: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """What an action did: the answer, and the change whose end is worth waiting for."""

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


@dataclass(frozen=True, slots=True)
class UnsupportedAction:
    """An action that a kind cannot have; routed all the same, so that the caller learns why."""

    reason: str

    def __call__(self, ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
        """Invalid, whatever the object is."""
        raise Invalid(f"{ref.kind.name}: {self.reason}", reason="ActionNotSupported")


# --- scale ----------------------------------------------------------------------------------------------------------
def _wanted_replicas(options: ActionOptions) -> int:
    if options.replicas is None:
        raise Invalid("replicas is required", field="replicas")
    return options.replicas


def scale(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Through the scale subresource; an autoscaler that will undo it is named in the warnings."""
    wanted = _wanted_replicas(options)
    before = ref.read(subresource="scale")
    had = before["spec"].get("replicas", 0)
    body: Object = {"spec": {"replicas": wanted}}
    if options.current_replicas is not None:
        if had != options.current_replicas:
            raise Conflict(
                f"{ref.name} has {had} replicas, not {options.current_replicas}",
                reason="Conflict",
            )
        body["metadata"] = {"resourceVersion": before["metadata"]["resourceVersion"]}
    ref.patch(body, subresource="scale", dry_run=options.dry_run)
    data = _answer(ref, changed=had != wanted, replicas=wanted, previous_replicas=had)
    return ActionOutcome(data, _scaling(ref, options), _autoscalers(ref))


def _scaling(ref: ObjectRef, options: ActionOptions) -> Tracking | None:
    return None if options.dry_run else Tracking(ref.read(), until="scaled")


def _autoscalers(ref: ObjectRef) -> list[str]:
    """One sentence for each HorizontalPodAutoscaler that sets this object's replicas."""
    try:
        found = list(list_all(ref.client, KINDS["horizontalpodautoscalers"], ref.namespace))
    except DomainError:
        return []
    return [
        _autoscaler(item["metadata"]["name"], item["spec"])
        for item in found
        if _scales(item["spec"], ref)
    ]


def _scales(spec: Object, ref: ObjectRef) -> bool:
    target = spec.get("scaleTargetRef") or {}
    return (target.get("kind"), target.get("name")) == (ref.kind.name, ref.name)


def _autoscaler(name: str, spec: Object) -> str:
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas")
    return f"HorizontalPodAutoscaler {name} manages the replicas and may set them again, from {low} to {high}"


def scale_job(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """A Job's replicas are its parallelism; 0 holds it without ending it."""
    wanted = _wanted_replicas(options)
    had = ref.read()["spec"].get("parallelism", 1)
    ref.patch({"spec": {"parallelism": wanted}}, dry_run=options.dry_run)
    return ActionOutcome(
        _answer(ref, changed=had != wanted, replicas=wanted, previous_replicas=had)
    )


# --- rollback -------------------------------------------------------------------------------------------------------
def rollback(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Back to a revision's pod template; 0 is the one before the newest. Nothing is changed when it is the current one."""
    owner = ref.read()
    if owner["spec"].get("paused"):
        raise Rejected(
            "a paused Deployment cannot be rolled back; resume it first", reason="Paused"
        )
    wanted = revisions.find(revisions.history(ref, owner), options.revision)
    same = wanted.template == revisions.normalized_template(owner["spec"]["template"])
    data = _answer(
        ref,
        changed=not same,
        no_op=same,
        revision=wanted.number,
        revision_name=wanted.holder["metadata"]["name"],
    )
    if same:
        return ActionOutcome(
            {**data, "message": f"the current template is that of revision {wanted.number} already"}
        )
    if ref.kind.plural == "deployments":
        item = ref.patch(_template_patch(owner, wanted), patch="json", dry_run=options.dry_run)
    else:
        item = ref.patch(wanted.holder["data"], patch="strategic", dry_run=options.dry_run)
    return ActionOutcome(data, None if options.dry_run else Tracking(item), _on_delete(item))


def _template_patch(owner: Object, wanted: revisions.Revision) -> list[Object]:
    """kubectl's patch: the template, and the annotations that belong to the revision."""
    mine, theirs = (
        owner["metadata"].get("annotations") or {},
        wanted.holder["metadata"].get("annotations") or {},
    )
    annotations = {key: value for key, value in mine.items() if key in KEPT_ANNOTATIONS}
    annotations |= {key: value for key, value in theirs.items() if key not in KEPT_ANNOTATIONS}
    return [
        {"op": "test", "path": "/metadata/uid", "value": owner["metadata"]["uid"]},
        {"op": "replace", "path": "/spec/template", "value": wanted.template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]


def _on_delete(item: Object) -> list[str]:
    if (item["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return ["the update strategy is OnDelete: pods change only when they are deleted"]
    return []


# --- restart, pause, resume -----------------------------------------------------------------------------------------
def restart(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """New pods for old, at the pace of the update strategy: kubectl rollout restart."""
    before = ref.read()
    if before["spec"].get("paused"):
        raise Rejected("a paused Deployment cannot be restarted; resume it first", reason="Paused")
    now = options.at or f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"
    body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
    item = ref.patch(body, patch="strategic", dry_run=options.dry_run)
    changed = item["metadata"].get("generation") != before["metadata"].get("generation")
    data = _answer(ref, changed=changed or options.dry_run, restarted_at=now)
    return ActionOutcome(data, None if options.dry_run else Tracking(item), _on_delete(item))


def _switch(field_name: str, value: bool) -> Action:
    """Set a yes-or-no field of the spec; doing it twice changes nothing."""

    def switch(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
        had = bool(ref.read()["spec"].get(field_name))
        ref.patch({"spec": {field_name: value}}, dry_run=options.dry_run)
        return ActionOutcome(_answer(ref, changed=had != value, **{field_name: value}))

    return switch


def resume_deployment(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Let it roll again; what was changed meanwhile is followed."""
    had = bool(ref.read()["spec"].get("paused"))
    item = ref.patch({"spec": {"paused": False}}, dry_run=options.dry_run)
    return ActionOutcome(
        _answer(ref, changed=had, paused=False),
        Tracking(item) if had and not options.dry_run else None,
    )


def _retried(act: Action) -> Action:
    """Read and write again when the object was changed in between, as controllers do all the time."""

    def retried(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
        return retry_on_conflict(lambda: act(ref, options), tries=TRIES)

    return retried


def pause_stateful_set(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """No pod is updated while the partition is above every ordinal; the old partition is kept in an annotation."""
    item = ref.read()
    strategy, annotations = (
        item["spec"].get("updateStrategy") or {},
        item["metadata"].get("annotations") or {},
    )
    if strategy.get("type") == "OnDelete":
        raise Invalid(
            "StatefulSet: with update strategy OnDelete nothing rolls that could be paused",
            reason="ActionNotSupported",
        )
    if PAUSED_PARTITION in annotations:
        return ActionOutcome(_answer(ref, changed=False, paused=True))
    had = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    ref.patch(_partition(item, EVERYTHING, str(had)), dry_run=options.dry_run)
    return ActionOutcome(_answer(ref, changed=True, paused=True))


def resume_stateful_set(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """Put the partition back that pausing replaced."""
    item = ref.read()
    kept = (item["metadata"].get("annotations") or {}).get(PAUSED_PARTITION)
    if kept is None:
        return ActionOutcome(_answer(ref, changed=False, paused=False))
    item = ref.patch(
        _partition(item, int(kept) if kept.isdecimal() and len(kept) < 10 else 0, None),
        dry_run=options.dry_run,
    )
    return ActionOutcome(
        _answer(ref, changed=True, paused=False), None if options.dry_run else Tracking(item)
    )


def _partition(item: Object, value: int, kept: str | None) -> Object:
    return {
        "metadata": {
            "resourceVersion": item["metadata"]["resourceVersion"],
            "annotations": {PAUSED_PARTITION: kept},
        },
        "spec": {
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": value}}
        },
    }


# --- jobs -----------------------------------------------------------------------------------------------------------
def _new_name(base: str, middle: str, given: str) -> str:
    """The name asked for, or a fresh one that fits a label."""
    name = (
        given or f"{base[: 62 - len(middle) - 6].rstrip('-')}-{middle}-{secrets.token_hex(3)[:5]}"
    )
    if not NAME.match(name):
        raise Invalid(
            "name must be a DNS label of at most 63 letters, digits and '-'", field="name"
        )
    return name


def _made(ref: ObjectRef, job: Object, options: ActionOptions) -> ActionOutcome:
    query = {"dryRun": "All"} if options.dry_run else {}
    made = orjson.loads(ref.client.create(KINDS["jobs"], job, namespace=ref.namespace, **query))
    return ActionOutcome(_answer(ref, changed=True, job=made["metadata"]["name"], object=made))


def trigger(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """A Job out of the CronJob's template, now: kubectl create job --from."""
    owner = ref.read()
    template = owner["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": "CronJob",
        "name": ref.name,
        "uid": owner["metadata"]["uid"],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": _new_name(ref.name, "manual", options.name),
            "labels": metadata.get("labels") or {},
            "annotations": {
                "cronjob.kubernetes.io/instantiate": "manual",
                **(metadata.get("annotations") or {}),
            },
            "ownerReferences": [{**reference, "controller": True}],
        },
        "spec": template["spec"],
    }
    return _made(ref, job, options)


def rerun(ref: ObjectRef, options: ActionOptions) -> ActionOutcome:
    """A clone of the Job under a new name; the old one stays."""
    old = ref.read()
    if old["spec"].get("manualSelector"):
        raise Rejected(
            "a Job with manualSelector cannot be cloned: both would fight over the same pods",
            reason="ManualSelector",
        )
    spec = deepcopy(old["spec"])
    for name in ("selector", "suspend", "manualSelector"):
        spec.pop(name, None)
    _strip_job_labels(spec["template"].get("metadata") or {})
    metadata = {
        "labels": dict(old["metadata"].get("labels") or {}),
        "annotations": {RERUN_OF: ref.name},
    }
    _strip_job_labels(metadata)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "name": _new_name(ref.name, "rerun", options.name)},
    }
    return _made(ref, {**job, "spec": spec}, options)


def _strip_job_labels(metadata: Mapping[str, Any]) -> None:
    labels = metadata.get("labels") or {}
    for name in (
        "controller-uid",
        "job-name",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
    ):
        labels.pop(name, None)


# --- the table ------------------------------------------------------------------------------------------------------
VERBS = ("scale", "rollback", "restart", "pause", "resume", "suspend", "trigger", "rerun")
_NOT_A_CRONJOB = UnsupportedAction("only a CronJob can be triggered")
_NOT_A_JOB = UnsupportedAction("only a Job can be run again")
_NOT_SUSPENDED = UnsupportedAction("it cannot be suspended; only Jobs and CronJobs can")
_COMMON: Mapping[str, Action] = {
    "suspend": _NOT_SUSPENDED,
    "trigger": _NOT_A_CRONJOB,
    "rerun": _NOT_A_JOB,
}
_SUSPEND, _UNSUSPEND = _switch("suspend", True), _switch("suspend", False)

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
        "pause": _retried(pause_stateful_set),
        "resume": _retried(resume_stateful_set),
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
        "rollback": UnsupportedAction("it has no revisions to go back to"),
        "restart": rerun,
        "pause": _SUSPEND,
        "resume": _UNSUSPEND,
        "suspend": _SUSPEND,
        "rerun": rerun,
    },
    "cronjobs": {
        **_COMMON,
        "scale": UnsupportedAction("it cannot be scaled, it makes one Job at a time"),
        "rollback": UnsupportedAction("it has no revisions to go back to"),
        "restart": UnsupportedAction("it is not restarted; trigger it instead"),
        "pause": _SUSPEND,
        "resume": _UNSUSPEND,
        "suspend": _SUSPEND,
        "trigger": trigger,
    },
}


def is_possible(plural: str, verb: str) -> bool:
    """Whether the kind has the action at all."""
    return not isinstance(ACTIONS[plural][verb], UnsupportedAction)


def run(ref: ObjectRef, verb: str, options: ActionOptions) -> ActionOutcome:
    """Do it; Invalid, with the reason, for what the kind cannot do."""
    return ACTIONS[ref.kind.plural][verb](ref, options)
