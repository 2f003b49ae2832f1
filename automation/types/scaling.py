"""Scaling workloads: to a number, by a percentage, or back to what was before.

Where a HorizontalPodAutoscaler sets the replicas, its minimum is changed instead. To zero the
workload itself is scaled: an autoscaler leaves a workload without replicas alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from automation.context import RunContext
from automation.models import Memory
from automation.types.base import Again, Step, StepResult
from automation.types.workloads import (
    WorkloadType,
    kind_property,
    read_same,
    ref_of,
    schema,
)
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import Invalid, Rejected
from workloads.actions import verbs
from workloads.actions.verbs import ActionOptions
from workloads.objects.object_ref import ObjectRef

HPA = KINDS["horizontalpodautoscalers"]
MAX_REPLICAS = 10_000
WAYS = ("replicas", "percent", "restore")


class Scale(WorkloadType):
    """Sets the number of replicas."""

    name = "scale"
    title = "Scale workloads"
    description = (
        "To a number of replicas, to a percentage of the present one, or back to what was before "
        "this task (or another task of its owner) scaled."
    )
    verb = "scale"
    supports_rollback = True
    params_schema = schema(
        kind=kind_property("Deployment", "StatefulSet", "ReplicaSet"),
        replicas={
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_REPLICAS,
            "title": "Replicas",
        },
        percent={
            "type": "integer",
            "minimum": 0,
            "maximum": 1000,
            "title": "Percentage of the present replicas",
        },
        restore={
            "type": "boolean",
            "default": False,
            "title": "Back to what was before the last scaling",
        },
        hpa={
            "type": "string",
            "enum": ["min_replicas", "refuse"],
            "default": "min_replicas",
            "title": "Where an autoscaler sets the replicas",
            "description": "Change its minimum, or refuse.",
        },
    )

    def check(self, params: Mapping[str, Any]) -> None:
        """Exactly one of the ways."""
        given = [name for name in WAYS if params.get(name) is not None]
        if not params.get("restore"):
            given = [name for name in given if name != "restore"]
        if len(given) != 1:
            raise Invalid(
                "give one of replicas, percent or restore",
                field="replicas",
            )

    # --- planning ---------------------------------------------------------------------------------
    def plan(self, context: RunContext) -> list[Step]:
        """A step for each workload, with its autoscaler if it has one."""
        steps = super().plan(context)
        autoscalers: dict[tuple[int, str], list[Object]] = {}
        planned = []
        for step in steps:
            place = (step.cluster_id or 0, step.namespace)
            if place not in autoscalers:
                cluster = context.cluster(step.cluster_id)
                autoscalers[place] = _autoscalers(context, cluster, step.namespace)
            planned.append(self._plan(context, step, autoscalers[place]))
        return planned

    def plan_object(
        self,
        context: RunContext,
        step: Step,
        item: Object,
    ) -> Step:
        """With the replicas that the workload has now."""
        replicas = (item.get("spec") or {}).get("replicas", 1)
        return replace(step, data={**step.data, "current": replicas})

    def _plan(
        self,
        context: RunContext,
        step: Step,
        autoscalers: list[Object],
    ) -> Step:
        current = step.data["current"]
        memory = recall(context, step) if context.params["restore"] else None
        if context.params["restore"] and memory is None:
            return replace(
                step, message="was not scaled by a task: nothing to restore", state="skipped"
            )
        hpa = next((item for item in autoscalers if _scales(item, step)), None)
        if memory is not None:
            target = int(memory["previous"])
            if memory.get("hpa") and hpa is None:
                return replace(
                    step,
                    message=f"HorizontalPodAutoscaler {memory['hpa']} is gone",
                    state="skipped",
                )
            if not memory.get("hpa"):
                # The workload itself was scaled, with or without an autoscaler.
                hpa = None
        else:
            base = current if hpa is None else hpa["spec"].get("minReplicas", 1)
            target = _target(context.params, base)
        # One that has no replicas at all is woken by scaling it itself.
        if hpa is not None and target > 0 and current > 0:
            return _plan_minimum(context, step, hpa, target)
        data = {**step.data, "from": current, "to": target, "hpa": ""}
        if current == target:
            return replace(
                step,
                message=f"has {count(target)} already",
                state="skipped",
                data=data,
            )
        message = f"scaled from {current} to {count(target)}"
        if hpa is not None and target == 0:
            message += f"; HorizontalPodAutoscaler {hpa['metadata']['name']} rests meanwhile"
        return replace(step, message=message, data=data)

    # --- doing ------------------------------------------------------------------------------------
    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Scale; what was before is kept first, so that a worker that dies loses nothing."""
        ref = ref_of(context, step)
        item = read_same(ref, step)
        data = step.data
        if data["hpa"]:
            previous = _read_minimum(context, ref.cluster, step)
        else:
            previous = (item.get("spec") or {}).get("replicas", 1)
        if previous != data["to"] and not context.params["restore"]:
            keep(context, step, previous)
        if previous != data["to"]:
            self._set(context, step, data["to"])
        if context.params["restore"]:
            forget(context, step)
        what = f"minReplicas of {data['hpa']}: " if data["hpa"] else ""
        return StepResult(
            f"{what}scaled from {data['from']} to {count(data['to'])}",
            {"previous": data["from"] if previous == data["to"] else previous},
        )

    def rollback(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """The number that was there before."""
        previous = int(step.data.get("previous", step.data["from"]))
        read_same(ref_of(context, step), step)
        self._set(context, step, previous)
        if context.params["restore"]:
            keep(context, step, previous)
        else:
            forget(context, step)
        return StepResult(f"rolled back to {count(previous)}")

    def _set(
        self,
        context: RunContext,
        step: Step,
        replicas: int,
    ) -> None:
        ref = ref_of(context, step)
        if name := step.data["hpa"]:
            with context.acting(
                "patch",
                HPA,
                ref.cluster,
                step.namespace,
                name,
            ) as facts:
                autoscaler = ObjectRef(ref.cluster, HPA, step.namespace, name)
                autoscaler.read()
                autoscaler.patch({"spec": {"minReplicas": replicas}})
                facts.update(autoscaler.versions)
            return
        with context.acting(
            self.verb,
            ref.kind,
            ref.cluster,
            ref.namespace,
            ref.name,
        ) as facts:
            facts["details"]["replicas"] = replicas
            verbs.run(ref, "scale", ActionOptions(replicas=replicas))


def _autoscalers(
    context: RunContext,
    cluster: Cluster,
    namespace: str,
) -> list[Object]:
    """The autoscalers of a namespace; none for an owner who may not read them."""
    if not context.may("list", HPA, cluster, namespace):
        return []
    return list_all(context.client(cluster.pk), HPA, namespace)


def _scales(item: Object, step: Step) -> bool:
    target = item["spec"].get("scaleTargetRef") or {}
    return (target.get("kind"), target.get("name")) == (step.kind, step.name)


def _target(params: Mapping[str, Any], current: int) -> int:
    if params.get("percent") is None:
        return int(params["replicas"])
    share = current * int(params["percent"])
    # Rounded up: a share of what runs is never nothing, unless nothing was asked for.
    return min(-(-share // 100), MAX_REPLICAS)


def _plan_minimum(
    context: RunContext,
    step: Step,
    hpa: Object,
    target: int,
) -> Step:
    name = hpa["metadata"]["name"]
    minimum = hpa["spec"].get("minReplicas", 1)
    maximum = hpa["spec"]["maxReplicas"]
    data = {**step.data, "from": minimum, "to": target, "hpa": name}
    if context.params["hpa"] == "refuse":
        message = f"HorizontalPodAutoscaler {name} sets its replicas"
        return replace(step, message=message, state="failed")
    if target > maximum:
        message = f"HorizontalPodAutoscaler {name} allows {maximum} replicas at most, not {target}"
        return replace(step, message=message, state="failed")
    if minimum == target:
        message = f"minReplicas of HorizontalPodAutoscaler {name} is {target} already"
        return replace(step, message=message, state="skipped", data=data)
    message = (
        f"minReplicas of HorizontalPodAutoscaler {name} changes from {minimum} to {target}, "
        "since that sets the replicas"
    )
    return replace(step, message=message, data=data)


def _read_minimum(
    context: RunContext,
    cluster: Cluster,
    step: Step,
) -> int:
    item = ObjectRef(cluster, HPA, step.namespace, step.data["hpa"]).read()
    if not _scales(item, step):
        raise Rejected(f"HorizontalPodAutoscaler {step.data['hpa']} scales something else now")
    return int(item["spec"].get("minReplicas", 1))


def count(replicas: int) -> str:
    """`1 replica`, `3 replicas`."""
    return f"{replicas} replica" + ("" if replicas == 1 else "s")


# --- what was before ------------------------------------------------------------------------------
def _key(step: Step) -> str:
    return f"scale/{step.cluster_id}/{step.kind}/{step.namespace}/{step.name}"


def keep(context: RunContext, step: Step, previous: int) -> None:
    """Remember what was before, for a later `restore`."""
    context.keep(
        _key(step),
        {"previous": previous, "hpa": step.data["hpa"], "uid": step.data["uid"]},
    )


def recall(context: RunContext, step: Step) -> Mapping[str, Any] | None:
    """What was before the task's last scaling of the object, else another task's of its owner.

    None when the object was made again since.
    """
    rows = Memory.objects.filter(
        key=_key(step),
        task__owner=context.owner,
    ).order_by("-updated_at")
    values = [row.value for row in rows.filter(task=context.task)[:1]] or [
        row.value for row in rows[:1]
    ]
    same = [value for value in values if value["uid"] == step.data["uid"]]
    return same[0] if same else None


def forget(context: RunContext, step: Step) -> None:
    """Nothing is left to restore."""
    Memory.objects.filter(key=_key(step), task__owner=context.owner).delete()
