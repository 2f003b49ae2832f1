"""What a command in a container complains of, as errors with a reason. Pure."""

from core.errors import ClusterUnavailable, Conflict, DomainError, Invalid, NotFound, Rejected

# Exit codes of our scripts, beside those of the commands in them.
LINK_CODE = 40
NOT_A_DIRECTORY_CODE = 41
IS_A_DIRECTORY_CODE = 42
NOT_REGULAR_CODE = 43
INCOMPLETE_CODE = 45
EXISTS_CODE = 46
# Killed by a signal: the container ended, or ran out of memory.
_SIGNALS = frozenset({129, 130, 137, 143})
# How the C library, GNU, busybox and toybox word a failure (lower case) -> reason and sentence.
_WORDS = (
    ("read-only file system", "ReadOnlyFileSystem", "the file system is read-only"),
    ("no space left", "NoSpace", "no space is left in the file system"),
    ("quota exceeded", "NoSpace", "the quota of the file system is exceeded"),
    ("permission denied", "PermissionDenied", "permission denied in the container"),
    ("operation not permitted", "PermissionDenied", "not permitted in the container"),
    ("not empty", "NotEmpty", "the directory is not empty"),
    ("file exists", "Conflict", "it exists already"),
    ("is a directory", "IsDirectory", "it is a directory"),
    ("file name too long", "NameTooLong", "the name is too long"),
    ("resource busy", "Busy", "it is in use (a mount point)"),
    ("text file busy", "Busy", "it is a program that runs"),
    ("too many levels of symbolic links", "TooManyLinks", "too many links"),
    ("argument list too long", "TooLarge", "too many entries for one command"),
)
_MISSING_WORDS = ("no such file", "nonexistent directory", "not a directory")


def not_a_directory(path: str) -> DomainError:
    """The error for a path that would have to be a directory."""
    return Invalid(f"{path} is not a directory", reason="NotDirectory", field="path")


def is_a_directory(path: str) -> DomainError:
    """The error for a directory where a file is asked for."""
    return Invalid(f"{path} is a directory", reason="IsDirectory", field="path")


def not_regular(path: str) -> DomainError:
    """The error for a device, socket or pipe where a file is asked for."""
    return Invalid(f"{path} is not a regular file", reason="NotRegular", field="path")


def not_running(container: str, why: str) -> DomainError:
    """The error for a container without processes, where nothing can be executed."""
    return Rejected(f"container {container} is not running: {why}", reason="NotRunning")


def timed_out() -> DomainError:
    """The error for a command that has not ended in time."""
    return ClusterUnavailable("the command in the container did not end in time", reason="timeout")


def ended_midway() -> DomainError:
    """The error for a connection that closed without an exit code."""
    return Rejected("the container ended before the command did", reason="ContainerEnded")


def failure(path: str, code: int, complaint: str) -> DomainError:
    """The error for a script that ended with `code` and wrote `complaint` to stderr."""
    if code == NOT_A_DIRECTORY_CODE:
        return not_a_directory(path)
    if code == IS_A_DIRECTORY_CODE:
        return is_a_directory(path)
    if code == NOT_REGULAR_CODE:
        return not_regular(path)
    if code == EXISTS_CODE:
        return exists_already(path)
    if code == INCOMPLETE_CODE:
        return Rejected(f"{path}: not all of the file has arrived", reason="Incomplete")
    text = complaint.lower()
    for words, reason, sentence in _WORDS:
        if words in text:
            if reason == "Conflict":
                return exists_already(path)
            return Rejected(f"{path}: {sentence}", reason=reason)
    if any(words in text for words in _MISSING_WORDS):
        return NotFound(f"{path} does not exist in the container", reason="NotFound")
    if code in _SIGNALS:
        return ended_midway()
    line = printable(complaint.strip().splitlines()[-1] if complaint.strip() else "")
    detail = f": {line[:200]}" if line else ""
    return Rejected(
        f"{path}: the command in the container failed with exit code {code}{detail}",
        reason="CommandFailed",
    )


def exists_already(path: str) -> DomainError:
    """The error for a file that must not be there."""
    return Conflict(f"{path} exists already", reason="Conflict", field="path")


def printable(text: str) -> str:
    """The text without what could steer a terminal: a container writes what it likes."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
