"""The forms of kinds that have pods: their own inputs; containers have sections of their own."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console.editing.form_parts import PAIRS, Form, Section, count_input, metadata_section
from console.editing.manifest_inputs import Input, Manifest, Path, read_path

POD_TEMPLATE: Path = ("spec", "template")
JOB: Path = ("spec", "jobTemplate", "spec")
RESTARTS = ("Never", "OnFailure")
SELECTOR = Input(
    ("spec", "selector", "matchLabels"),
    gettext_lazy("Selector"),
    "pairs",
    required=True,
    help=gettext_lazy("Which pods belong to it: labels that its pods carry too."),
)


def _pods(template: Path, *extra: Input) -> Section:
    return Section(
        gettext_lazy("Pods"),
        (
            Input(
                (*template, "metadata", "labels"),
                gettext_lazy("Pod labels"),
                "pairs",
                help=PAIRS,
            ),
            Input(
                (*template, "spec", "serviceAccountName"),
                gettext_lazy("Service account"),
                rule="name",
            ),
            *extra,
        ),
    )


def _workload(api: str, kind: str, *inputs: Input) -> Form:
    return Form(
        api,
        kind,
        (
            metadata_section(),
            Section(kind, (*inputs, SELECTOR)),
            _pods(POD_TEMPLATE),
        ),
        check_selector,
        (*POD_TEMPLATE, "spec"),
    )


def check_selector(manifest: Manifest) -> tuple[str, str] | None:
    """The pods of a workload have to carry the labels of its selector."""
    selector = read_path(manifest, SELECTOR.path)
    labels = read_path(manifest, (*POD_TEMPLATE, "metadata", "labels"))
    carried = labels if isinstance(labels, dict) else {}
    members = selector if isinstance(selector, dict) else {}
    for key, value in members.items():
        if carried.get(key) != value:
            text = _("The selector needs %(label)s here.") % {"label": f"{key}={value}"}
            return "spec.template.metadata.labels", text
    return None


def _job_inputs(spec: Path) -> tuple[Input, ...]:
    return (
        count_input((*spec, "completions"), gettext_lazy("Completions")),
        count_input((*spec, "parallelism"), gettext_lazy("Parallelism")),
        count_input((*spec, "backoffLimit"), gettext_lazy("Backoff limit")),
        count_input(
            (*spec, "activeDeadlineSeconds"),
            gettext_lazy("Active deadline in seconds"),
            "positive",
        ),
        count_input(
            (*spec, "ttlSecondsAfterFinished"),
            gettext_lazy("Seconds to keep it after it finished"),
        ),
    )


def _restart_policy(template: Path) -> Input:
    return Input(
        (*template, "spec", "restartPolicy"),
        gettext_lazy("Restart policy"),
        "select",
        options=RESTARTS,
        required=True,
    )


# --- the kinds ------------------------------------------------------------------------------------
REPLICAS = count_input(("spec", "replicas"), gettext_lazy("Replicas"))
DEPLOYMENT = _workload(
    "apps/v1",
    "Deployment",
    REPLICAS,
    Input(
        ("spec", "strategy", "type"),
        gettext_lazy("Strategy"),
        "select",
        options=("RollingUpdate", "Recreate"),
    ),
)
STATEFUL_SET = _workload(
    "apps/v1",
    "StatefulSet",
    REPLICAS,
    Input(("spec", "serviceName"), gettext_lazy("Service name"), rule="name"),
)
DAEMON_SET = _workload(
    "apps/v1",
    "DaemonSet",
    Input(
        ("spec", "updateStrategy", "type"),
        gettext_lazy("Update strategy"),
        "select",
        options=("RollingUpdate", "OnDelete"),
    ),
)
JOBS = Form(
    "batch/v1",
    "Job",
    (
        metadata_section(),
        Section("Job", _job_inputs(("spec",))),
        _pods(POD_TEMPLATE, _restart_policy(POD_TEMPLATE)),
    ),
    pods=(*POD_TEMPLATE, "spec"),
)
CRON_JOB = Form(
    "batch/v1",
    "CronJob",
    (
        metadata_section(),
        Section(
            "CronJob",
            (
                Input(
                    ("spec", "schedule"),
                    gettext_lazy("Schedule"),
                    rule="schedule",
                    required=True,
                    help=gettext_lazy("Minute, hour, day, month, day of week."),
                ),
                Input(("spec", "timeZone"), gettext_lazy("Time zone")),
                Input(
                    ("spec", "concurrencyPolicy"),
                    gettext_lazy("Concurrency policy"),
                    "select",
                    options=("Allow", "Forbid", "Replace"),
                ),
                Input(("spec", "suspend"), gettext_lazy("Suspend"), "toggle"),
                *_job_inputs(JOB),
            ),
        ),
        _pods((*JOB, "template"), _restart_policy((*JOB, "template"))),
    ),
    pods=(*JOB, "template", "spec"),
)
POD = Form(
    "v1",
    "Pod",
    (
        metadata_section(),
        Section(
            "Pod",
            (
                Input(
                    ("spec", "serviceAccountName"),
                    gettext_lazy("Service account"),
                    rule="name",
                ),
                Input(
                    ("spec", "restartPolicy"),
                    gettext_lazy("Restart policy"),
                    "select",
                    options=("Always", *RESTARTS),
                ),
            ),
        ),
    ),
    pods=("spec",),
)
