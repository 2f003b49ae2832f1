"""The columns of what runs pods, and of what scales or limits them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from clusters.manifests import Object
from clusters.tables.columns import (
    AGE,
    CREATED_AT,
    NAME,
    Column,
    count_column,
    labels_column,
    number_column,
    selector_column,
    template_columns,
    text_column,
)
from clusters.tables.values import (
    NONE,
    UNKNOWN,
    UNSET,
    conditions_by_type,
    format_age,
    format_bool,
    format_duration,
    get,
    is_true,
    mappings_at,
    number_at,
    parse_time,
    text_at,
)

_TEMPLATE = template_columns("spec.template")
_SELECTOR = selector_column("Selector", "spec.selector", NONE)
# The API server shows so many metrics of an autoscaler.
_SHOWN_METRICS = 2


def _ready(obj: Object, now: datetime) -> str:
    ready = number_at(obj, "status.readyReplicas")
    return f"{ready}/{number_at(obj, 'spec.replicas', 1)}"


def _replica_columns() -> tuple[Column, ...]:
    return (
        NAME,
        number_column("Desired", "spec.replicas"),
        number_column("Current", "status.replicas"),
        number_column("Ready", "status.readyReplicas"),
        AGE,
        *_TEMPLATE,
    )


# --- jobs -----------------------------------------------------------------------------------------
def _job_status(job: Object, now: datetime) -> str:
    conditions = conditions_by_type(job)
    for ended in ("Complete", "Failed"):
        if is_true(conditions, ended):
            return ended
    if get(job, "metadata.deletionTimestamp"):
        return "Terminating"
    for state in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if is_true(conditions, state):
            return state
    return "Running"


def _job_completions(job: Object, now: datetime) -> str:
    succeeded = number_at(job, "status.succeeded")
    completions = get(job, "spec.completions")
    if completions is not None:
        return f"{succeeded}/{completions}"
    parallelism = number_at(job, "spec.parallelism")
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(job: Object, now: datetime) -> str:
    began = parse_time(get(job, "status.startTime"))
    if began is None:
        return ""
    ended = parse_time(get(job, "status.completionTime"))
    return format_duration((ended or now) - began)


def _last_schedule(job: Object, now: datetime) -> str:
    time = get(job, "status.lastScheduleTime")
    return format_age(time, now) if time else NONE


# --- autoscalers ----------------------------------------------------------------------------------
def _hpa_targets(hpa: Object, now: datetime) -> str:
    specs = mappings_at(hpa, "spec.metrics")
    if not specs:
        return NONE
    # The status of a metric stands at the place of its spec.
    statuses = mappings_at(hpa, "status.currentMetrics")
    texts = []
    for number, spec in enumerate(specs):
        status = statuses[number] if number < len(statuses) else {}
        texts.append(_metric_text(spec, status))
    if len(texts) <= _SHOWN_METRICS:
        return ", ".join(texts)
    shown = ", ".join(texts[:_SHOWN_METRICS])
    return f"{shown} + {len(texts) - _SHOWN_METRICS} more..."


# Type of a metric -> its member in spec and status.
_METRIC_MEMBERS = {
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metric_text(
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
) -> str:
    member = _METRIC_MEMBERS.get(str(spec.get("type")))
    if member is None:
        return "<unknown type>"
    metric = spec.get(member) or {}
    target = metric.get("target") or {}
    current = get(status.get(member), "current") or {}
    average = target.get("averageValue")
    if member in ("resource", "containerResource"):
        return f"{metric.get('name')}: {_resource_text(target, current)}"
    if member == "pods":
        return f"{current.get('averageValue', UNKNOWN)}/{average}"
    if average is not None:
        return f"{current.get('averageValue', UNKNOWN)}/{average} (avg)"
    return f"{current.get('value', UNKNOWN)}/{target.get('value')}"


def _resource_text(
    target: Mapping[str, Any],
    current: Mapping[str, Any],
) -> str:
    if target.get("averageValue") is not None:
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
    used = current.get("averageUtilization")
    goal = target.get("averageUtilization")
    used_text = UNKNOWN if used is None else f"{used}%"
    target_text = "<auto>" if goal is None else f"{goal}%"
    return f"{used_text}/{target_text}"


def _hpa_reference(hpa: Object, now: datetime) -> str:
    return f"{text_at(hpa, 'spec.scaleTargetRef.kind')}/{text_at(hpa, 'spec.scaleTargetRef.name')}"


# --- limits ---------------------------------------------------------------------------------------
def _quota_column(name: str, *, limits: bool) -> Column:
    def cell(quota: Object, now: datetime) -> str:
        hard = get(quota, "status.hard") or {}
        used = get(quota, "status.used") or {}
        texts = [
            f"{resource}: {used.get(resource, 0)}/{hard[resource]}"
            for resource in sorted(hard)
            if resource.startswith("limits.") is limits
        ]
        return ", ".join(texts)

    return Column(name, cell)


def _controller(revision: Object, now: datetime) -> str:
    for owner in mappings_at(revision, "metadata.ownerReferences"):
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            kind = str(owner.get("kind", "")).lower()
            qualified = f"{kind}.{group}" if group else kind
            return f"{qualified}/{owner.get('name')}"
    return NONE


WORKLOADS: Mapping[str, tuple[Column, ...]] = {
    "deployments.apps": (
        NAME,
        Column(
            "Ready",
            _ready,
            description="Number of the pod with ready state",
        ),
        number_column(
            "Up-to-date",
            "status.updatedReplicas",
            type="string",
        ),
        number_column(
            "Available",
            "status.availableReplicas",
            type="string",
        ),
        AGE,
        *_TEMPLATE,
        selector_column("Selector", "spec.selector"),
    ),
    "replicasets.apps": (*_replica_columns(), _SELECTOR),
    "replicationcontrollers": (
        *_replica_columns(),
        labels_column("Selector", "spec.selector", wide=True),
    ),
    "statefulsets.apps": (
        NAME,
        Column(
            "Ready",
            _ready,
            description="Number of the pod with ready state",
        ),
        AGE,
        *_TEMPLATE,
    ),
    "daemonsets.apps": (
        NAME,
        number_column("Desired", "status.desiredNumberScheduled"),
        number_column("Current", "status.currentNumberScheduled"),
        number_column("Ready", "status.numberReady"),
        number_column("Up-to-date", "status.updatedNumberScheduled"),
        number_column("Available", "status.numberAvailable"),
        labels_column(
            "Node Selector",
            "spec.template.spec.nodeSelector",
        ),
        AGE,
        *_TEMPLATE,
        _SELECTOR,
    ),
    "controllerrevisions.apps": (
        NAME,
        Column(
            "Controller",
            _controller,
            description="Controller of the object",
        ),
        number_column("Revision", "revision"),
        AGE,
    ),
    "jobs.batch": (
        NAME,
        Column(
            "Status",
            _job_status,
            description="Status of the job.",
        ),
        Column("Completions", _job_completions),
        Column(
            "Duration",
            _job_duration,
            description="Time required to complete the job.",
        ),
        AGE,
        *_TEMPLATE,
        _SELECTOR,
    ),
    "cronjobs.batch": (
        NAME,
        text_column("Schedule", "spec.schedule"),
        text_column("Timezone", "spec.timeZone", NONE),
        Column(
            "Suspend",
            lambda job, now: format_bool(get(job, "spec.suspend")),
            type="boolean",
        ),
        count_column("Active", "status.active"),
        Column("Last Schedule", _last_schedule),
        AGE,
        *template_columns("spec.jobTemplate.spec.template"),
        selector_column(
            "Selector",
            "spec.jobTemplate.spec.selector",
            NONE,
        ),
    ),
    "podtemplates": (
        NAME,
        *(
            Column(
                column.name,
                column.cell,
                description=column.description,
            )
            for column in template_columns("template")
        ),
        labels_column("Pod Labels", "template.metadata.labels"),
    ),
    "horizontalpodautoscalers.autoscaling": (
        NAME,
        Column("Reference", _hpa_reference),
        Column("Targets", _hpa_targets),
        text_column("MinPods", "spec.minReplicas", UNSET),
        number_column("MaxPods", "spec.maxReplicas", type="string"),
        number_column(
            "Replicas",
            "status.currentReplicas",
            type="string",
        ),
        AGE,
    ),
    "poddisruptionbudgets.policy": (
        NAME,
        text_column("Min Available", "spec.minAvailable", "N/A"),
        text_column("Max Unavailable", "spec.maxUnavailable", "N/A"),
        number_column(
            "Allowed Disruptions",
            "status.disruptionsAllowed",
        ),
        AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        NAME,
        number_column("Value", "value"),
        Column(
            "Global-Default",
            lambda obj, now: bool(obj.get("globalDefault")),
            type="boolean",
        ),
        AGE,
        text_column(
            "PreemptionPolicy",
            "preemptionPolicy",
            "PreemptLowerPriority",
        ),
    ),
    "resourcequotas": (
        NAME,
        _quota_column("Request", limits=False),
        _quota_column("Limit", limits=True),
        AGE,
    ),
    "limitranges": (NAME, CREATED_AT),
    "resourceclaims.resource.k8s.io": (
        NAME,
        Column("State", lambda claim, now: _claim_state(claim)),
        AGE,
    ),
    "resourceslices.resource.k8s.io": (
        NAME,
        text_column("Node", "spec.nodeName", NONE),
        text_column("Driver", "spec.driver"),
        text_column("Pool", "spec.pool.name"),
        AGE,
    ),
}


def _claim_state(claim: Object) -> str:
    states = []
    if get(claim, "metadata.deletionTimestamp"):
        states.append("deleted")
    if get(claim, "status.allocation") is None:
        states.append("pending")
    else:
        states.append("allocated")
        if mappings_at(claim, "status.reservedFor"):
            states.append("reserved")
    return ",".join(states)
