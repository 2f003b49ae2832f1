"""The container whose files are meant, and by which way they are reached."""

import asyncio
import posixpath
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from clusters.kinds import KINDS
from clusters.manifests import Object
from clusters.streams import StreamClient
from core.errors import ClusterUnavailable, DomainError, Forbidden, Invalid, NotFound, Rejected
from workloads.files import scripts
from workloads.files.commands import NoProgram, Process, run_script
from workloads.files.failures import LINK_CODE, not_running
from workloads.files.paths import check_allowed, components, normalise
from workloads.streams.containers import container_status, select_containers

PODS = KINDS["pods"]
TAR = "tar"
SHELL = "shell"
DEBUG = "debug"
# What every script needs, and what some of them do.
REQUIRED_TOOLS = ("stat", "readlink", "cat", "tail", "mv", "mkdir", "rm", "stat-c")
OTHER_TOOLS = ("tar", "dd", "sha256sum", "find", "wc", "chmod")
# How many images' ways one process remembers, and for how long (seconds).
_REMEMBERED = 512
_FRESH_SECONDS = 600.0
_MAX_LINKS = 40
DEBUG_PREFIX = "kubegale-files-"
# The target's root, seen from a container that shares its processes.
TARGET_ROOT = "/proc/1/root"
Confirm = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Way:
    """How an image's files are reached: tar, shell or debug, and the programs that it has."""

    via: str
    tools: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as `stat` sees it; `mode` holds the type bits too."""

    path: str
    mode: int
    size: int
    uid: int
    gid: int
    mtime: int

    @property
    def etag(self) -> str:
        """An ETag that another size or time of change makes another."""
        return f'"{self.size:x}-{self.mtime:x}"'


@dataclass(slots=True)
class Container:
    """One container of one pod; scripts run in it, or in a debug container beside it.

    `root` stands before every path on the way to the container's files.
    """

    client: StreamClient
    namespace: str
    pod: str
    name: str
    way: Way
    # Where scripts run: the container itself or a debug container.
    exec_name: str = ""
    root: str = ""
    denied: tuple[str, ...] = ()
    image: str = field(default="", repr=False)

    @property
    def via(self) -> str:
        """`tar`, `shell` or `debug`."""
        return self.way.via

    def inner(self, path: str) -> str:
        """The path as scripts get it."""
        return f"{self.root}{path}" if path != "/" or not self.root else f"{self.root}/"

    @asynccontextmanager
    async def run(
        self,
        script: str,
        path: str,
        *arguments: str,
        option: str = "-",
        has_input: bool = False,
    ) -> AsyncIterator[Process]:
        """A script that runs; errors of it are about `path`. Rejected when its shell has gone."""
        location = (self.namespace, self.pod, self.exec_name)
        try:
            async with run_script(
                self.client,
                location,
                script,
                arguments,
                option=option,
                path=path,
                has_input=has_input,
            ) as process:
                yield process
        except NoProgram:
            _ways.pop(self.image, None)
            raise Rejected(
                f"container {self.name} has no shell any more: try again", reason="NoTools"
            ) from None

    @asynccontextmanager
    async def walk(
        self,
        script: str,
        path: str,
        *,
        option: str = "-",
        follow: bool = True,
        is_silent: bool = False,
    ) -> AsyncIterator[tuple[Process, str, bytes]]:
        """Run a script that begins with WALK: (process, resolved path, first line of its output).

        Links on the way (with `follow` the last component too) are followed here, one after the
        other, so that every step is checked against FILES_DENY. The script runs on the path that
        has no links left; a link made between its check and its act is the race that remains.
        One that `is_silent` may say nothing for as long as the caller allows.
        """
        resolved = path
        for _ in range(_MAX_LINKS):
            check_allowed(resolved, self.denied)
            steps = components(resolved)
            if not follow:
                steps = steps[:-1]
            inner = [self.inner(step) for step in (resolved, *steps)]
            async with self.run(script, path, *inner, option=option) as process:
                if is_silent:
                    process.patience = None
                line = await process.read_line()
                link = await self._link(process, line)
                if link is None:
                    yield process, resolved, line
                    return
            resolved = _follow(resolved, *link)
        raise Rejected(f"{path}: too many links", reason="TooManyLinks", field="path")

    async def _link(self, process: Process, line: bytes) -> tuple[str, str] | None:
        """(link, target) when the script has stopped at a link, else None."""
        if not line.startswith(b"link "):
            return None
        target = await process.read(16 * 1024)
        if process.code != LINK_CODE:
            return None
        link = line.removeprefix(b"link ").decode(errors="surrogateescape")
        text = target.removesuffix(b"\n").decode(errors="surrogateescape")
        return link.removeprefix(self.root), text

    async def inspect(self, path: str, *, follow: bool = True) -> Entry:
        """The file at the end of the path; NotFound, or Rejected when it may not be seen."""
        async with self.walk(scripts.INSPECT, path, follow=follow) as (process, resolved, line):
            if await process.end():
                raise process.error()
        return parse_entry(resolved, line)

    async def find(self, path: str) -> Entry | None:
        """The file at the path, a link as itself; None when there is none."""
        try:
            return await self.inspect(path, follow=False)
        except NotFound:
            return None


def _follow(path: str, link: str, target: str) -> str:
    """The path once the link on the way is replaced by its target."""
    if not target:
        raise Rejected(f"{path}: a link leads nowhere", reason="NotFound", field="path")
    rest = path.removeprefix(link)
    text = posixpath.join(posixpath.dirname(link), target) + rest
    return normalise(text)


def parse_entry(path: str, line: bytes) -> Entry:
    """The line that STAT prints; Rejected for anything else."""
    words = line.split()
    try:
        if len(words) != 6 or words[0] != b"stat":
            raise ValueError
        size, uid, gid, mtime = (int(word) for word in words[2:])
        return Entry(path, int(words[1], 16), size, uid, gid, mtime)
    except ValueError:
        raise Rejected("the container's answer is malformed", reason="BadAnswer") from None


# --- the way to an image's files ----------------------------------------------------------------
# Image -> (when it was tried, way), the latest last.
_ways: "OrderedDict[str, tuple[float, Way]]" = OrderedDict()


def _remembered(image: str) -> Way | None:
    tried, way = _ways.get(image, (0.0, None))
    return way if way and time.monotonic() - tried < _FRESH_SECONDS else None


def _remember(image: str, way: Way) -> None:
    _ways.pop(image, None)
    _ways[image] = (time.monotonic(), way)
    while len(_ways) > _REMEMBERED:
        _ways.popitem(last=False)


async def find_container(
    client: StreamClient,
    pod: Object,
    name: str,
    confirm_debug: Confirm,
) -> Container:
    """The container of the pod that `name` means, and the way to its files.

    `confirm_debug` raises Forbidden when the caller may not start a debug container. Invalid when
    the pod has several containers and none is named, Rejected when it does not run.
    """
    chosen = _choose(pod, name)
    status = container_status(pod, chosen)
    if status.state != "running":
        raise not_running(chosen, status.reason or status.state)
    container = Container(
        client,
        pod["metadata"]["namespace"],
        pod["metadata"]["name"],
        chosen,
        Way(SHELL),
        exec_name=chosen,
        denied=(*settings.FILES_DENY, *_token_paths(pod, chosen)),
        image=_image(pod, chosen),
    )
    way = _remembered(container.image) or await _try_ways(container)
    container.way = way
    if way.via == DEBUG:
        await confirm_debug()
        await _attach_debugger(container, pod)
    return container


def _choose(pod: Object, name: str) -> str:
    regular = [container["name"] for container in pod["spec"].get("containers") or []]
    if not name and len(regular) > 1:
        raise Invalid(
            f"container is required: pod {pod['metadata']['name']} has {', '.join(regular)}",
            field="container",
        )
    if name == "*":
        raise Invalid("container must name one container", field="container")
    return select_containers(pod, [name] if name else [])[0]


def _token_paths(pod: Object, name: str) -> list[str]:
    """Where tokens of service accounts are mounted besides their usual place."""
    if not settings.FILES_DENY:
        return []
    volumes = {
        volume["name"]
        for volume in pod["spec"].get("volumes") or []
        for source in (volume.get("projected") or {}).get("sources") or []
        if "serviceAccountToken" in source
    }
    entry = next(item for item in _containers(pod) if item["name"] == name)
    mounts = entry.get("volumeMounts") or []
    return [posixpath.normpath(mount["mountPath"]) for mount in mounts if mount["name"] in volumes]


def _image(pod: Object, name: str) -> str:
    """What the way is remembered under: the image's digest, or the pod's own where none is known.

    A user that cannot run `sh` in one pod of an image cannot in another either.
    """
    status = pod.get("status") or {}
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(group) or []:
            if entry["name"] == name and entry.get("imageID"):
                return str(entry["imageID"])
    return f"{pod['metadata']['uid']}/{name}"


async def _try_ways(container: Container) -> Way:
    """Look for a shell and its tools; a container without them is reached from beside it."""
    try:
        tools = await _probe(container)
    except NoProgram:
        tools = frozenset()
    if tools.issuperset(REQUIRED_TOOLS):
        way = Way(TAR if "tar" in tools else SHELL, tools)
    else:
        way = Way(DEBUG)
    _remember(container.image, way)
    return way


async def _probe(container: Container) -> frozenset[str]:
    location = (container.namespace, container.pod, container.exec_name)
    names = [*REQUIRED_TOOLS, *OTHER_TOOLS]
    async with run_script(container.client, location, scripts.PROBE, names) as process:
        output = await process.read(64 * 1024)
    lines = output.decode(errors="replace").splitlines()
    return frozenset(line.removeprefix("tool ") for line in lines if line.startswith("tool "))


# --- debug containers ---------------------------------------------------------------------------
async def _attach_debugger(container: Container, pod: Object) -> None:
    """Run scripts in a debug container from now on; it is started when none of ours runs."""
    if pod["spec"].get("shareProcessNamespace"):
        # There process 1 is the pod's own pause container.
        raise Rejected(
            f"container {container.name} has neither tar nor a shell, and its pod shares process "
            "namespaces, so a debug container cannot tell its files apart",
            reason="NoTools",
        )
    if not settings.FILES_DEBUG_IMAGE:
        raise Rejected(
            f"container {container.name} has neither tar nor a shell with stat and readlink, and "
            "debug containers are off (FILES_DEBUG_IMAGE)",
            reason="NoTools",
        )
    name = _running_debugger(pod, container.name)
    if not name:
        name = f"{DEBUG_PREFIX}{uuid.uuid4().hex[:8]}"
        await _start_debugger(container, pod, name)
    container.exec_name = name
    container.root = TARGET_ROOT
    try:
        tools = await _probe(container)
    except NoProgram:
        tools = frozenset()
    missing = [tool for tool in REQUIRED_TOOLS if tool not in tools]
    if missing:
        raise Rejected(
            f"container {container.name} has neither tar nor a shell, and the debug image "
            f"{settings.FILES_DEBUG_IMAGE} lacks {', '.join(missing)}",
            reason="NoTools",
        )
    container.way = Way(DEBUG, tools)


def _running_debugger(pod: Object, target: str) -> str:
    """The name of a debug container of ours that runs beside the target; "" without one."""
    statuses = (pod.get("status") or {}).get("ephemeralContainerStatuses") or []
    running = {entry["name"] for entry in statuses if "running" in (entry.get("state") or {})}
    for entry in pod["spec"].get("ephemeralContainers") or []:
        is_ours = entry["name"].startswith(DEBUG_PREFIX)
        if is_ours and entry.get("targetContainerName") == target and entry["name"] in running:
            return str(entry["name"])
    return ""


def _debug_manifest(pod: Object, target: str, name: str, *, is_restricted: bool) -> dict[str, Any]:
    """An ephemeral container that sees the target's processes.

    It runs as the target's user where the pod names one: another user may not follow
    /proc/1/root without SYS_PTRACE, which restricted namespaces refuse.
    """
    entry = next(item for item in _containers(pod) if item["name"] == target)
    contexts = ((pod["spec"].get("securityContext") or {}), (entry.get("securityContext") or {}))
    security: dict[str, Any] = {}
    for context in contexts:
        security |= {
            key: context[key]
            for key in ("runAsUser", "runAsGroup", "runAsNonRoot")
            if key in context
        }
    if is_restricted:
        security |= {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    else:
        security["capabilities"] = {"add": ["SYS_PTRACE"]}
    return {
        "name": name,
        "image": settings.FILES_DEBUG_IMAGE,
        "command": ["sleep", str(settings.FILES_DEBUG_SECONDS)],
        "targetContainerName": target,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": security,
    }


def _containers(pod: Object) -> list[dict[str, Any]]:
    groups = ("containers", "initContainers", "ephemeralContainers")
    return [entry for group in groups for entry in pod["spec"].get(group) or []]


async def _start_debugger(container: Container, pod: Object, name: str) -> None:
    path = PODS.path(
        namespace=container.namespace, name=container.pod, subresource="ephemeralcontainers"
    )

    async def add(*, is_restricted: bool) -> None:
        manifest = _debug_manifest(pod, container.name, name, is_restricted=is_restricted)
        body = {"spec": {"ephemeralContainers": [manifest]}}
        await container.client.json(
            "PATCH", path, body=body, content_type="application/strategic-merge-patch+json"
        )

    try:
        await add(is_restricted=False)
    except Forbidden as error:
        if "PodSecurity" not in error.message:
            raise
        await add(is_restricted=True)
    await _wait_until_running(container, name)


async def _wait_until_running(container: Container, name: str) -> None:
    path = PODS.path(namespace=container.namespace, name=container.pod)
    deadline = time.monotonic() + settings.FILES_DEBUG_START_SECONDS
    pause = 0.1
    while True:
        pod = await container.client.json("GET", path)
        statuses = (pod.get("status") or {}).get("ephemeralContainerStatuses") or []
        state: dict[str, Any] = {}
        for entry in statuses:
            if entry["name"] == name:
                state = entry.get("state") or {}
        if "running" in state:
            return
        reason = str((state.get("waiting") or {}).get("reason") or "")
        if "terminated" in state:
            ended = str(state["terminated"].get("reason") or "Completed")
            raise _no_debugger(container, f"it ended ({ended})")
        if reason in {
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "CreateContainerError",
        }:
            raise _no_debugger(container, reason)
        if time.monotonic() > deadline:
            raise ClusterUnavailable(
                "the debug container did not start in time" + (f" ({reason})" if reason else ""),
                reason="timeout",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _no_debugger(container: Container, why: str) -> DomainError:
    return Rejected(
        f"container {container.name} has neither tar nor a shell, and the debug container "
        f"({settings.FILES_DEBUG_IMAGE}) does not run: {why}",
        reason="NoTools",
    )
