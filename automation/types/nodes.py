"""Cordoning, uncordoning and draining nodes."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from automation.context import RunContext
from automation.types.base import Again, Step, StepResult, TaskType
from automation.types.workloads import schema
from clusters.kinds import KINDS
from core.api.attributes import AccessAttributes
from core.errors import Conflict
from operations import lifecycle, tasks
from operations.models import Operation
from workloads.actions import drain, nodes
from workloads.actions.drain_filters import DrainFlags
from workloads.objects.object_ref import ObjectRef

NODES = KINDS["nodes"]
# Between two looks at a drain, in seconds.
POLL_SECONDS = 2.0
# Names of pods in one message.
MOST_NAMES = 10


class NodeType(TaskType):
    """A type whose steps are nodes; `targets.names` and `label_selector` choose them."""

    verb: ClassVar[str]

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """The verb on nodes."""
        return [
            AccessAttributes(
                self.verb,
                NODES.plural,
                NODES.group,
                cluster_scoped=True,
            )
        ]

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each chosen node."""
        steps = []
        for cluster, item in context.objects(self.verb, NODES):
            metadata = item["metadata"]
            data = {
                "uid": metadata["uid"],
                "cordoned": bool(item["spec"].get("unschedulable")),
            }
            step = Step(cluster.pk, "", metadata["name"], NODES.name, "", data)
            context.beat()
            steps.append(self.plan_node(context, step))
        return steps

    @abstractmethod
    def plan_node(self, context: RunContext, step: Step) -> Step:
        """The step with its message."""


def _ref(context: RunContext, step: Step) -> ObjectRef:
    """The node of a step; Conflict when another one has its name now."""
    ref = ObjectRef(context.cluster(step.cluster_id), NODES, "", step.name)
    if ref.read()["metadata"]["uid"] != step.data["uid"]:
        raise Conflict(
            "the node was removed and another of its name has joined",
            reason="Replaced",
        )
    return ref


class _Schedulable(NodeType):
    schedulable: ClassVar[bool]
    supports_rollback = True
    params_schema = schema()

    def plan_node(self, context: RunContext, step: Step) -> Step:
        """Nothing to do where the node is so already."""
        word = "schedulable" if self.schedulable else "cordoned"
        if step.data["cordoned"] != self.schedulable:
            return replace(step, message=f"is {word} already", state="skipped")
        return replace(step, message=f"becomes {word}")

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Set or remove `spec.unschedulable`."""
        self._set(context, step, schedulable=self.schedulable)
        return StepResult("uncordoned" if self.schedulable else "cordoned")

    def rollback(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """As it was before."""
        self._set(context, step, schedulable=not self.schedulable)
        return StepResult("rolled back")

    def _set(
        self,
        context: RunContext,
        step: Step,
        *,
        schedulable: bool,
    ) -> None:
        ref = _ref(context, step)
        with context.acting(self.verb, NODES, ref.cluster, "", ref.name) as facts:
            nodes.set_schedulable(ref, schedulable=schedulable)
            facts.update(ref.versions)


class Cordon(_Schedulable):
    """`kubectl cordon`."""

    name = "cordon"
    title = "Cordon nodes"
    description = "No new pods are put onto the nodes."
    verb = "cordon"
    schedulable = False


class Uncordon(_Schedulable):
    """`kubectl uncordon`."""

    name = "uncordon"
    title = "Uncordon nodes"
    description = "New pods may be put onto the nodes again."
    verb = "uncordon"
    schedulable = True


class Drain(NodeType):
    """`kubectl drain`, one node after the other."""

    name = "drain"
    title = "Drain nodes"
    description = "Cordons each node and evicts its pods, as PodDisruptionBudgets allow."
    verb = "drain"
    params_schema = schema(
        ignore_daemonsets={
            "type": "boolean",
            "default": True,
            "title": "Ignore DaemonSet pods",
        },
        delete_emptydir_data={
            "type": "boolean",
            "default": False,
            "title": "Delete emptyDir data",
        },
        force={
            "type": "boolean",
            "default": False,
            "title": "Force: also delete pods without a controller",
        },
        grace_period={
            "type": "integer",
            "minimum": -1,
            "maximum": 86400,
            "default": -1,
            "title": "Grace period in seconds (-1: the pod's own)",
        },
        timeout={
            "type": "integer",
            "minimum": 0,
            "maximum": 86400,
            "default": 300,
            "title": "Timeout in seconds (0: none)",
        },
        pod_selector={
            "type": "string",
            "maxLength": 1000,
            "default": "",
            "title": "Pod selector",
        },
        skip_wait_for_delete_timeout={
            "type": "integer",
            "minimum": 0,
            "maximum": 86400,
            "default": 0,
            "title": "Do not wait for pods that terminate for longer than (seconds, 0: wait)",
        },
        disable_eviction={
            "type": "boolean",
            "default": False,
            "title": "Disable eviction: delete pods, bypassing disruption budgets",
        },
    )

    def is_dangerous(self, params: Mapping[str, Any]) -> bool:
        """It evicts pods."""
        return True

    def plan_node(self, context: RunContext, step: Step) -> Step:
        """Which pods would be evicted; failed where a pod forbids the drain."""
        ref = ObjectRef(context.cluster(step.cluster_id), NODES, "", step.name)
        preview = drain.preview(ref, DrainFlags(**context.params))
        pods = preview["pods"]
        if preview["would_fail"]:
            refusals = [f"{pod['name']}: {pod['message']}" for pod in pods if _refuses(pod)]
            return replace(
                step,
                message=f"cannot be drained: {'; '.join(refusals)}"[:2000],
                state="failed",
            )
        evicted = [pod["name"] for pod in pods if pod["action"] == "evict"]
        message = f"is cordoned, and {len(evicted)} pods are evicted"
        if evicted:
            more = f" and {len(evicted) - MOST_NAMES} more" if len(evicted) > MOST_NAMES else ""
            message += f": {', '.join(evicted[:MOST_NAMES])}{more}"
        return replace(step, message=message)

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Start the drain, which is an operation of its own, and wait for its end."""
        if not step.data.get("operation_id"):
            return self._start(context, step)
        operation = lifecycle.find(step.data["operation_id"])
        if not operation.is_final:
            done = f"{operation.done} of {operation.total} pods"
            return Again(POLL_SECONDS, f"being drained: {done}")
        if operation.state == Operation.State.SUCCEEDED:
            evicted = (operation.result or {}).get("evicted", 0)
            count = len(evicted) if isinstance(evicted, list) else evicted
            return StepResult(f"drained, {count} pods evicted")
        # A drain that failed may be tried again as a new one.
        return StepResult(
            operation.error or f"the drain was {operation.state}",
            {"operation_id": None, "drain": operation.pk},
            "failed",
        )

    def _start(self, context: RunContext, step: Step) -> Again:
        ref = _ref(context, step)
        act = AccessAttributes("drain", NODES.plural, cluster=str(ref.cluster.pk), name=ref.name)
        with context.acting("drain", NODES, ref.cluster, "", ref.name) as facts:
            operation, is_new = drain.request(
                ref,
                DrainFlags(**context.params),
                requested_by=context.owner_name,
                # The drain goes on by itself: it asks for the owner's right as often as we do,
                # from its first moment on.
                rights={"credential": dict(context.credential), "acts": [act.as_data()]},
            )
            facts["details"]["operation_id"] = operation.pk
        if is_new:
            tasks.enqueue(operation)
        return Again(POLL_SECONDS, "being drained", {"operation_id": operation.pk})


def _refuses(pod: Mapping[str, Any]) -> bool:
    return bool(pod["action"] == "refuse")
