"""The bcs-storage document: envelope, error table in two profiles, URL table.

The envelope is {"result","code","message","data"}. The profiles are that of the document and that
of the Go server (`storage_api.wire_profile`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path

from core import errors
from core.api.dialect import Dialect, Page, UnknownRoute
from core.api.routes import catch_all
from core.api.schema import BOOLEAN, INTEGER, TEXT, Schema, with_title
from storage_api import wire_profile
from storage_api.api import cluster_resources, dynamic, feeds, free_documents, reports
from storage_api.api.base import Action, SingleDocument, request_profile
from storage_api.api.schemas import typed_operations
from storage_api.query.filters import QUERIES

# For each action: the code of the document, the code of the Go server, the sentence of both.
CODES: Mapping[str, tuple[int, int, str]] = {
    "put": (10003, 1405082, "put resource failed."),
    "get": (10004, 1405083, "get resource failed."),
    "delete": (10005, 1405084, "delete resource failed."),
    "list": (10006, 1405085, "list resource failed."),
    "missing": (10004, 1405087, "resource does not exist."),
}
_DOCUMENT_CODES = {document_code for document_code, _, _ in CODES.values()}
_GO_CODES = {go_code for _, go_code, _ in CODES.values()}
FAILURE_CODES = sorted(_DOCUMENT_CODES | _GO_CODES)
BY_METHOD = {"PUT": "put", "POST": "put", "PATCH": "put", "DELETE": "delete"}
# The message of success, by whether the profile is that of the Go server.
SUCCESS = {False: "Success", True: "success"}


def _object_answer(data: Any) -> object:
    is_go = wire_profile.is_go()
    # The document shows a single object as a list of one.
    if isinstance(data, SingleDocument):
        data = data.document if is_go else [data.document]
    elif data is None and is_go:
        data = {}
    return {"result": True, "code": 0, "message": SUCCESS[is_go], "data": data}


def _page_answer(page: Page) -> object:
    return {
        "result": True,
        "code": 0,
        "message": SUCCESS[wire_profile.is_go()],
        "data": page.items,
        "total": page.total,
        **page.extra,
    }


def status_of(error: errors.DomainError) -> int:
    """200 for what the document calls a failed resource; HTTP's own status for the rest."""
    match error:
        case errors.Unauthenticated():
            return 401
        case errors.Forbidden():
            return 403
        case errors.RouteNotFound():
            return 404
        case errors.MethodNotAllowed():
            return 405
        case errors.Expired():
            return 410
        case errors.PayloadTooLarge():
            return 413
        case errors.TooManyRequests():
            return 429
        case errors.Internal():
            return 500
    return 200


def _error(error: errors.DomainError, method: str) -> tuple[int, object]:
    action = error.details.get("action")
    status = status_of(error)
    is_go = wire_profile.is_go()
    name = action.name if isinstance(action, Action) else BY_METHOD.get(method, "get")
    # The Go server has a code of its own for what does not exist, but not for watches.
    if is_go and isinstance(error, errors.NotFound) and not _is_watch(action):
        name = "missing"
    data = _empty_data(action, is_go) if status == 200 else None
    body = {"result": False, **_code_and_message(name, is_go), "data": data}
    if isinstance(action, Action) and action.counted:
        body["total"] = 0
    return status, body


def _code_and_message(name: str, is_go: bool) -> dict[str, object]:
    document_code, go_code, text = CODES[name]
    if is_go:
        return {"code": go_code, "message": f"(bcs-storage):{text}"}
    return {"code": document_code, "message": text.capitalize()}


def _is_watch(action: object) -> bool:
    return isinstance(action, Action) and action.watch


def _empty_data(action: object, is_go: bool) -> object:
    """The `data` of a failure."""
    if not isinstance(action, Action):
        return None
    if is_go:
        return [] if action.name == "list" else {}
    return [] if action.empty == "list" else None


def _envelope(schema: Schema, paged: bool) -> Schema:
    return _members(schema, paged, result=True, codes=[0])


def _members(
    schema: Schema,
    paged: bool,
    *,
    result: bool,
    codes: list[int],
) -> Schema:
    members = {
        "result": {**BOOLEAN, "enum": [result]},
        "code": {**INTEGER, "enum": codes},
        "message": TEXT,
        "data": schema,
        **({"total": INTEGER} if paged else {}),
    }
    return {"type": "object", "properties": members, "required": list(members)}


DIALECT = Dialect(
    name="bcs_storage",
    one=_object_answer,
    page=_page_answer,
    error=_error,
    envelope=_envelope,
    error_schema=with_title(
        "BcsFailure",
        _members({}, False, result=False, codes=FAILURE_CODES),
    ),
    error_status=200,
    prefix="Bcs",
    security=("bearer", "bcsToken"),
    # Bodies are free documents, and the filters of queries have checks of their own.
    strict=False,
)


def _view(view: type, **values: Any) -> Any:
    return view.as_view(dialect=DIALECT, **values)  # type: ignore[attr-defined]


def _dynamic(env: str) -> Iterator[URLPattern]:
    place = "clusters/<segment:cluster>"
    namespaced = f"namespace_resources/{place}/namespaces/<segment:namespace>/<segment:type>"
    yield path(f"{namespaced}/<segment:name>", _view(dynamic.NamespacedResource, env=env))
    yield path(namespaced, _view(dynamic.ResourceList, env=env))
    yield path(
        f"cluster_resources/{place}/<segment:type>/<segment:name>",
        _view(dynamic.ClusterResource, env=env),
    )
    for scope in ("cluster_resources", "all_resources"):
        yield path(f"{scope}/{place}/<segment:type>", _view(dynamic.ResourceList, env=env))
    yield path(f"{place}/batch", _view(dynamic.Batch))
    if env == "k8s":
        yield path(
            "multicluster_resources/<segment:type>",
            _view(cluster_resources.MulticlusterList),
        )


def _typed(env: str) -> Iterator[URLPattern]:
    place = "dynamic/clusters/<segment:cluster>"
    yield path(f"{place}/namespace", _namespace(env))
    for typed in QUERIES[env]:
        if typed.name != "namespace":
            yield path(
                f"{place}/{typed.name}",
                _view(
                    dynamic.TypedList,
                    typed=typed,
                    operations=typed_operations(typed),
                ),
            )


def _namespace(env: str) -> Any:
    if env == "mesos":
        return _view(dynamic.NamespacesInUse, env=env)
    typed = next(typed for typed in QUERIES[env] if typed.name == "namespace")
    return _view(
        dynamic.NamespaceDocuments,
        typed=typed,
        operations=typed_operations(typed),
    )


def _watch(env: str) -> Iterator[URLPattern]:
    place = "clusters/<segment:cluster>/namespaces/<segment:namespace>/<segment:type>"
    yield path(f"{place}/<segment:name>", _view(reports.WatchNodeDocument, env=env))
    yield path(place, _view(reports.WatchNodeList, env=env))


def _reports() -> Iterator[URLPattern]:
    yield path("events", _view(reports.EventReports))
    yield path("alarms", _view(reports.AlarmReports))
    yield path("metric/clusters", _view(reports.MetricClusters))
    yield path("metric/clusters/<segment:cluster>", _view(reports.MetricList))
    metric = (
        "metric/clusters/<segment:cluster>/namespaces/<segment:namespace>"
        "/<segment:type>/<segment:name>"
    )
    yield path(metric, _view(reports.MetricDocument))
    yield path("host/clusters/<segment:cluster>", _view(reports.ClusterHosts))
    yield path("host/<segment:ip>", _view(reports.HostDocument))


def _feeds() -> Iterator[URLPattern]:
    yield path("dynamic/watch/containers/<segment:cluster>", _view(feeds.Feed, containers=True))
    yield path("dynamic/watch/<segment:cluster>/<segment:type>", _view(feeds.Feed))
    yield path("metric/watch/<segment:cluster>/<segment:type>", _view(feeds.MetricFeed))


def _free() -> Iterator[URLPattern]:
    place = "dynamic/customresources/<segment:type>"
    yield path(place, _view(free_documents.CustomResources))
    yield path(f"{place}/index/<segment:name>", _view(free_documents.CustomIndex))
    yield path("clusters/<segment:cluster>", _view(free_documents.ClusterInfo))


class UnknownAddress(UnknownRoute):
    """Answers an unknown address in the profile of its beginning."""

    def dispatch(
        self,
        request: HttpRequest,
        *args: Any,
        **kwargs: Any,
    ) -> HttpResponseBase:
        """Refuse every method alike."""
        with wire_profile.use_profile(request_profile(request)):
            return super().dispatch(request, *args, **kwargs)


# Grouped by their beginnings, so that a write of a watcher is matched after a few comparisons.
urlpatterns: list[URLPattern | URLResolver] = [
    *(path(f"{env}/dynamic/", include(list(_dynamic(env)))) for env in ("k8s", "mesos")),
    *(path(f"query/{env}/", include(list(_typed(env)))) for env in ("k8s", "mesos")),
    *(path(f"{env}/watch/", include(list(_watch(env)))) for env in ("k8s", "mesos")),
    *_reports(),
    *_feeds(),
    *_free(),
    catch_all(DIALECT, UnknownAddress),
]
