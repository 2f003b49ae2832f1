"""What values that the API has names for are called on pages, in the viewer's language."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from clusters.kinds import KINDS

INSPECTION_CATEGORIES: Mapping[str, Promise] = {
    "nodes": _("Nodes"),
    "workloads": _("Workloads"),
    "security": _("Security"),
    "certificates": _("Certificates"),
    "storage": _("Storage"),
    "capacity": _("Capacity"),
    "versions": _("API versions"),
}
# Choices of the parameters of tasks, by parameter and value.
TASK_CHOICES: Mapping[str, Mapping[str, Promise]] = {
    "categories": INSPECTION_CATEGORIES,
    "hpa": {
        "min_replicas": _("change its minimum"),
        "refuse": _("refuse"),
    },
}
OPERATORS: Mapping[str, str | Promise] = {
    "eq": "=",
    "ne": "≠",
    "in": _("one of"),
    "gt": ">",
    "ge": "≥",
    "lt": "<",
    "le": "≤",
    "exists": _("exists"),
    "matches": _("matches the regular expression"),
}
METRICS: Mapping[str, Promise] = {
    "cluster/up": _("Cluster: it answers (1 or 0)"),
    "cluster/collector_lag_seconds": _("Cluster: seconds that its copy is behind"),
    "cluster/credentials_expire_seconds": _("Cluster: seconds until its credentials expire"),
    "cluster/cpu": _("Cluster: CPU"),
    "cluster/memory": _("Cluster: memory"),
    "cluster/pods": _("Cluster: pods"),
    "tenant/used_percent": _("Tenant: percentage of its quotas in use"),
    "quota/used_percent": _("Quota: percentage in use"),
    "secret/certificate_expire_seconds": _("Secret: seconds until its certificate expires"),
}
# Why an entry of the audit trail is no success: the codes of the API's errors.
ERROR_CODES: Mapping[str, Promise] = {
    "error": _("error"),
    "invalid": _("invalid input"),
    "payload_too_large": _("too large"),
    "not_found": _("not found"),
    "cluster_not_found": _("no such cluster"),
    "namespace_not_found": _("no such namespace"),
    "route_not_found": _("no such address"),
    "method_not_allowed": _("method not allowed"),
    "rejected": _("refused by the cluster"),
    "conflict": _("conflict"),
    "expired": _("expired"),
    "forbidden": _("not allowed"),
    "unauthenticated": _("not signed in"),
    "token_expired": _("token expired"),
    "too_many_requests": _("too many requests"),
    "confirmation_required": _("not confirmed"),
    "cluster_unavailable": _("cluster unavailable"),
    "internal": _("internal error"),
}


def task_choice(parameter: str, value: str) -> str:
    """What the value of a task's parameter is called; kinds as kubectl writes them."""
    label = TASK_CHOICES.get(parameter, {}).get(value)
    if label is None and parameter in ("kind", "kinds") and value in KINDS:
        return KINDS[value].name
    return str(label or value)


def operator(name: str) -> str:
    """The sign or the word of a comparison."""
    return str(OPERATORS.get(name, name))


def metric(name: str) -> str:
    """What `of/metric` measures."""
    return str(METRICS.get(name, name))


def error_code(code: str) -> str:
    """Why something was refused."""
    return str(ERROR_CODES.get(code, code))
