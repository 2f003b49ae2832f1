"""The columns of nodes, namespaces, events, configuration, access and extension of the API."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from clusters.manifests import Object
from clusters.tables.columns import (
    AGE,
    CREATED_AT,
    NAME,
    Cell,
    Column,
    count_column,
    number_column,
    text_column,
)
from clusters.tables.values import (
    NONE,
    UNKNOWN,
    UNSET,
    conditions_by_type,
    format_age,
    format_duration,
    get,
    mappings_at,
    text_at,
)

ROLE_LABELS = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"


# --- nodes ----------------------------------------------------------------------------------------
def _node_status(node: Object, now: datetime) -> str:
    ready = conditions_by_type(node).get("Ready")
    words = ["Unknown"]
    if ready is not None:
        words = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if get(node, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Object, now: datetime) -> str:
    labels = get(node, "metadata.labels") or {}
    roles = {label.removeprefix(ROLE_LABELS) for label in labels if label.startswith(ROLE_LABELS)}
    roles.add(labels.get(ROLE_LABEL, ""))
    return ",".join(sorted(filter(None, roles))) or NONE


def _address_cell(address_type: str) -> Cell:
    def cell(node: Object, now: datetime) -> str:
        for address in mappings_at(node, "status.addresses"):
            if address.get("type") == address_type:
                return str(address.get("address"))
        return NONE

    return cell


def _kernel(node: Object, now: datetime) -> str:
    info = get(node, "status.nodeInfo") or {}
    kernel = info.get("kernelVersion") or UNKNOWN
    return f"{kernel} ({info['architecture']})" if info.get("architecture") else kernel


# --- events ---------------------------------------------------------------------------------------
def _first_seen(event: Object, now: datetime) -> str:
    return format_age(
        event.get("firstTimestamp") or event.get("eventTime"),
        now,
    )


def _last_seen(event: Object, now: datetime) -> str:
    series = event.get("series")
    if series:
        return format_age(series.get("lastObservedTime"), now)
    if event.get("lastTimestamp"):
        return format_age(event["lastTimestamp"], now)
    return _first_seen(event, now)


def _event_count(event: Object, now: datetime) -> int:
    series = event.get("series")
    if series:
        return int(series.get("count") or 0)
    return int(event.get("count") or 1)


def _involved_object(event: Object, now: datetime) -> str:
    about = event.get("involvedObject") or {}
    kind = str(about.get("kind", "")).lower()
    return f"{kind}/{about['name']}" if about.get("name") else kind


def _event_source(event: Object, now: datetime) -> str:
    component = text_at(
        event,
        "source.component",
    ) or text_at(event, "reportingComponent")
    host = text_at(
        event,
        "source.host",
    ) or text_at(event, "reportingInstance")
    return f"{component}, {host}" if host else component


# --- access ---------------------------------------------------------------------------------------
def _subjects_column(name: str, kind: str) -> Column:
    def cell(binding: Object, now: datetime) -> str:
        names = []
        for subject in mappings_at(binding, "subjects"):
            if subject.get("kind") == kind:
                namespace = f"{subject['namespace']}/" if subject.get("namespace") else ""
                names.append(f"{namespace}{subject.get('name')}")
        return ", ".join(names)

    return Column(name, cell, priority=1)


_BINDING = (
    NAME,
    Column(
        "Role",
        lambda obj, now: f"{text_at(obj, 'roleRef.kind')}/{text_at(obj, 'roleRef.name')}",
    ),
    AGE,
    _subjects_column("Users", "User"),
    _subjects_column("Groups", "Group"),
    _subjects_column("ServiceAccounts", "ServiceAccount"),
)


def _request_condition(request: Object, now: datetime) -> str:
    types = {
        condition.get("type")
        for condition in mappings_at(
            request,
            "status.conditions",
        )
    }
    word = "Pending"
    if "Denied" in types:
        word = "Denied"
    elif "Approved" in types:
        word = "Approved"
    words = [word]
    if "Failed" in types:
        words.append("Failed")
    if get(request, "status.certificate"):
        words.append("Issued")
    return ",".join(words)


def _requested_duration(request: Object, now: datetime) -> str:
    seconds = get(request, "spec.expirationSeconds")
    return NONE if seconds is None else format_duration(timedelta(seconds=int(seconds)))


# --- extension of the API -------------------------------------------------------------------------
def _api_service(obj: Object, now: datetime) -> str:
    service = get(obj, "spec.service")
    if not service:
        return "Local"
    return f"{service.get('namespace')}/{service.get('name')}"


def _api_service_available(obj: Object, now: datetime) -> str:
    available = conditions_by_type(obj).get("Available")
    if available is None:
        return "Unknown"
    status = str(available.get("status"))
    return "True" if status == "True" else f"{status} ({available.get('reason', '')})"


def _param_kind(policy: Object, now: datetime) -> str:
    kind = get(policy, "spec.paramKind")
    return f"{kind.get('apiVersion')}/{kind.get('kind')}" if kind else UNSET


def _param_reference(binding: Object, now: datetime) -> str:
    reference = get(binding, "spec.paramRef")
    if not reference:
        return UNSET
    namespace = f"{reference['namespace']}/" if reference.get("namespace") else ""
    return f"{namespace}{reference.get('name', '*')}"


def _data_count(obj: Object, now: datetime) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _concurrency_path(name: str) -> Cell:
    def cell(obj: Object, now: datetime) -> Any:
        value = get(obj, f"spec.limited.{name}")
        return NONE if value is None else value

    return cell


_QUEUING = "limitResponse.queuing"
_WEBHOOKS = (NAME, count_column("Webhooks", "webhooks"), AGE)
CLUSTER_KINDS: Mapping[str, tuple[Column, ...]] = {
    "nodes": (
        NAME,
        Column(
            "Status",
            _node_status,
            description="The status of the node",
        ),
        Column(
            "Roles",
            _node_roles,
            description="The roles of the node",
        ),
        AGE,
        text_column("Version", "status.nodeInfo.kubeletVersion"),
        Column("Internal-IP", _address_cell("InternalIP"), priority=1),
        Column("External-IP", _address_cell("ExternalIP"), priority=1),
        text_column(
            "OS-Image",
            "status.nodeInfo.osImage",
            UNKNOWN,
            wide=True,
        ),
        Column("Kernel-Version", _kernel, priority=1),
        text_column(
            "Container-Runtime",
            "status.nodeInfo.containerRuntimeVersion",
            UNKNOWN,
            wide=True,
        ),
    ),
    "namespaces": (NAME, text_column("Status", "status.phase"), AGE),
    "events": (
        Column("Last Seen", _last_seen),
        text_column("Type", "type"),
        text_column("Reason", "reason"),
        Column("Object", _involved_object),
        text_column(
            "Subobject",
            "involvedObject.fieldPath",
            wide=True,
        ),
        Column("Source", _event_source, priority=1),
        Column(
            "Message",
            lambda event, now: text_at(event, "message").strip(),
        ),
        Column("First Seen", _first_seen, priority=1),
        Column("Count", _event_count, priority=1),
        Column(
            "Name",
            NAME.cell,
            format="name",
            priority=1,
            description=NAME.description,
        ),
    ),
    "configmaps": (NAME, Column("Data", _data_count), AGE),
    "secrets": (
        NAME,
        text_column("Type", "type"),
        count_column("Data", "data", type="string"),
        AGE,
    ),
    "serviceaccounts": (
        NAME,
        count_column(
            "Secrets",
            "secrets",
            type="string",
        ),
        AGE,
    ),
    "leases.coordination.k8s.io": (
        NAME,
        text_column(
            "Holder",
            "spec.holderIdentity",
        ),
        AGE,
    ),
    "roles.rbac.authorization.k8s.io": (NAME, CREATED_AT),
    "clusterroles.rbac.authorization.k8s.io": (NAME, CREATED_AT),
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "certificatesigningrequests.certificates.k8s.io": (
        NAME,
        AGE,
        text_column("SignerName", "spec.signerName", NONE),
        text_column("Requestor", "spec.username"),
        Column("RequestedDuration", _requested_duration),
        Column("Condition", _request_condition),
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (NAME, CREATED_AT),
    "apiservices.apiregistration.k8s.io": (
        NAME,
        Column("Service", _api_service),
        Column("Available", _api_service_available),
        AGE,
    ),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingadmissionpolicies.admissionregistration.k8s.io": (
        NAME,
        count_column("Validations", "spec.validations"),
        Column("ParamKind", _param_kind),
        AGE,
    ),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": (
        NAME,
        text_column("PolicyName", "spec.policyName"),
        Column("ParamRef", _param_reference),
        AGE,
    ),
    "flowschemas.flowcontrol.apiserver.k8s.io": (
        NAME,
        text_column(
            "PriorityLevel",
            "spec.priorityLevelConfiguration.name",
            NONE,
        ),
        number_column("MatchingPrecedence", "spec.matchingPrecedence"),
        text_column(
            "DistinguisherMethod",
            "spec.distinguisherMethod.type",
            NONE,
        ),
        AGE,
        Column(
            "MissingPL",
            lambda obj, now: (
                conditions_by_type(obj)
                .get("Dangling", {})
                .get(
                    "status",
                    "?",
                )
            ),
        ),
    ),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": (
        NAME,
        text_column("Type", "spec.type"),
        Column(
            "NominalConcurrencyShares",
            _concurrency_path("nominalConcurrencyShares"),
        ),
        Column("Queues", _concurrency_path(f"{_QUEUING}.queues")),
        Column("HandSize", _concurrency_path(f"{_QUEUING}.handSize")),
        Column(
            "QueueLengthLimit",
            _concurrency_path(f"{_QUEUING}.queueLengthLimit"),
        ),
        AGE,
    ),
}
