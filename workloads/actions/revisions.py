"""Revisions of workloads: ReplicaSets of a Deployment, ControllerRevisions of StatefulSets and DaemonSets, runs of a CronJob."""

import difflib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object, to_yaml
from core.errors import NotFound
from workloads.objects.subject import ObjectRef, controller_of

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision: the object that holds it, and the pod template that it stands for."""

    number: int
    holder: Object
    template: Object
    current: bool = False
    status: Mapping[str, Any] | None = None

    def represent(self) -> Object:
        """As the KubeGale document shows it (contract 1.3)."""
        metadata = self.holder["metadata"]
        spec = self.template.get("spec") or {}
        containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
        shown: Object = {
            "revision": self.number,
            "name": metadata["name"],
            "created_at": metadata.get("creationTimestamp"),
            "change_cause": (metadata.get("annotations") or {}).get(CHANGE_CAUSE) or "",
            "images": [container.get("image", "") for container in containers],
            "current": self.current,
            "template": self.template,
        }
        return shown if self.status is None else {**shown, "status": dict(self.status)}


def normalized_template(template: Object) -> Object:
    """A pod template without what controllers add to it, fit to be compared and to be applied."""
    copy = deepcopy(template)
    copy.pop("$patch", None)
    metadata = copy.get("metadata")
    if isinstance(metadata, dict):
        (metadata.get("labels") or {}).pop(HASH, None)
        for name in [name for name, value in metadata.items() if value in (None, {})]:
            del metadata[name]
    return copy


def label_selector(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector object as the text that the API server takes."""
    found = selector or {}
    parts = [f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()]
    rules = found.get("matchExpressions") or []
    parts += [
        _expression(rule["key"], rule["operator"], rule.get("values") or []) for rule in rules
    ]
    return ",".join(parts)


def _expression(key: str, operator: str, values: list[str]) -> str:
    match operator:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
    return f"{key} {'in' if operator == 'In' else 'notin'} ({','.join(values)})"


def history(ref: ObjectRef, owner: Object | None = None) -> list[Revision]:
    """Newest first; a Job has none, a CronJob's are its runs."""
    owner = owner or ref.read()
    match ref.kind.plural:
        case "deployments":
            return _of_deployment(ref, owner)
        case "statefulsets" | "daemonsets":
            return _of_controller_revisions(ref, owner)
        case "cronjobs":
            return _runs(ref, owner)
    return []


def _owned(ref: ObjectRef, plural: str, owner: Object, selector: str = "") -> list[Object]:
    """The objects of a kind that the owner controls."""
    found = list_all(ref.client, KINDS[plural], ref.namespace, labelSelector=selector)
    return [item for item in found if controller_of(item).get("uid") == owner["metadata"]["uid"]]


def list_replica_sets(ref: ObjectRef, owner: Object) -> list[Object]:
    """The ReplicaSets of a Deployment."""
    return _owned(ref, "replicasets", owner, label_selector(owner["spec"].get("selector")))


def list_jobs(ref: ObjectRef, owner: Object) -> list[Object]:
    """The Jobs of a CronJob."""
    return _owned(ref, "jobs", owner)


def _of_deployment(ref: ObjectRef, owner: Object) -> list[Revision]:
    wanted, found = normalized_template(owner["spec"]["template"]), []
    for item in list_replica_sets(ref, owner):
        number = (item["metadata"].get("annotations") or {}).get(REVISION, "")
        if number.isdecimal() and len(number) < 19:
            template = normalized_template(item["spec"]["template"])
            found.append(Revision(int(number), item, template, template == wanted))
    return sorted(found, key=lambda revision: revision.number, reverse=True)


def _of_controller_revisions(ref: ObjectRef, owner: Object) -> list[Revision]:
    held = _owned(ref, "controllerrevisions", owner, label_selector(owner["spec"].get("selector")))
    held.sort(key=lambda item: int(item["revision"]), reverse=True)
    wanted, found, seen = normalized_template(owner["spec"]["template"]), [], False
    for item in held:
        template = normalized_template(item["data"]["spec"]["template"])
        current = not seen and template == wanted
        seen = seen or current
        found.append(Revision(int(item["revision"]), item, template, current))
    return found


def _runs(ref: ObjectRef, owner: Object) -> list[Revision]:
    held = sorted(
        list_jobs(ref, owner),
        key=lambda item: (
            item["metadata"].get("creationTimestamp") or "",
            item["metadata"]["name"],
        ),
    )
    runs = [
        Revision(number, item, item["spec"]["template"], status=_run_status(item))
        for number, item in enumerate(held, 1)
    ]
    return runs[::-1]


def _run_status(job: Object) -> Object:
    status = job.get("status") or {}
    counts = {name: status.get(name, 0) for name in ("active", "succeeded", "failed")}
    return {
        **counts,
        "started_at": status.get("startTime"),
        "finished_at": status.get("completionTime"),
    }


def find(revisions: list[Revision], number: int) -> Revision:
    """The revision of that number; 0 is the one before the newest (kubectl's rule). NotFound when it was pruned or never was."""
    if number == 0:
        if len(revisions) < 2:
            raise NotFound("there is no earlier revision to go back to", reason="NotFound")
        return revisions[1]
    for revision in revisions:
        if revision.number == number:
            return revision
    kept = ", ".join(str(revision.number) for revision in revisions) or "none"
    raise NotFound(
        f"revision {number} does not exist (any more); kept are: {kept}", reason="NotFound"
    )


def template_diff(old: Revision, new: Revision) -> str:
    """A unified diff of the two pod templates as YAML, empty when they are the same."""
    before, after = (
        to_yaml(revision.template, sort_keys=True).splitlines() for revision in (old, new)
    )
    return "\n".join(
        difflib.unified_diff(
            before, after, f"revision {old.number}", f"revision {new.number}", lineterm=""
        )
    )
