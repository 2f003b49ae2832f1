"""Restarting workloads, and giving them other images."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from django.utils import timezone

from automation.context import RunContext
from automation.types.base import Again, Step, StepResult, TaskType
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from core.api.attributes import AccessAttributes
from core.errors import Conflict, Rejected
from workloads.actions import rollouts, verbs
from workloads.actions.verbs import ActionOptions
from workloads.objects.object_ref import ObjectRef

Schema = Mapping[str, Any]
# Between two looks at a rollout, in seconds.
POLL_SECONDS = 2.0
MAX_IMAGE = 500
KINDS_BY_NAME: Mapping[str, Kind] = {
    "Deployment": KINDS["deployments"],
    "StatefulSet": KINDS["statefulsets"],
    "DaemonSet": KINDS["daemonsets"],
    "ReplicaSet": KINDS["replicasets"],
}
WAIT: Mapping[str, Schema] = {
    "wait": {
        "type": "boolean",
        "default": False,
        "title": "Wait until the rollout is complete",
    },
    "wait_seconds": {
        "type": "integer",
        "minimum": 10,
        "maximum": 86400,
        "default": 600,
        "title": "How long to wait for it",
    },
}


def kind_property(*names: str) -> dict[str, Any]:
    """The parameter `kind` with these kinds, the first of them when it is left out."""
    return {"type": "string", "enum": list(names), "default": names[0], "title": "Kind"}


def schema(required: tuple[str, ...] = (), /, **properties: Schema) -> dict[str, Any]:
    """A JSON Schema 2020-12 of parameters that have no others."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(required),
    }


def ref_of(context: RunContext, step: Step) -> ObjectRef:
    """The object of a step."""
    kind = KINDS_BY_NAME[step.kind]
    return ObjectRef(
        context.cluster(step.cluster_id),
        kind,
        step.namespace,
        step.name,
    )


def read_same(ref: ObjectRef, step: Step) -> Object:
    """The object of a step; Conflict when another one has its name now."""
    item = ref.read()
    if item["metadata"]["uid"] != step.data["uid"]:
        raise Conflict(
            "it was deleted, and a new object has its name",
            reason="Replaced",
        )
    return item


class WorkloadType(TaskType):
    """A type whose steps are one change of a workload each, and perhaps its rollout."""

    verb: ClassVar[str]

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """The verb on the kind."""
        kind = KINDS_BY_NAME[params["kind"]]
        return [AccessAttributes(self.verb, kind.plural, kind.group)]

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each chosen workload."""
        kind = KINDS_BY_NAME[context.params["kind"]]
        steps = []
        for cluster, item in context.objects(self.verb, kind):
            metadata = item["metadata"]
            step = Step(
                cluster.pk,
                metadata["namespace"],
                metadata["name"],
                kind.name,
                "",
                {"uid": metadata["uid"]},
            )
            steps.append(self.plan_object(context, step, item))
        return steps

    @abstractmethod
    def plan_object(
        self,
        context: RunContext,
        step: Step,
        item: Object,
    ) -> Step:
        """The step with its message and what it needs."""

    def wait(
        self,
        context: RunContext,
        step: Step,
        message: str,
    ) -> StepResult | Again:
        """The end of the step, or another look at its rollout; Rejected when that takes too long.

        `step.data` has `changed_at`, the time of the change.
        """
        if not context.params.get("wait"):
            return StepResult(message)
        item = read_same(ref_of(context, step), step)
        status = rollouts.status_of(
            item,
            KINDS_BY_NAME[step.kind].plural,
            generation=item["metadata"].get("generation", 0),
        )
        if status.finished:
            return StepResult(f"{message}; {status.message}")
        waited = timezone.now().timestamp() - float(step.data["changed_at"])
        if waited > context.params["wait_seconds"]:
            raise Rejected(
                f"{message}, but the rollout is not complete after "
                f"{context.params['wait_seconds']} s: {status.message}"
            )
        return Again(POLL_SECONDS, f"{message}; {status.message}")


class Restart(WorkloadType):
    """`kubectl rollout restart`."""

    name = "restart"
    title = "Restart workloads"
    description = "Replaces all pods at the pace of each workload's update strategy."
    verb = "restart"
    params_schema = schema(
        kind=kind_property("Deployment", "StatefulSet", "DaemonSet"),
        **WAIT,
    )

    def plan_object(
        self,
        context: RunContext,
        step: Step,
        item: Object,
    ) -> Step:
        """All steps of a run carry its time, so that one that is repeated changes nothing."""
        if item["spec"].get("paused"):
            return replace(
                step,
                message="is paused: resume it first",
                state="skipped",
            )
        at = f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"
        return replace(
            step,
            message="its pods are replaced by new ones (rollout restart)",
            data={**step.data, "at": at},
        )

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Set the annotation that kubectl sets."""
        if "changed_at" in step.data:
            return self.wait(context, step, "restarted")
        ref = ref_of(context, step)
        read_same(ref, step)
        with context.acting(
            self.verb,
            ref.kind,
            ref.cluster,
            ref.namespace,
            ref.name,
        ) as facts:
            outcome = verbs.run(ref, "restart", ActionOptions(at=step.data["at"]))
            facts.update(ref.versions)
        message = "; ".join(["restarted", *outcome.warnings])
        if not context.params["wait"]:
            return StepResult(message)
        return Again(
            POLL_SECONDS,
            message,
            {"changed_at": timezone.now().timestamp()},
        )


class SetImage(WorkloadType):
    """`kubectl set image`."""

    name = "set_image"
    title = "Set the image of containers"
    description = "Gives a container another image; with `wait` a rollout that fails is a failure."
    verb = "patch"
    supports_rollback = True
    params_schema = schema(
        ("image",),
        kind=kind_property("Deployment", "StatefulSet", "DaemonSet"),
        container={
            "type": "string",
            "maxLength": 63,
            "default": "",
            "title": "Container",
            "description": "May be left out where a workload has one container.",
        },
        image={
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_IMAGE,
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$",
            "title": "Image",
        },
        **WAIT,
    )

    def plan_object(
        self,
        context: RunContext,
        step: Step,
        item: Object,
    ) -> Step:
        """Which container has which image now."""
        image = context.params["image"]
        container = _container(item, context.params["container"])
        if container is None:
            name = context.params["container"]
            message = f"has no container {name}" if name else "has several containers: name one"
            return replace(step, message=message, state="failed")
        group, name, current = container
        data = {**step.data, "group": group, "container": name, "from": current}
        if current == image:
            return replace(
                step, message=f"container {name} has the image {image} already", state="skipped"
            )
        message = f"the image of container {name} changes from {current} to {image}"
        return replace(step, message=message, data=data)

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Patch the container's image."""
        image = context.params["image"]
        message = f"container {step.data['container']}: {step.data['from']} is now {image}"
        if "changed_at" in step.data:
            return self.wait(context, step, message)
        self._set(context, step, image)
        if not context.params["wait"]:
            return StepResult(message)
        return Again(
            POLL_SECONDS,
            message,
            {"changed_at": timezone.now().timestamp()},
        )

    def rollback(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """The image that was there before."""
        self._set(context, step, step.data["from"])
        return StepResult(f"rolled back to {step.data['from']}")

    def _set(
        self,
        context: RunContext,
        step: Step,
        image: str,
    ) -> None:
        ref = ref_of(context, step)
        read_same(ref, step)
        containers = [{"name": step.data["container"], "image": image}]
        body = {"spec": {"template": {"spec": {step.data["group"]: containers}}}}
        with context.acting(
            self.verb,
            ref.kind,
            ref.cluster,
            ref.namespace,
            ref.name,
        ) as facts:
            ref.patch(body, patch="strategic")
            facts.update(ref.versions)


def _container(item: Object, name: str) -> tuple[str, str, str] | None:
    """(list that it is in, name, image) of the container; the only one when no name is given."""
    spec = item["spec"]["template"]["spec"]
    if not name:
        containers = spec.get("containers") or []
        if len(containers) != 1:
            return None
        return "containers", containers[0]["name"], containers[0].get("image", "")
    for group in ("containers", "initContainers"):
        for container in spec.get(group) or []:
            if container["name"] == name:
                return group, name, container.get("image", "")
    return None
