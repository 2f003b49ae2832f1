"""Small changes: new directories, renaming, removing."""

import stat

from core.errors import Invalid, Rejected
from workloads.files import scripts
from workloads.files.containers import Container
from workloads.files.failures import LINK_CODE
from workloads.files.paths import check_allowed, check_removable, components, is_below


async def make_directory(container: Container, path: str, *, parents: bool = False) -> None:
    """Make a directory; with `parents` also those above it, and none is an error that is there.

    Conflict when the path exists, NotFound without its parent.
    """
    option = "p" if parents else "-"
    async with container.walk(scripts.MAKE_DIRECTORY, path, option=option) as (process, _, _):
        if await process.end():
            raise process.error()


async def remove(container: Container, path: str, *, recursive: bool, follow: bool = False) -> int:
    """Remove a file, a link or an empty directory; with `recursive` what is in it, too.

    Returns how many entries went. With `follow` a link's target is removed, and judged.
    """
    entry = await container.inspect(path, follow=follow)
    check_removable(entry.path, container.denied)
    option = "r" if recursive else "-"
    async with container.walk(scripts.REMOVE, entry.path, option=option, follow=False) as (
        process,
        _,
        line,
    ):
        if await process.end():
            raise process.error()
    count = line.removeprefix(b"removed ")
    return int(count) if count.isdigit() else 1


async def move(container: Container, source: str, target: str, *, overwrite: bool) -> None:
    """Rename a file, link or directory; Conflict when the target exists, unless `overwrite`.

    A directory is never replaced.
    """
    entry = await container.inspect(source, follow=False)
    check_removable(entry.path, container.denied)
    head, _, name = target.rpartition("/")
    folder = await container.inspect(head or "/")
    if not stat.S_ISDIR(folder.mode):
        raise Rejected(f"{head} is not a directory", reason="NotDirectory", field="to")
    resolved = f"{folder.path.rstrip('/')}/{name}"
    check_allowed(resolved, container.denied)
    if is_below(folder.path, entry.path):
        raise Invalid(f"{source} cannot be moved into itself", field="to")
    await rename(container, entry.path, resolved, overwrite=overwrite, about=target)


async def rename(
    container: Container, source: str, target: str, *, overwrite: bool, about: str
) -> None:
    """Rename; no link may stand on the way to either path. Errors are about the path `about`."""
    check_allowed(target, container.denied)
    steps = [*components(source)[:-1], *components(target)[:-1]]
    inner = [container.inner(step) for step in (source, target, *steps)]
    option = "o" if overwrite else "-"
    async with container.run(scripts.MOVE, about, *inner, option=option) as process:
        if await process.end():
            if process.code == LINK_CODE:
                raise Rejected(
                    f"{source}: a directory on its way was replaced by a link meanwhile",
                    reason="Conflict",
                )
            raise process.error()
