"""The HTTP server: from a request to the rules and back."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import yaml
from aiohttp import web

from simcluster import (
    authentication,
    crds,
    decoding,
    discovery,
    errors,
    exec_session,
    impersonation,
    lists,
    logs,
    metrics,
    openapi,
    openapi_v2,
    patching,
    port_forward,
    port_proxy,
    reviews,
    subresources,
    tables,
    watches,
)
from simcluster.authentication import User
from simcluster.cluster import Cluster
from simcluster.errors import ApiError
from simcluster.faults import Rule
from simcluster.requests import (
    BODY_LIMIT,
    Accepted,
    Target,
    accepted,
    delete_options,
    is_true,
    parse_body,
    parse_path,
    verb_of,
)
from simcluster.resources import Object
from simcluster.tables.cells import Column
from simcluster.write_options import WriteOptions

_ENDPOINTS_WARNING = (
    '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
)
_log = logging.getLogger(__name__)
_TEXT = "text/plain; charset=utf-8"
_HEALTH = {"/healthz", "/readyz", "/livez"}


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    # Every header line as it came: names may come several times, as Impersonate-Group does.
    header_list: tuple[tuple[str, str], ...] = ()
    at: float = field(default_factory=time.monotonic)


class Server:
    """Answers requests out of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.requests: list[RecordedRequest] = []
        self.address = ""

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{tail:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request: faults first, then the API; every refusal is a Status."""
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _refusal(
                ApiError(
                    413,
                    "RequestEntityTooLarge",
                    f"Request entity too large: limit is {BODY_LIMIT}",
                    details={},
                )
            )
        # Off in long runs: the list would grow without end.
        if self.cluster.settings.record_requests:
            self.requests.append(
                RecordedRequest(
                    request.method,
                    request.path,
                    dict(request.query),
                    dict(request.headers),
                    body,
                    tuple(request.headers.items()),
                )
            )
        # Faults come before authentication, as trouble on the network does.
        rule = self.cluster.faults.strike(request.method, request.path_qs)
        if rule is not None:
            struck = await self._strike(rule, request)
            if struck is not None:
                return struck
        try:
            return await self._answer(request, body)
        except ApiError as error:
            return _refusal(error)
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path_qs)
            return _refusal(
                ApiError(
                    500,
                    "InternalError",
                    # The type alone: the log has the trace.
                    f"Internal error occurred: {type(error).__name__}",
                    details={},
                )
            )

    async def _strike(self, rule: Rule, request: web.Request) -> web.StreamResponse | None:
        if rule.action == "delay":
            await asyncio.sleep(rule.seconds)
        elif rule.action == "hang":
            # Longer than any client waits: to it the server hangs.
            await asyncio.sleep(3600)
        elif rule.action == "cut":
            _cut(request)
            return web.Response()
        elif rule.action == "garbage":
            return web.Response(
                text=rule.body,
                # What a proxy in front of the cluster might answer.
                content_type="text/html" if rule.body.startswith("<") else "application/json",
            )
        elif rule.action == "status":
            return _refusal(_fault_status(rule))
        elif rule.action == "cut-stream":
            return await self._cut_stream(rule, request)
        elif rule.action == "compact":
            self.cluster.store.compact()
        return None

    async def _cut_stream(self, rule: Rule, request: web.Request) -> web.StreamResponse | None:
        if is_true(request.query.get("watch")) or is_true(request.query.get("follow")):
            # A stream has no length: it is cut after a time.
            asyncio.get_running_loop().call_later(rule.seconds, _cut, request)
            return None
        try:
            answer = await self._answer(request, await request.read())
        except ApiError as error:
            answer = _refusal(error)
        body = (
            answer.body
            if isinstance(answer, web.Response) and isinstance(answer.body, bytes)
            else b""
        )
        partial = web.StreamResponse(
            status=answer.status,
            headers={
                "Content-Type": "application/json",
                # The announced length is the whole one, so that the client sees a truncated answer.
                "Content-Length": str(len(body) or rule.bytes + 1),
            },
        )
        await partial.prepare(request)
        await partial.write(body[: rule.bytes])
        _cut(request)
        return partial

    async def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        user = self.cluster.tokens.user_of(request.headers.get("Authorization"))
        # Undecoded: an encoded slash in a name is not a separator.
        path = request.rel_url.raw_path
        try:
            # From here on the request has the rights of the impersonated user only.
            user = impersonation.user_of(user, request.headers.items(), self.cluster.store)
        except impersonation.UserMissingError as error:
            address = orjson.dumps(request.path_qs).decode()
            return _text(f"Internal Server Error: {address}: {error}\n", status=500)
        target = parse_path(path, self.cluster.table)
        if target is None:
            # metrics.k8s.io is an aggregated API of its own server, outside our table.
            if metrics.serves(path, self.cluster):
                return metrics.answer(self.cluster, path, request, user)
            return self._non_resource(request, path, user)
        verb = verb_of(request.method, target, request.query)
        # Rights are asked for before the object is looked up: a 403 must not tell that it exists.
        what = target.attributes(verb)
        if not authentication.allowed(user, what, self.cluster.store):
            raise authentication.refusal(user, what)
        return await self._resource(request, target, verb, body, user)

    def _non_resource(self, request: web.Request, path: str, user: User) -> web.Response:
        # The real server answers these paths with and without a slash.
        clean = path.rstrip("/") or "/"
        what = authentication.Attributes(request.method.lower(), path=path)
        if not authentication.allowed(user, what, self.cluster.store):
            raise authentication.refusal(user, what)
        if clean.partition("/")[0] == "" and (
            clean in _HEALTH or clean.rpartition("/")[0] in _HEALTH
        ):
            return _text("ok")
        document = self._document(clean, request.headers.get("Accept", ""))
        if document is None:
            return _text("404 page not found\n", status=404)
        return document

    def _document(self, path: str, accept: str) -> web.Response | None:
        table = self.cluster.table
        aggregated = discovery.wants_aggregated(accept)
        if path in ("/api", "/apis"):
            if aggregated:
                listed = discovery.aggregated(table, core=path == "/api")
                return _json(
                    listed if path == "/api" else metrics.with_aggregated(listed, self.cluster),
                    content_type=discovery.AGGREGATED,
                )
            return _json(
                discovery.api_versions(self.address)
                if path == "/api"
                else metrics.with_group(discovery.group_list(table), self.cluster)
            )
        if path == "/version":
            return _json(discovery.VERSION)
        if path == "/openapi/v2":
            body, media = openapi_v2.answer(accept)
            return _json(body, content_type=media)
        if path == "/openapi/v3":
            return _json(openapi.index(table), content_type=_TEXT)
        if path.startswith("/openapi/v3/"):
            document = openapi.document(
                table,
                path.removeprefix("/openapi/v3/"),
                self.cluster.registry.custom_types,
            )
            return _json(document) if document else None
        if path == "/":
            return _json(
                {
                    "paths": [
                        "/api",
                        "/api/v1",
                        "/apis",
                        "/healthz",
                        "/livez",
                        "/openapi/v2",
                        "/openapi/v3",
                        "/readyz",
                        "/version",
                    ]
                }
            )
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) == 2:
            return _document_or_none(discovery.resource_list(table, "", parts[1]))
        if parts[0] == "apis" and len(parts) == 2:
            return _document_or_none(discovery.group(table, parts[1]))
        if parts[0] == "apis" and len(parts) == 3:
            return _document_or_none(discovery.resource_list(table, parts[1], parts[2]))
        return None

    async def _resource(
        self,
        request: web.Request,
        target: Target,
        verb: str,
        body: bytes,
        user: User,
    ) -> web.StreamResponse:
        if target.subresource:
            return await self._subresource(request, target, verb, body, user)
        if (verb == "create") is bool(target.name) and verb in (
            "create",
            "update",
            "patch",
        ):
            raise errors.method_not_allowed()
        if verb not in target.resource.verbs or (
            target.all_namespaces and verb not in ("list", "watch", "create", "deletecollection")
        ):
            raise errors.method_not_allowed()
        if (
            target.all_namespaces
            and verb in ("create", "deletecollection")
            and not reviews.serves(target.resource)
        ):
            raise errors.method_not_allowed()
        if verb == "watch":
            return await self._watch(request, target)
        accept = accepted(request.headers.get("Accept", ""))
        if verb == "list":
            return self._list(request, target, accept)
        if verb == "get":
            return self._single(
                target,
                self.cluster.registry.read(target.resource, target.namespace, target.name),
                accept,
                request.query,
            )
        return self._write(request, target, verb, body, accept, user)

    async def _subresource(
        self,
        request: web.Request,
        target: Target,
        verb: str,
        body: bytes,
        user: User,
    ) -> web.StreamResponse:
        name = target.subresource.partition("/")[0]
        if name not in target.resource.subresources:
            return _text("404 page not found\n", status=404)
        if verb == "watch":
            verb = "get"
        if verb not in target.resource.subresources[name].verbs:
            raise errors.method_not_allowed()
        if name == "log":
            return await logs.answer(self.cluster, request, target)
        if name in ("exec", "attach"):
            return await exec_session.answer(self.cluster, request, target)
        if name == "portforward":
            return await port_forward.answer(self.cluster, request, target)
        if name == "proxy" and target.resource.plural in ("pods", "services"):
            return await port_proxy.answer(self.cluster, request, target)
        options = write_options(request)
        options.subresource = name
        options.body = body
        call = subresources.Call(
            self.cluster,
            target,
            verb,
            body,
            request.content_type if body else "",
            request.query,
            options,
            user,
        )
        status, obj = subresources.answer(call)
        return self._single(
            target,
            obj,
            accepted(request.headers.get("Accept", "")),
            request.query,
            status=status,
            warnings=options.warnings,
        )

    def _list(self, request: web.Request, target: Target, accept: Accepted) -> web.Response:
        page = lists.page(self.cluster.registry, target, request.query)
        include = request.query.get("includeObject", "Metadata")
        raw = lists.render(target, page, accept, include=include, columns=self._columns(target))
        return _body(raw, accept, headers=self._warned(target, []))

    def _columns(self, target: Target) -> tuple[Column, ...]:
        printer = crds.version_of(self.cluster.registry, target.resource).get(
            "additionalPrinterColumns"
        )
        return tables.columns_of(target.resource, printer)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        accept = accepted(request.headers.get("Accept", ""))
        query = dict(request.query)
        frames = watches.frames_for(target, query, accept, self._columns(target))
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/json",
                "Cache-Control": "no-cache, private",
            }
        )
        response.enable_chunked_encoding()
        try:
            watcher, first = watches.begin(
                self.cluster.registry, target, query, frames, self.cluster.hub
            )
        except ApiError as error:
            if error.reason != "Expired":
                raise
            await response.prepare(request)
            await response.write(watches.error_line(error))
            await response.write_eof()
            return response
        try:
            await self._stream(request, response, watcher, first, frames, query)
        finally:
            self.cluster.hub.leave(target.resource.storage, watcher)
        return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        watcher: watches.Watcher,
        first: bytes,
        frames: watches.Frames,
        query: dict[str, str],
    ) -> None:
        seconds = float(query.get("timeoutSeconds") or 3600)
        stream = watches.stream(
            watcher,
            frames,
            seconds=seconds,
            bookmarks=is_true(query.get("allowWatchBookmarks")),
            revision=lambda: self.cluster.store.revision,
            bookmark_every=max(self.cluster.clock.real(watches.BOOKMARK_EVERY), 0.5),
        )
        with contextlib.suppress(ConnectionResetError):
            await response.prepare(request)
            if first:
                await response.write(first)
            async for lines in stream:
                await response.write(lines)
            await response.write_eof()

    def _write(
        self,
        request: web.Request,
        target: Target,
        verb: str,
        body: bytes,
        accept: Accepted,
        user: User,
    ) -> web.Response:
        registry = self.cluster.registry
        resource = target.resource
        options = write_options(request)
        options.body = body
        if verb in ("delete", "deletecollection"):
            return self._delete(request, target, verb, body, accept, options)
        content_type = request.headers.get("Content-Type", "")
        if verb == "patch":
            kind = content_type.partition(";")[0].strip()
            if kind not in (
                patching.JSON_PATCH,
                patching.MERGE_PATCH,
                patching.STRATEGIC_PATCH,
                patching.APPLY_PATCH,
            ):
                raise errors.unsupported_media_type()
            patch = parse_body(body, content_type)
            # Go decodes this patch into a map first, where 1.0 and 1 are the same number.
            if kind == patching.STRATEGIC_PATCH:
                patch = decoding.whole_numbers(patch)
            obj, created = registry.patch(
                resource,
                target.namespace,
                target.name,
                patch,
                content_type=kind,
                options=options,
            )
            return self._single(
                target,
                obj,
                accept,
                request.query,
                status=201 if created else 200,
                warnings=options.warnings,
            )
        obj = parse_body(body, content_type)
        if verb == "create":
            if reviews.serves(resource):
                return _json(
                    reviews.answer(self.cluster, resource, obj, user, target.namespace),
                    status=201,
                )
            created_obj = registry.create(resource, target.namespace, obj, options)
            return self._single(
                target,
                created_obj,
                accept,
                request.query,
                status=201,
                warnings=options.warnings,
            )
        replaced = registry.replace(resource, target.namespace, target.name, obj, options)
        return self._single(target, replaced, accept, request.query, warnings=options.warnings)

    def _delete(
        self,
        request: web.Request,
        target: Target,
        verb: str,
        body: bytes,
        accept: Accepted,
        options: WriteOptions,
    ) -> web.Response:
        registry = self.cluster.registry
        resource = target.resource
        body_options = delete_options(body, request.headers.get("Content-Type", ""), request.query)
        options.dry_run = options.dry_run or "All" in (body_options.get("dryRun") or ())
        if verb == "delete":
            return self._single(
                target,
                registry.delete(resource, target.namespace, target.name, body_options, options),
                accept,
                request.query,
            )
        page = lists.page(registry, target, request.query)
        # The answer is the list as it was before.
        raw = lists.render(target, page, Accepted(), include="Metadata", columns=())
        for record in page.records:
            with contextlib.suppress(ApiError):
                registry.delete(resource, record.namespace, record.name, body_options, options)
        return _body(raw, accept)

    def _single(
        self,
        target: Target,
        obj: Object,
        accept: Accepted,
        query: Mapping[str, str],
        *,
        status: int = 200,
        warnings: list[str] | None = None,
    ) -> web.Response:
        document = obj
        if obj.get("kind") not in ("Status", "Scale") and obj.get("metadata", {}).get("name"):
            if accept.form == "Table":
                columns = self._columns(target)
                rows = [tables.row(obj, columns, query.get("includeObject", "Metadata"))]
                document = tables.table(
                    rows,
                    columns,
                    {"resourceVersion": obj["metadata"].get("resourceVersion", "")},
                )
            elif accept.partial:
                document = tables.partial(obj)
        return _body(
            orjson.dumps(document),
            accept,
            status=status,
            headers=self._warned(target, warnings or []),
        )

    def _warned(self, target: Target, warnings: list[str]) -> list[tuple[str, str]]:
        headers = [("Warning", f"299 - {orjson.dumps(text).decode()}") for text in warnings]
        if target.resource.storage == "endpoints":
            headers.insert(0, ("Warning", _ENDPOINTS_WARNING))
        return headers


def write_options(request: web.Request) -> WriteOptions:
    """The options of a write out of its query and its User-Agent; 422 for a dryRun that is none."""
    query = request.query
    dry_run = query.getall("dryRun", [])
    if any(value not in ("All", "") for value in dry_run):
        cause = f'dryRun: Unsupported value: ["{dry_run[0]}"]: supported values: "All"'
        raise ApiError(
            422,
            "Invalid",
            f'UpdateOptions.meta.k8s.io "" is invalid: {cause}',
            details={"group": "meta.k8s.io", "kind": "UpdateOptions"},
        )
    agent = request.headers.get("User-Agent", "").partition("/")[0]
    kind = request.headers.get("Content-Type", "").partition(";")[0]
    manager = query.get("fieldManager") or (
        "" if kind == patching.APPLY_PATCH else agent or "unknown"
    )
    return WriteOptions(
        manager,
        dry_run="All" in dry_run,
        validation=query.get("fieldValidation") or "Warn",
        force=is_true(query.get("force")),
    )


def _fault_status(rule: Rule) -> ApiError:
    reasons = {
        429: "TooManyRequests",
        500: "InternalError",
        410: "Expired",
        503: "ServiceUnavailable",
        504: "Timeout",
        403: "Forbidden",
        401: "Unauthorized",
        409: "Conflict",
    }
    messages = {
        410: "The provided continue parameter is too old.",
        429: "the server has received too many requests and has asked us to try again later",
    }
    headers = {"Retry-After": str(rule.retry_after)} if rule.code in (429, 503, 504) else {}
    message = messages.get(rule.code, f"injected fault: {reasons.get(rule.code, 'Unknown')}")
    return ApiError(rule.code, reasons.get(rule.code, "Unknown"), message, headers=headers)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _refusal(error: ApiError) -> web.Response:
    return _json(error.status(), status=error.code, headers=error.headers)


def _document_or_none(document: Object | None) -> web.Response | None:
    return _json(document) if document is not None else None


def _text(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/plain", charset="utf-8")


def _json(
    document: Any,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> web.Response:
    raw = document if isinstance(document, bytes) else orjson.dumps(document)
    return web.Response(
        body=raw,
        status=status,
        headers={"Content-Type": content_type, **(headers or {})},
    )


def _body(
    raw: bytes,
    accept: Accepted,
    *,
    status: int = 200,
    headers: list[tuple[str, str]] | None = None,
) -> web.Response:
    if accept.yaml:
        raw = yaml.safe_dump(orjson.loads(raw), sort_keys=False).encode()
    response = web.Response(
        body=raw,
        status=status,
        headers={"Content-Type": "application/yaml" if accept.yaml else "application/json"},
    )
    for name, value in headers or ():
        response.headers.add(name, value)
    return response
