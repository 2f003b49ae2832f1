"""The commands of the tiny shell: what tests and the demo use, worded as busybox does."""

import posixpath
import re
from collections.abc import Iterator

from simcluster.shell.effects import (
    STDOUT,
    Read,
    Run,
    Sleep,
    Write,
    complain,
    say,
)
from simcluster.shell.file_commands import FILE_COMMANDS, encode, split_flags
from simcluster.shell.interpreter import Command, Shell, Steps

# Rows and columns of a terminal are numbers of sixteen bits.
MAX_SIDE = 0xFFFF
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "e": "\033", "0": "\0"}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _echo(shell: Shell, words: list[str]) -> Run:
    newline = words[:1] != ["-n"]
    text = " ".join(words if newline else words[1:])
    yield Write(STDOUT, text.encode() + (b"\n" if newline else b""))
    return 0


def _printf(shell: Shell, words: list[str]) -> Run:
    def unescape(escape: re.Match[str]) -> str:
        return _ESCAPES.get(escape.group(1), escape.group())

    text = re.sub(r"\\(.)", unescape, words[0]) if words else ""
    # Arguments that are missing count as empty, as in printf(1).
    values = iter(words[1:])
    text = re.sub(r"%[sd]", lambda _: next(values, ""), text)
    yield Write(STDOUT, encode(text.replace("%%", "%")))
    return 0


def _head(shell: Shell, words: list[str]) -> Run:
    count = 10
    if words[:1] == ["-n"]:
        count = int(words[1])
        words = words[2:]
    data = yield from _head_input(shell, count, words)
    if data is None:
        return 1
    yield Write(STDOUT, b"".join(data.splitlines(keepends=True)[:count]))
    return 0


def _head_input(shell: Shell, count: int, paths: list[str]) -> Steps[bytes | None]:
    """The files, or as much of the input as `count` lines need; None after an error."""
    data = shell.stdin or b""
    if not paths and shell.stdin is None:
        while data.count(b"\n") < count and (chunk := (yield Read())):
            data += chunk
    for path in paths:
        try:
            data += shell.files.read(shell.files.absolute(shell.cwd, path))
        except OSError as error:
            yield complain(f"head: {path}: {error}")
            return None
    return data


def _ls(shell: Shell, words: list[str]) -> Run:
    letters, paths = split_flags(words)
    code = 0
    for path in paths or ["."]:
        full = shell.files.absolute(shell.cwd, path)
        if not shell.files.exists(full):
            yield complain(f"ls: {path}: No such file or directory")
            code = 1
            continue
        names = [path] if full in shell.files.files else shell.files.children(full)
        if "a" not in letters:
            names = [name for name in names if not name.startswith(".")]
        if len(paths) > 1:
            yield say(f"{path}:")
        if "l" in letters:
            yield from _long_list(shell, full, names)
        elif names:
            # Like the real ls: columns for a terminal, one name a line for a pipe.
            in_columns = shell.window is not None and "1" not in letters
            yield say(("  " if in_columns else "\n").join(names))
    return code


def _long_list(shell: Shell, folder: str, names: list[str]) -> Iterator[Write]:
    # Blocks of four KiB, as if each file took one.
    yield say(f"total {len(names) * 4}")
    created = shell.files.created.strftime("%b %e %H:%M")
    for name in names:
        path = folder if folder in shell.files.files else posixpath.join(folder, name)
        if path in shell.files.directories:
            mode = "drwxr-xr-x    2"
            size = 4096
        else:
            mode = "-rw-r--r--    1"
            size = len(shell.files.files.get(path, b""))
        yield say(f"{mode} root     root     {size:9d} {created} {name}")


def _pwd(shell: Shell, words: list[str]) -> Run:
    yield say(shell.cwd)
    return 0


def _cd(shell: Shell, words: list[str]) -> Run:
    target = words[0] if words else shell.env.get("HOME", "/root")
    path = shell.files.absolute(shell.cwd, target)
    if shell.files.is_directory(path) and not shell.files.is_readable(path):
        yield complain(f"sh: cd: can't cd to {target}: Permission denied")
        return 2
    if not shell.files.is_directory(path):
        yield complain(f"sh: cd: can't cd to {target}: No such file or directory")
        return 2
    shell.cwd = path
    shell.env["PWD"] = path
    return 0


def _env(shell: Shell, words: list[str]) -> Run:
    for name, value in sorted(shell.env.items()):
        yield say(f"{name}={value}")
    return 0


def _export(shell: Shell, words: list[str]) -> Run:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.env[name] = value
    yield from ()
    return 0


def _whoami(shell: Shell, words: list[str]) -> Run:
    yield say("root")
    return 0


def _command(shell: Shell, words: list[str]) -> Run:
    """`command -v NAME`."""
    name = words[-1] if words else ""
    if not shell.knows(name):
        return 127
    yield say(name)
    return 0


def _read(shell: Shell, words: list[str]) -> Run:
    """`read [-r] NAME`: one line, without a word split; 1 at the end of input."""
    line, is_whole = yield from shell.read_line()
    shell.env[words[-1]] = line.decode("utf-8", "surrogateescape")
    return int(not is_whole)


def _set(shell: Shell, words: list[str]) -> Run:
    """`set -- WORD…`: the arguments of the script."""
    yield from ()
    if words[:1] == ["--"]:
        shell.arguments = words[1:]
    return 0


def _shift(shell: Shell, words: list[str]) -> Run:
    yield from ()
    shell.arguments = shell.arguments[int(words[0]) if words else 1 :]
    return 0


def _trap(shell: Shell, words: list[str]) -> Run:
    """`trap SCRIPT EXIT`."""
    yield from ()
    shell.on_exit = words[0]
    return 0


def _true(shell: Shell, words: list[str]) -> Run:
    yield from ()
    return 0


def _false(shell: Shell, words: list[str]) -> Run:
    yield from ()
    return 1


def _sleep(shell: Shell, words: list[str]) -> Run:
    total = 0.0
    for word in words:
        span = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", word)
        if word in ("infinity", "inf"):
            total = float("inf")
        elif span is None:
            yield complain(f"sleep: invalid number '{word}'")
            return 1
        else:
            total += float(span.group(1)) * _SECONDS[span.group(2)]
    yield Sleep(total)
    return 0


def _seq(shell: Shell, words: list[str]) -> Run:
    bounds = [int(word) for word in words]
    first = bounds[0] if len(bounds) > 1 else 1
    step = bounds[1] if len(bounds) == 3 else 1
    for number in range(first, bounds[-1] + 1, step):
        yield say(str(number))
    return 0


def _stty(shell: Shell, words: list[str]) -> Run:
    window = shell.window
    if window is None or shell.stdin is not None:
        yield complain("stty: standard input: Not a tty")
        return 1
    if words == ["size"]:
        yield say(f"{window.rows} {window.columns}")
        return 0
    settings = iter(words)
    for word in settings:
        if word in ("echo", "-echo"):
            window.echo = word == "echo"
        elif word in ("rows", "cols", "columns"):
            value = next(settings, "")
            if not value.isascii() or not value.isdigit() or int(value) > MAX_SIDE:
                yield complain(f"stty: invalid number '{value}'")
                return 1
            setattr(window, "rows" if word == "rows" else "columns", int(value))
        # Programs set these around a session; here they change nothing.
        elif word not in ("sane", "raw", "-raw"):
            yield complain(f"stty: invalid argument '{word}'")
            return 1
    return 0


def _chroot(shell: Shell, words: list[str]) -> Run:
    """Run a command on the node below a debug pod: there is one file system for both."""
    return (yield from shell.execute(words[1:] or ["sh"]))


COMMANDS: dict[str, Command] = {
    **FILE_COMMANDS,
    ":": _true,
    "command": _command,
    "read": _read,
    "set": _set,
    "shift": _shift,
    "trap": _trap,
    "cd": _cd,
    "chroot": _chroot,
    "echo": _echo,
    "env": _env,
    "export": _export,
    "false": _false,
    "head": _head,
    "ls": _ls,
    "printf": _printf,
    "pwd": _pwd,
    "seq": _seq,
    "sleep": _sleep,
    "stty": _stty,
    "true": _true,
    "whoami": _whoami,
}
