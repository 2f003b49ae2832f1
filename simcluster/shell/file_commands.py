"""Commands on files, worded as busybox does."""

import base64
import binascii
import hashlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator

from simcluster.shell.effects import STDOUT, Run, Write, complain, say
from simcluster.shell.files import NO_ENTRY, FileSystem
from simcluster.shell.interpreter import Command, Shell

# As much as a pipe hands over at once.
PART = 64 * 1024


def split_flags(words: list[str]) -> tuple[str, list[str]]:
    """The letters of short options, and the words that are no options; `--` ends the options."""
    letters = ""
    operands: list[str] = []
    for number, word in enumerate(words):
        if word == "--":
            return letters, operands + words[number + 1 :]
        if not word.startswith("-") or word == "-":
            operands.append(word)
        elif not word.startswith("--"):
            letters += word[1:]
    return letters, operands


def encode(text: str) -> bytes:
    """A path as the bytes that it was made of."""
    return text.encode("utf-8", "surrogateescape")


def _cat(shell: Shell, words: list[str]) -> Run:
    _, paths = split_flags(words)
    if not paths or paths == ["-"]:
        # On a terminal each line appears as soon as it is typed.
        while data := (yield from shell.read_part()):
            yield Write(STDOUT, data)
        return 0
    code = 0
    for path in paths:
        try:
            data = shell.files.read(shell.files.absolute(shell.cwd, path))
        except OSError as error:
            yield complain(f"cat: can't open '{path}': {error}")
            code = 1
            continue
        yield from _write(data)
    return code


def _write(data: bytes) -> Iterator[Write]:
    for start in range(0, len(data), PART):
        yield Write(STDOUT, bytes(data[start : start + PART]))


def _tail(shell: Shell, words: list[str]) -> Run:
    """`tail -c N FILE` and `tail -c +N FILE`, `tail -n N`."""
    kind, count, *paths = words if len(words) > 1 else ["-n", "10", *words]
    try:
        data = shell.files.read(shell.files.absolute(shell.cwd, paths[0])) if paths else b""
    except OSError as error:
        yield complain(f"tail: {paths[0]}: {error}")
        return 1
    if not paths:
        data = yield from shell.read_input()
    if kind == "-c" and count.startswith("+"):
        yield from _write(memoryview(data)[int(count) - 1 :])  # type: ignore[arg-type]
    elif kind == "-c":
        yield from _write(data[-int(count) :] if int(count) else b"")
    else:
        yield Write(STDOUT, b"".join(bytes(data).splitlines(keepends=True)[-int(count) :]))
    return 0


def _dd(shell: Shell, words: list[str]) -> Run:
    """`dd bs=N count=N iflag=fullblock` from standard input to standard output."""
    options = dict(word.split("=", 1) for word in words)
    size = int(options.get("bs", "512")) * int(options.get("count", "0"))
    data = yield from shell.read_exactly(size)
    if data:
        yield Write(STDOUT, data)
    yield complain(f"{len(data)} bytes copied")
    return 0


def _stat(shell: Shell, words: list[str]) -> Run:
    template = ""
    if words[:1] == ["-c"]:
        template = words[1]
        words = words[2:]
    _, paths = split_flags(words)
    code = 0
    for path in paths:
        try:
            mode, size, uid, gid, changed = shell.files.status(
                shell.files.absolute(shell.cwd, path)
            )
        except OSError as error:
            yield complain(f"stat: can't stat '{path}': {error}")
            code = 1
            continue
        values = {"%f": f"{mode:x}", "%s": str(size), "%u": str(uid), "%g": str(gid)}
        values |= {"%Y": str(changed), "%a": f"{mode & 0o7777:o}"}
        text = template or "  File: %n"
        for name, value in values.items():
            text = text.replace(name, value)
        yield Write(STDOUT, encode(text.replace("%n", path)) + b"\n")
    return code


def _readlink(shell: Shell, words: list[str]) -> Run:
    letters, paths = split_flags(words)
    full = shell.files.absolute(shell.cwd, paths[0])
    if "f" in letters:
        yield say(shell.files.locate(full)[1])
        return 0
    target = shell.files.link_target(full)
    if target is None:
        return 1
    yield Write(STDOUT, encode(target) + b"\n")
    return 0


def _change(name: str, act: Callable[[Shell, str], None]) -> Command:
    """A command that changes each of its operands, and says which it could not."""

    def command(shell: Shell, words: list[str]) -> Run:
        _, paths = split_flags(words)
        for path in paths:
            try:
                act(shell, shell.files.absolute(shell.cwd, path))
            except OSError as error:
                yield complain(f"{name}: can't change '{path}': {error}")
                return 1
        return 0

    return command


def _chmod(shell: Shell, words: list[str]) -> Run:
    mode = int(words[0], 8)
    change = _change("chmod", lambda found, path: found.files.set_mode(path, mode))
    return (yield from change(shell, words[1:]))


def _chown(shell: Shell, words: list[str]) -> Run:
    uid, _, gid = words[0].partition(":")
    owner = (int(uid), int(gid or uid))
    change = _change("chown", lambda found, path: found.files.set_owner(path, *owner))
    return (yield from change(shell, words[1:]))


def _ln(shell: Shell, words: list[str]) -> Run:
    letters, operands = split_flags(words)
    target, path = operands
    full = shell.files.absolute(shell.cwd, path)
    try:
        if "s" in letters:
            shell.files.make_link(target, full)
        else:
            shell.files.write(full, shell.files.read(shell.files.absolute(shell.cwd, target)))
    except OSError as error:
        yield complain(f"ln: {path}: {error}")
        return 1
    return 0


def _mkdir(shell: Shell, words: list[str]) -> Run:
    letters, paths = split_flags(words)
    for path in paths:
        full = shell.files.absolute(shell.cwd, path)
        try:
            if "p" in letters:
                shell.files.make_directory(full)
            else:
                shell.files.add_directory(full)
        except OSError as error:
            yield complain(f"mkdir: can't create directory '{path}': {error}")
            return 1
    return 0


def _rm(shell: Shell, words: list[str]) -> Run:
    letters, paths = split_flags(words)
    recursive = "r" in letters or "R" in letters
    for path in paths:
        full = shell.files.absolute(shell.cwd, path)
        is_link = shell.files.link_target(full) is not None
        if shell.files.is_directory(full) and not is_link and not recursive:
            yield complain(f"rm: '{path}' is a directory")
            return 1
        if shell.files.exists(full, follow=False):
            try:
                shell.files.remove(full)
            except OSError as error:
                yield complain(f"rm: can't remove '{path}': {error}")
                return 1
        elif "f" not in letters:
            yield complain(f"rm: can't remove '{path}': {NO_ENTRY}")
            return 1
    return 0


def _rmdir(shell: Shell, words: list[str]) -> Run:
    for path in split_flags(words)[1]:
        full = shell.files.absolute(shell.cwd, path)
        if shell.files.children(full):
            yield complain(f"rmdir: '{path}': Directory not empty")
            return 1
        try:
            shell.files.remove(full)
        except OSError as error:
            yield complain(f"rmdir: '{path}': {error}")
            return 1
    return 0


def _mv(shell: Shell, words: list[str]) -> Run:
    _, operands = split_flags(words)
    paths = [shell.files.absolute(shell.cwd, operand) for operand in operands]
    if len(paths) != 2 or not shell.files.exists(paths[0], follow=False):
        source_word = operands[0] if operands else ""
        yield complain(f"mv: can't rename '{source_word}': {NO_ENTRY}")
        return 1
    source, target = paths
    if shell.files.is_directory(target):
        target = posixpath.join(target, posixpath.basename(source))
    try:
        shell.files.rename(source, target)
    except OSError as error:
        yield complain(f"mv: can't rename '{operands[0]}': {error}")
        return 1
    return 0


def _sha256sum(shell: Shell, words: list[str]) -> Run:
    for path in split_flags(words)[1]:
        try:
            data = shell.files.read(shell.files.absolute(shell.cwd, path))
        except OSError as error:
            yield complain(f"sha256sum: {path}: {error}")
            return 1
        yield Write(STDOUT, f"{hashlib.sha256(data).hexdigest()}  ".encode() + encode(path) + b"\n")
    return 0


def _find(shell: Shell, words: list[str]) -> Run:
    files, place = shell.files.locate(shell.files.absolute(shell.cwd, words[0]), follow=False)
    for path in files.below(place):
        yield Write(STDOUT, encode(path) + b"\n")
    return 0


def _wc(shell: Shell, words: list[str]) -> Run:
    data = yield from shell.read_input()
    yield say(str(data.count(b"\n") if "-l" in words else len(data)))
    return 0


def _base64(shell: Shell, words: list[str]) -> Run:
    data = yield from shell.read_input()
    if "-d" not in words:
        yield Write(STDOUT, base64.encodebytes(data))
        return 0
    try:
        yield Write(STDOUT, base64.b64decode(data, validate=False))
    except binascii.Error:
        yield complain("base64: invalid input")
        return 1
    return 0


def _test(shell: Shell, words: list[str]) -> Run:
    yield from ()
    if words and words[-1] == "]":
        words = words[:-1]
    if words[:1] == ["!"]:
        return int(not (yield from _test(shell, words[1:])))
    if len(words) == 3:
        return int(not _compare(*words))
    if len(words) == 2:
        operator, operand = words
        path = shell.files.absolute(shell.cwd, operand)
        files = shell.files
        truths: dict[str, Callable[[], bool]] = {
            "-d": lambda: files.is_directory(path),
            "-e": lambda: files.exists(path),
            "-f": lambda: files.is_file(path),
            "-L": lambda: files.link_target(path) is not None,
            "-r": lambda: files.is_readable(path),
            # Programs are no files here: a script that looks for bash goes on with sh.
            "-x": lambda: files.exists(path),
            "-n": lambda: bool(operand),
            "-z": lambda: not operand,
        }
        return int(not (operator in truths and truths[operator]()))
    return int(not (words and words[0]))


def _compare(left: str, operator: str, right: str) -> bool:
    if operator in ("=", "!="):
        return (left == right) is (operator == "=")
    numbers = {
        "-eq": lambda a, b: a == b,
        "-ge": lambda a, b: a >= b,
        "-gt": lambda a, b: a > b,
        "-le": lambda a, b: a <= b,
        "-lt": lambda a, b: a < b,
        "-ne": lambda a, b: a != b,
    }
    return operator in numbers and numbers[operator](int(left or 0), int(right or 0))


# --- archives ---------------------------------------------------------------------------------
def _tar(shell: Shell, words: list[str]) -> Run:
    """`tar cf - PATH...` and `tar xf -`, with `-C FOLDER` and `--exclude=`."""
    letters = "".join(word.lstrip("-") for word in words if word.lstrip("-") in _TAR_WORDS)
    if not letters and words:
        letters = words[0].lstrip("-")
    excluded = [word.partition("=")[2] for word in words if word.startswith("--exclude=")]
    operands = [word for word in words if not word.startswith("-")]
    if words and not words[0].startswith("-"):
        operands = operands[1:]
    folder = shell.cwd
    if "-C" in words:
        folder = shell.files.absolute(shell.cwd, words[words.index("-C") + 1])
        operands.remove(words[words.index("-C") + 1])
    if "c" in letters:
        return (yield from _pack(shell, folder, operands, excluded))
    return (yield from _unpack(shell, folder, letters, operands))


_TAR_WORDS = frozenset({"c", "x", "f", "cf", "xf", "m", "xmf", "czf", "xzf", "cvf", "xvf"})


def _unpack(shell: Shell, folder: str, letters: str, operands: list[str]) -> Run:
    archive = operands[0] if "f" in letters and operands else "-"
    if archive == "-":
        data = yield from shell.read_input()
    else:
        data = shell.files.read(shell.files.absolute(shell.cwd, archive))
    with tarfile.open(fileobj=io.BytesIO(data)) as members:
        for member in members:
            path = shell.files.absolute(folder, member.name.lstrip("/"))
            content = members.extractfile(member)
            if member.isdir():
                shell.files.make_directory(path)
            elif content is not None:
                shell.files.make_directory(posixpath.dirname(path))
                shell.files.write(path, content.read())
    return 0


def _pack(shell: Shell, folder: str, paths: list[str], excluded: list[str]) -> Run:
    code = 0
    for path in paths:
        base = shell.files.absolute(folder, path)
        if not shell.files.exists(base, follow=False):
            yield complain(f"tar: {path}: {NO_ENTRY}")
            return 1
        files, place = shell.files.locate(base, follow=False)
        for source in files.below(place):
            name = (path + source.removeprefix(place.rstrip("/"))).lstrip("/")
            if any(name == word or name.startswith(f"{word}/") for word in excluded):
                continue
            try:
                yield from _pack_one(files, source, name)
            except OSError as error:
                yield complain(f"tar: can't open '{name}': {error}")
                code = 1
    yield Write(STDOUT, bytes(2 * tarfile.BLOCKSIZE))
    return code


def _pack_one(files: FileSystem, path: str, name: str) -> Iterator[Write]:
    mode, size, uid, gid, changed = files.status(path)
    member = tarfile.TarInfo(name)
    member.mode = mode & 0o7777
    member.uid = uid
    member.gid = gid
    member.mtime = changed
    data: bytes = b""
    if path in files.links:
        member.type = tarfile.SYMTYPE
        member.linkname = files.links[path]
    elif path in files.directories:
        member.type = tarfile.DIRTYPE
    else:
        data = files.read(path)
        member.size = size
    yield Write(STDOUT, member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    yield from _write(data)
    yield Write(STDOUT, bytes(-len(data) % tarfile.BLOCKSIZE))


FILE_COMMANDS: dict[str, Command] = {
    "[": _test,
    "base64": _base64,
    "cat": _cat,
    "chmod": _chmod,
    "chown": _chown,
    "dd": _dd,
    "find": _find,
    "ln": _ln,
    "mkdir": _mkdir,
    "mv": _mv,
    "readlink": _readlink,
    "rm": _rm,
    "rmdir": _rmdir,
    "sha256sum": _sha256sum,
    "stat": _stat,
    "tail": _tail,
    "tar": _tar,
    "test": _test,
    "wc": _wc,
}
