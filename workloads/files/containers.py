"""A container and its files, as scripts in it see them."""

import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from clusters.streams import StreamClient
from core.errors import NotFound, Rejected
from workloads.files import scripts
from workloads.files.commands import NoProgram, Process, run_script
from workloads.files.failures import LINK_CODE
from workloads.files.paths import check_allowed, components, normalise
from workloads.files.ways import OTHER_TOOLS, REQUIRED_TOOLS, Way, forget_way

_MAX_LINKS = 40
Confirm = Callable[[], Awaitable[None]]


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

    async def probe(self) -> frozenset[str]:
        """The programs that scripts can use here; none where there is no shell."""
        location = (self.namespace, self.pod, self.exec_name)
        names = [*REQUIRED_TOOLS, *OTHER_TOOLS]
        try:
            async with run_script(self.client, location, scripts.PROBE, names) as process:
                output = await process.read(64 * 1024)
        except NoProgram:
            return frozenset()
        lines = output.decode(errors="replace").splitlines()
        return frozenset(line.removeprefix("tool ") for line in lines if line.startswith("tool "))

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
            forget_way(self.image)
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
