"""Commands on files, worded as busybox does."""

import base64
import binascii
import hashlib
import posixpath
from collections.abc import Callable
from functools import partial

from simcluster.shell.archives import tar
from simcluster.shell.effects import STDOUT, Run, Write, complain, say, write_parts
from simcluster.shell.files import NO_ENTRY
from simcluster.shell.interpreter import Command, Shell


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
        yield from write_parts(data)
    return code


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
        yield from write_parts(memoryview(data)[int(count) - 1 :])  # type: ignore[arg-type]
    elif kind == "-c":
        yield from write_parts(data[-int(count) :] if int(count) else b"")
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


def _change(
    shell: Shell,
    paths: list[str],
    act: Callable[[str], None],
    failure: str,
) -> Run:
    """Change each path; what the system says of the first that cannot be ends it.

    `failure` is how the complaint begins: `mkdir: can't create directory`.
    """
    for path in paths:
        try:
            act(shell.files.absolute(shell.cwd, path))
        except OSError as error:
            yield complain(f"{failure} '{path}': {error}")
            return 1
    return 0


def _chmod(shell: Shell, words: list[str]) -> Run:
    _, paths = split_flags(words[1:])
    mode = int(words[0], 8)
    change = partial(shell.files.set_mode, mode=mode)
    return (yield from _change(shell, paths, change, "chmod: can't change"))


def _chown(shell: Shell, words: list[str]) -> Run:
    _, paths = split_flags(words[1:])
    uid, _, gid = words[0].partition(":")
    change = partial(shell.files.set_owner, uid=int(uid), gid=int(gid or uid))
    return (yield from _change(shell, paths, change, "chown: can't change"))


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
    files = shell.files
    make = files.make_directory if "p" in letters else files.add_directory
    return (yield from _change(shell, paths, make, "mkdir: can't create directory"))


def _rm(shell: Shell, words: list[str]) -> Run:
    letters, paths = split_flags(words)
    recursive = "r" in letters or "R" in letters
    files = shell.files

    def remove(path: str) -> None:
        if files.exists(path, follow=False):
            files.remove(path)
        elif "f" not in letters:
            raise OSError(NO_ENTRY)

    for path in paths:
        full = files.absolute(shell.cwd, path)
        is_link = files.link_target(full) is not None
        if files.is_directory(full) and not is_link and not recursive:
            yield complain(f"rm: '{path}' is a directory")
            return 1
        code = yield from _change(shell, [path], remove, "rm: can't remove")
        if code:
            return code
    return 0


def _rmdir(shell: Shell, words: list[str]) -> Run:
    _, paths = split_flags(words)
    files = shell.files

    def remove(path: str) -> None:
        if files.children(path):
            raise OSError("Directory not empty")
        files.remove(path)

    return (yield from _change(shell, paths, remove, "rmdir:"))


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
    "tar": tar,
    "test": _test,
    "wc": _wc,
}
