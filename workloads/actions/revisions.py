"""Revisions of workloads.

ReplicaSets of a Deployment, ControllerRevisions of StatefulSets and DaemonSets, Jobs of a CronJob.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object, to_yaml
from core import text_diff
from core.errors import NotFound
from workloads.objects.object_ref import ObjectRef, controller_of

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision: the object that stores it, and its pod template."""

    number: int
    holder: Object
    template: Object
    current: bool = False
    status: Mapping[str, Any] | None = None

    def represent(self) -> Object:
        """As the KubeGale document shows it (contract 1.3)."""
        metadata = self.holder["metadata"]
        spec = self.template.get("spec") or {}
        containers = [
            *(spec.get("initContainers") or []),
            *(spec.get("containers") or []),
        ]
        representation: Object = {
            "revision": self.number,
            "name": metadata["name"],
            "created_at": metadata.get("creationTimestamp"),
            "change_cause": (metadata.get("annotations") or {}).get(CHANGE_CAUSE) or "",
            "images": [container.get("image", "") for container in containers],
            "current": self.current,
            "template": self.template,
        }
        if self.status is not None:
            representation["status"] = dict(self.status)
        return representation


def normalized_template(template: Object) -> Object:
    """A copy of a pod template without what controllers add, to be compared and applied."""
    copy = deepcopy(template)
    # ControllerRevisions store the template as a strategic merge patch.
    copy.pop("$patch", None)
    metadata = copy.get("metadata")
    if isinstance(metadata, dict):
        # The Deployment controller labels the template of each ReplicaSet with its hash.
        (metadata.get("labels") or {}).pop(HASH, None)
        empty_fields = [name for name, value in metadata.items() if value in (None, {})]
        for name in empty_fields:
            del metadata[name]
    return copy


def label_selector(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector object in the syntax of the API server's labelSelector parameter."""
    selector = selector or {}
    labels = selector.get("matchLabels") or {}
    requirements = [f"{key}={value}" for key, value in labels.items()]
    for expression in selector.get("matchExpressions") or []:
        values = expression.get("values") or []
        requirements.append(_requirement(expression["key"], expression["operator"], values))
    return ",".join(requirements)


def _requirement(key: str, operator: str, values: list[str]) -> str:
    match operator:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
    return f"{key} {'in' if operator == 'In' else 'notin'} ({','.join(values)})"


def history(ref: ObjectRef, owner: Object | None = None) -> list[Revision]:
    """The workload's revisions, newest first; a CronJob's are its Jobs, a Job has none.

    `owner` is the workload when the caller has read it already.
    """
    owner = owner or ref.read()
    match ref.kind.plural:
        case "deployments":
            return _deployment_revisions(ref, owner)
        case "statefulsets" | "daemonsets":
            return _controller_revisions(ref, owner)
        case "cronjobs":
            return _job_revisions(ref, owner)
    return []


def _list_controlled(
    ref: ObjectRef, plural: str, owner: Object, selector: str = ""
) -> list[Object]:
    """The objects of a kind that the owner controls."""
    items = list_all(
        ref.client,
        KINDS[plural],
        ref.namespace,
        labelSelector=selector,
    )
    # By uid: the selector may match objects of an earlier owner of the same name.
    uid = owner["metadata"]["uid"]
    return [item for item in items if controller_of(item).get("uid") == uid]


def list_replica_sets(ref: ObjectRef, owner: Object) -> list[Object]:
    """The ReplicaSets of a Deployment."""
    selector = label_selector(owner["spec"].get("selector"))
    return _list_controlled(ref, "replicasets", owner, selector)


def list_jobs(ref: ObjectRef, owner: Object) -> list[Object]:
    """The Jobs of a CronJob."""
    return _list_controlled(ref, "jobs", owner)


def _deployment_revisions(ref: ObjectRef, owner: Object) -> list[Revision]:
    current_template = normalized_template(owner["spec"]["template"])
    revisions = []
    for item in list_replica_sets(ref, owner):
        number = (item["metadata"].get("annotations") or {}).get(REVISION, "")
        # Anyone may write the annotation; a revision is an int64 of at most 18 safe digits.
        if not number.isdecimal() or len(number) > 18:
            continue
        template = normalized_template(item["spec"]["template"])
        is_current = template == current_template
        revisions.append(Revision(int(number), item, template, is_current))
    return sorted(revisions, key=lambda revision: revision.number, reverse=True)


def _controller_revisions(ref: ObjectRef, owner: Object) -> list[Revision]:
    selector = label_selector(owner["spec"].get("selector"))
    items = _list_controlled(ref, "controllerrevisions", owner, selector)
    items.sort(key=lambda item: int(item["revision"]), reverse=True)
    current_template = normalized_template(owner["spec"]["template"])
    revisions: list[Revision] = []
    for item in items:
        template = normalized_template(item["data"]["spec"]["template"])
        # Two revisions may have the same template; only the newest of them is the current one.
        has_current = any(revision.current for revision in revisions)
        is_current = template == current_template and not has_current
        revisions.append(Revision(int(item["revision"]), item, template, is_current))
    return revisions


def _job_revisions(ref: ObjectRef, owner: Object) -> list[Revision]:
    """A CronJob's Jobs, numbered from the oldest that is left."""
    jobs = sorted(list_jobs(ref, owner), key=_creation_order)
    revisions = []
    for number, job in enumerate(jobs, 1):
        template = job["spec"]["template"]
        revisions.append(Revision(number, job, template, status=_job_status(job)))
    return revisions[::-1]


def _creation_order(item: Object) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]


def _job_status(job: Object) -> Object:
    status = job.get("status") or {}
    return {
        "active": status.get("active", 0),
        "succeeded": status.get("succeeded", 0),
        "failed": status.get("failed", 0),
        "started_at": status.get("startTime"),
        "finished_at": status.get("completionTime"),
    }


def find(revisions: list[Revision], number: int) -> Revision:
    """The revision of that number; 0 is the one before the newest (kubectl's rule).

    NotFound when there is none, or none any more.
    """
    if number == 0:
        if len(revisions) < 2:
            raise NotFound(
                "there is no earlier revision to roll back to",
                reason="NotFound",
            )
        return revisions[1]
    for revision in revisions:
        if revision.number == number:
            return revision
    numbers = ", ".join(str(revision.number) for revision in revisions) or "none"
    raise NotFound(
        f"revision {number} does not exist (any more); the history has: {numbers}",
        reason="NotFound",
    )


def template_diff(old: Revision, new: Revision) -> str:
    """A unified diff of the two pod templates as YAML; "" when they are the same."""
    before = to_yaml(old.template, sort_keys=True)
    after = to_yaml(new.template, sort_keys=True)
    names = (f"revision {old.number}", f"revision {new.number}")
    return text_diff.unified_diff(before, after, names=names).removesuffix("\n")
