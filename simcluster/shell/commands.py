"""The commands of the tiny shell: what tests and the demo use, worded as busybox does."""

import io
import posixpath
import re
import tarfile
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
from simcluster.shell.interpreter import Command, Shell, Steps

# Rows and columns of a terminal are numbers of sixteen bits.
MAX_SIDE = 0xFFFF
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "e": "\033", "0": "\0"}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _split_flags(words: list[str]) -> tuple[str, list[str]]:
    """The letters of short options, and the words that are no options."""
    letters = ""
    operands = []
    for word in words:
        # A lone dash is standard input, not an option.
        if not word.startswith("-") or word == "-":
            operands.append(word)
        elif not word.startswith("--"):
            letters += word[1:]
    return letters, operands


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
    yield Write(STDOUT, text.replace("%%", "%").encode())
    return 0


def _cat(shell: Shell, words: list[str]) -> Run:
    _, paths = _split_flags(words)
    if not paths or paths == ["-"]:
        if shell.stdin is not None:
            yield Write(STDOUT, shell.stdin)
            return 0
        # On a terminal each line appears as soon as it is typed.
        while data := (yield Read()):
            yield Write(STDOUT, data)
        return 0
    code = 0
    for path in paths:
        try:
            yield Write(STDOUT, shell.files.read(shell.files.absolute(shell.cwd, path)))
        except OSError as error:
            yield complain(f"cat: can't open '{path}': {error}")
            code = 1
    return code


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
    letters, paths = _split_flags(words)
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
    if path not in shell.files.directories:
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


def _mkdir(shell: Shell, words: list[str]) -> Run:
    letters, paths = _split_flags(words)
    for path in paths:
        full = shell.files.absolute(shell.cwd, path)
        if "p" in letters:
            shell.files.make_directory(full)
            continue
        error = ""
        if shell.files.exists(full):
            error = "File exists"
        elif posixpath.dirname(full) not in shell.files.directories:
            error = "No such file or directory"
        if error:
            yield complain(f"mkdir: can't create directory '{path}': {error}")
            return 1
        shell.files.directories.add(full)
    return 0


def _rm(shell: Shell, words: list[str]) -> Run:
    letters, paths = _split_flags(words)
    recursive = "r" in letters or "R" in letters
    for path in paths:
        full = shell.files.absolute(shell.cwd, path)
        if full in shell.files.directories and not recursive:
            yield complain(f"rm: '{path}' is a directory")
            return 1
        if shell.files.exists(full):
            shell.files.remove(full)
        elif "f" not in letters:
            yield complain(f"rm: can't remove '{path}': No such file or directory")
            return 1
    return 0


def _mv(shell: Shell, words: list[str]) -> Run:
    _, operands = _split_flags(words)
    paths = [shell.files.absolute(shell.cwd, operand) for operand in operands]
    if len(paths) != 2 or not shell.files.exists(paths[0]):
        source_word = operands[0] if operands else ""
        yield complain(f"mv: can't rename '{source_word}': No such file or directory")
        return 1
    source, target = paths
    if target in shell.files.directories:
        # A directory as target takes the source in under its own name.
        target = posixpath.join(target, posixpath.basename(source))
    # A copy of the list, since the loop adds paths to the same files.
    for path in list(shell.files.below(source)):
        new_path = target + path.removeprefix(source)
        if path in shell.files.directories:
            shell.files.make_directory(new_path)
        else:
            shell.files.files[new_path] = shell.files.files[path]
    shell.files.remove(source)
    return 0


def _test(shell: Shell, words: list[str]) -> Run:
    yield from ()
    if words and words[-1] == "]":
        words = words[:-1]
    if len(words) == 3 and words[1] in ("=", "!="):
        return int((words[0] == words[2]) is not (words[1] == "="))
    if len(words) == 2:
        operator, operand = words
        path = shell.files.absolute(shell.cwd, operand)
        truths = {
            "-d": path in shell.files.directories,
            "-e": shell.files.exists(path),
            "-f": path in shell.files.files,
            # Programs are no files here: a script that looks for bash goes on with sh.
            "-x": shell.files.exists(path),
            "-n": bool(operand),
            "-z": not operand,
        }
        return int(not truths.get(operator, False))
    return int(not (words and words[0]))


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


def _tar(shell: Shell, words: list[str]) -> Run:
    """`tar cf - PATH...` and `tar xf -`, with `-C FOLDER`: the two halves of `kubectl cp`."""
    letters = words[0].lstrip("-") if words else ""
    operands = [word for word in words[1:] if not word.startswith("--")]
    folder = shell.cwd
    if "-C" in operands:
        index = operands.index("-C")
        folder = shell.files.absolute(shell.cwd, operands[index + 1])
        del operands[index : index + 2]
    archive = operands.pop(0) if "f" in letters and operands else "-"
    if "c" in letters:
        return (yield from _pack(shell, folder, operands))
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
                shell.files.make_parents(path)
                shell.files.files[path] = content.read()
    return 0


def _pack(shell: Shell, folder: str, paths: list[str]) -> Run:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for path in paths:
            base = shell.files.absolute(folder, path)
            if not shell.files.exists(base):
                yield complain(f"tar: {path}: No such file or directory")
                return 1
            for source in shell.files.below(base):
                member = tarfile.TarInfo((path + source.removeprefix(base)).lstrip("/"))
                data = shell.files.files.get(source, b"")
                is_directory = source in shell.files.directories
                member.size = len(data)
                member.mtime = shell.files.created.timestamp()
                member.type = tarfile.DIRTYPE if is_directory else tarfile.REGTYPE
                member.mode = 0o755 if is_directory else 0o644
                archive.addfile(member, io.BytesIO(data))
    yield Write(STDOUT, output.getvalue())
    return 0


def _chroot(shell: Shell, words: list[str]) -> Run:
    """Run a command on the node below a debug pod: there is one file system for both."""
    return (yield from shell.execute(words[1:] or ["sh"]))


COMMANDS: dict[str, Command] = {
    "[": _test,
    "cat": _cat,
    "cd": _cd,
    "chroot": _chroot,
    "echo": _echo,
    "env": _env,
    "export": _export,
    "false": _false,
    "head": _head,
    "ls": _ls,
    "mkdir": _mkdir,
    "mv": _mv,
    "printf": _printf,
    "pwd": _pwd,
    "rm": _rm,
    "seq": _seq,
    "sleep": _sleep,
    "stty": _stty,
    "tar": _tar,
    "test": _test,
    "true": _true,
    "whoami": _whoami,
}
