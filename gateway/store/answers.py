"""Which answer a request to the store gets: discovery, an object, a list, a watch, a refusal."""

from collections.abc import Sequence
from dataclasses import replace

import orjson

from access.policy import is_audited
from clusters.kinds import Kind
from clusters.manifests import to_yaml
from core.api.attributes import AccessAttributes
from core.errors import DomainError
from gateway import records
from gateway.messages import Request, Response
from gateway.status import (
    REASONS,
    forbidden,
    method_not_allowed,
    not_found,
    refusal,
    status_object,
)
from gateway.store import discovery
from gateway.store.database import in_store_thread
from gateway.store.kinds import (
    StoredKind,
    find_kind,
    is_events,
    stored_kinds,
    visible_places,
)
from gateway.store.lists import (
    TooLargeVersion,
    json_body,
    respond_list,
)
from gateway.store.negotiation import (
    Form,
    MediaType,
    NotAcceptable,
    choose_media_type,
)
from gateway.store.objects import read_object
from gateway.store.views import StoreView, open_view, refusal_of_writes
from gateway.store.watches import Watch
from storage_api.services.multicluster import ClusterScope

READS = ("GET", "HEAD")
OBJECTS = frozenset({Form.OBJECT, Form.TABLE, Form.METADATA})
DOCUMENTS = frozenset({Form.OBJECT})
DISCOVERY = frozenset({Form.OBJECT, Form.DISCOVERY})
HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
ACCEPTED = (
    "only the following media types are accepted: application/json, application/yaml, and "
    "application/json with as=Table or as=PartialObjectMetadata"
)
# DomainError.code -> HTTP status.
CODES = {
    "invalid": 400,
    "unauthenticated": 401,
    "token_expired": 401,
    "forbidden": 403,
    "not_found": 404,
    "cluster_not_found": 404,
    "conflict": 409,
    "expired": 410,
    "too_many_requests": 429,
}


async def respond(request: Request) -> Response:
    """Answer a request whose target is the fleet or has a time.

    The caller is known; what they may see is asked here, by `access.streams.scopes`. Runs on the
    event loop of the sockets: what reads the database belongs in `in_store_thread`. A chunk of
    an iterator as the body is sent at once; the connection's end cancels the iterator.
    """
    try:
        return await _respond(request)
    except NotAcceptable:
        return refusal(406, ACCEPTED, info=request.info)
    except TooLargeVersion as error:
        return _too_large(error)
    except DomainError as error:
        if error.code == "not_found" and request.info.name:
            return not_found(request.info)
        code = CODES.get(error.code, 500)
        return refusal(
            code,
            error.message,
            reason=REASONS[code],
            info=request.info,
        )


async def _respond(request: Request) -> Response:
    if request.head.method not in READS:
        return method_not_allowed(refusal_of_writes(request.target), request.info)
    if not request.info.is_resource:
        view = await in_store_thread(open_view, request.target, request.caller)
        return await _respond_discovery(request, view)
    view, stored, places = await in_store_thread(_find_places, request)
    if not view.clusters:
        return forbidden(request.caller.username, request.info)
    if stored is None or request.info.subresource not in ("", "status"):
        return _refuse_path(request, stored)
    if places is None:
        response = forbidden(request.caller.username, request.info)
    else:
        response = await _respond_objects(request, view, stored.kind, places)
    if is_audited(request.info.verb, stored.kind.plural, stored.kind.group):
        await in_store_thread(_record, request, view, places, response.status)
    return response


def _record(
    request: Request, view: StoreView, places: Sequence[ClusterScope] | None, status: int
) -> None:
    """An entry of the audit trail for each cluster whose Secrets were looked at, or refused."""
    info = request.info
    act = AccessAttributes(
        info.verb,
        info.resource,
        info.group,
        "",
        info.namespace,
        info.name,
    )
    if places is None:
        name = "" if view.fleet else view.clusters[0].name
        records.record_refusal(
            request,
            replace(act, cluster=name),
            request.request_id,
        )
        return
    for place in places:
        records.record_answer(
            request,
            replace(act, cluster=place.name),
            status,
            request.request_id,
        )


def _find_places(
    request: Request,
) -> tuple[StoreView, StoredKind | None, Sequence[ClusterScope] | None]:
    """(what is looked at, the kind that the request names, where the caller may see it)."""
    view = open_view(request.target, request.caller)
    stored = find_kind(view, request.info)
    if stored is None:
        return view, None, None
    return view, stored, visible_places(view, stored, request.info, request.caller)


def _refuse_path(
    request: Request,
    stored: StoredKind | None,
) -> Response:
    """A kind that was not collected, or a subresource, which only a cluster itself has."""
    info = request.info
    if stored is None:
        return refusal(
            404,
            "the server could not find the requested resource",
            info=info,
        )
    return method_not_allowed(
        f"{info.resource}/{info.subresource} is not stored: ask for it at the address of the "
        "cluster, without a time",
        info,
    )


async def _respond_objects(
    request: Request, view: StoreView, kind: Kind, places: Sequence[ClusterScope]
) -> Response:
    info = request.info
    is_watch = info.verb == "watch"
    is_misplaced = not kind.namespaced and info.namespace and kind.plural != "namespaces"
    lacks_namespace = kind.namespaced and info.verb == "get" and not info.namespace
    if is_misplaced or lacks_namespace:
        return refusal(
            404,
            "the server could not find the requested resource",
            info=info,
        )
    media = choose_media_type(
        request.head.header("accept"),
        OBJECTS,
        stream=is_watch,
    )
    if is_watch:
        return await _respond_watch(request, view, kind, places, media)
    if info.verb == "get":
        return await in_store_thread(
            read_object,
            request,
            view,
            kind,
            places,
            media,
        )
    return await respond_list(request, view, kind, places, media)


async def _respond_watch(
    request: Request,
    view: StoreView,
    kind: Kind,
    places: Sequence[ClusterScope],
    media: MediaType,
) -> Response:
    if view.at is not None:
        return method_not_allowed("the past does not change: there is nothing to watch")
    if is_events(kind):
        return method_not_allowed(
            "Events of the fleet can be listed, not watched: watch them at a cluster's address"
        )
    watch = await in_store_thread(Watch, request, kind, places, media)
    headers = (("content-type", media.content_type), *watch.warnings)
    return Response(200, watch.events(), headers)


async def _respond_discovery(
    request: Request,
    view: StoreView,
) -> Response:
    path = request.info.path.rstrip("/")
    if path in HEALTH:
        return Response(
            200,
            b"ok",
            (("content-type", "text/plain; charset=utf-8"),),
        )
    kinds = await in_store_thread(stored_kinds, view)
    parts = path.strip("/").split("/")
    if path in ("/api", "/apis"):
        media = choose_media_type(
            request.head.header("accept"),
            DISCOVERY,
        )
        is_core = path == "/api"
        if media.form is Form.DISCOVERY:
            document = discovery.aggregated(
                kinds,
                media,
                view,
                core=is_core,
            )
        else:
            document = discovery.api_versions() if is_core else discovery.group_list(kinds)
        return _document(document, media)
    media = choose_media_type(request.head.header("accept"), DOCUMENTS)
    match parts:
        case ["version"]:
            return _document(discovery.version(view.clusters), media)
        case ["api", version]:
            found = (
                discovery.resource_list(
                    kinds,
                    "",
                    version,
                    view,
                )
                if version == "v1"
                else None
            )
        case ["apis", group]:
            found = discovery.group(kinds, group)
        case ["apis", group, version]:
            found = discovery.resource_list(
                kinds,
                group,
                version,
                view,
            )
        case _:
            found = None
    return (
        not_found(request.info)
        if found is None
        else _document(
            found,
            media,
        )
    )


def _document(
    document: discovery.Document,
    media: MediaType,
) -> Response:
    body = to_yaml(document).encode() if media.is_yaml else json_body(document)
    return Response(200, body, (("content-type", media.content_type),))


def _too_large(error: TooLargeVersion) -> Response:
    message = f"Timeout: Too large resource version: {error.version}, current: {error.current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    status = status_object(504, message, details=details)
    headers = (("content-type", "application/json"), ("retry-after", "1"))
    return Response(504, orjson.dumps(status) + b"\n", headers)
