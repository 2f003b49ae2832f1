"""Paths inside a container: their normal form, and which of them are denied. Pure."""

import posixpath
from collections.abc import Sequence

from core.errors import Forbidden, Invalid, Rejected

# Linux's own limit.
MAX_PATH = 4096
MAX_NAME = 255
# Every component is checked for links, and all of them stand in one request.
MAX_DEPTH = 64


def normalise(text: str, field: str = "path") -> str:
    """The absolute path in its normal form; Invalid (with the field) when it cannot be one."""
    if not text:
        raise Invalid(f"{field} is required", field=field)
    if not text.startswith("/"):
        raise Invalid(f"{field} must be absolute", field=field)
    if any(letter in text for letter in "\0\n\r"):
        raise Invalid(f"{field} holds a NUL or a line break", field=field)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{field} is not valid UTF-8", field=field) from None
    if size > MAX_PATH:
        raise Invalid(f"{field} is longer than {MAX_PATH} bytes", field=field)
    if any(len(name.encode()) > MAX_NAME for name in text.split("/")):
        raise Invalid(f"{field} has a name of more than {MAX_NAME} bytes", field=field)
    # posixpath leaves two slashes at the beginning.
    path = "/" + posixpath.normpath(text).lstrip("/")
    if path.count("/") > MAX_DEPTH:
        raise Invalid(f"{field} is deeper than {MAX_DEPTH} directories", field=field)
    return path


def check_name(text: str, field: str = "name") -> str:
    """A file's name without its directory; Invalid for anything that names another place."""
    if text in {"", ".", ".."} or any(letter in text for letter in "/\0\n\r"):
        raise Invalid(f"{field} must be the name of a file, without a directory", field=field)
    normalise(f"/{text}", field)
    return text


def components(path: str) -> list[str]:
    """Every path from below the root down to `path` itself: /a, /a/b, /a/b/c."""
    parts = [part for part in path.split("/") if part]
    return ["/" + "/".join(parts[: end + 1]) for end in range(len(parts))]


def is_below(path: str, folder: str) -> bool:
    """Whether the path is the folder or stands in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_denied(path: str, denied: Sequence[str]) -> bool:
    """Whether a resolved path is one of the denied ones or below it."""
    return any(is_below(path, folder) for folder in denied)


def check_allowed(path: str, denied: Sequence[str]) -> None:
    """Forbidden for a resolved path that FILES_DENY names."""
    if is_denied(path, denied):
        # The target of a link is the container's own text.
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in path)
        raise Forbidden(f"{shown} may not be read or changed here", field="path")


def check_removable(path: str, denied: Sequence[str]) -> None:
    """Rejected for the root and its children, Forbidden for what holds a denied path."""
    check_allowed(path, denied)
    if path.count("/") == 1:
        raise Rejected(
            f"{path} is a top-level directory, which is never removed or moved",
            reason="TopLevel",
            field="path",
        )
    if any(is_below(folder, path) for folder in denied):
        raise Forbidden(f"{path} holds what may not be changed here", field="path")


def excluded_below(path: str, denied: Sequence[str]) -> list[str]:
    """The denied paths inside a directory."""
    return [folder for folder in denied if is_below(folder, path)]
