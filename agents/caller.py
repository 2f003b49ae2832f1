"""Who calls a tool, and the tool's only way to anything: the KubeGale API, in process."""

import contextvars
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest
from rest_framework.request import Request

from access import authorization, streams
from access.models import ApiToken
from access.policy import Right
from clusters.kinds import KINDS, Kind
from core.api import inner_calls
from core.api.inner_calls import AGENTS, ApiRefusal, ApiResult
from core.errors import DomainError
from storage_api.services import multicluster

# What to try next, by the API's code.
ADVICE: Mapping[int, str] = {
    1001: "Check the arguments against the tool's schema.",
    1002: "Call list_clusters for the clusters that you may see.",
    1003: "Call list_objects with kind namespaces for the namespaces of the cluster.",
    1004: "Check kind, namespace and name; search finds objects by a part of their name.",
    1005: "The token or its person lacks this right; ask a person who has it.",
    1006: "The cluster does not answer now. search, history and what_changed read stored copies.",
    1007: "The cluster refused it; correct what the message says.",
    1008: "The cluster refused it; correct what the message says, or read the object again.",
    1009: "The cluster refused it; correct what the message says.",
    1010: "Ask for the dry run again, and confirm that.",
    5001: "Try again later; the server's log says more.",
}
SEGMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:_-]*[A-Za-z0-9])?\Z")
MOST_NAMED = 20


class ToolError(Exception):
    """A tool cannot answer: what is wrong, and what to try."""

    def __init__(self, message: str, advice: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.details = details


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """A cluster that the caller may see."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Caller:
    """The person and token of one request over the wire.

    `credential` names the token or session, for what is bound to it; `may_write` says whether any
    right to write is left, anywhere.
    """

    request: HttpRequest
    user: int
    credential: str
    may_write: bool

    @classmethod
    def from_request(cls, request: Request) -> "Caller":
        """The caller of a request that has signed in."""
        facts = streams.credential(request)
        token = request.auth if isinstance(request.auth, ApiToken) else None
        effective = authorization.effective_grants_of(request.user, token)
        session = facts.get("session") or facts.get("jti", "")
        return cls(
            request=request._request,
            user=int(request.user.pk or 0),
            credential=f"token {token.pk}" if token else f"session {session}",
            may_write=any(Right.WRITE in grant.rights for grant in effective),
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        confirmed: str = "",
    ) -> ApiResult:
        """The API's answer; ToolError for a refusal.

        `confirmed` is the name of an object whose change the caller has confirmed.
        """
        headers = {"Authorization": self.request.META.get("HTTP_AUTHORIZATION", "")}
        if confirmed:
            headers["X-Confirm"] = confirmed
        try:
            # An empty context: whose calls to clusters these are is known to this call alone.
            return contextvars.Context().run(
                inner_calls.call,
                self.request,
                method,
                path,
                query=query,
                body=body,
                headers=headers,
                via=AGENTS,
            )
        except ApiRefusal as refusal:
            raise _tool_error(refusal) from None

    def clusters(self) -> list[ClusterChoice]:
        """Every cluster that the caller may see."""
        listed = self.call("GET", "clusters", query={"pageSize": 1000}).data["items"]
        return [ClusterChoice(row["id"], row["name"]) for row in listed]

    def find_cluster(self, reference: object) -> ClusterChoice:
        """The cluster of a name or id; without one the only cluster that there is."""
        choices = self.clusters()
        text = str(reference if reference is not None else "").strip()
        if not text and len(choices) == 1:
            return choices[0]
        names = ", ".join(choice.name for choice in choices[:MOST_NAMED]) or "none"
        if not text:
            raise ToolError(
                "cluster is required",
                f"You may see these clusters: {names}.",
            )
        # A name may look like an id: names count first.
        for choice in choices:
            if choice.name.lower() == text.lower():
                return choice
        for choice in choices:
            if str(choice.id) == text:
                return choice
        raise ToolError(
            f"you may see no cluster {text[:80]!r}", f"You may see these clusters: {names}."
        )


def _tool_error(refusal: ApiRefusal) -> ToolError:
    advice = ADVICE.get(refusal.code, "")
    if refusal.status == 429:
        advice = "Wait a little, then try again."
    return ToolError(refusal.message, advice, code=refusal.code)


def find_kind(text: str, cluster: ClusterChoice | None = None) -> Kind:
    """The kind of a plural, singular, short name or name; ToolError for an unknown one."""
    try:
        return multicluster.find_kind(
            text,
            cluster=str(cluster.id) if cluster else "",
        )
    except DomainError as error:
        raise ToolError(
            error.message,
            "Name a kind as kubectl does, e.g. deployments.",
        ) from None


def collection_path(kind: Kind) -> str:
    """The API's path of a kind's objects."""
    if KINDS.get(kind.plural) == kind:
        return kind.plural
    return f"resources/{quote(kind.group)}/{quote(kind.version)}/{quote(kind.plural)}"


def item_path(kind: Kind, name: str) -> str:
    """The API's path of one object; ToolError for a name that is no single segment."""
    if not SEGMENT.match(name):
        raise ToolError(f"{name[:80]!r} is not a name of a Kubernetes object")
    return f"{collection_path(kind)}/{name}"
