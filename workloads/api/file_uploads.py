"""Files into pods: one file, several, or an archive that is unpacked there."""

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from clusters import authority
from clusters.manifests import Object
from core.api.attributes import AccessAttributes
from core.api.auth import authorise
from core.api.schema import BOOLEAN, INTEGER, TEXT, OperationSchema, QueryParameter, array, record
from core.errors import Invalid, PayloadTooLarge
from core.sockets.connections import in_database_thread
from core.sockets.exchanges import Exchange
from operations import lifecycle, tasks
from operations.models import Operation
from workloads.api.actions import caller
from workloads.api.file_transfers import FORMATS, TAR, TAR_GZ, TransferView
from workloads.api.files import (
    DELETE_SCHEMA,
    LIST_SCHEMA,
    PLACE,
    WRITE,
    answer_schema,
    delete_file,
    list_files,
    path_of,
    with_way,
)
from workloads.files import extraction, operation
from workloads.files.containers import Container, Entry
from workloads.files.failures import exists_already, is_a_directory, not_a_directory
from workloads.files.multipart import MultipartReader, boundary_of
from workloads.files.paths import check_name
from workloads.files.uploads import Receiver, check_mode
from workloads.files.ways import DEBUG
from workloads.objects.object_ref import ObjectRef

# Of the heads of a multipart body, which come on top of the files.
MULTIPART_BYTES = 1024 * 1024
# How long a check of the right holds for the members of an archive: there may be thousands.
MEMBER_SECONDS = 1.0
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

        The row comes first: without it the files would stay if this process died.
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
