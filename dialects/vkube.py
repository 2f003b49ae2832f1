"""The V-Kube document: bare JSON, errors as {"error":{"code","message"}}, two prefixes."""

from collections.abc import Iterator

import orjson
from django.conf import settings
from django.urls import URLPattern, path

from billing.api.vkube import (
    CheckPorts,
    Deploy,
    Images,
    OrderPodLog,
    OrderPodLogs,
    OrderPodRestart,
    OrderPodStart,
    OrderPodStatus,
    OrderPodStop,
    OrderView,
    PublishedDeploy,
    Regions,
    UserService,
)
from core import errors
from core.api.dialect import Dialect, Page
from core.api.routes import catch_all
from core.api.schema import TEXT, Schema, record, with_title

BROKEN = "server errror"
# HTTP status by class of error; all others are 500.
STATUS: tuple[tuple[type[errors.DomainError], int], ...] = (
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.MethodNotAllowed, 405),
    (errors.Conflict, 409),
    (errors.PayloadTooLarge, 413),
    (errors.TooManyRequests, 429),
    (errors.Invalid, 400),
)


FAILURE_STATUS: Schema = {
    "type": "integer",
    "enum": sorted({500, *(status for _, status in STATUS)}),
}


def status_of(error: errors.DomainError) -> int:
    """The HTTP status of an error; 500 for what a cluster answered, which the document lacks."""
    # Only what an API server answered has a "status".
    if "status" in error.details:
        return 500
    matching = [status for error_class, status in STATUS if isinstance(error, error_class)]
    status = matching[0] if matching else 500
    # The document has no errors of sign-in and rights but one: 500.
    if status in {401, 403} and settings.VKUBE_DOCUMENTED_ERRORS_ONLY:
        return 500
    return status


def _error(error: errors.DomainError, method: str) -> tuple[int, object]:
    status = status_of(error)
    if status == 500 and settings.VKUBE_BARE_ERRORS:
        # The original answers this text without JSON around it.
        return status, orjson.Fragment(BROKEN.encode())
    # Two sentences of the document (its spelling); the others are ours.
    message = {401: "secret invalid", 500: BROKEN}.get(status, error.message)
    return status, {"error": {"code": status, "message": message}}


def _page_answer(page: Page) -> object:
    return page.items


def _object_answer(data: object) -> object:
    return data


DIALECT = Dialect(
    name="vkube",
    one=_object_answer,
    page=_page_answer,
    error=_error,
    error_schema=with_title(
        "VKubeFailure",
        record(error=with_title("VKubeError", record(code=FAILURE_STATUS, message=TEXT))),
    ),
    prefix="VKube",
)

VIEWS = {
    "regions": Regions,
    "images": Images,
    "checkports": CheckPorts,
    "order": OrderView,
    "deploy": Deploy,
    "userService": UserService,
    "deployment": PublishedDeploy,
    "deployment/update": PublishedDeploy,
    "pod/log": OrderPodLog,
    "pod/logs": OrderPodLogs,
    "pod/status": OrderPodStatus,
    "pod/restart": OrderPodRestart,
    "pod/stop": OrderPodStop,
    "pod/start": OrderPodStart,
}


def _routes() -> Iterator[URLPattern]:
    for address, view in VIEWS.items():
        name = f"vkube-{address.replace('/', '-')}"
        yield path(address, view.as_view(dialect=DIALECT), name=name)
    yield catch_all(DIALECT)


urlpatterns = list(_routes())
