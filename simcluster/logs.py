"""Pod logs: what containers print, with tail, since, timestamps and follow."""

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from simcluster import clock, programs
from simcluster.cluster import Cluster
from simcluster.errors import ApiError, bad_request
from simcluster.objects import get_annotations
from simcluster.requests import Target, integer, is_true
from simcluster.resources import Object

_EVERY = 4.0
_MOST = 20_000
# Seconds before any log there is.
_LONG_AGO = 100 * 365 * 86400
_PATHS = (
    "/",
    "/healthz",
    "/api/v1/orders",
    "/api/v1/users/42",
    "/static/app.js",
    "/metrics",
    "/login",
)
_CODES = (200, 200, 200, 200, 304, 201, 404, 500)


@dataclass(frozen=True)
class Line:
    """One printed line and when."""

    at: datetime
    text: str

    def encode(self, *, stamped: bool) -> bytes:
        """The line as the API gives it, with its time in nanoseconds if asked."""
        stamp = f"{self.at.strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z " if stamped else ""
        return f"{stamp}{self.text}\n".encode()


def _access_line(container: Object, number: int, at: datetime, seed: int) -> str:
    # Seeded by line, so that reading from any line on gives the same text.
    dice = random.Random(seed * 1_000_003 + number)
    path = dice.choice(_PATHS)
    code = dice.choice(_CODES)
    kind = programs.image_name(container.get("image", ""))
    # Lines look like those of the image, so that filters have something to find.
    if kind in ("nginx", "httpd", "haproxy", "traefik", "envoy"):
        client = f"10.244.{dice.randint(0, 9)}.{dice.randint(2, 250)}"
        stamp = at.strftime("%d/%b/%Y:%H:%M:%S")
        size = dice.randint(120, 9000)
        request = f'"GET {path} HTTP/1.1" {code} {size}'
        return f'{client} - - [{stamp} +0000] {request} "-" "kube-probe/1.36"'
    if kind in ("postgres", "mysql", "mariadb", "redis", "mongo"):
        stamp = at.strftime("%Y-%m-%d %H:%M:%S")
        process = dice.randint(30, 400)
        buffers = dice.randint(1, 900)
        return f"{stamp} UTC [{process}] LOG:  checkpoint complete: wrote {buffers} buffers"
    level = "ERROR" if code == 500 else "INFO"
    source = f"{clock.timestamp(at)} {level} {container['name']}"
    # Any other image prints logfmt, with levels to filter by.
    return f"{source}: method=GET path={path} status={code} duration={dice.randint(1, 900)}ms"


def _moment_of_end(run: Object) -> datetime:
    """The last moment of the second in which a run ended: the API's times are cut to seconds."""
    return clock.parse(run["finishedAt"]) + timedelta(microseconds=999_999)


class ContainerLog:
    """The log of one run of a container: the same lines whenever it is read."""

    def __init__(self, cluster: Cluster, pod: Object, container: Object, run: Object) -> None:
        self.cluster = cluster
        self.container = container
        self.started = clock.parse(run["startedAt"])
        self.finished = _moment_of_end(run) if run.get("finishedAt") else None
        self.program = programs.program_of(pod, container)
        self.seed = zlib.crc32(
            f"{pod['metadata']['uid']}/{container['name']}/{run['startedAt']}".encode()
        )

    def _first(self, end: datetime) -> int:
        every = self.cluster.clock.real(_EVERY)
        return max(0, int((end - self.started).total_seconds() / every) - _MOST)

    def lines(self, after: datetime | None = None, until: datetime | None = None) -> Iterator[Line]:
        """The lines after a moment, up to another: now, or the end of the run."""
        end = self.finished or until or datetime.now(UTC)
        if self.program.scripted or self.program.output or self.program.seconds is not None:
            yield from self._scripted(end, after)
            return
        every = self.cluster.clock.real(_EVERY)
        begin = self.started if after is None else max(after, self.started)
        number = max(self._first(end), int((begin - self.started).total_seconds() / every))
        while (at := self.started + timedelta(seconds=number * every)) <= end:
            if after is None or at > after:
                yield Line(at, self._text(number, at))
            number += 1

    def _scripted(self, end: datetime, after: datetime | None) -> Iterator[Line]:
        period = self.cluster.clock.real(self.program.period)
        turn = 0
        if period:
            # What a container printed in all its life is bounded, as the files of a real node are.
            last = int((end - self.started).total_seconds() / period)
            read = int(((after or self.started) - self.started).total_seconds() / period)
            turn = max(0, read, last - _MOST)
        while True:
            for offset, text in self.program.output:
                at = self.started + timedelta(
                    seconds=turn * period + self.cluster.clock.real(offset)
                )
                if at > end:
                    return
                if after is None or at > after:
                    yield Line(at, text)
            turn += 1
            if not period or not self.program.output:
                return

    def _text(self, number: int, at: datetime) -> str:
        if number == 0:
            return f"{at.strftime('%Y-%m-%dT%H:%M:%SZ')} INFO {self.container['name']}: starting"
        return _access_line(self.container, number, at, self.seed)


def container_of(pod: Object, name: str) -> Object:
    """The named container of a pod, or its default one; 400 when there is none."""
    spec = pod["spec"]
    every: list[Object] = [
        *spec["containers"],
        *(spec.get("initContainers") or ()),
        *(spec.get("ephemeralContainers") or ()),
    ]
    names = " ".join(container["name"] for container in spec["containers"])
    if not name:
        default = get_annotations(pod).get("kubectl.kubernetes.io/default-container")
        if len(spec["containers"]) > 1 and not default:
            raise bad_request(
                f"a container name must be specified for pod {pod['metadata']['name']}, "
                f"choose one of: [{names}]"
            )
        name = default or spec["containers"][0]["name"]
    for container in every:
        if container["name"] == name:
            return container
    raise bad_request(f"container {name} is not valid for pod {pod['metadata']['name']}")


def _run_of(cluster: Cluster, pod: Object, container: Object, *, previous: bool) -> Object:
    name = container["name"]
    pod_name = pod["metadata"]["name"]
    status = pod.get("status", {})
    every = [
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    ]
    container_status = next((candidate for candidate in every if candidate["name"] == name), None)
    if container_status is None and not cluster.settings.kubelet:
        details = {"name": pod_name, "kind": "pods/log"}
        raise ApiError(
            404,
            "NotFound",
            f"the server could not find the requested resource ( pods/log {pod_name})",
            details=details,
        )
    last = ((container_status or {}).get("lastState") or {}).get("terminated")
    if previous:
        if last is None:
            raise bad_request(
                f'previous terminated container "{name}" in pod "{pod_name}" not found'
            )
        return dict(last)
    state = (container_status or {}).get("state") or {"waiting": {"reason": "ContainerCreating"}}
    run = (
        state.get("running")
        or state.get("terminated")
        or (last if (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff" else None)
    )
    if run is None:
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {pod_name} does not have a host assigned")
        reason = state["waiting"].get("reason", "ContainerCreating")
        message = {
            "ErrImagePull": "image can't be pulled",
            "ImagePullBackOff": "trying and failing to pull image",
        }.get(reason, reason)
        raise bad_request(f'container "{name}" in pod "{pod_name}" is waiting to start: {message}')
    return dict(run)


def _begin(query: Mapping[str, str], cluster: Cluster) -> datetime | None:
    seconds = integer(query, "sinceSeconds")
    if seconds is not None and query.get("sinceTime"):
        raise ApiError(
            422,
            "Invalid",
            'PodLogOptions "" is invalid: at most one of `sinceTime` or `sinceSeconds` '
            "may be specified",
        )
    if seconds is not None:
        if seconds < 1:
            raise ApiError(
                422,
                "Invalid",
                f'PodLogOptions "" is invalid: sinceSeconds: Invalid value: {seconds}: '
                "must be greater than 0",
            )
        return datetime.now(UTC) - timedelta(seconds=min(seconds, _LONG_AGO))
    try:
        return clock.parse(query["sinceTime"]) if query.get("sinceTime") else None
    except ValueError as error:
        raise bad_request(f'parsing time "{query["sinceTime"]}"') from error


async def answer(cluster: Cluster, request: web.Request, target: Target) -> web.StreamResponse:
    """`GET .../pods/{name}/log`."""
    query = request.query
    pod = cluster.registry.read(target.resource, target.namespace, target.name)
    container = container_of(pod, query.get("container", ""))
    run = _run_of(cluster, pod, container, previous=is_true(query.get("previous")))
    tail = integer(query, "tailLines")
    if tail is not None and tail < 0:
        raise ApiError(
            422,
            "Invalid",
            f'PodLogOptions "" is invalid: tailLines: Invalid value: {tail}: '
            "must be greater than or equal to 0",
        )
    log = ContainerLog(cluster, pod, container, run)
    read_at = datetime.now(UTC)
    lines = list(log.lines(_begin(query, cluster), read_at))
    if tail is not None:
        # `lines[-0:]` would be all lines.
        lines = lines[len(lines) - tail :] if tail else []
    stamped = is_true(query.get("timestamps"))
    body = b"".join(line.encode(stamped=stamped) for line in lines)
    limit = integer(query, "limitBytes")
    # A run that has ended prints no more: following it ends at once.
    if not is_true(query.get("follow")) or log.finished is not None:
        return web.Response(
            body=body[:limit] if limit else body,
            headers={"Content-Type": "text/plain"},
        )
    later = _new_lines(cluster, log, target.namespace, target.name, read_at, stamped=stamped)
    return await _follow(request, body, later)


async def _follow(
    request: web.Request, body: bytes, later: AsyncIterator[bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    # The client closes a followed log when it has seen enough.
    with contextlib.suppress(ConnectionResetError):
        await response.prepare(request)
        await response.write(body)
        async for lines in later:
            await response.write(lines)
        await response.write_eof()
    return response


async def follow(cluster: Cluster, pod: Object, container: Object) -> AsyncIterator[bytes]:
    """The lines that a running container prints from now on, until it ends."""
    log = ContainerLog(cluster, pod, container, _run_of(cluster, pod, container, previous=False))
    async for lines in _new_lines(
        cluster,
        log,
        pod["metadata"]["namespace"],
        pod["metadata"]["name"],
        datetime.now(UTC),
        stamped=False,
    ):
        yield lines


async def _new_lines(
    cluster: Cluster,
    log: ContainerLog,
    namespace: str,
    name: str,
    since: datetime,
    *,
    stamped: bool,
) -> AsyncIterator[bytes]:
    last = since
    while log.finished is None:
        await asyncio.sleep(min(0.5, cluster.clock.real(_EVERY)))
        log.finished = _end_of_run(cluster, namespace, name, log)
        lines = list(log.lines(last))
        last = lines[-1].at if lines else last
        if lines:
            yield b"".join(line.encode(stamped=stamped) for line in lines)


def _end_of_run(cluster: Cluster, namespace: str, name: str, log: ContainerLog) -> datetime | None:
    """When the followed run ended; None while it goes on, now when its end left no trace."""
    pod = cluster.object("pods", namespace, name)
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or ()
    status: Object = next(
        (candidate for candidate in statuses if candidate["name"] == log.container["name"]),
        {},
    )
    running = (status.get("state") or {}).get("running")
    if running and clock.parse(running["startedAt"]) == log.started:
        return None
    ends = [(status.get(key) or {}).get("terminated") or {} for key in ("state", "lastState")]
    ended = (
        _moment_of_end(end)
        for end in ends
        if end.get("startedAt") and clock.parse(end["startedAt"]) == log.started
    )
    return next(ended, datetime.now(UTC))
