"""The fake file system of a container."""

import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime

_TOP = ("bin", "dev", "etc", "home", "proc", "root", "tmp", "usr", "var")


class FileSystem:
    """Files as bytes by absolute path; directories are recorded by name."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.directories: set[str] = {
            "/",
            *(f"/{name}" for name in _TOP),
            "/usr/bin",
            "/var/log",
        }
        self.created = datetime.now(UTC)
        for path, data in (files or {}).items():
            self.make_parents(path)
            self.files[path] = data

    @staticmethod
    def absolute(cwd: str, path: str) -> str:
        """The normal form of a path."""
        return posixpath.normpath(posixpath.join(cwd, path)).replace("//", "/")

    def make_parents(self, path: str) -> None:
        """Make every directory above a path."""
        parent = posixpath.dirname(path)
        while parent not in self.directories:
            self.directories.add(parent)
            parent = posixpath.dirname(parent)

    def make_directory(self, path: str) -> None:
        """Make a directory and every one above it."""
        self.make_parents(posixpath.join(path, "child"))

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory."""
        return path in self.files or path in self.directories

    def read(self, path: str) -> bytes:
        """The bytes of a file; OSError as the system words it."""
        if path in self.directories:
            raise OSError("Is a directory")
        if path == "/dev/null":
            return b""
        if path not in self.files:
            raise OSError("No such file or directory")
        return self.files[path]

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        """Write a file; OSError when its directory is not there."""
        if path in self.directories:
            raise OSError("Is a directory")
        if path == "/dev/null":
            return
        if posixpath.dirname(path) not in self.directories:
            raise OSError("nonexistent directory")
        self.files[path] = self.files.get(path, b"") + data if append else data

    def children(self, path: str) -> list[str]:
        """The names in a directory."""
        prefix = path.rstrip("/") + "/"
        names = {
            other.removeprefix(prefix).partition("/")[0]
            for other in (*self.files, *self.directories)
            if other.startswith(prefix) and other != path
        }
        return sorted(names - {""})

    def below(self, path: str) -> Iterator[str]:
        """Every file and directory below a path, itself first."""
        prefix = path.rstrip("/") + "/"
        yield from sorted(
            other
            for other in (*self.files, *self.directories)
            if other == path or other.startswith(prefix)
        )

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        for removed in list(self.below(path)):
            self.files.pop(removed, None)
            self.directories.discard(removed)
