"""What a type of task is: parameters, the steps that it would take, and how each is taken.

How to add a type: a subclass of `TaskType` in a module of this package, and its line in
`automation.types.TYPES`. `plan` only reads; what it returns is the dry run, word for word, and
what a run does. `execute` does one step; a worker that dies in the middle of it is followed by
another one that does the same step again, so doing it twice must be as doing it once.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from automation.context import RunContext
from clusters.manifests import MASK
from core.api.attributes import AccessAttributes
from core.errors import Rejected
from manifest_templates import values

# What stands in an answer in place of a secret.
HIDDEN = MASK


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a run does: where, to which object, and in a sentence exactly what.

    `data` (JSON) is what `execute` needs, with what it added the times before. `key` tells steps of
    one run apart; "" is made of cluster, kind, namespace and name. `state` other than "pending"
    says that there is nothing to do: "skipped" or "failed", with the reason as the message.
    """

    cluster_id: int | None
    namespace: str
    name: str
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    state: str = "pending"

    @property
    def unique_key(self) -> str:
        """What tells the step apart within its run."""
        return self.key or f"{self.cluster_id or ''}/{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended: a sentence, and data (JSON) to keep with it.

    "succeeded" or "skipped"; "failed" is as raising a DomainError, with data.
    """

    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    state: str = "succeeded"


@dataclass(frozen=True, slots=True)
class Again:
    """A step goes on: `execute` is called again after some seconds, with `data` added to its own.

    The worker does other things meanwhile.
    """

    seconds: float
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step with how it ended: succeeded, failed, skipped or cancelled."""

    step: Step
    state: str
    message: str


class TaskType(ABC):
    """One type of task."""

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str] = ""
    # JSON Schema 2020-12 of `params`: an object with additionalProperties false.
    params_schema: ClassVar[Mapping[str, Any]]
    supports_rollback: ClassVar[bool] = False
    # Whether `targets` means something for the type; an `http` call has none.
    has_targets: ClassVar[bool] = True
    # Whether a step may be done again when the worker died in the middle of it. Where it may not,
    # such a step fails: its outcome is unknown.
    repeatable: ClassVar[bool] = True

    def check(self, params: Mapping[str, Any]) -> None:  # noqa: B027  # nothing more by default
        """Invalid, with `field`, for parameters that fit the schema and still make no sense.

        Called whenever a task is saved and whenever it runs.
        """

    @abstractmethod
    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """What a task does, as acts without a place: `AccessAttributes(verb, plural, group)`.

        Who saves a task needs the right to each of them in every place that the targets name.
        """

    def shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as answers have them: members that are `writeOnly` are HIDDEN.

        A type whose text may hold Secrets replaces them here, too. A change that sends HIDDEN back
        leaves the member as it is.
        """
        masked: dict[str, Any] = values.without_secrets(
            dict(self.params_schema),
            dict(params),
        )
        return masked

    def is_dangerous(self, params: Mapping[str, Any]) -> bool:
        """Whether it deletes or evicts: then REST's confirmation is asked for when it is saved."""
        return False

    @abstractmethod
    def plan(self, context: RunContext) -> list[Step]:
        """What a run would do, in order; only reads. Nothing chosen is an empty list.

        DomainError ends the run as failed. ClusterUnavailable of one of many clusters belongs into
        `context.problems` instead, as `context.objects` does it.
        """

    @abstractmethod
    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Do one step. DomainError fails the step; ClusterUnavailable is tried again for a time."""

    def rollback(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """Undo a step that succeeded, or that failed half way; `step.data` has what it kept."""
        raise Rejected(f"{self.name} cannot be rolled back")

    def result(
        self,
        context: RunContext,
        steps: Sequence[FinishedStep],
    ) -> dict[str, Any]:
        """What the run shows as its result when it is over (JSON, no secrets), also a dry run's."""
        counts: dict[str, int] = {}
        for finished in steps:
            counts[finished.state] = counts.get(finished.state, 0) + 1
        return {"steps": len(steps), **counts}
