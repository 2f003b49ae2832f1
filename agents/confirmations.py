"""Dry runs and their confirm tokens: the second call does what the first one said, once.

A token fits one person with one token or session, one tool with the same arguments, and the state
of the objects that the dry run has seen. It lives and is spent as those of the API are.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.answers import Answer
from agents.caller import Caller, ToolError
from agents.tool import Arguments
from core.api.confirmation import EXPIRES_IN, issue_token, redeem_token

CONFIRMATION = "confirm_token"
# Names of objects that a plan lists; the sentence has the number of all of them.
MOST_NAMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a call would do. `sentence` says it, `objects` names what it concerns.

    `state` is what the plan rests on: when it differs at the second call, the token is not good.
    `execute` does it and returns the API's answer as data.
    """

    sentence: str
    objects: Sequence[str]
    state: object
    execute: Callable[[], Mapping[str, Any]]
    cluster: str
    details: Mapping[str, Any] = field(default_factory=dict)


Planner = Callable[[Caller, Arguments], Plan]


def confirmed(tool: str, planner: Planner) -> Callable[[Caller, Arguments], Answer]:
    """The answer of an acting tool: the dry run, or with its token the deed."""

    def answer(caller: Caller, arguments: Arguments) -> Answer:
        plan = planner(caller, arguments)
        digest = _fingerprint(tool, caller, arguments, plan)
        token = arguments.get(CONFIRMATION)
        if token is None:
            return _describe(tool, caller, plan, digest)
        if not redeem_token(caller.user, str(token), digest):
            raise ToolError(
                "the confirm_token is not good: it was used, has expired, is of other arguments "
                "or of another caller, or the objects have changed since",
                f"Call {tool} without confirm_token for the dry run as of now.",
            )
        result = plan.execute()
        return Answer(
            data={"done": plan.sentence, "result": dict(result)},
            source="live",
            facts={"status": "done", "cluster": plan.cluster},
        )

    return answer


def _describe(
    tool: str,
    caller: Caller,
    plan: Plan,
    digest: str,
) -> Answer:
    facts = {
        "status": "dry_run",
        "cluster": plan.cluster,
        "count": len(plan.objects),
        CONFIRMATION: issue_token(caller.user, digest),
        "expires_in": EXPIRES_IN,
        "next": f"Nothing was changed. To do it, call {tool} with the same arguments and this "
        "confirm_token.",
    }
    return Answer(
        data={
            "will": plan.sentence,
            "objects": list(plan.objects[:MOST_NAMES]),
            **plan.details,
        },
        source="live",
        facts=facts,
    )


def _fingerprint(
    tool: str,
    caller: Caller,
    arguments: Arguments,
    plan: Plan,
) -> str:
    """The SHA-256 (hexadecimal) of who asks for what, and on what it rests."""
    members = {name: value for name, value in arguments.items() if name != CONFIRMATION}
    parts = [
        "mcp",
        caller.credential,
        tool,
        members,
        plan.cluster,
        plan.state,
    ]
    return hashlib.sha256(
        orjson.dumps(
            parts,
            option=orjson.OPT_SORT_KEYS,
        )
    ).hexdigest()
