"""The K8s-service document: `{"code","message","msgId","responseTime"}`, members in alphabetical order, HTTP 200 whatever the code says."""

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
from core.api.audit import note
from core.api.auth import Act, authorise
from core.api.dialect import Dialect, DialectView, Page
from core.api.parsing import claimed_size, raw_body
from core.api.routes import catch_all
from core.api.schema import INTEGER, TEXT, Described, Query, Schema, array, record, titled
from core.jsontext import loads
from workloads.objects import endpoints

REACHED = "[INFO] oops, you got it."
MISSING = "[ERROR] mandatory parameters missed. "
FAILED = "[ERROR] K8sRestService error, check your request and parameters first, or contact the administrator. "
NOTHING_FOUND = "Corresponding resource not found,please check your labelname!"
NO_SPEC = "Request ERROR, Check your request and parameters. "
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,10}\Z")


class ParameterMissing(errors.Invalid):
    """A required parameter is absent, empty or of the wrong type: code 201."""


class QueryFailed(errors.NotFound):
    """The service is fine, the query found nothing: code 201 with its own sentence."""


def envelope(code: int, message: object, msg_id: str | None = None) -> dict[str, object]:
    """The document's body; `msgId` is left out when the caller sent none."""
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
    error_schema=titled("K8sServiceFailure", _members(TEXT, [201, 401, 403, 500])),
    error_status=200,
    prefix="K8sService",
    folds_names=True,
)
MSG_ID = Query("msgId", TEXT, required=True, description="Any id; comes back as it was sent.")
CLUSTER = Query(
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


# --- parameters -----------------------------------------------------------------------------------------------------
def _form(request: Request) -> Mapping[str, Any]:
    """The body's members: JSON, multipart or urlencoded, whatever the Content-Type claims; {} when it cannot be read."""
    try:
        body, plain = raw_body(request).removeprefix(BOM_UTF8), request._request
        if body.lstrip()[:1] == b"{":
            found = loads(body)
            return found if isinstance(found, dict) else {}
        if (request.content_type or "").startswith("multipart/"):
            return plain.POST.dict()
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
    """A parameter as text; None for what is no plain value."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


class Parameters:
    """A call's parameters, whatever the case of their names; the exact spelling wins, and the body wins over the query."""

    def __init__(self, request: Request, *, with_body: bool = True) -> None:
        body = _form(request) if with_body and request.method == "POST" else {}
        self._sources: list[Mapping[str, Any]] = [body, request.query_params.dict()]

    def find(self, name: str) -> str | None:
        """The value as text, None when it was not sent."""
        for source in self._sources:
            for key in [name, *(key for key in source if key.lower() == name.lower())]:
                if (value := _text(source.get(key))) is not None:
                    return value
        return None

    def required(self, name: str) -> str:
        """The value; ParameterMissing when it is absent or empty."""
        if value := self.find(name):
            return value
        raise ParameterMissing(f"{name} is required", field=name)

    def whole_number(self, name: str) -> int:
        """A 32-bit whole number; ParameterMissing for anything else."""
        text = self.required(name)
        if not WHOLE_NUMBER.match(text) or not -(2**31) <= int(text) < 2**31:
            raise ParameterMissing(f"{name} must be a whole number", field=name)
        return int(text)


def _is_large(request: HttpRequest) -> bool:
    return claimed_size(request) > settings.MAX_ANONYMOUS_BODY_BYTES


# --- views ----------------------------------------------------------------------------------------------------------
class ServiceView(DialectView):
    """Echoes `msgId` in every answer, failures and refusals included."""

    verb: ClassVar[str] = "list"
    plural: ClassVar[str] = "pods"
    msg_id: str | None = None

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Note the caller's parameters before anything can be refused."""
        made = super().initialize_request(request, *args, **kwargs)
        self._note_parameters(made, with_body=not _is_large(request))
        return made

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """A large body is read once its caller is known."""
        super().initial(request, *args, **kwargs)
        if _is_large(request._request):
            self._note_parameters(request, with_body=True)

    def _note_parameters(self, request: Request, *, with_body: bool) -> None:
        self.parameters = Parameters(request, with_body=with_body)
        self.msg_id = self.parameters.find("msgId")

    def members(self, request: Request) -> Mapping[str, Any]:
        """The members of a JSON body or a form; UnclearInput for what a form says twice and differently."""
        found = _form(request)
        body = raw_body(request).removeprefix(BOM_UTF8)
        if body.lstrip()[:1] != b"{" and not (request.content_type or "").startswith("multipart/"):
            for name, values in QueryDict(body, encoding="utf-8").lists() if found else ():
                if len(set(values)) > 1:
                    raise errors.UnclearInput(f"{name[:100]} is given twice, and differently")
        return found

    def _shape(self, data: Any) -> object:
        return envelope(200, data, self.msg_id)

    def _answer(self, error: Exception, context: Mapping[str, Any]) -> Response:
        response = super()._answer(error, context)
        response.data = envelope(response.data["code"], response.data["message"], self.msg_id)
        return response

    def check_input(self, request: Request) -> None:
        """What is missing comes first, as the document has one sentence for it."""
        for name in ("msgId", "nameSpace", "deploymentName"):
            self.parameters.required(name)
        if request.method == "POST":
            self.parameters.whole_number("replicas")
        super().check_input(request)

    def permit(self, request: Request) -> None:
        """Forbidden unless the caller may do this where the parameters point."""
        self.cluster_text = cluster_reference(request)
        group = "apps" if self.plural == "deployments" else ""
        name = self.parameters.find("deploymentName") if self.plural == "deployments" else ""
        act = Act(
            self.verb,
            self.plural,
            group,
            self.cluster_text,
            self.parameters.find("nameSpace") or "",
            name or "",
        )
        authorise(self, request, act)

    def cluster(self) -> Cluster:
        """The cluster the call means."""
        return registry.find(self.cluster_text) if self.cluster_text else registry.default()


class Test(DialectView):
    """GET /test: public, touches nothing."""

    public = True
    operations = {"get": Described("Whether the service is reached.", TEXT)}

    def get(self, request: Request) -> Any:
        """The document's greeting."""
        return REACHED


class GetPod(ServiceView):
    """GET /getPod: pods behind a label selector, and the address of their service."""

    operations = {
        "get": Described(
            "Pods behind a label selector.",
            PODS,
            (
                MSG_ID,
                Query("nameSpace", TEXT, required=True),
                Query("deploymentName", TEXT, required=True),
                CLUSTER,
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"clusterIP","clusterPort","podList":[{"podIP","podName"}]}."""
        self.permit(request)
        self.parameters.required("msgId")
        namespace, selector = (
            self.parameters.required("nameSpace"),
            self.parameters.required("deploymentName"),
        )
        found = endpoints.behind(self.cluster(), namespace, selector)
        if found.service is None:
            raise QueryFailed(NOTHING_FOUND)
        return {**_address(found.service), "podList": [_pod(pod) for pod in found.pods]}


def _address(service: Mapping[str, Any]) -> dict[str, object]:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or [{}]
    return _present({"clusterIP": spec.get("clusterIP"), "clusterPort": ports[0].get("port")})


def _pod(pod: Mapping[str, Any]) -> dict[str, object]:
    return _present(
        {"podIP": (pod.get("status") or {}).get("podIP"), "podName": pod["metadata"]["name"]}
    )


def _present(members: dict[str, object]) -> dict[str, object]:
    """The members that have a value; the document leaves nulls out."""
    return {key: value for key, value in members.items() if value not in (None, "")}


class UpdatePodReplicas(ServiceView):
    """POST /updatePodReplicas: scale a Deployment."""

    verb, plural = "scale", "deployments"
    operations = {
        "post": Described(
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
        self.parameters.required("msgId")
        namespace, name = (
            self.parameters.required("nameSpace"),
            self.parameters.required("deploymentName"),
        )
        replicas = endpoints.set_replicas(
            self.cluster(), namespace, name, self.parameters.whole_number("replicas")
        )
        if replicas is None:
            raise QueryFailed(NO_SPEC)
        note(request, details={"replicas": replicas})
        return {"deploymentName": name, "nameSpace": namespace, "replicas": replicas}


def _routes() -> Iterator[URLPattern]:
    yield path("test", Test.as_view(dialect=DIALECT), name="k8sservice-test")
    yield path("getPod", GetPod.as_view(dialect=DIALECT), name="k8sservice-get-pod")
    yield path(
        "updatePodReplicas",
        UpdatePodReplicas.as_view(dialect=DIALECT),
        name="k8sservice-update-replicas",
    )
    yield catch_all(DIALECT)


urlpatterns = list(_routes())
