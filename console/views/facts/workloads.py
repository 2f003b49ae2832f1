"""Facts of pods and of what makes them."""

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from console.locations import Location, resolve_reference
from console.rendering import health, html
from console.rendering.health import Object, get, rows
from console.rendering.schedules import describe_cron
from console.views import describe
from console.views.facts.rows import Facts, Row, labels_row, link_row, moment_row, text_row
from console.views.pod_templates import pod_spec


def _pod(item: Object, location: Location) -> Iterator[Row]:
    spec = get(item, "spec") or {}
    yield from link_row(
        _("Node"),
        location.other("nodes", str(spec.get("nodeName") or "")),
    )
    yield from text_row(_("Pod IP"), item, "status", "podIP")
    yield from text_row(_("Host IP"), item, "status", "hostIP")
    yield from link_row(
        _("Service account"),
        location.other("serviceaccounts", str(spec.get("serviceAccountName") or "")),
    )
    yield from text_row(_("QoS class"), item, "status", "qosClass")
    yield from text_row(_("Restart policy"), item, "spec", "restartPolicy")
    yield from text_row(_("Priority"), item, "spec", "priority")
    yield from text_row(_("Priority class"), item, "spec", "priorityClassName")
    yield from text_row(_("Nominated node"), item, "status", "nominatedNodeName")
    yield from labels_row(_("Node selector"), spec.get("nodeSelector"))
    yield from text_row(_("Reason"), item, "status", "reason")
    yield from text_row(_("Message"), item, "status", "message")


def _workload(item: Object, location: Location) -> Iterator[Row]:
    ready_pods, desired = health.replicas(item)
    yield _("Replicas"), html.text(f"{ready_pods}/{desired}")
    kind = get(
        item,
        "spec",
        "strategy",
        "type",
    ) or get(item, "spec", "updateStrategy", "type")
    if kind:
        rolling = (
            get(item, "spec", "strategy", "rollingUpdate")
            or get(item, "spec", "updateStrategy", "rollingUpdate")
            or {}
        )
        yield (
            _("Strategy"),
            html.text(
                ", ".join([str(kind), *(f"{key} {value}" for key, value in rolling.items())])
            ),
        )
    yield from link_row(
        _("Service"),
        location.other("services", str(get(item, "spec", "serviceName") or "")),
    )
    yield from labels_row(_("Selector"), get(item, "spec", "selector", "matchLabels"))
    for title, name in (
        (_("Min ready seconds"), "minReadySeconds"),
        (_("Revision history limit"), "revisionHistoryLimit"),
        (_("Progress deadline seconds"), "progressDeadlineSeconds"),
        (_("Pod management policy"), "podManagementPolicy"),
    ):
        yield from text_row(title, item, "spec", name)
    yield from link_row(
        _("Service account"),
        location.other(
            "serviceaccounts",
            str(pod_spec(item).get("serviceAccountName") or ""),
        ),
    )
    yield from text_row(_("Generation"), item, "metadata", "generation")


def _job(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Parallelism"), item, "spec", "parallelism")
    yield from text_row(_("Completions"), item, "spec", "completions")
    for title, name in (
        (_("Active"), "active"),
        (_("Succeeded"), "succeeded"),
        (_("Failed"), "failed"),
    ):
        # The API server leaves out counts of zero; the page shows all three.
        yield title, html.text(health.number(get(item, "status", name)))
    yield from text_row(_("Backoff limit"), item, "spec", "backoffLimit")
    yield from text_row(
        _("Active deadline seconds"),
        item,
        "spec",
        "activeDeadlineSeconds",
    )
    yield from text_row(_("Completion mode"), item, "spec", "completionMode")
    yield from moment_row(_("Started"), item, "status", "startTime")
    yield from moment_row(_("Completed"), item, "status", "completionTime")
    started = html.parse_time(get(item, "status", "startTime"))
    completed = html.parse_time(get(item, "status", "completionTime"))
    if started and completed:
        yield _("Duration"), html.text(html.short_age((completed - started).total_seconds()))


def _schedule_words(expression: str) -> str:
    """The expression, with its words where there are any."""
    # Macros such as @hourly are words already.
    if len(expression.split()) != 5:
        return expression
    words = describe_cron(expression)
    return expression if words == expression else f"{expression} ({words})"


def _cronjob(item: Object, location: Location) -> Iterator[Row]:
    yield _("Schedule"), html.text(_schedule_words(str(get(item, "spec", "schedule") or "")))
    yield from text_row(_("Time zone"), item, "spec", "timeZone")
    yield from text_row(_("Concurrency policy"), item, "spec", "concurrencyPolicy")
    yield _("Suspended"), html.yes_no(get(item, "spec", "suspend"))
    yield from text_row(
        _("Starting deadline seconds"),
        item,
        "spec",
        "startingDeadlineSeconds",
    )
    yield from text_row(
        _("Successful jobs kept"),
        item,
        "spec",
        "successfulJobsHistoryLimit",
    )
    yield from text_row(_("Failed jobs kept"), item, "spec", "failedJobsHistoryLimit")
    yield from moment_row(_("Last schedule"), item, "status", "lastScheduleTime")
    for reference in rows(get(item, "status", "active")):
        yield from link_row(
            _("Running"),
            location.other("jobs", str(reference.get("name") or "")),
        )


def _autoscaler(item: Object, location: Location) -> Iterator[Row]:
    reference = get(item, "spec", "scaleTargetRef") or {}
    target = resolve_reference(location, reference)
    words = f"{reference.get('kind')}/{reference.get('name')}"
    yield (
        _("Target"),
        html.link(
            target.address,
            words,
        )
        if target
        else html.text(words),
    )
    yield from text_row(_("Min replicas"), item, "spec", "minReplicas")
    yield from text_row(_("Max replicas"), item, "spec", "maxReplicas")
    current = health.number(get(item, "status", "currentReplicas"))
    desired = health.number(get(item, "status", "desiredReplicas"))
    # Two numbers that the reader's language puts in its own order.
    words = gettext("{current} current / {desired} desired")
    yield _("Replicas"), html.text(words.format(current=current, desired=desired))
    yield from moment_row(_("Last scale"), item, "status", "lastScaleTime")


def _disruption_budget(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Min available"), item, "spec", "minAvailable")
    yield from text_row(_("Max unavailable"), item, "spec", "maxUnavailable")
    yield _("Selector"), describe.selector_words(get(item, "spec", "selector"))
    for title, name in (
        (_("Allowed disruptions"), "disruptionsAllowed"),
        (_("Current healthy"), "currentHealthy"),
        (_("Desired healthy"), "desiredHealthy"),
        (_("Total pods"), "expectedPods"),
    ):
        yield title, html.text(health.number(get(item, "status", name)))
    yield from text_row(
        _("Unhealthy pod eviction"),
        item,
        "spec",
        "unhealthyPodEvictionPolicy",
    )


def _controller_revision(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Revision"), item, "revision")


FACTS: Mapping[str, Facts] = {
    "pods": _pod,
    "deployments": _workload,
    "statefulsets": _workload,
    "daemonsets": _workload,
    "replicasets": _workload,
    "jobs": _job,
    "cronjobs": _cronjob,
    "horizontalpodautoscalers": _autoscaler,
    "poddisruptionbudgets": _disruption_budget,
    "controllerrevisions": _controller_revision,
}
