"""What a tool is: its name, its arguments and what it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from agents.answers import MOST_BYTES, USUAL_BYTES, Answer
from agents.caller import Caller, ToolError

Arguments = Mapping[str, Any]
NAME = {"type": "string", "minLength": 1, "maxLength": 253}
# Every argument that a tool may take.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "cluster": {
        "type": ["string", "integer"],
        "maxLength": 253,
        "description": "Name or id of a cluster; may be left out where you see only one.",
    },
    "kind": {**NAME, "description": "A kind as kubectl names it: deployments, Pod, svc …"},
    "namespace": {**NAME, "description": "A namespace."},
    "name": {**NAME, "description": "The name of one object."},
    "query": {**NAME, "description": "A part of a name."},
    "since": {
        "type": "string",
        "minLength": 1,
        "maxLength": 40,
        "description": "RFC 3339, unix seconds, or how long ago: 90s, 30m, 2h.",
    },
    "until": {
        "type": "string",
        "minLength": 1,
        "maxLength": 40,
        "description": "RFC 3339 or unix seconds; now when absent.",
    },
    "limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "At most so many; an answer ends sooner when it is full.",
    },
    "cursor": {
        "type": "string",
        "maxLength": 400,
        "description": "next_cursor of the answer before, with the same arguments.",
    },
    "label_selector": {**NAME, "maxLength": 1000, "description": "A label selector, app=web."},
    "troubled": {"type": "boolean", "description": "Only what has a problem now."},
    "container": {**NAME, "description": "A container of the pod."},
    "previous": {"type": "boolean", "description": "The log of the run before the last restart."},
    "path": {
        **NAME,
        "description": "Only this part of the object, as spec.template.spec or status.",
    },
    "replicas": {"type": "integer", "minimum": 0, "maximum": 100_000},
    "revision": {
        "type": "integer",
        "minimum": 1,
        "description": "The revision to go back to; the one before when absent.",
    },
    "manifest": {
        "type": "string",
        "minLength": 1,
        "maxLength": 512 * 1024,
        "description": "YAML or JSON of one or more objects.",
    },
    "force_conflicts": {
        "type": "boolean",
        "description": "Take over fields that other managers own.",
    },
    "uncordon": {"type": "boolean", "description": "Let pods be scheduled on the node again."},
    "delete_emptydir_data": {
        "type": "boolean",
        "description": "Evict pods whose emptyDir data is lost by that, too.",
    },
    "force": {"type": "boolean", "description": "Evict pods that no controller starts again, too."},
    "confirm_token": {
        "type": "string",
        "minLength": 1,
        "maxLength": 200,
        "description": "From the dry run of the very same call; it works once, for two minutes.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. `required` and `optional` name its arguments in ARGUMENTS."""

    name: str
    title: str
    description: str
    required: Sequence[str] = ()
    optional: Sequence[str] = ()
    # Argument schemas of this tool alone.
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answer: Callable[[Caller, Arguments], Answer]
    acts: bool = False
    is_destructive: bool = False
    # Bytes of an answer: ordinarily, and when the caller gives `limit`.
    usual_bytes: int = USUAL_BYTES
    most_bytes: int = MOST_BYTES

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments; others are refused."""
        schemas = {**ARGUMENTS, **self.schemas}
        names = (*self.required, *self.optional)
        return {
            "type": "object",
            "properties": {name: dict(schemas[name]) for name in names},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def check(self, arguments: Mapping[str, Any]) -> Arguments:
        """The arguments, those that are null left out; ToolError for what the schema refuses."""
        members = {name: value for name, value in arguments.items() if value is not None}
        names = (*self.required, *self.optional)
        if unknown := sorted(set(members) - set(names)):
            raise ToolError(
                f"unknown argument {unknown[0][:80]!r}",
                f"{self.name} takes: {', '.join(names) or 'nothing'}.",
            )
        for name in self.required:
            if name not in members:
                raise ToolError(
                    f"{name} is required",
                    f"{self.name} takes: {', '.join(names)}.",
                )
        for error in Draft202012Validator(self.input_schema).iter_errors(members):
            place = ".".join(str(step) for step in error.path)
            # Its own sentence would repeat the value, however long it is.
            raise ToolError(
                f"{place or 'the arguments'}: not valid ({error.validator}: "
                f"{str(error.validator_value)[:100]})",
                ADVICE_ON_SCHEMA,
            )
        for name, value in members.items():
            if isinstance(value, str) and "\0" in value:
                raise ToolError(f"{name} contains a NUL character", ADVICE_ON_SCHEMA)
        return members


ADVICE_ON_SCHEMA = "Check the arguments against the tool's schema."
