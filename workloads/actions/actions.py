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
from workloads.objects.subject import Subject

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
class Options:
    """What a caller says about an action."""

    dry_run: bool = False
    replicas: int | None = None
    current_replicas: int | None = None
    revision: int = 0
    name: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did: the answer, and the change whose end is worth waiting for."""

    data: Object
    rollout: Tracking | None = None
    warnings: list[str] = field(default_factory=list)


Action = Callable[[Subject, Options], Outcome]


def _answer(subject: Subject, *, changed: bool, **more: Any) -> Object:
    return {
        "kind": subject.kind.name,
        "name": subject.name,
        "namespace": subject.namespace,
        "changed": changed,
        **more,
    }


@dataclass(frozen=True, slots=True)
class Refusal:
    """An action that a kind cannot have; routed all the same, so that the caller learns why."""

    reason: str

    def __call__(self, subject: Subject, options: Options) -> Outcome:
        """Invalid, whatever the object is."""
        raise Invalid(f"{subject.kind.name}: {self.reason}", reason="ActionNotSupported")


# --- scale ----------------------------------------------------------------------------------------------------------
def _wanted_replicas(options: Options) -> int:
    if options.replicas is None:
        raise Invalid("replicas is required", field="replicas")
    return options.replicas


def scale(subject: Subject, options: Options) -> Outcome:
    """Through the scale subresource; an autoscaler that will undo it is named in the warnings."""
    wanted = _wanted_replicas(options)
    before = subject.read(subresource="scale")
    had = before["spec"].get("replicas", 0)
    body: Object = {"spec": {"replicas": wanted}}
    if options.current_replicas is not None:
        if had != options.current_replicas:
            raise Conflict(
                f"{subject.name} has {had} replicas, not {options.current_replicas}",
                reason="Conflict",
            )
        body["metadata"] = {"resourceVersion": before["metadata"]["resourceVersion"]}
    subject.patch(body, subresource="scale", dry_run=options.dry_run)
    data = _answer(subject, changed=had != wanted, replicas=wanted, previous_replicas=had)
    return Outcome(data, _scaling(subject, options), _autoscalers(subject))


def _scaling(subject: Subject, options: Options) -> Tracking | None:
    return None if options.dry_run else Tracking(subject.read(), until="scaled")


def _autoscalers(subject: Subject) -> list[str]:
    """One sentence for each HorizontalPodAutoscaler that sets this object's replicas."""
    try:
        found = list(list_all(subject.client, KINDS["horizontalpodautoscalers"], subject.namespace))
    except DomainError:
        return []
    return [
        _autoscaler(item["metadata"]["name"], item["spec"])
        for item in found
        if _scales(item["spec"], subject)
    ]


def _scales(spec: Object, subject: Subject) -> bool:
    target = spec.get("scaleTargetRef") or {}
    return (target.get("kind"), target.get("name")) == (subject.kind.name, subject.name)


def _autoscaler(name: str, spec: Object) -> str:
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas")
    return f"HorizontalPodAutoscaler {name} manages the replicas and may set them again, from {low} to {high}"


def scale_job(subject: Subject, options: Options) -> Outcome:
    """A Job's replicas are its parallelism; 0 holds it without ending it."""
    wanted = _wanted_replicas(options)
    had = subject.read()["spec"].get("parallelism", 1)
    subject.patch({"spec": {"parallelism": wanted}}, dry_run=options.dry_run)
    return Outcome(_answer(subject, changed=had != wanted, replicas=wanted, previous_replicas=had))


# --- rollback -------------------------------------------------------------------------------------------------------
def rollback(subject: Subject, options: Options) -> Outcome:
    """Back to a revision's pod template; 0 is the one before the newest. Nothing is changed when it is the current one."""
    owner = subject.read()
    if owner["spec"].get("paused"):
        raise Rejected(
            "a paused Deployment cannot be rolled back; resume it first", reason="Paused"
        )
    wanted = revisions.find(revisions.history(subject, owner), options.revision)
    same = wanted.template == revisions.normal(owner["spec"]["template"])
    data = _answer(
        subject,
        changed=not same,
        no_op=same,
        revision=wanted.number,
        revision_name=wanted.holder["metadata"]["name"],
    )
    if same:
        return Outcome(
            {**data, "message": f"the current template is that of revision {wanted.number} already"}
        )
    if subject.kind.plural == "deployments":
        item = subject.patch(_template_patch(owner, wanted), patch="json", dry_run=options.dry_run)
    else:
        item = subject.patch(wanted.holder["data"], patch="strategic", dry_run=options.dry_run)
    return Outcome(data, None if options.dry_run else Tracking(item), _on_delete(item))


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
def restart(subject: Subject, options: Options) -> Outcome:
    """New pods for old, at the pace of the update strategy: kubectl rollout restart."""
    before = subject.read()
    if before["spec"].get("paused"):
        raise Rejected("a paused Deployment cannot be restarted; resume it first", reason="Paused")
    now = options.at or f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"
    body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
    item = subject.patch(body, patch="strategic", dry_run=options.dry_run)
    changed = item["metadata"].get("generation") != before["metadata"].get("generation")
    data = _answer(subject, changed=changed or options.dry_run, restarted_at=now)
    return Outcome(data, None if options.dry_run else Tracking(item), _on_delete(item))


def _switch(field_name: str, value: bool) -> Action:
    """Set a yes-or-no field of the spec; doing it twice changes nothing."""

    def switch(subject: Subject, options: Options) -> Outcome:
        had = bool(subject.read()["spec"].get(field_name))
        subject.patch({"spec": {field_name: value}}, dry_run=options.dry_run)
        return Outcome(_answer(subject, changed=had != value, **{field_name: value}))

    return switch


def resume_deployment(subject: Subject, options: Options) -> Outcome:
    """Let it roll again; what was changed meanwhile is followed."""
    had = bool(subject.read()["spec"].get("paused"))
    item = subject.patch({"spec": {"paused": False}}, dry_run=options.dry_run)
    return Outcome(
        _answer(subject, changed=had, paused=False),
        Tracking(item) if had and not options.dry_run else None,
    )


def _retried(act: Action) -> Action:
    """Read and write again when the object was changed in between, as controllers do all the time."""

    def retried(subject: Subject, options: Options) -> Outcome:
        return retry_on_conflict(lambda: act(subject, options), tries=TRIES)

    return retried


def pause_stateful_set(subject: Subject, options: Options) -> Outcome:
    """No pod is updated while the partition is above every ordinal; the old partition is kept in an annotation."""
    item = subject.read()
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
        return Outcome(_answer(subject, changed=False, paused=True))
    had = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    subject.patch(_partition(item, EVERYTHING, str(had)), dry_run=options.dry_run)
    return Outcome(_answer(subject, changed=True, paused=True))


def resume_stateful_set(subject: Subject, options: Options) -> Outcome:
    """Put the partition back that pausing replaced."""
    item = subject.read()
    kept = (item["metadata"].get("annotations") or {}).get(PAUSED_PARTITION)
    if kept is None:
        return Outcome(_answer(subject, changed=False, paused=False))
    item = subject.patch(
        _partition(item, int(kept) if kept.isdecimal() and len(kept) < 10 else 0, None),
        dry_run=options.dry_run,
    )
    return Outcome(
        _answer(subject, changed=True, paused=False), None if options.dry_run else Tracking(item)
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


def _made(subject: Subject, job: Object, options: Options) -> Outcome:
    query = {"dryRun": "All"} if options.dry_run else {}
    made = orjson.loads(
        subject.client.create(KINDS["jobs"], job, namespace=subject.namespace, **query)
    )
    return Outcome(_answer(subject, changed=True, job=made["metadata"]["name"], object=made))


def trigger(subject: Subject, options: Options) -> Outcome:
    """A Job out of the CronJob's template, now: kubectl create job --from."""
    owner = subject.read()
    template = owner["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": "CronJob",
        "name": subject.name,
        "uid": owner["metadata"]["uid"],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": _new_name(subject.name, "manual", options.name),
            "labels": metadata.get("labels") or {},
            "annotations": {
                "cronjob.kubernetes.io/instantiate": "manual",
                **(metadata.get("annotations") or {}),
            },
            "ownerReferences": [{**reference, "controller": True}],
        },
        "spec": template["spec"],
    }
    return _made(subject, job, options)


def rerun(subject: Subject, options: Options) -> Outcome:
    """A clone of the Job under a new name; the old one stays."""
    old = subject.read()
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
        "annotations": {RERUN_OF: subject.name},
    }
    _strip_job_labels(metadata)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "name": _new_name(subject.name, "rerun", options.name)},
    }
    return _made(subject, {**job, "spec": spec}, options)


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
_NOT_A_CRONJOB = Refusal("only a CronJob can be triggered")
_NOT_A_JOB = Refusal("only a Job can be run again")
_NOT_SUSPENDED = Refusal("it cannot be suspended; only Jobs and CronJobs can")
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
        "scale": Refusal("it cannot be scaled, its pods follow the nodes"),
        "rollback": rollback,
        "restart": restart,
        "pause": Refusal("it cannot be paused"),
        "resume": Refusal("it cannot be paused, so there is nothing to resume"),
    },
    "jobs": {
        **_COMMON,
        "scale": scale_job,
        "rollback": Refusal("it has no revisions to go back to"),
        "restart": rerun,
        "pause": _SUSPEND,
        "resume": _UNSUSPEND,
        "suspend": _SUSPEND,
        "rerun": rerun,
    },
    "cronjobs": {
        **_COMMON,
        "scale": Refusal("it cannot be scaled, it makes one Job at a time"),
        "rollback": Refusal("it has no revisions to go back to"),
        "restart": Refusal("it is not restarted; trigger it instead"),
        "pause": _SUSPEND,
        "resume": _UNSUSPEND,
        "suspend": _SUSPEND,
        "trigger": trigger,
    },
}


def is_possible(plural: str, verb: str) -> bool:
    """Whether the kind has the action at all."""
    return not isinstance(ACTIONS[plural][verb], Refusal)


def run(subject: Subject, verb: str, options: Options) -> Outcome:
    """Do it; Invalid, with the reason, for what the kind cannot do."""
    return ACTIONS[subject.kind.plural][verb](subject, options)
