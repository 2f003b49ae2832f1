"""Calling an address outside: a webhook."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.conf import settings

from automation.context import RunContext
from automation.types.base import Again, FinishedStep, Step, StepResult, TaskType
from automation.types.workloads import schema
from clusters.kinds import Kind
from clusters.manifests import MASK
from clusters.outbound import Outbound, OutboundError, check_url, mask_query, query_texts
from core.api.attributes import AccessAttributes
from core.errors import Invalid
from workloads.manifests.masking import without_values

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
# What the client of HTTP says itself.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"}
)
MAX_HEADERS = 30
MAX_VALUE = 4000
MAX_BODY = 64 * 1024
MAX_SECONDS = 60
# How the audit trail names it.
CALL = Kind("Webhook", "webhooks", "", "v1", False)


class Http(TaskType):
    """One call over HTTP, bounded in time, answer and address."""

    name = "http"
    title = "Call a webhook"
    description = (
        "Sends one request and keeps the answer. Redirects are not followed; an answer outside of "
        "`expect` is a failure."
    )
    has_targets = False
    repeatable = False
    params_schema = schema(
        ("url",),
        url={"type": "string", "minLength": 1, "maxLength": 2000, "title": "Address"},
        method={
            "type": "string",
            "enum": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
            "default": "POST",
        },
        headers={
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": MAX_VALUE},
            "maxProperties": MAX_HEADERS,
            "default": {},
            "writeOnly": True,
            "title": "Headers",
            "description": "May hold credentials: they are never shown again.",
        },
        body={
            "type": ["string", "object", "array", "null"],
            "default": None,
            "title": "Body",
            "description": "A text as it is; an object or a list as JSON.",
        },
        timeout={
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_SECONDS,
            "default": 10,
            "title": "Seconds for the whole exchange",
        },
        expect={
            "type": "array",
            "items": {"type": "integer", "minimum": 100, "maximum": 599},
            "default": [],
            "title": "Expected status",
            "description": "Without any, 200 to 299.",
        },
    )

    def check(self, params: Mapping[str, Any]) -> None:
        """The address may be called, and the headers may be sent."""
        if not params["url"].isprintable() or " " in params["url"]:
            raise Invalid("url is not an address", field="url")
        check_url(params["url"], settings.WEBHOOK_ADDRESS_POLICY, field="url")
        if MASK in query_texts(params["url"]):
            # It was changed as an answer showed it, and nobody knows what stood there.
            raise Invalid(f"url has {MASK} in place of what is hidden: write it out", field="url")
        for name, value in params["headers"].items():
            # Never the value: it may be a credential.
            if not _HEADER.match(name) or name.lower() in _OWN_HEADERS:
                raise Invalid(
                    f"headers: {name[:100]!r} cannot be set",
                    field="headers",
                )
            if not value.isprintable() or not value.isascii():
                raise Invalid(
                    f"headers: the value of {name} cannot be sent",
                    field="headers",
                )
        if len(_body(params["body"])) > MAX_BODY:
            raise Invalid(f"body must be at most {MAX_BODY} bytes", field="body")

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """No cluster is touched."""
        return []

    def shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The query of the address is hidden, too: it often holds a token."""
        return {**super().shown(params), "url": mask_query(params["url"])}

    def plan(self, context: RunContext) -> list[Step]:
        """One call."""
        method = context.params["method"]
        size = len(_body(context.params["body"]))
        what = f" with a body of {size} bytes" if size else ""
        address = _without_query(context.params["url"])
        return [
            Step(
                None,
                "",
                address,
                CALL.name,
                f"{method} {address} is called{what}",
            )
        ]

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """Send it; the address is checked again, and the peer that its name leads to."""
        params = context.params
        self.check(params)
        body = _body(params["body"])
        headers = {
            "User-Agent": "kubegale-tasks",
            "Idempotency-Key": f"task-{context.task}-run-{context.run}",
            **({"Content-Type": _content_type(params["body"])} if body else {}),
            **params["headers"],
        }
        with (
            context.acting("run", CALL, None, name=step.name),
            Outbound(
                policy=settings.WEBHOOK_ADDRESS_POLICY,
                timeout=params["timeout"],
            ) as outbound,
        ):
            try:
                answer = outbound.request(
                    params["method"],
                    params["url"],
                    headers=headers,
                    body=body or None,
                )
            except OutboundError as error:
                return StepResult(
                    f"{params['method']} {step.name}: {error}",
                    {},
                    "failed",
                )
        text = answer.body[: settings.TASK_OUTPUT_BYTES].decode(errors="replace")
        # Some receivers say again what they were sent.
        hidden = (*query_texts(params["url"]), *params["headers"].values())
        data = {
            "status": answer.status,
            "output": without_values(text.replace("\0", "\ufffd"), {}, hidden),
            "truncated": len(answer.body) > settings.TASK_OUTPUT_BYTES,
        }
        expected = params["expect"]
        is_good = answer.status in expected if expected else 200 <= answer.status < 300
        message = f"{params['method']} {step.name}: HTTP {answer.status}"
        return StepResult(message, data, "succeeded" if is_good else "failed")

    def result(
        self,
        context: RunContext,
        steps: Sequence[FinishedStep],
    ) -> dict[str, Any]:
        """The status, and the beginning of the answer."""
        counts = super().result(context, steps)
        for finished in steps:
            data = finished.step.data
            for name in ("status", "output", "truncated"):
                if name in data:
                    counts[name] = data[name]
        return counts


def _body(value: object) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _content_type(value: object) -> str:
    return "text/plain; charset=utf-8" if isinstance(value, str) else "application/json"


def _without_query(url: str) -> str:
    """The address as messages show it: what stands in a query may be a credential."""
    return url.partition("?")[0].partition("#")[0][:200]
