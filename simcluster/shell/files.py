"""The fake file system of a container: files, directories, links, modes, and what goes wrong."""

import posixpath
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

_TOP = ("bin", "dev", "etc", "home", "proc", "root", "tmp", "usr", "var")
_MOST_LINKS = 40
TARGET_ROOT = "/proc/1/root"
NO_ENTRY = "No such file or directory"


class FileSystem:
    """Files as bytes by absolute path; directories by name, links with their target.

    `read_only` refuses writes, `capacity` is how many bytes fit, `locked` are paths that may not be
    read or entered. `target` is the file system that /proc/1/root shows.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes | bytearray] = {}
        self.directories: set[str] = {
            "/",
            *(f"/{name}" for name in _TOP),
            "/usr/bin",
            "/var/log",
        }
        self.links: dict[str, str] = {}
        self.modes: dict[str, int] = {}
        self.owners: dict[str, tuple[int, int]] = {}
        self.times: dict[str, int] = {}
        self.created = datetime.now(UTC)
        self.read_only = False
        self.capacity: int | None = None
        self.locked: set[str] = set()
        self.target: Callable[[], FileSystem] | None = None
        for path, data in (files or {}).items():
            self.make_parents(path)
            self.files[path] = data

    @staticmethod
    def absolute(cwd: str, path: str) -> str:
        """The normal form of a path."""
        return posixpath.normpath(posixpath.join(cwd, path)).replace("//", "/")

    def locate(self, path: str, *, follow: bool = True) -> "tuple[FileSystem, str]":
        """(file system, path without links in it); OSError for too many links."""
        if self.target is not None and (path + "/").startswith(TARGET_ROOT + "/"):
            return self.target().locate(path.removeprefix(TARGET_ROOT) or "/", follow=follow)
        if not self.links and not self.locked:
            return self, path
        for _ in range(_MOST_LINKS):
            step = self._first_link(path, follow=follow)
            if step is None:
                return self, path
            target = self.absolute(posixpath.dirname(step), self.links[step])
            path = self.absolute("/", target + path.removeprefix(step))
        raise OSError("Too many levels of symbolic links")

    def _first_link(self, path: str, *, follow: bool) -> str | None:
        place = ""
        parts = [part for part in path.split("/") if part]
        for number, part in enumerate(parts):
            if (place or "/") in self.locked:
                raise OSError("Permission denied")
            place += "/" + part
            if place in self.links and (follow or number < len(parts) - 1):
                return place
        return None

    def make_parents(self, path: str) -> None:
        """Make every directory above a path."""
        parent = posixpath.dirname(path)
        while parent not in self.directories:
            self.directories.add(parent)
            parent = posixpath.dirname(parent)

    def make_directory(self, path: str) -> None:
        """Make a directory and every one above it; OSError as the system words it."""
        files, place = self.locate(path)
        files.check_writable(place)
        files.make_parents(posixpath.join(place, "child"))

    def add_directory(self, path: str) -> None:
        """Make one directory; OSError when it is there, or its parent is not."""
        files, place = self.locate(path)
        if files.holds(place):
            raise OSError("File exists")
        if posixpath.dirname(place) not in files.directories:
            raise OSError(NO_ENTRY)
        files.check_writable(place)
        files.directories.add(place)
        files.times[place] = int(time.time())

    def check_writable(self, path: str) -> None:
        """OSError where nothing may be written."""
        if self.read_only:
            raise OSError("Read-only file system")
        if posixpath.dirname(path) in self.locked:
            raise OSError("Permission denied")

    def holds(self, path: str) -> bool:
        """Whether a path without links in it is a file, directory or link here."""
        return path in self.files or path in self.directories or path in self.links

    def exists(self, path: str, *, follow: bool = True) -> bool:
        """Whether there is a file or directory."""
        try:
            files, place = self.locate(path, follow=follow)
        except OSError:
            return False
        return files.holds(place)

    def is_directory(self, path: str) -> bool:
        """Whether it is a directory, or a link to one."""
        try:
            files, place = self.locate(path)
        except OSError:
            return False
        return place in files.directories

    def is_file(self, path: str) -> bool:
        """Whether it is a regular file, or a link to one."""
        try:
            files, place = self.locate(path)
        except OSError:
            return False
        return place in files.files

    def is_readable(self, path: str) -> bool:
        """Whether it may be read."""
        try:
            files, place = self.locate(path)
        except OSError:
            return False
        return files.holds(place) and place not in files.locked

    def link_target(self, path: str) -> str | None:
        """What a link points at; None for what is no link."""
        try:
            files, place = self.locate(path, follow=False)
        except OSError:
            return None
        return files.links.get(place)

    def read(self, path: str) -> bytes:
        """The bytes of a file; OSError as the system words it."""
        files, place = self.locate(path)
        if place in files.directories:
            raise OSError("Is a directory")
        if place == "/dev/null":
            return b""
        if place not in files.files:
            raise OSError(NO_ENTRY)
        if place in files.locked:
            raise OSError("Permission denied")
        # An appended file is a bytearray, which reads as bytes do.
        return files.files[place]  # type: ignore[return-value]

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        """Write a file; OSError when its directory is not there, or nothing more fits."""
        files, place = self.locate(path)
        if place in files.directories:
            raise OSError("Is a directory")
        if place == "/dev/null":
            return
        if posixpath.dirname(place) not in files.directories:
            raise OSError("nonexistent directory")
        files.check_writable(place)
        if files.capacity is not None and data:
            used = sum(len(content) for content in files.files.values())
            if used + len(data) > files.capacity:
                raise OSError("No space left on device")
        files.times[place] = int(time.time())
        if append:
            content = files.files.get(place, b"")
            if not isinstance(content, bytearray):
                content = bytearray(content)
                files.files[place] = content
            content += data
        else:
            files.files[place] = data

    def children(self, path: str) -> list[str]:
        """The names in a directory."""
        files, place = self.locate(path)
        prefix = place.rstrip("/") + "/"
        if place in files.locked:
            return []
        names = {
            other.removeprefix(prefix).partition("/")[0]
            for other in (*files.files, *files.directories, *files.links)
            if other.startswith(prefix) and other != place
        }
        return sorted(names - {""})

    def below(self, path: str) -> Iterator[str]:
        """Every file, directory and link below a path without links in it, itself first."""
        prefix = path.rstrip("/") + "/"
        yield from sorted(
            other
            for other in (*self.files, *self.directories, *self.links)
            if other == path or other.startswith(prefix)
        )

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it; OSError where nothing may go."""
        files, place = self.locate(path, follow=False)
        files.check_writable(place)
        for removed in list(files.below(place)):
            files.files.pop(removed, None)
            files.links.pop(removed, None)
            files.directories.discard(removed)

    def rename(self, source: str, target: str) -> None:
        """Move a file, link or directory with all that is in it; OSError as the system words it."""
        files, old = self.locate(source, follow=False)
        other, new = self.locate(target, follow=False)
        files.check_writable(old)
        other.check_writable(new)
        if posixpath.dirname(new) not in other.directories:
            raise OSError(NO_ENTRY)
        other.links.pop(new, None)
        for path in list(files.below(old)):
            place = new + path.removeprefix(old)
            for table in ("files", "links", "modes", "owners", "times"):
                entries = getattr(files, table)
                if path in entries:
                    getattr(other, table)[place] = entries.pop(path)
            if path in files.directories:
                files.directories.discard(path)
                other.directories.add(place)

    def make_link(self, target: str, path: str) -> None:
        """Make a symbolic link; OSError when something is there."""
        files, place = self.locate(path, follow=False)
        if files.holds(place):
            raise OSError("File exists")
        files.check_writable(place)
        files.links[place] = target

    def status(self, path: str, *, follow: bool = False) -> tuple[int, int, int, int, int]:
        """(mode with its type bits, size, uid, gid, mtime); OSError when there is nothing."""
        files, place = self.locate(path, follow=follow)
        uid, gid = files.owners.get(place, (0, 0))
        changed = files.times.get(place, int(files.created.timestamp()))
        if place in files.links:
            return stat.S_IFLNK | 0o777, len(files.links[place].encode()), uid, gid, changed
        if place in files.directories:
            return stat.S_IFDIR | files.modes.get(place, 0o755), 4096, uid, gid, changed
        if place not in files.files:
            raise OSError(NO_ENTRY)
        size = len(files.files[place])
        return stat.S_IFREG | files.modes.get(place, 0o644), size, uid, gid, changed

    def set_mode(self, path: str, mode: int) -> None:
        """Change the permission bits."""
        files, place = self.locate(path)
        files.check_writable(place)
        files.modes[place] = mode

    def set_owner(self, path: str, uid: int, gid: int) -> None:
        """Change the owner."""
        files, place = self.locate(path)
        files.check_writable(place)
        files.owners[place] = (uid, gid)
