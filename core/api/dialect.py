"""What a dialect is, and the view that speaks it: envelopes, errors, authentication, rights."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.core.exceptions import (
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import DatabaseError, DataError
from django.http import (
    Http404,
    HttpRequest,
    StreamingHttpResponse,
    UnreadablePostError,
)
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from core.api import accepted_input, audit, long_lived
from core.api.client_ip import (
    came_from,
    client_certificate,
    is_cross_site,
)
from core.api.parsing import (
    BodyParser,
    json_body,
    know_caller,
    query_with_body,
)
from core.api.rendering import JSON
from core.errors import (
    DomainError,
    Forbidden,
    Internal,
    Invalid,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RouteNotFound,
    TooManyRequests,
    Unauthenticated,
)

log = logging.getLogger(__name__)
# Networks that hold every address.
EVERYWHERE = frozenset({"0.0.0.0/0", "::/0"})
# The header `Allow` of views; as_view makes no more of them than there are routes.
_allow_headers: dict[tuple[type, tuple[str, ...]], str] = {}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a collection; `page` counts from 1, `extra` adds members next to the items."""

    items: Sequence[object]
    total: int
    page: int = 1
    page_size: int = 20
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """How one API document wraps success and failure.

    HTTP status codes belong here, never to an exception. `one` wraps an object, `page` a page of
    them, `error` gives the status and body of a failure of a method. `params` are the document's
    names for ours.
    """

    name: str
    one: Callable[[Any], object]
    page: Callable[[Page], object]
    error: Callable[[DomainError, str], tuple[int, object]]
    params: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    # For the OpenAPI document: the envelope around an answer's schema (and whether it is a page),
    # the shape of failures, and 200 where the document answers failures with HTTP 200.
    envelope: Callable[[dict[str, Any], bool], dict[str, Any]] = lambda schema, paged: schema
    error_schema: Mapping[str, Any] = field(default_factory=dict)
    error_status: int = 400
    # What its nouns begin with there, the kinds whose names stand in addresses (plural -> name),
    # and how callers say who they are.
    prefix: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    security: tuple[str, ...] = ("bearer",)
    # Whether calls may say only what their routes declare (`core.api.accepted_input`), what every
    # changing call may say besides, and whether the case of names counts.
    strict: bool = True
    spoken: frozenset[str] = frozenset()
    folds_names: bool = False
    # Whether the parameters of a read may stand in a JSON body, as the document prints them.
    reads_bodies: bool = False


def domain_error(error: Exception) -> DomainError | None:
    """The DomainError that stands for a library's exception; None for an unexpected one."""
    match error:
        case DomainError():
            return error
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Unauthenticated(str(error.detail))
        case exceptions.PermissionDenied():
            return Forbidden(str(error.detail))
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(str(error.detail))
        case exceptions.Throttled():
            return TooManyRequests(
                str(error.detail),
                retry_after=getattr(error, "wait", None),
            )
        case exceptions.NotFound() | Http404():
            return NotFound(str(error) or "not found")
        case RequestDataTooBig():
            return PayloadTooLarge(
                f"the body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes"
            )
        case SuspiciousOperation():
            return Invalid("the request is malformed")
        case UnreadablePostError():
            return Invalid("the body did not come whole, or not in time")
        case DataError():
            # No check refused the value, but PostgreSQL's column does.
            return Invalid("a value is too large or holds a null character")
        case ValueError() if "NUL (0x00)" in str(error):
            # psycopg refuses to write such a text into a statement before PostgreSQL sees it.
            return Invalid("a value is too large or holds a null character")
        case exceptions.APIException() if error.status_code < 500:
            return Invalid(str(error.detail))
    return None


class DialectView(APIView):
    """A view that answers in the shape of its dialect; bind it with `as_view(dialect=…)`."""

    dialect: ClassVar[Dialect] = None  # type: ignore[assignment]  # bound per route by as_view
    public: ClassVar[bool] = False
    # Whether a route without sign-in asks for credentials of its own first, and looks at what was
    # said by itself.
    own_credentials: ClassVar[bool] = False
    # The method whose refusals these are, where it is not the request's own: an action is a POST
    # that changes.
    refused_as: ClassVar[str] = ""
    operations: ClassVar[Mapping[str, Any]] = {}
    # Whether query and body are read alike, and other spellings of names that are declared.
    either: ClassVar[bool] = False
    aliases: ClassVar[Mapping[str, str]] = {}
    renderer_classes = [JSON]
    parser_classes = [BodyParser]
    _checked = False

    @property
    def default_response_headers(self) -> dict[str, str]:
        """`Allow`, looked up once for each class and its bound methods; never `Vary: Accept`.

        REST framework asks the view for each of HTTP's methods, in every request.
        """
        actions = getattr(self, "action_map", None) or ()
        key = (type(self), tuple(actions))
        if key not in _allow_headers:
            _allow_headers[key] = ", ".join(self.allowed_methods)
        return {"Allow": _allow_headers[key]}

    def get_permissions(self) -> Sequence[Any]:
        """None for routes that are public by their document or opened by OPEN_DIALECTS."""
        return [] if self.is_open() else [permission() for permission in self.permission_classes]

    @classmethod
    def is_offered(cls, **values: Any) -> bool:
        """Whether a route bound with these values can succeed, and so is in the OpenAPI schema."""
        return True

    def is_open(self) -> bool:
        """Whether this route answers without credentials."""
        return self.public or self.is_opened()

    def is_opened(self) -> bool:
        """Whether OPEN_DIALECTS opens the route to this caller.

        False for routes that are public in their document: those need no opening.
        """
        name = self.dialect.name
        if self.public or name not in settings.OPEN_DIALECTS:
            return False
        # There is no request while the OpenAPI document is made.
        request = getattr(self, "request", None)
        networks = settings.OPEN_DIALECTS_NETWORKS.get(name, ())
        rules = settings.OPEN_DIALECTS_CERTIFICATES.get(name, ())
        if request is None or not (networks or rules):
            return True
        if set(networks) >= EVERYWHERE or came_from(request, networks):
            return True
        certificate = client_certificate(request) if rules else None
        if certificate is None:
            return False
        for network, rule in rules:
            in_network = not network or came_from(request, [network])
            if in_network and rule.admits(certificate):
                return True
        return False

    def check_permissions(self, request: Request) -> None:
        """Refuse calls that a page of another origin sends to an opened dialect.

        Its visitor's browser is inside the opened network, but the visitor never meant the call.
        """
        if self.is_opened() and not request.successful_authenticator and is_cross_site(request):
            raise Forbidden("a page of another origin may not call this")
        super().check_permissions(request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authentication, rights and throttles; then larger bodies for callers with credentials.

        A public route has no right to check first, so its input is checked here.
        """
        super().initial(request, *args, **kwargs)
        if request.successful_authenticator or self.is_opened():
            know_caller(request)
        is_read = request.method in {"GET", "HEAD"}
        if is_read and self.dialect.reads_bodies:
            # The stubs know only the query that came, which is immutable.
            request._request.GET = query_with_body(request)  # type: ignore[assignment]
        if self.public and not self.own_credentials:
            self.check_input(request)

    def members(self, request: Request) -> Mapping[str, Any]:
        """The members of the body; Invalid when it has none that can be read."""
        return json_body(request)

    def check_input(self, request: Request) -> None:
        """UnclearInput when the call says what its route does not read.

        `authorise` calls it, once the caller has the right.
        """
        action = getattr(self, "action", None) or (request.method or "").lower()
        described = self.operations.get(action)
        if self.dialect.strict and described is not None and not self._checked:
            accepted_input.check(self, request, described)
            self._checked = True

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Always JSON: a client's Accept header never changes the shape of an answer."""
        renderer = self.get_renderers()[0]
        return renderer, self.dialect.content_type

    def permission_denied(
        self,
        request: Request,
        message: str | None = None,
        code: str | None = None,
    ) -> NoReturn:
        """401 without credentials, else forbidden."""
        if not request.successful_authenticator:
            raise Unauthenticated("authentication credentials were not provided")
        raise Forbidden(message or "permission denied")

    def finalize_response(
        self,
        request: Request,
        response: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Wrap plain data and pages; Django responses pass untouched."""
        if not isinstance(response, HttpResponseBase):
            response = Response(
                self._shape(response),
                content_type=self.dialect.content_type,
            )
        elif isinstance(response, Response) and not _has_shape(response):
            response.data = self._shape(response.data)
        if isinstance(response, StreamingHttpResponse):
            long_lived.guard(response, self.recheck(request), self.farewell)
        audit.report(
            request,
            self.dialect.name,
            getattr(response, "error", None),
        )
        answer: Any = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(answer, Response) and not answer.is_rendered:
            answer.add_post_render_callback(self._drop_rendered)
        # Django's list of what to do when the answer was sent.
        answer._resource_closers.append(partial(self._drop_request, request))
        return answer

    def _drop_rendered(self, response: Any) -> None:
        """Let go of the answer's data: only its bytes are needed from here on.

        REST framework ties view, request and answer into a ring, which only the garbage collector
        could free. It counts objects, not bytes, and some pages have megabytes in few objects.
        """
        self.response = None  # type: ignore[assignment]  # nobody reads it any more
        response.data = None
        response.renderer_context = {}

    def _drop_request(self, request: Request) -> None:
        """Let go of the request and its body, once the answer was sent or given up."""
        self.response = None  # type: ignore[assignment]
        self.request = None  # type: ignore[assignment]
        long_lived.drop(request)
        request.parser_context.clear()

    def recheck(self, request: Request) -> long_lived.Check:
        """A function that checks again, during a stream, all that this request was allowed."""
        return long_lived.recheck_of_request(request)

    def farewell(self, error: DomainError) -> bytes:
        """The last bytes of a stream whose caller lost the right; b"" where it has none."""
        return b""

    def _shape(self, data: Any) -> object:
        return self.dialect.page(data) if isinstance(data, Page) else self.dialect.one(data)

    def get_exception_handler(self) -> Callable[..., Response]:
        """DRF's hook for turning exceptions into answers."""
        return self._answer

    def _answer(self, error: Exception, context: Mapping[str, Any]) -> Response:
        """The dialect's answer to an exception.

        Dialects word a failure after the method; a read that is refused stays a read, whatever the
        view's actions do.
        """
        set_rollback()
        # A read that is refused is nothing that was not made or changed, whatever the view's
        # actions are.
        request = context["request"]
        method = "" if request.method in {"GET", "HEAD"} else self.refused_as
        return error_response(self.dialect, error, request, method=method)


def _has_shape(response: Response) -> bool:
    """Whether the data has the dialect's shape: failures, and answers that say so."""
    return response.exception or bool(getattr(response, "shaped", False))


def error_response(
    dialect: Dialect,
    error: Exception,
    request: Request | HttpRequest,
    *,
    method: str = "",
) -> Response:
    """The dialect's answer to any exception.

    An unexpected one is logged and answered as internal. `method` is the method whose failure it
    is, where it is not the request's own.
    """
    failure = domain_error(error)
    if failure is None:
        log.exception(
            "unhandled exception",
            exc_info=error,
            extra={
                "path": request.path,
                "method": request.method,
            },
        )
        is_database = isinstance(error, DatabaseError)
        failure = Internal("database error" if is_database else "internal server error")
    status, body = dialect.error(failure, method or request.method or "GET")
    response = Response(
        body,
        status=status,
        exception=True,
        content_type=dialect.content_type,
    )
    # `finalize_response` gives it to the audit trail.
    response.error = failure  # type: ignore[attr-defined]
    if isinstance(failure, Unauthenticated) and status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(failure, TooManyRequests) and failure.details.get("retry_after"):
        # Whole seconds, rounded up: a client that comes back too early is refused again.
        response["Retry-After"] = str(int(failure.details["retry_after"]) + 1)
    return response


class UnknownRoute(DialectView):
    """The end of a dialect's URL list: unknown addresses answer in its own shape."""

    public = True
    schema = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Refuse every method alike."""
        self.http_method_not_allowed = self._unknown  # type: ignore[method-assign]
        return super().dispatch(request, *args, **kwargs)

    def _unknown(self, request: Request, *_: Any, **__: Any) -> NoReturn:
        raise RouteNotFound(f"no such route: {request.method} {request.path}")

    get = post = put = patch = delete = options = _unknown  # type: ignore[assignment]
