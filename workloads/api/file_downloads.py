"""Files out of pods, as they are; directories as archives."""

import hashlib
import re
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from rest_framework.request import Request

from core.api.attributes import AccessAttributes
from core.api.schema import BOOLEAN, INTEGER, OperationSchema, QueryParameter
from core.errors import DomainError, Invalid, Rejected
from core.sockets.connections import in_database_thread
from core.sockets.exchanges import Exchange, run_until_left
from operations import tasks
from workloads.api.actions import caller
from workloads.api.file_transfers import FORMATS, TAR_GZ, TransferView
from workloads.api.files import PLACE, READ, answer_schema, path_of, with_way
from workloads.api.request_target import RequestTarget
from workloads.files import contents, downloads, operation
from workloads.files.containers import Container, Entry
from workloads.objects.object_ref import ObjectRef

RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?\Z")


def too_large(path: str) -> DomainError:
    """The error for a file above FILES_DOWNLOAD_BYTES."""
    return Rejected(
        f"{path} is larger than {settings.FILES_DOWNLOAD_BYTES} bytes", reason="TooLarge"
    )


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

        async def inspect(inspected: Container) -> Entry:
            return await inspected.inspect(path)

        pod = ref.read()
        container, entry = self.call(request, act, target, ref, inspect)
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
