"""The K8s-service document: `{"code","message","msgId","responseTime"}`.

Members are in alphabetical order, and the HTTP status is 200 for every code.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.urls import URLPattern, path
from django.utils.timezone import localtime
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import registry
from clusters.api import cluster_reference
from clusters.models import Cluster
from core import errors
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import Dialect, DialectView, Page
from core.api.parsing import claimed_size, raw_body
from core.api.routes import catch_all
from core.api.schema import (
    INTEGER,
    TEXT,
    OperationSchema,
    QueryParameter,
    Schema,
    array,
    record,
    with_title,
)
from core.jsontext import loads
from workloads.objects import selectors

REACHED = "[INFO] oops, you got it."
MISSING = "[ERROR] mandatory parameters missed. "
FAILED = (
    "[ERROR] K8sRestService error, check your request and parameters first,"
    " or contact the administrator. "
)
NOTHING_FOUND = "Corresponding resource not found,please check your labelname!"
NO_SPEC = "Request ERROR, Check your request and parameters. "
# No more digits than 32 bits need: Python refuses to read thousands of them.
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,10}\Z")


class ParameterMissing(errors.Invalid):
    """A required parameter is absent, empty or of the wrong type: code 201."""


class QueryFailed(errors.NotFound):
    """The service works, but nothing matches the query: code 201 with its own sentence."""


def envelope(
    code: int,
    message: object,
    msg_id: str | None = None,
) -> dict[str, object]:
    """The body of an answer; `msgId` is left out when the caller sent none."""
    echoed = {} if msg_id is None else {"msgId": msg_id}
    return {
        "code": code,
        "message": message,
        **echoed,
        "responseTime": f"{localtime():%Y-%m-%d %H:%M:%S}",
    }


def _error(error: errors.DomainError, method: str) -> tuple[int, object]:
    match error:
        case ParameterMissing():
            return 200, envelope(201, MISSING)
        case QueryFailed():
            return 200, envelope(201, error.message)
        case errors.UnclearInput():
            return 200, envelope(201, f"[ERROR] {error.message}. ")
        case errors.Unauthenticated():
            return 401, envelope(401, error.message)
        case errors.Forbidden() if "status" not in error.details:
            return 403, envelope(403, error.message)
        case errors.RouteNotFound():
            return 404, envelope(500, FAILED)
        case errors.MethodNotAllowed() if "status" not in error.details:
            return 405, envelope(500, FAILED)
    return 500 if settings.K8SSERVICE_HTTP_STATUS_FROM_CODE else 200, envelope(500, FAILED)


def _page(page: Page) -> object:
    return envelope(200, page.items)


def _envelope(message: Schema, paged: bool) -> Schema:
    return _members(message, [200])


def _members(message: Schema, codes: list[int]) -> Schema:
    code = {"type": "integer", "enum": codes}
    members = {"code": code, "message": message, "msgId": TEXT, "responseTime": TEXT}
    return record(required=("code", "message", "responseTime"), **members)


DIALECT = Dialect(
    name="k8s_service",
    one=lambda message: envelope(200, message),
    page=_page,
    error=_error,
    content_type="application/json;charset=utf-8",
    envelope=_envelope,
    error_schema=with_title("K8sServiceFailure", _members(TEXT, [201, 401, 403, 500])),
    error_status=200,
    prefix="K8sService",
    folds_names=True,
)
MSG_ID = QueryParameter(
    "msgId",
    TEXT,
    required=True,
    description="Any id; comes back as it was sent.",
)
CLUSTER = QueryParameter(
    "cluster",
    TEXT,
    description="Name or id of a registered cluster; the default one when left out.",
)
PODS = record(
    required=("podList",),
    clusterIP=TEXT,
    clusterPort=INTEGER,
    podList=array(record(required=("podName",), podIP=TEXT, podName=TEXT)),
)
REPLICAS = record(deploymentName=TEXT, nameSpace=TEXT, replicas=INTEGER)
FORM = record(msgId=TEXT, **REPLICAS["properties"])
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")


# --- parameters ----------------------------------------------------------------------------------
def _form(request: Request) -> Mapping[str, Any]:
    """The body's members, {} when it cannot be read.

    JSON is recognised by its brace and multipart by its Content-Type; the rest is urlencoded.
    """
    try:
        body = raw_body(request).removeprefix(BOM_UTF8)
        if body.lstrip()[:1] == b"{":
            members = loads(body)
            return members if isinstance(members, dict) else {}
        if (request.content_type or "").startswith("multipart/"):
            return request._request.POST.dict()
        return QueryDict(body, encoding="utf-8").dict()
    except (
        errors.Invalid,
        MultiPartParserError,
        BadRequest,
        SuspiciousOperation,
        UnicodeDecodeError,
    ):
        return {}


def _text(value: object) -> str | None:
    """A parameter as text; None for null, lists and mappings."""
    # As JSON spells it, not Python.
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


class Parameters:
    """A call's parameters; their names are case-insensitive.

    The exact spelling wins over others, and the body over the query.
    """

    def __init__(self, request: Request, *, with_body: bool = True) -> None:
        body = _form(request) if with_body and request.method == "POST" else {}
        self._sources: list[Mapping[str, Any]] = [body, request.query_params.dict()]

    def find(self, name: str) -> str | None:
        """The value as text, None when it was not sent."""
        for source in self._sources:
            # The document's own examples write `namespace` for `nameSpace`.
            spellings = [key for key in source if key.lower() == name.lower()]
            for key in [name, *spellings]:
                value = _text(source.get(key))
                if value is not None:
                    return value
        return None

    def require(self, name: str) -> str:
        """The value as text; ParameterMissing when it is absent or empty."""
        value = self.find(name)
        if not value:
            raise ParameterMissing(f"{name} is required", field=name)
        return value

    def require_integer(self, name: str) -> int:
        """A 32-bit whole number; ParameterMissing for anything else."""
        text = self.require(name)
        if not WHOLE_NUMBER.match(text) or not -(2**31) <= int(text) < 2**31:
            raise ParameterMissing(f"{name} must be a whole number", field=name)
        return int(text)


def _is_large(request: HttpRequest) -> bool:
    return claimed_size(request) > settings.MAX_ANONYMOUS_BODY_BYTES


# --- views ---------------------------------------------------------------------------------------
class ServiceView(DialectView):
    """Echoes `msgId` in every answer, failures and refusals included."""

    verb: ClassVar[str] = "list"
    plural: ClassVar[str] = "pods"
    msg_id: str | None = None

    def initialize_request(
        self,
        request: HttpRequest,
        *args: Any,
        **kwargs: Any,
    ) -> Request:
        """Read the parameters before anything can be refused: a refusal echoes `msgId`, too."""
        api_request = super().initialize_request(request, *args, **kwargs)
        self._read_parameters(api_request, with_body=not _is_large(request))
        return api_request

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Sign the caller in; only then is a large body read."""
        super().initial(request, *args, **kwargs)
        if _is_large(request._request):
            self._read_parameters(request, with_body=True)

    def _read_parameters(self, request: Request, *, with_body: bool) -> None:
        self.parameters = Parameters(request, with_body=with_body)
        self.msg_id = self.parameters.find("msgId")

    def members(self, request: Request) -> Mapping[str, Any]:
        """The members of a JSON body or a form; UnclearInput for a form with two values of one."""
        members = _form(request)
        body = raw_body(request).removeprefix(BOM_UTF8)
        is_json = body.lstrip()[:1] == b"{"
        is_multipart = (request.content_type or "").startswith("multipart/")
        # Only an urlencoded form can name a member twice unnoticed: JSON is refused when read.
        if is_json or is_multipart or not members:
            return members
        for name, values in QueryDict(body, encoding="utf-8").lists():
            if len(set(values)) > 1:
                raise errors.UnclearInput(f"{name[:100]} is given twice with different values")
        return members

    def _shape(self, data: Any) -> object:
        return envelope(200, data, self.msg_id)

    def _answer(self, error: Exception, context: Mapping[str, Any]) -> Response:
        response = super()._answer(error, context)
        # `_error` knows no request, so that the caller's `msgId` is added here.
        response.data = envelope(
            response.data["code"],
            response.data["message"],
            self.msg_id,
        )
        return response

    def check_input(self, request: Request) -> None:
        """Refuse missing parameters before unknown ones: the document has a sentence for them."""
        for name in ("msgId", "nameSpace", "deploymentName"):
            self.parameters.require(name)
        if request.method == "POST":
            self.parameters.require_integer("replicas")
        super().check_input(request)

    def permit(self, request: Request) -> None:
        """Forbidden unless the caller may do this in the namespace that the parameters name."""
        self.cluster_text = cluster_reference(request)
        group = ""
        name = ""
        # For pods, `deploymentName` is a label and no name of an object.
        if self.plural == "deployments":
            group = "apps"
            name = self.parameters.find("deploymentName") or ""
        namespace = self.parameters.find("nameSpace") or ""
        act = AccessAttributes(
            self.verb,
            self.plural,
            group,
            self.cluster_text,
            namespace,
            name,
        )
        authorise(self, request, act)

    def cluster(self) -> Cluster:
        """The cluster that the call names, else the default one; ClusterNotFound."""
        return registry.find(self.cluster_text) if self.cluster_text else registry.default()


class Test(DialectView):
    """GET /test: public, touches nothing."""

    public = True
    operations = {"get": OperationSchema("Whether the service is reached.", TEXT)}

    def get(self, request: Request) -> Any:
        """The document's greeting."""
        return REACHED


class GetPod(ServiceView):
    """GET /getPod: pods behind a label selector, and the address of their service."""

    operations = {
        "get": OperationSchema(
            "Pods behind a label selector.",
            PODS,
            (
                MSG_ID,
                QueryParameter("nameSpace", TEXT, required=True),
                QueryParameter("deploymentName", TEXT, required=True),
                CLUSTER,
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"clusterIP","clusterPort","podList":[{"podIP","podName"}]}."""
        self.permit(request)
        self.parameters.require("msgId")
        namespace = self.parameters.require("nameSpace")
        selector = self.parameters.require("deploymentName")
        backend = selectors.find_endpoints(self.cluster(), namespace, selector)
        if backend.service is None:
            raise QueryFailed(NOTHING_FOUND)
        return {**_address(backend.service), "podList": [_pod(pod) for pod in backend.pods]}


def _address(service: Mapping[str, Any]) -> dict[str, object]:
    spec = service.get("spec") or {}
    # A headless Service may have none.
    ports = spec.get("ports") or [{}]
    return _present({"clusterIP": spec.get("clusterIP"), "clusterPort": ports[0].get("port")})


def _pod(pod: Mapping[str, Any]) -> dict[str, object]:
    status = pod.get("status") or {}
    return _present({"podIP": status.get("podIP"), "podName": pod["metadata"]["name"]})


def _present(members: dict[str, object]) -> dict[str, object]:
    """The members that have a value; the document leaves nulls out."""
    return {key: value for key, value in members.items() if value not in (None, "")}


class UpdatePodReplicas(ServiceView):
    """POST /updatePodReplicas: scale a Deployment."""

    verb = "scale"
    plural = "deployments"
    operations = {
        "post": OperationSchema(
            "Scale a Deployment.",
            REPLICAS,
            (CLUSTER,),
            FORM,
            FORMS,
            also_query=tuple(FORM["properties"]),
        )
    }

    def post(self, request: Request) -> Any:
        """{"deploymentName","nameSpace","replicas"}, the number as the API server has it."""
        self.permit(request)
        self.parameters.require("msgId")
        namespace = self.parameters.require("nameSpace")
        name = self.parameters.require("deploymentName")
        replicas = selectors.set_replicas(
            self.cluster(),
            namespace,
            name,
            self.parameters.require_integer("replicas"),
        )
        if replicas is None:
            raise QueryFailed(NO_SPEC)
        annotate(request, details={"replicas": replicas})
        return {"deploymentName": name, "nameSpace": namespace, "replicas": replicas}


def _routes() -> Iterator[URLPattern]:
    yield path("test", Test.as_view(dialect=DIALECT), name="k8sservice-test")
    yield path(
        "getPod",
        GetPod.as_view(dialect=DIALECT),
        name="k8sservice-get-pod",
    )
    yield path(
        "updatePodReplicas",
        UpdatePodReplicas.as_view(dialect=DIALECT),
        name="k8sservice-update-replicas",
    )
    yield catch_all(DIALECT)


urlpatterns = list(_routes())
