"""What all answers of Walm share.

Bare JSON, errors as `{"errCode":-1,"errMessage"}`, empty bodies for writes, and the members of
every resource that the document calls Meta.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework.request import Request

from clusters import registry
from clusters.api import cluster_reference
from clusters.manifests import Object
from clusters.models import Cluster
from core import errors
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import Dialect, DialectView, Page
from core.api.schema import INTEGER, TEXT, QueryParameter, Schema, array, record, with_title
from core.errors import DomainError, Invalid


class Failed(errors.Rejected):
    """Any failure of a call, already in the document's words: HTTP 500."""


class Missing(errors.NotFound):
    """The object that the address names does not exist: HTTP 404."""


def _error(error: DomainError, method: str) -> tuple[int, object]:
    status = 500
    message = error.message
    match error:
        case Missing():
            status = 404
        case errors.Unauthenticated():
            status = 401
        # With a status it is the API server's refusal, which the document answers with 500.
        case errors.Forbidden() if "status" not in error.details:
            status = 403
        case errors.RouteNotFound():
            status = 404
            message = "404: Page Not Found"
        case errors.MethodNotAllowed() if "status" not in error.details:
            status = 405
            message = "405: Method Not Allowed"
    return status, {"errCode": -1, "errMessage": message}


def _page(page: Page) -> object:
    return {"num": page.total, "items": page.items}


def _envelope(answer: Schema, paged: bool) -> Schema:
    return record(num=INTEGER, items=array(answer)) if paged else answer


DIALECT = Dialect(
    name="walm",
    one=lambda body: body,
    page=_page,
    error=_error,
    envelope=_envelope,
    error_schema=with_title(
        "WalmFailure",
        record(errCode={"type": "integer", "enum": [-1]}, errMessage=TEXT),
    ),
    error_status=500,
    prefix="Walm",
)
CLUSTER = QueryParameter(
    "cluster",
    TEXT,
    description="Name or id of a registered cluster; the default one when left out.",
)
SELECTOR = QueryParameter(
    "labelselector",
    TEXT,
    description="Kubernetes' label selector.",
)
# For the OpenAPI document: a write answers with an empty body.
NOTHING: Schema = {"description": "Empty."}
# For the OpenAPI document: the members that every resource begins with.
META: Any = {
    "name": TEXT,
    "namespace": TEXT,
    "kind": TEXT,
    "state": record(status=TEXT, reason=TEXT, message=TEXT),
}


@contextmanager
def prefix_errors(prefix: str) -> Iterator[None]:
    """Raise Failed (HTTP 500) for errors of the block, with a prefix as the original has it.

    Missing is raised as it is.
    """
    try:
        yield
    except Missing:
        raise
    except DomainError as error:
        raise Failed(f"{prefix}{error.message}") from error


def require_address(body: Mapping[str, Any], member: str, value: str) -> None:
    """Raise Invalid when a member of the body differs from the same value in the address."""
    if body.get(member) not in (None, "", value):
        raise Invalid(f"{member} differs from the address")


def empty_response() -> HttpResponse:
    """The answer to a write: HTTP 200 without a body."""
    response = HttpResponse(b"")
    # Django adds one to an empty body, too.
    del response["Content-Type"]
    return response


class WalmView(DialectView):
    """Rights first, then the cluster: the default one unless the call names another."""

    aliases = {"labelSelector": "labelselector", "tailLines": "tail"}
    plural: ClassVar[str] = ""
    group: ClassVar[str] = ""

    def permit(
        self,
        request: Request,
        verb: str,
        *,
        namespace: str = "",
        name: str = "",
    ) -> Scope:
        """The caller's scope; Forbidden before any other error."""
        self.cluster_text = cluster_reference(request)
        act = AccessAttributes(
            verb,
            self.plural,
            self.group,
            self.cluster_text,
            namespace,
            name,
        )
        return authorise(self, request, act)

    def cluster(self) -> Cluster:
        """The cluster that the call names, else the default one; ClusterNotFound."""
        return registry.find(self.cluster_text) if self.cluster_text else registry.default()


def label_selector(request: Request) -> str:
    """The query's `labelselector`, or `labelSelector` as Kubernetes spells it."""
    query = request.query_params
    return str(query.get("labelselector") or query.get("labelSelector") or "")


def meta(item: Object, kind: str, status: object) -> dict[str, Any]:
    """The members that every resource begins with: {"name","namespace","kind","state"}."""
    metadata: Mapping[str, Any] = item["metadata"]
    state = {"status": status or "", "reason": "", "message": ""}
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "kind": kind,
        "state": state,
    }
