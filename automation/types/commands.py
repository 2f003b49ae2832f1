"""Running a command in pods."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from django.conf import settings

from automation.context import RunContext
from automation.types.base import Again, FinishedStep, Step, StepResult, TaskType
from automation.types.workloads import schema
from clusters import impersonation, registry
from clusters.kinds import KINDS
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.streams import ERROR_CHANNEL, STDERR, STDOUT, StreamClient
from core.api.attributes import AccessAttributes
from core.errors import Conflict, DomainError, Invalid
from workloads.files.blocking import run_with_beats
from workloads.objects.object_ref import ObjectRef
from workloads.streams.containers import select_containers
from workloads.streams.exec import exec_path, is_node_terminal

PODS = KINDS["pods"]
MAX_SECONDS = 120
MAX_ARGUMENTS = 100
MAX_ARGUMENT = 16_384
MAX_STATUS = 64 * 1024
# Outputs that the result of a run shows; each is bounded, too.
MAX_RESULT = 256 * 1024


class Exec(TaskType):
    """An argv in each chosen pod; never a line for a shell, unless the argv names one."""

    name = "exec"
    title = "Run a command in pods"
    description = "Runs a program in a container of each chosen pod and keeps what it prints."
    repeatable = False
    params_schema = schema(
        ("command",),
        command={
            "type": "array",
            "items": {"type": "string", "maxLength": MAX_ARGUMENT},
            "minItems": 1,
            "maxItems": MAX_ARGUMENTS,
            "title": "Command",
            "description": "The program and its arguments, one element each.",
        },
        container={
            "type": "string",
            "maxLength": 63,
            "default": "",
            "title": "Container",
            "description": "Without it the pod's default container.",
        },
        timeout={
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_SECONDS,
            "default": 30,
            "title": "Seconds in each pod",
        },
        max_bytes={
            "type": "integer",
            "minimum": 1,
            "maximum": 65_536,
            "default": 16_384,
            "title": "Bytes of output that are kept of each pod",
        },
    )

    def check(self, params: Mapping[str, Any]) -> None:
        """No NUL, which no argument can have."""
        if not params["command"][0] or any("\0" in text for text in params["command"]):
            raise Invalid(
                "command must be a program and its arguments",
                field="command",
            )

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """exec."""
        return [AccessAttributes("exec", PODS.plural, PODS.group)]

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each pod that runs."""
        command = orjson.dumps(context.params["command"]).decode()[:500]
        steps = []
        for cluster, pod in context.objects("exec", PODS):
            metadata = pod["metadata"]
            step = Step(
                cluster.pk,
                metadata["namespace"],
                metadata["name"],
                PODS.name,
                "",
                {"uid": metadata["uid"]},
            )
            step = _planned(step, pod, context.params["container"], command)
            if is_node_terminal(step.namespace, step.name) and not context.may(
                "exec", KINDS["nodes"], cluster
            ):
                step = replace(step, message="a command there runs on the node", state="failed")
            steps.append(step)
        return steps

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Run it once; an exit code other than 0 is a failure."""
        cluster = context.cluster(step.cluster_id)
        pod = ObjectRef(cluster, PODS, step.namespace, step.name).read()
        if pod["metadata"]["uid"] != step.data["uid"]:
            raise Conflict("another pod has its name now", reason="Replaced")
        if is_node_terminal(step.namespace, step.name):
            context.require("exec", KINDS["nodes"], cluster)
        with context.acting(
            "exec",
            PODS,
            cluster,
            step.namespace,
            step.name,
        ) as facts:
            facts["details"]["command"] = context.params["command"]
            facts["details"]["container"] = step.data["container"]
            outcome = _run(context, cluster, step)
        data = {
            "exit_code": outcome.code,
            "output": outcome.output.decode(errors="replace").replace(
                "\0",
                "\ufffd",
            ),
            "truncated": outcome.is_cut,
        }
        if outcome.code == 0:
            return StepResult(f"ended with 0, {outcome.size} bytes of output", data)
        return StepResult(
            outcome.problem or f"ended with {outcome.code}",
            data,
            "failed",
        )

    def result(
        self,
        context: RunContext,
        steps: Sequence[FinishedStep],
    ) -> dict[str, Any]:
        """What each pod printed."""
        outputs = []
        size = 0
        for finished in steps:
            data = finished.step.data
            if "output" not in data:
                continue
            size += len(data["output"])
            outputs.append(
                {
                    "cluster_id": finished.step.cluster_id,
                    "namespace": finished.step.namespace,
                    "pod": finished.step.name,
                    "container": data["container"],
                    "exit_code": data["exit_code"],
                    "output": data["output"] if size <= MAX_RESULT else "",
                    "truncated": data["truncated"] or size > MAX_RESULT,
                }
            )
        return {**super().result(context, steps), "outputs": outputs}


def _planned(
    step: Step,
    pod: Object,
    container: str,
    command: str,
) -> Step:
    phase = (pod.get("status") or {}).get("phase")
    if phase != "Running" or pod["metadata"].get("deletionTimestamp"):
        return replace(step, message=f"does not run ({phase})", state="skipped")
    try:
        name = select_containers(pod, [container] if container else [])[0]
    except DomainError as error:
        return replace(step, message=error.message, state="failed")
    return replace(
        step,
        message=f"{command} is run in container {name}",
        data={**step.data, "container": name},
    )


@dataclass(slots=True)
class _Outcome:
    """What a command did; `code` is None when it did not end by itself."""

    limit: int
    code: int | None = None
    problem: str = ""
    size: int = 0
    output: bytearray = field(default_factory=bytearray)

    @property
    def is_cut(self) -> bool:
        """Whether it printed more than is kept."""
        return self.size > len(self.output)

    def add(self, data: bytes) -> None:
        """Keep what fits."""
        self.size += len(data)
        self.output += data[: max(self.limit - len(self.output), 0)]


def _run(
    context: RunContext,
    cluster: Cluster,
    step: Step,
) -> _Outcome:
    """The command's outcome, within its time; what it printed until then is kept."""
    params = context.params
    limit = min(int(params["max_bytes"]), settings.TASK_OUTPUT_BYTES)
    outcome = _Outcome(limit)
    access = registry.read_access(cluster.kubeconfig)
    limits = registry.client_limits()
    identity = impersonation.current() if cluster.impersonate else None
    query = {
        "container": step.data["container"],
        "command": list(params["command"]),
        "stdout": "true",
        "stderr": "true",
    }

    async def run() -> None:
        client = StreamClient(access, limits)
        try:
            acting = client.acting_as(identity) if identity else client
            path = exec_path(step.namespace, step.name)
            async with acting.exec(path, query) as channels:
                try:
                    async with asyncio.timeout(params["timeout"]):
                        while (message := await channels.receive()) is not None:
                            channel, data = message
                            if channel in (STDOUT, STDERR):
                                outcome.add(data)
                            elif channel == ERROR_CHANNEL and data:
                                _read_status(outcome, data)
                except TimeoutError:
                    outcome.problem = f"was stopped after {params['timeout']} s"
        finally:
            await client.close()

    run_with_beats(run, context.beat)
    if outcome.code is None and not outcome.problem:
        outcome.problem = "the connection ended before the command did"
    return outcome


def _read_status(outcome: _Outcome, data: bytes) -> None:
    """The exit code out of the Status with which the API server ends an exec."""
    try:
        status = orjson.loads(data[:MAX_STATUS])
        if status.get("status") == "Success":
            outcome.code = 0
            return
        for cause in (status.get("details") or {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                outcome.code = int(cause["message"])
                return
        outcome.problem = str(status.get("message") or "the command could not be run")[:500]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        outcome.problem = data[:500].decode(errors="replace")
