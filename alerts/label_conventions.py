"""What labels of alerts mean by the conventions of Prometheus' own rules."""

from collections.abc import Mapping

from alerts.models import Severity

# Labels that name what an alert is about, the narrowest first.
_KINDS = {
    "pod": "Pod",
    "persistentvolumeclaim": "PersistentVolumeClaim",
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "job_name": "Job",
    "node": "Node",
}
_SEVERITIES: Mapping[str, str] = {
    "page": Severity.CRITICAL,
    "error": Severity.CRITICAL,
    "none": Severity.INFO,
    **{value: value for value in Severity.values},
}


def target_of(labels: Mapping[str, str]) -> tuple[str, str]:
    """(kind, name) of the object that labels name; ("", "") when they name none."""
    for label, kind in _KINDS.items():
        if labels.get(label):
            return kind, labels[label][:253]
    return "", ""


def severity_of(text: str) -> str | None:
    """Our severity for the text of a label `severity`; None when it has none of ours."""
    return _SEVERITIES.get(text.lower())
