"""Files into and out of pods.

Each route checks rights and input as any other; the bytes then pass on the event loop
(`core.sockets.exchanges`), so that no thread of the web server is held.
"""

import asyncio
import hashlib
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import authority, stream_clients
from clusters.manifests import Object
from core.api import audit
from core.api.attributes import AccessAttributes
from core.api.auth import authorise
from core.api.schema import BOOLEAN, INTEGER, TEXT, OperationSchema, QueryParameter, array, record
from core.errors import DomainError, Internal, Invalid, PayloadTooLarge, Rejected
from core.sockets.connections import in_database_thread
from core.sockets.exchanges import (
    ON_EVENT_LOOP,
    ClientLeft,
    Exchange,
    TransferResponse,
    run_until_left,
)
from operations import lifecycle, tasks
from operations.models import Operation
from workloads.api.actions import caller
from workloads.api.files import (
    DELETE_SCHEMA,
    LIST_SCHEMA,
    PLACE,
    READ,
    WRITE,
    FileView,
    answer_schema,
    delete_file,
    list_files,
    path_of,
    with_way,
)
from workloads.api.request_target import RequestTarget
from workloads.files import contents, downloads, extraction, operation
from workloads.files.commands import NoProgram
from workloads.files.containers import DEBUG, Container, Entry, find_container
from workloads.files.failures import exists_already, is_a_directory, not_a_directory
from workloads.files.multipart import MultipartReader, boundary_of
from workloads.files.paths import check_name
from workloads.files.slots import transfer_slot
from workloads.files.uploads import Receiver, check_mode
from workloads.objects.object_ref import ObjectRef

RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?\Z")
TAR_GZ = "tar.gz"
TAR = "tar"
FORMATS = (TAR_GZ, TAR)
# Of the heads of a multipart body, which come on top of the files.
MULTIPART_BYTES = 1024 * 1024
# How long a check of the right holds for the members of an archive: there may be thousands.
MEMBER_SECONDS = 1.0
Work = Callable[[Exchange, Container], Awaitable[Any]]


class TransferView(FileView):
    """A route whose bytes pass on the event loop."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """A transfer is audited and answered once it is done."""
        if isinstance(response, TransferResponse):
            return response
        return super().finalize_response(request, response, *args, **kwargs)

    def transfer(
        self,
        request: Request,
        act: AccessAttributes,
        pod: Object,
        container: str,
        work: Work,
    ) -> TransferResponse:
        """The response that leads to the event loop, where `work` does the rest.

        Rejected on the plain web server, which the front never asks for this.
        """
        if not getattr(request._request, ON_EVENT_LOOP, False):
            raise Rejected(
                "up- and downloads are answered by the event-driven server: "
                "ask at the address of the front, or at the WebSocket port",
                reason="WrongServer",
            )
        return TransferResponse(_Transfer(self, request, act, pod, container, work))

    def render(self, request: Request, result: Any) -> Response:
        """The rendered answer to the transfer: data, or the error that it ended with."""
        if isinstance(result, Exception):
            result = self.handle_exception(result)
        response: Response = super().finalize_response(request, result)
        response.render()
        return response


@dataclass(slots=True)
class _Transfer:
    """What happens on the event loop, as a function of the exchange."""

    view: TransferView
    request: Request
    act: AccessAttributes
    pod: Object
    container: str
    work: Work

    async def __call__(self, exchange: Exchange) -> None:
        result: Any = None
        try:
            result = await self._run(exchange)
        except ClientLeft:
            self.view.note(self.request, self.act, cancelled=True)
        except asyncio.CancelledError:
            self.view.note(self.request, self.act, cancelled=True)
            await asyncio.shield(self._report(None))
            raise
        except NoProgram:
            result = Rejected("the container has no shell any more", reason="NoTools")
        except Exception as error:
            result = error
        if exchange.started or result is None:
            # An answer that ends early breaks the connection: uvicorn has not seen its end.
            await self._report(result if isinstance(result, Exception) else None)
            return
        response = await in_database_thread(self.view.render, self.request, result)
        await exchange.answer(response.status_code, dict(response.items()), response.content)

    async def _run(self, exchange: Exchange) -> Any:
        user = int(self.request.user.pk or 0)
        cluster = int(self.act.cluster)
        async with transfer_slot(user), stream_clients.stream_client(cluster, user) as client:
            container = await find_container(client, self.pod, self.container, self._confirm_debug)
            self.view.note(self.request, self.act, container=container.name, via=container.via)
            return await self.work(exchange, container)

    async def _confirm_debug(self) -> None:
        act = AccessAttributes(
            "debug",
            self.act.kind,
            self.act.group,
            self.act.cluster,
            self.act.namespace,
            self.act.name,
        )
        await in_database_thread(authorise, self.view, self.request, act)

    async def _report(self, error: Exception | None) -> None:
        failure = error if isinstance(error, DomainError) or error is None else Internal("failed")
        await in_database_thread(audit.report, self.request, self.view.dialect.name, failure)


def too_large(path: str) -> DomainError:
    """The error for a file above FILES_DOWNLOAD_BYTES."""
    return Rejected(
        f"{path} is larger than {settings.FILES_DOWNLOAD_BYTES} bytes", reason="TooLarge"
    )


# --- downloads ------------------------------------------------------------------------------------
class FileDownload(TransferView):
    """GET /pods/{name}/files/download: a file as it is, a directory as an archive."""

    operations = {
        "get": OperationSchema(
            "Download a file, or a directory as an archive",
            answer_schema(operation_id=INTEGER),
            query=(
                *PLACE,
                QueryParameter(
                    "format",
                    {"type": "string", "enum": list(FORMATS)},
                    description="Of a directory; tar.gz by default.",
                ),
                QueryParameter(
                    "async",
                    BOOLEAN,
                    description="Start an operation that tells the file's size and sha256, and "
                    "where to download it in parts: the answer is JSON with `operation_id`.",
                ),
            ),
            # JSON is the answer with `async`.
            answer_types=(
                "application/octet-stream",
                "application/gzip",
                "application/x-tar",
                "application/json",
            ),
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """The bytes; `Range: bytes=N-` resumes a file."""
        target, ref = self.object_ref(request, READ, name)
        act = self.act(READ, target, name)
        path = path_of(target)
        form = target.option("format")
        if form and form not in FORMATS:
            raise Invalid("format must be tar or tar.gz", field="format")
        self.note(request, act, path=path)
        # A HEAD starts nothing.
        if target.flag("async") and request.method == "GET":
            if form:
                raise Invalid("async goes with files, not with format", field="async")
            return self._start_digest(request, act, target, ref, path)
        download = _Download(self, request, act, path, form)
        return self.transfer(request, act, ref.read(), target.option("container"), download.run)

    def _start_digest(
        self,
        request: Request,
        act: AccessAttributes,
        target: RequestTarget,
        ref: ObjectRef,
        path: str,
    ) -> Any:
        """{"operation_id","container","via"} of the operation that tells the file's sum."""

        async def look(found: Container) -> Entry:
            return await found.inspect(path)

        pod = ref.read()
        container, entry = self.call(request, act, target, ref, look)
        if stat.S_ISDIR(entry.mode):
            raise Invalid("async goes with files, and this is a directory", field="async")
        if entry.size > settings.FILES_DOWNLOAD_BYTES:
            raise too_large(path)
        query = {
            "cluster_id": str(ref.cluster.pk),
            "namespace": ref.namespace,
            "container": container.name,
            "path": path,
        }
        row = operation.create_digest(
            ref,
            pod,
            container.name,
            path,
            address=f"{request._request.path}?{urlencode(query)}",
            requested_by=caller(request),
        )
        self.note(request, act, bytes=entry.size, operation_id=row.pk)
        tasks.enqueue(row)
        return with_way(container, operation_id=row.pk)


@dataclass(slots=True)
class _Download:
    view: TransferView
    request: Request
    act: AccessAttributes
    path: str
    format: str

    async def run(self, exchange: Exchange, container: Container) -> None:
        await run_until_left(exchange, self._send(exchange, container))

    async def _send(self, exchange: Exchange, container: Container) -> None:
        entry = await container.inspect(self.path)
        if stat.S_ISDIR(entry.mode):
            await self._send_directory(exchange, container)
            return
        if self.format:
            raise Invalid("format is for directories", field="format")
        await self._send_file(exchange, container, entry)

    async def _send_file(self, exchange: Exchange, container: Container, entry: Entry) -> None:
        if entry.size > settings.FILES_DOWNLOAD_BYTES:
            raise too_large(self.path)
        span = _range(exchange, entry.etag)
        if span is not None and span[0] >= entry.size:
            await self._refuse_range(exchange, entry)
            return
        start, last = span or (0, None)
        end = entry.size if last is None else min(last + 1, entry.size)
        digest = await self._known_digest(container, entry)
        async with downloads.open_file(container, self.path, start) as file:
            if file.entry.size < end:
                raise Rejected(f"{self.path} became shorter", reason="Changed")
            headers = {
                **_attachment(self.path.rpartition("/")[2]),
                "Content-Type": "application/octet-stream",
                "Content-Length": str(end - start),
                "Accept-Ranges": "bytes",
                "ETag": entry.etag,
                "Last-Modified": formatdate(max(entry.mtime, 0), usegmt=True),
            }
            if digest:
                headers["X-Content-SHA256"] = digest
            if span is not None:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
            await exchange.start(206 if span is not None else 200, headers)
            await self._pass_on(exchange, file.parts, size=end - start)

    async def _refuse_range(self, exchange: Exchange, entry: Entry) -> None:
        error = Invalid(f"Range begins after the end of {self.path}", field="Range")
        response = await in_database_thread(self.view.render, self.request, error)
        headers = {**dict(response.items()), "Content-Range": f"bytes */{entry.size}"}
        await exchange.answer(416, headers, response.content)

    async def _known_digest(self, container: Container, entry: Entry) -> str | None:
        """The digest of the whole file where the container can tell it at little cost."""
        is_cheap = entry.size <= contents.MAX_DIGEST_BYTES
        if not is_cheap or "sha256sum" not in container.way.tools:
            return None
        return await contents.read_digest(container, self.path)

    async def _send_directory(self, exchange: Exchange, container: Container) -> None:
        parts = downloads.pack_directory(container, self.path, limit=settings.FILES_DOWNLOAD_BYTES)
        suffix = self.format or TAR_GZ
        if suffix == TAR_GZ:
            parts = downloads.compress(parts)
        # The first part says whether there is anything to send.
        first = await anext(parts)
        name = self.path.rpartition("/")[2] or "root"
        kind = "application/gzip" if suffix == TAR_GZ else "application/x-tar"
        await exchange.start(200, {**_attachment(f"{name}.{suffix}"), "Content-Type": kind})

        async def all_parts() -> AsyncIterator[bytes]:
            yield first
            async for part in parts:
                yield part

        await self._pass_on(exchange, all_parts())

    async def _pass_on(
        self, exchange: Exchange, parts: AsyncIterator[bytes], *, size: int | None = None
    ) -> None:
        """Send the parts (at most `size` bytes) and end the answer."""
        digest = hashlib.sha256()
        sent = 0
        try:
            if self.request.method != "HEAD":
                async for part in parts:
                    data = part if size is None else part[: size - sent]
                    digest.update(data)
                    sent += len(data)
                    await exchange.send(data)
                    if sent == size:
                        break
            await exchange.finish()
            self.view.note(self.request, self.act, sha256=digest.hexdigest())
        finally:
            self.view.note(self.request, self.act, bytes=sent)


def _range(exchange: Exchange, etag: str) -> tuple[int, int | None] | None:
    """(first byte, last byte or None) of a Range that we serve; None for the whole file."""
    match = RANGE.match(exchange.headers.get("range", "").strip())
    condition = exchange.headers.get("if-range", "")
    if match is None or (condition and condition != etag):
        return None
    start = int(match.group(1))
    last = int(match.group(2)) if match.group(2) else None
    # RFC 9110: a range that ends before it begins is none.
    return None if last is not None and last < start else (start, last)


def _attachment(name: str) -> dict[str, str]:
    """Headers of a download: its name (RFC 5987), and that no browser may guess its type."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        # What a container holds must never run as a page of ours.
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


# --- uploads --------------------------------------------------------------------------------------
UPLOADED = record(path=TEXT, size=INTEGER, sha256=TEXT)


class PodFiles(TransferView):
    """GET, POST and DELETE /pods/{name}/files."""

    # A POST creates and a DELETE deletes here: refusals are those of the method.
    refused_as = ""
    operations = {
        "get": LIST_SCHEMA,
        "delete": DELETE_SCHEMA,
        "post": OperationSchema(
            "Upload files into a directory of a container, or unpack an archive there",
            answer_schema(items=array(UPLOADED), operation_id=INTEGER),
            query=(
                *PLACE,
                QueryParameter("overwrite", BOOLEAN),
                QueryParameter("mode", TEXT, description="Octal digits such as 0644."),
                QueryParameter("name", TEXT, description="Of the file that is the raw body."),
                QueryParameter(
                    "extract",
                    {"type": "string", "enum": [TAR, TAR_GZ]},
                    description="The raw body is an archive to unpack below `path`.",
                ),
                QueryParameter(
                    "async",
                    BOOLEAN,
                    description="Answer with `operation_id` once the bytes are in the container; "
                    "the operation compares their sha256 there and gives the files their names.",
                ),
            ),
            body={
                "type": "object",
                "properties": {"file": array({"type": "string", "format": "binary"})},
            },
            body_types=("multipart/form-data", "application/octet-stream"),
        ),
    }

    def get(self, request: Request, name: str) -> Any:
        """The entries of a directory."""
        return list_files(self, request, name)

    def delete(self, request: Request, name: str) -> Any:
        """Remove a file, a link or a directory."""
        return delete_file(self, request, name)

    def post(self, request: Request, name: str) -> Any:
        """{"items":[{"path","size","sha256"}],"container","via"}; with async {"operation_id"}."""
        target, ref = self.object_ref(request, WRITE, name)
        act = self.act(WRITE, target, name)
        path = path_of(target)
        overwrite = target.flag("overwrite")
        mode = check_mode(target.option("mode"))
        extract = target.option("extract")
        if extract and extract not in FORMATS:
            raise Invalid("extract must be tar or tar.gz", field="extract")
        file_name = target.option("name")
        if file_name:
            check_name(file_name)
        boundary = boundary_of(request.headers.get("Content-Type", ""))
        is_async = target.flag("async")
        if extract and is_async:
            raise Invalid("async goes with files, not with extract", field="async")
        if extract and (file_name or mode):
            raise Invalid("extract goes with neither name nor mode", field="extract")
        if boundary and (extract or file_name):
            field = "extract" if extract else "name"
            raise Invalid(f"{field} goes with a raw body, not with multipart", field=field)
        if not (boundary or extract or file_name):
            raise Invalid("name is required for a raw body", field="name")
        self.note(request, act, path=path)
        pod = ref.read()
        background = _Background(self, request, act, ref, pod, overwrite) if is_async else None
        upload = _Upload(
            self, request, act, path, overwrite, mode, extract, file_name, boundary, background
        )
        return self.transfer(request, act, pod, target.option("container"), upload.run)


@dataclass(slots=True)
class _Background:
    """The end of an upload as an operation."""

    view: TransferView
    request: Request
    act: AccessAttributes
    ref: ObjectRef
    pod: Object
    overwrite: bool

    async def take_over(
        self, receiver: Receiver, container: Container, items: list[dict[str, Any]]
    ) -> int:
        """Leave the staged files to an operation; its id.

        The row comes first: without it nobody would remove the files if this process died.
        """
        row = await in_database_thread(self._create, container, items)
        try:
            await receiver.keep_staged()
        except BaseException:
            # Shielded: the task may be cancelled, and the row must not wait for ever.
            sentence = "the upload broke before its end"
            ending = in_database_thread(lifecycle.interrupt, row, sentence, reason="upload_broke")
            await asyncio.shield(ending)
            raise
        await in_database_thread(tasks.enqueue, row)
        return row.pk

    def _create(self, container: Container, items: list[dict[str, Any]]) -> Operation:
        # The operation goes on with what is allowed now, in this thread.
        authority.clear()
        try:
            authorise(self.view, self.request, self.act)
            if container.via == DEBUG:
                authorise(self.view, self.request, replace(self.act, verb="debug"))
            return operation.create_upload(
                self.ref,
                self.pod,
                container.name,
                items,
                overwrite=self.overwrite,
                requested_by=caller(self.request),
            )
        finally:
            authority.clear()


@dataclass(slots=True)
class _Upload:
    view: TransferView
    request: Request
    act: AccessAttributes
    path: str
    overwrite: bool
    mode: str
    extract: str
    name: str
    boundary: str
    background: _Background | None = None
    operation: int | None = None

    async def run(self, exchange: Exchange, container: Container) -> dict[str, Any]:
        """Take the body and put it into the container; the answer's data."""
        limit = settings.FILES_UPLOAD_BYTES
        extra = MULTIPART_BYTES if self.boundary else 0
        if (exchange.content_length or 0) > limit + extra:
            raise PayloadTooLarge(f"the body is larger than {limit} bytes")
        folder = await container.inspect(self.path)
        if not stat.S_ISDIR(folder.mode):
            raise not_a_directory(self.path)
        parts = _bounded(exchange.body(), limit + extra, limit)
        if self.extract:
            plain = extraction.decompress(parts, limit) if self.extract == TAR_GZ else parts
            items = await extraction.extract(
                container,
                folder.path,
                plain,
                overwrite=self.overwrite,
                limit=limit,
                confirm=lambda: exchange.confirm_right(MEMBER_SECONDS),
            )
        elif self.boundary:
            items = await self._take_parts(exchange, container, folder.path, parts)
        else:
            files = _one(self.name, parts)
            items = await self._take_files(exchange, container, folder.path, files)
        self.view.note(
            self.request,
            self.act,
            bytes=sum(item["size"] for item in items),
            files=len(items),
            items=[{"path": item["path"], "sha256": item["sha256"]} for item in items[:50]],
        )
        if len(items) == 1:
            self.view.note(self.request, self.act, sha256=items[0]["sha256"])
        if self.operation is not None:
            self.view.note(self.request, self.act, operation_id=self.operation)
            return with_way(container, operation_id=self.operation)
        return with_way(container, items=self._as_asked(items, folder.path))

    def _as_asked(self, items: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
        """The items with paths below the directory as the caller has named it."""
        head = folder.rstrip("/")
        return [
            {**item, "path": f"{self.path.rstrip('/')}{item['path'].removeprefix(head)}"}
            for item in items
        ]

    async def _take_parts(
        self,
        exchange: Exchange,
        container: Container,
        folder: str,
        parts: AsyncIterator[bytes],
    ) -> list[dict[str, Any]]:
        reader = MultipartReader(parts, self.boundary)

        async def files() -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
            async for part in reader.parts():
                if part.name != "file" or part.filename is None:
                    raise Invalid(
                        "the parts of an upload are files named `file`", field=part.name or "file"
                    )
                yield check_name(part.filename, "file"), reader.content()

        items = await self._take_files(exchange, container, folder, files())
        if not items:
            raise Invalid("the body holds no file", field="file")
        return items

    async def _take_files(
        self,
        exchange: Exchange,
        container: Container,
        folder: str,
        files: AsyncIterator[tuple[str, AsyncIterator[bytes]]],
    ) -> list[dict[str, Any]]:
        """Write the files one after the other; each gets its own name once it is whole."""
        items: list[dict[str, Any]] = []
        async with Receiver.open(container, folder, exchange.confirm_right) as receiver:
            async for name, data in files:
                path = f"{folder.rstrip('/')}/{name}"
                existing = await _existing(container, path, overwrite=self.overwrite)
                await receiver.check_directories(path)
                if not self.overwrite:
                    await receiver.require_absent(path)
                await receiver.begin_file(path, self.mode, existing)
                async for part in data:
                    await receiver.write(part)
                if self.background:
                    items.append(await receiver.stage_file())
                else:
                    items.append(await receiver.end_file())
            if self.background and items:
                asked = self._as_asked(items, folder)
                for item, shown in zip(items, asked, strict=True):
                    item["shown"] = shown["path"]
                self.operation = await self.background.take_over(receiver, container, items)
            else:
                await receiver.finish()
        return items


async def _one(
    name: str, parts: AsyncIterator[bytes]
) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
    yield name, parts


async def _existing(container: Container, path: str, *, overwrite: bool) -> Entry | None:
    """The file that an upload replaces; None for a new one. Conflict unless `overwrite`."""
    listed = await container.find(path)
    if listed is None:
        return None
    if stat.S_ISDIR(listed.mode):
        raise is_a_directory(path)
    if not overwrite:
        raise exists_already(path)
    return listed if stat.S_ISREG(listed.mode) else None


async def _bounded(parts: AsyncIterator[bytes], most: int, limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for part in parts:
        size += len(part)
        if size > most:
            raise PayloadTooLarge(f"the body is larger than {limit} bytes")
        yield part
