"""Why one object fails: what its status, pods, events, owners, last changes and log say together.

Read from the cluster itself, since what has just failed may not be in the store yet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from clusters import event_series
from clusters.kinds import KINDS, lookup_kind
from clusters.lists import ListQuery
from clusters.manifests import Object
from core.errors import DomainError
from insights import causes, changes
from insights.causes import Cause
from storage_api.history import as_of, descriptions
from storage_api.history.as_of import VersionQuery
from storage_api.query.problems import PROBLEM_RULES
from storage_api.services.multicluster import collected_version
from workloads.actions import ownership
from workloads.objects import events, logs
from workloads.objects.logs import LogOptions
from workloads.objects.object_ref import ObjectRef, controller_of

# Kinds whose pods are looked at.
WITH_PODS = frozenset(
    {"deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs"}
)
MOST_PODS = 5
MOST_EVENTS = 15
MOST_CHANGES = 5
MOST_OWNERS = 4
# The end of a log: lines, and bytes of them.
LOG_LINES = 40
LOG_BYTES = 64 * 1024
LOG_CHARACTERS = 4000
MOST_CAUSES = 8


@dataclass(frozen=True, slots=True)
class Readable:
    """Which parts the caller may read; `note_log` is called with the pod whose log is read."""

    pods: bool
    events: bool
    logs: bool
    note_log: Callable[[str], None] = lambda pod: None


@dataclass(slots=True)
class Evidence:
    """What is gathered on the way; `unread` names what could not be read, and why."""

    ref: ObjectRef
    readable: Readable
    item: Object
    pods: list[Object] = field(default_factory=list)
    owners: list[ObjectRef] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def diagnose(
    ref: ObjectRef,
    readable: Readable,
    *,
    with_logs: bool = True,
) -> dict[str, Any]:
    """{"object","healthy","summary","causes","conditions","pods","owners","events","changes",…}.

    NotFound without the object.
    """
    item = ref.read()
    evidence = Evidence(ref, readable, item)
    _read_pods(evidence)
    _read_owners(evidence)
    happened = _read_events(evidence)
    failing = [pod for pod in evidence.pods if causes.of_pod(pod)] or evidence.pods
    failing = failing[:MOST_PODS]
    listed = _list_causes(evidence, happened)
    metadata = item["metadata"]
    is_healthy = not listed and not _has_problem(ref, item)
    return {
        "cluster_id": ref.cluster.pk,
        "cluster": ref.cluster.name,
        "object": {
            "kind": ref.kind.name,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": metadata.get("uid", ""),
            "created": metadata.get("creationTimestamp", ""),
            "status": causes.status_line(ref.kind, item),
        },
        "healthy": is_healthy,
        "summary": _summary(ref, item, listed, is_healthy=is_healthy),
        "causes": [cause.represent() for cause in listed],
        "conditions": causes.notable_conditions(item),
        "pods": [causes.describe_pod(pod) for pod in failing],
        "owners": [
            {"kind": owner.kind.name, "namespace": owner.namespace, "name": owner.name}
            for owner in evidence.owners
        ],
        "events": [_describe_event(event) for event in happened],
        "changes": _read_changes(evidence),
        "logs": _read_log(evidence, failing) if with_logs else None,
        "unread": evidence.unread,
    }


def _has_problem(ref: ObjectRef, item: Object) -> bool:
    rule = PROBLEM_RULES.get(ref.kind.plural)
    return rule is not None and rule.holds(item)


def _summary(
    ref: ObjectRef,
    item: Object,
    listed: Sequence[Cause],
    *,
    is_healthy: bool,
) -> str:
    place = f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
    status = causes.status_line(ref.kind, item)
    subject = f"{ref.kind.name} {place}" + (f" ({status})" if status else "")
    if listed:
        return f"{subject}: {listed[0].message}"
    if is_healthy:
        return f"{subject} shows no problem"
    return f"{subject} is not healthy, and nothing that can be read says why"


def _read_pods(evidence: Evidence) -> None:
    ref = evidence.ref
    if ref.kind == KINDS["pods"]:
        evidence.pods = [evidence.item]
        return
    if ref.kind.plural not in WITH_PODS or KINDS.get(ref.kind.plural) != ref.kind:
        return
    if not evidence.readable.pods:
        evidence.unread.append("pods: you may not list pods here")
        return
    try:
        evidence.pods = ownership.list_pods(ref)
    except DomainError as error:
        evidence.unread.append(f"pods: {error.message}")


def _read_owners(evidence: Evidence) -> None:
    """Follow the controllers upwards, as far as their kinds are known."""
    item = evidence.item
    for _ in range(MOST_OWNERS):
        owner = controller_of(item)
        kind = lookup_kind(str(owner.get("kind", "")))
        if not owner or kind is None:
            return
        namespace = evidence.ref.namespace if kind.namespaced else ""
        ref = ObjectRef(
            evidence.ref.cluster,
            kind,
            namespace,
            str(owner.get("name", "")),
        )
        evidence.owners.append(ref)
        # Whoever may read a pod or workload may read the workload above it: both are ordinary.
        if kind.plural not in WITH_PODS:
            return
        try:
            item = ref.read()
        except DomainError:
            return


def _read_events(evidence: Evidence) -> list[Object]:
    """Events of the object and what it owns: warnings first, each newest first."""
    if not evidence.readable.events:
        evidence.unread.append("events: you may not read events here")
        return []
    uids = {evidence.item["metadata"].get("uid", "")}
    uids |= {pod["metadata"].get("uid", "") for pod in evidence.pods}
    ref = evidence.ref
    query = ListQuery(namespace=ref.namespace, size=events.MAX_EVENTS)
    try:
        if ref.kind.plural in WITH_PODS and evidence.pods:
            uids |= ownership.event_uids(ref)
        if ref.kind.namespaced:
            listing = events.list_events(ref.cluster, query, uids=frozenset(uids))
        else:
            # The Events of a Node carry its name as their uid.
            listing = events.list_events(
                ref.cluster, query, involved_kind=ref.kind.name, involved_name=ref.name
            )
    except DomainError as error:
        evidence.unread.append(f"events: {error.message}")
        return []
    parsed = [orjson.loads(raw) for raw in listing.items]
    parsed.sort(key=lambda event: event.get("type") != "Warning")
    return parsed[:MOST_EVENTS]


def _describe_event(event: Mapping[str, Any]) -> dict[str, Any]:
    involved = event.get("involvedObject") or {}
    return {
        "at": event_series.last_time(event),
        "type": event.get("type", ""),
        "reason": event.get("reason", ""),
        "message": str(event.get("message", ""))[: causes.LONGEST_MESSAGE],
        "count": event_series.count(event),
        "object": f"{involved.get('kind', '')} {involved.get('name', '')}".strip(),
    }


def _list_causes(evidence: Evidence, happened: Sequence[Object]) -> list[Cause]:
    listed = list(causes.of_object(evidence.ref.kind, evidence.item))
    for pod in evidence.pods:
        listed += causes.of_pod(pod)
    # A waiting container says what happened; events say what happens while nothing runs.
    is_troubled = bool(listed) or _has_problem(evidence.ref, evidence.item)
    if is_troubled:
        listed += [causes.of_event(event) for event in happened if event.get("type") == "Warning"]
    listed.sort(key=lambda cause: -cause.weight)
    unique: dict[tuple[str, str], Cause] = {}
    for cause in listed:
        unique.setdefault((cause.reason, cause.message), cause)
    return list(unique.values())[:MOST_CAUSES]


def _read_changes(evidence: Evidence) -> list[dict[str, Any]]:
    """The last changes of the object and of the workloads above it, newest first."""
    described: list[dict[str, Any]] = []
    # A node that owns a pod is not for everybody who may read the pod.
    workloads = [owner for owner in evidence.owners if owner.kind.plural in WITH_PODS]
    for ref in (evidence.ref, *workloads):
        try:
            kind = collected_version(ref.cluster, ref.kind)
            query = VersionQuery(
                namespace=ref.namespace, name=ref.name, size=MOST_CHANGES, intended=True
            )
            versions = as_of.versions(ref.cluster, kind, query)
            writes = descriptions.audited_writes(ref.cluster, kind, versions)
        except DomainError as error:
            evidence.unread.append(f"changes of {ref.kind.name} {ref.name}: {error.message}")
            continue
        described += [
            changes.shorten_version(changes.describe_intended(version, kind, writes))
            for version in versions
        ]
    described.sort(key=lambda version: -int(version["seq"]))
    return described[:MOST_CHANGES]


def _read_log(evidence: Evidence, failing: Sequence[Object]) -> dict[str, Any] | None:
    """The end of the log of the container that fails; of its previous run when it restarts."""
    target = next(filter(None, map(causes.failing_container, failing)), None)
    if target is None:
        return None
    if not evidence.readable.logs:
        evidence.unread.append("logs: you may not read logs here")
        return None
    pod, container, previous = target
    evidence.readable.note_log(pod)
    options = LogOptions(
        container=container, tail_lines=LOG_LINES, previous=previous, limit_bytes=LOG_BYTES
    )
    try:
        text = logs.read_log_text(
            evidence.ref.cluster,
            evidence.ref.namespace,
            pod,
            options,
        )
    except DomainError as error:
        evidence.unread.append(f"the log of {pod}: {error.message}")
        return None
    return {
        "pod": pod,
        "container": container,
        "previous": previous,
        "text": text[-LOG_CHARACTERS:],
    }
