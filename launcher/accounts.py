"""The unprivileged user that servers run as when we are root, and how files reach it."""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from launcher.processes import Account, LaunchError


class UserOptions(TypedDict, total=False):
    """The arguments of subprocess that change the user."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged_account() -> Account | None:
    """The user to run PostgreSQL as: None (ourselves) unless we are root.

    For root it is `postgres`, else `nobody`; LaunchError when the system has neither.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LaunchError(
        "PostgreSQL does not run as root and this system has neither a user postgres nor nobody: "
        "start as an ordinary user."
    )


def as_user(account: Account | None) -> UserOptions:
    """Arguments for subprocess that run a program as `account`."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def can_enter(folder: Path, account: Account | None) -> bool:
    """Whether `account` reaches the inside of `folder` by its path."""
    command = ["test", "-x", str(folder)]
    try:
        process = subprocess.run(command, cwd="/", timeout=10, **as_user(account))
    except PermissionError as error:
        # In a container that drops the right to change users.
        name = account.name if account else ""
        raise LaunchError(
            f"This process is root but may not become user {name}: start as an ordinary user."
        ) from error
    return process.returncode == 0


def give(path: Path, account: Account | None) -> None:
    """Make `account` the owner of `path`."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def reachable(folder: Path, account: Account | None) -> tuple[str, tuple[int, ...]]:
    """(path by which `account` reaches `folder`, descriptors to be inherited for that path).

    A folder below a private one (root's home) has no path that another user may walk; an open
    descriptor needs none.
    """
    if account is None or can_enter(folder, account):
        return str(folder), ()
    if sys.platform != "linux":
        raise LaunchError(
            f"User {account.name}, who runs PostgreSQL, cannot enter {folder}: "
            "set KUBEGALE_DATA_DIR to a folder that it can."
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    return f"/proc/self/fd/{descriptor}", (descriptor,)


def close(descriptors: tuple[int, ...]) -> None:
    """Close what `reachable` opened, once no child will be started with it any more."""
    for descriptor in descriptors:
        os.close(descriptor)


@contextmanager
def secret_file(content: str, account: Account | None) -> Iterator[Path]:
    """A short-lived file that only `account` reads, in the system's folder for temporary files."""
    # TMPDIR may be a folder that only root enters.
    folder = None if account is None else "/tmp"  # noqa: S108
    descriptor, name = tempfile.mkstemp(prefix="kubegale-", dir=folder)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(content)
        give(Path(name), account)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
