"""Transfers of large files as operations: the sum of one to be downloaded, the end of an upload.

An upload's bytes stand in temporary files beside their targets when its operation begins, which
compares their sums and gives them their names. Every run may be repeated: a file that was renamed
by a run that died is known by its sum.
"""

import stat
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import ClusterUnavailable, Conflict, Forbidden, NotFound, Rejected
from operations import lifecycle
from operations.lifecycle import OperationTarget, RequeueAfter, Result, Step
from operations.models import Operation, OperationStep
from workloads.files import changes, contents
from workloads.files.blocking import Beat, DebugNeeded, Work, call_container
from workloads.files.containers import Container
from workloads.files.failures import is_a_directory
from workloads.files.uploads import remove_temporary
from workloads.objects.object_ref import ObjectRef

T = TypeVar("T")
DIGEST = "file_digest"
UPLOAD = "file_upload"
# What the columns of an operation's progress hold; larger files are counted in KiB.
MAX_COUNT = 2**31 - 1
MAX_NAME = 600


# --- creating -------------------------------------------------------------------------------------
def create_digest(
    ref: ObjectRef, pod: Object, container: str, path: str, *, address: str, requested_by: str
) -> Operation:
    """A pending operation that tells the sum of a file; its result names the download's address."""
    parameters = {"path": path, "download": address}
    return _create(DIGEST, ref, pod, container, parameters, requested_by)


def create_upload(
    ref: ObjectRef,
    pod: Object,
    container: str,
    items: list[dict[str, Any]],
    *,
    overwrite: bool,
    requested_by: str,
) -> Operation:
    """A pending operation with a step for each file.

    Items are those of `Receiver.stage_file`; their member `shown` is the path as the caller named
    it.
    """
    # No worker may see the operation without its steps: it would be finished at once.
    with transaction.atomic():
        parameters = {"overwrite": overwrite}
        row = _create(UPLOAD, ref, pod, container, parameters, requested_by)
        steps = [
            Step(str(place), item["shown"][-MAX_NAME:], data=item)
            for place, item in enumerate(items)
        ]
        lifecycle.plan(row, steps)
    return row


def _create(
    kind: str,
    ref: ObjectRef,
    pod: Object,
    container: str,
    parameters: dict[str, Any],
    requested_by: str,
) -> Operation:
    place = {"container": container, "uid": pod["metadata"]["uid"]}
    return lifecycle.create(
        kind,
        OperationTarget(ref.cluster, ref.kind.plural, ref.namespace, ref.name),
        requested_by=requested_by,
        parameters={**parameters, **place},
    )


# --- the container --------------------------------------------------------------------------------
def _call(operation: Operation, work: Work[T], beat: Beat | None = None) -> T:
    """What the work returns; Conflict when the pod is another one by now."""
    assert operation.cluster is not None  # noqa: S101  # created with one
    ref = ObjectRef(operation.cluster, KINDS["pods"], operation.namespace, operation.name)
    pod = ref.read()
    if pod["metadata"]["uid"] != operation.parameters["uid"]:
        raise Conflict("the pod was deleted, and a new one has its name", reason="Replaced")
    acts = operation.authority.get("acts", [])
    try:
        _, result = call_container(
            operation.cluster,
            pod,
            operation.parameters["container"],
            work,
            may_debug=any(act["verb"] == "debug" for act in acts),
            seconds=settings.FILES_DIGEST_SECONDS,
            beat=beat,
        )
    except DebugNeeded:
        raise Forbidden("the container lost its shell: try again", reason="NoTools") from None
    return result


class _Progress:
    """How many bytes of a file were summed."""

    def __init__(self) -> None:
        self.size = 0
        self.done = 0

    def note(self, done: int) -> None:
        self.done = done

    def save(self, operation: Operation) -> None:
        unit = 1 if self.size <= MAX_COUNT else 1024
        lifecycle.advance(
            operation, done=min(self.done, self.size) // unit, total=self.size // unit
        )


def _retry_later(operation: Operation, error: ClusterUnavailable) -> RequeueAfter:
    """Try again; raises the error when the cluster has been away for too long."""
    since = lifecycle.outage_start(operation.parameters.get("away_since"), error)
    lifecycle.remember(operation, away_since=since)
    return RequeueAfter(settings.DRAIN_RETRY_SECONDS)


# --- downloads ------------------------------------------------------------------------------------
def run_digest(operation: Operation) -> RequeueAfter | Result:
    """{"path","size","sha256","etag","download"}: what a download in parts is compared with."""
    path = operation.parameters["path"]
    progress = _Progress()

    async def work(container: Container) -> Result:
        entry = await container.inspect(path)
        if stat.S_ISDIR(entry.mode):
            raise is_a_directory(path)
        limit = settings.FILES_DOWNLOAD_BYTES
        progress.size = entry.size
        digest = None
        if entry.size <= limit:
            digest = await contents.read_digest(
                container, path, limit=limit, is_long=True, progress=progress.note
            )
        if digest is None:
            raise Rejected(f"{path} is larger than {limit} bytes", reason="TooLarge")
        if (await container.inspect(path)).etag != entry.etag:
            raise Rejected(f"{path} changed while it was read", reason="Changed")
        progress.note(entry.size)
        return {"path": path, "size": entry.size, "sha256": digest, "etag": entry.etag}

    def beat() -> None:
        lifecycle.heartbeat(operation)
        progress.save(operation)

    try:
        result = _call(operation, work, beat)
    except ClusterUnavailable as error:
        return _retry_later(operation, error)
    progress.save(operation)
    return {**result, "download": operation.parameters["download"]}


# --- uploads --------------------------------------------------------------------------------------
def run_upload(operation: Operation) -> RequeueAfter | Result:
    """Compare and name each file; {"items":[{"path","size","sha256"}]} at the end."""
    for step in lifecycle.steps(operation, *OperationStep.OPEN):
        lifecycle.heartbeat(operation)
        try:
            _commit_file(operation, step)
        except ClusterUnavailable as error:
            return _retry_later(operation, error)
    items = [step.data for step in lifecycle.steps(operation)]
    return {
        "items": [
            {"path": item["shown"], "size": item["size"], "sha256": item["sha256"]}
            for item in items
        ]
    }


def _commit_file(operation: Operation, step: OperationStep) -> None:
    item = step.data
    may_be_named = "is_verified" in item

    async def verify(container: Container) -> bool:
        """Whether the temporary file waits for its name; False when it has it already."""
        if await _holds(container, item["temporary"], item):
            return True
        # A run before this one may have died between the renaming and its note.
        if may_be_named and await _holds(container, item["path"], item):
            return False
        raise Rejected(
            f"{item['shown']}: the container no longer holds what was sent", reason="Incomplete"
        )

    async def give_name(container: Container) -> None:
        await changes.rename(
            container,
            item["temporary"],
            item["path"],
            overwrite=operation.parameters["overwrite"],
            about=item["shown"],
        )

    if _call(operation, verify, lambda: lifecycle.heartbeat(operation)):
        lifecycle.move(step, "running", "verified", is_verified=True)
        # Just before it counts, whatever was checked a moment ago.
        lifecycle.require_right(operation)
        _call(operation, give_name)
    lifecycle.move(step, "succeeded", "written")


async def _holds(container: Container, path: str, item: dict[str, Any]) -> bool:
    """Whether a regular file with the item's size and sum stands at the path."""
    try:
        entry = await container.inspect(path, follow=False)
    except NotFound:
        return False
    if not stat.S_ISREG(entry.mode) or entry.size != item["size"]:
        return False
    digest = await contents.read_digest(container, entry.path, limit=item["size"], is_long=True)
    return digest == str(item["sha256"])


def remove_staged(operation: Operation) -> None:
    """Remove what waits for its name; files that have theirs stay."""
    paths = [step.data["temporary"] for step in lifecycle.steps(operation)]

    async def work(container: Container) -> None:
        await remove_temporary(container, paths)

    _call(operation, work)
