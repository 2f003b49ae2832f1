"""The commands of the tiny shell."""

import base64
import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from simcluster.shell.effects import STDOUT, Read, Run, Sleep, Write, complain, say

if TYPE_CHECKING:
    from simcluster.shell.interpreter import Shell

# Rows and columns of a terminal are numbers of sixteen bits.
MAX_SIDE = 0xFFFF
_PROCESSES = "PID   USER     TIME  COMMAND"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "e": "\033", "0": "\0"}


def _flags(words: list[str]) -> tuple[str, list[str]]:
    letters = "".join(
        word[1:]
        for word in words
        if word.startswith("-") and word != "-" and not word.startswith("--")
    )
    return letters, [word for word in words if not word.startswith("-") or word == "-"]


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group()), text)


def _echo(shell: "Shell", words: list[str]) -> Run:
    newline, escapes = True, False
    while words and re.fullmatch(r"-[ne]+", words[0]):
        newline, escapes = newline and "n" not in words[0], escapes or "e" in words[0]
        words = words[1:]
    text = " ".join(words)
    yield Write(
        STDOUT, ((_unescape(text) if escapes else text) + ("\n" if newline else "")).encode()
    )
    return 0


def _printf(shell: "Shell", words: list[str]) -> Run:
    text = _unescape(words[0]) if words else ""
    values = iter(words[1:])
    yield Write(
        STDOUT, re.sub(r"%[sd]", lambda _: next(values, ""), text).replace("%%", "%").encode()
    )
    return 0


def _cat(shell: "Shell", words: list[str]) -> Run:
    _, paths = _flags(words)
    if not paths or paths == ["-"]:
        if shell.stdin is None:
            while data := (yield Read()):
                yield Write(STDOUT, data)
            return 0
        yield Write(STDOUT, shell.stdin)
        return 0
    code = 0
    for path in paths:
        try:
            yield Write(STDOUT, shell.files.read(shell.files.absolute(shell.cwd, path)))
        except OSError as error:
            yield complain(f"cat: can't open '{path}': {error}")
            code = 1
    return code


def _ls(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    code = 0
    for path in paths or ["."]:
        full = shell.files.absolute(shell.cwd, path)
        if not shell.files.exists(full):
            yield complain(f"ls: {path}: No such file or directory")
            code = 1
            continue
        names = [path] if full in shell.files.files else shell.files.children(full)
        shown = [name for name in names if "a" in letters or not name.startswith(".")]
        if len(paths) > 1:
            yield say(f"{path}:")
        if "l" in letters:
            yield from _long(shell, full, shown)
        elif shown:
            yield Write(
                STDOUT,
                (
                    "  ".join(shown) if shell.window and "1" not in letters else "\n".join(shown)
                ).encode()
                + b"\n",
            )
    return code


def _long(shell: "Shell", folder: str, names: list[str]) -> Iterator[Write]:
    yield say(f"total {len(names) * 4}")
    for name in names:
        path = folder if folder in shell.files.files else posixpath.join(folder, name)
        directory = path in shell.files.directories
        size = 4096 if directory else len(shell.files.files.get(path, b""))
        mode = "drwxr-xr-x    2" if directory else "-rw-r--r--    1"
        yield say(
            f"{mode} root     root     {size:9d} {shell.files.created.strftime('%b %e %H:%M')} {name}"
        )


def _pwd(shell: "Shell", words: list[str]) -> Run:
    yield say(shell.cwd)
    return 0


def _cd(shell: "Shell", words: list[str]) -> Run:
    path = shell.files.absolute(shell.cwd, words[0] if words else shell.env.get("HOME", "/root"))
    if path not in shell.files.directories:
        yield complain(
            f"sh: cd: can't cd to {words[0] if words else path}: No such file or directory"
        )
        return 2
    shell.cwd = shell.env["PWD"] = path
    return 0


def _env(shell: "Shell", words: list[str]) -> Run:
    for name, value in sorted(shell.env.items()):
        yield say(f"{name}={value}")
    return 0


def _export(shell: "Shell", words: list[str]) -> Run:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            shell.env[name] = value
    yield from ()
    return 0


def _unset(shell: "Shell", words: list[str]) -> Run:
    for word in words:
        shell.env.pop(word, None)
    yield from ()
    return 0


def _fixed(text: "Callable[[Shell], str]") -> "Callable[[Shell, list[str]], Run]":
    def run(shell: "Shell", words: list[str]) -> Run:
        yield say(text(shell))
        return 0

    return run


def _code(code: int) -> "Callable[[Shell, list[str]], Run]":
    def run(shell: "Shell", words: list[str]) -> Run:
        yield from ()
        return code

    return run


def _sleep(shell: "Shell", words: list[str]) -> Run:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    total = 0.0
    for word in words:
        if word in ("infinity", "inf"):
            total = float("inf")
            break
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", word)
        if found is None:
            yield complain(f"sleep: invalid number '{word}'")
            return 1
        total += float(found.group(1)) * units[found.group(2) or "s"]
    yield Sleep(total)
    return 0


def _date(shell: "Shell", words: list[str]) -> Run:
    form = next((word[1:] for word in words if word.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    yield say(
        datetime.now(UTC).strftime(form.replace("%s", str(int(datetime.now(UTC).timestamp()))))
    )
    return 0


def _uname(shell: "Shell", words: list[str]) -> Run:
    letters, _ = _flags(words)
    whole = f"Linux {shell.env.get('HOSTNAME', 'localhost')} 6.12.48 #1 SMP x86_64 GNU/Linux"
    yield say(
        whole
        if "a" in letters
        else {"r": "6.12.48", "m": "x86_64", "n": shell.env.get("HOSTNAME", "")}.get(
            letters, "Linux"
        )
    )
    return 0


def _ps(shell: "Shell", words: list[str]) -> Run:
    yield say(_PROCESSES)
    yield say(f"    1 root      0:00 {shell.env.get('_MAIN', 'pause')}")
    yield say("   27 root      0:00 ps")
    return 0


def _text_of(shell: "Shell", paths: list[str], name: str) -> "Run":
    """Leaves the bytes of files, or of the input, in `shell.text`; returns 1 when a file is missing."""
    if not paths:
        shell.text = yield from shell.input()
        return 0
    data = b""
    for path in paths:
        try:
            data += shell.files.read(shell.files.absolute(shell.cwd, path))
        except OSError as error:
            yield complain(f"{name}: {path}: {error}")
            return 1
    shell.text = data
    return 0


def _counted(words: list[str], default: int) -> tuple[int, list[str]]:
    count, rest, at = default, [], 0
    while at < len(words):
        word = words[at]
        if word in ("-n", "-c") and at + 1 < len(words):
            count, at = int(words[at + 1].lstrip("+") or 0), at + 1
        elif re.fullmatch(r"-n?\d+", word):
            count = int(word.lstrip("-n"))
        elif not word.startswith("-"):
            rest.append(word)
        at += 1
    return count, rest


def _head(shell: "Shell", words: list[str]) -> Run:
    count, paths = _counted(words, 10)
    if not paths and shell.stdin is None:
        data = b""
        while data.count(b"\n") < count and (chunk := (yield Read())):
            data += chunk
        shell.text = data
    elif (yield from _text_of(shell, paths, "head")):
        return 1
    yield Write(STDOUT, b"".join(shell.text.splitlines(keepends=True)[:count]))
    return 0


def _tail(shell: "Shell", words: list[str]) -> Run:
    count, paths = _counted([word for word in words if word not in ("-f", "-F")], 10)
    if (yield from _text_of(shell, paths, "tail")):
        return 1
    yield Write(STDOUT, b"".join(shell.text.splitlines(keepends=True)[-count:] if count else []))
    if "-f" in words or "-F" in words:
        yield Sleep(float("inf"))
    return 0


def _wc(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    if (yield from _text_of(shell, paths, "wc")):
        return 1
    counts = {"l": shell.text.count(b"\n"), "w": len(shell.text.split()), "c": len(shell.text)}
    shown = [str(counts[letter]) for letter in ("l", "w", "c") if not letters or letter in letters]
    yield say(" ".join([*shown, *paths]))
    return 0


def _grep(shell: "Shell", words: list[str]) -> Run:
    letters, rest = _flags(words)
    if not rest:
        yield complain("usage: grep [-ivcnE] PATTERN [FILE]...")
        return 2
    if (yield from _text_of(shell, rest[1:], "grep")):
        return 2
    try:
        pattern = re.compile(rest[0], re.IGNORECASE if "i" in letters else 0)
    except re.error:
        yield complain(f"grep: bad regex '{rest[0]}'")
        return 2
    lines = shell.text.decode(errors="replace").splitlines()
    found = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if bool(pattern.search(line)) is ("v" not in letters)
    ]
    if "c" in letters:
        yield say(str(len(found)))
    elif "q" not in letters:
        for number, line in found:
            yield say(f"{number}:{line}" if "n" in letters else line)
    return 0 if found else 1


def _sort(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    if (yield from _text_of(shell, paths, "sort")):
        return 1
    lines = sorted(shell.text.decode(errors="replace").splitlines(), reverse="r" in letters)
    for line in dict.fromkeys(lines) if "u" in letters else lines:
        yield say(line)
    return 0


def _seq(shell: "Shell", words: list[str]) -> Run:
    bounds = [int(word) for word in words]
    first, last = (1, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[-1])
    for number in range(first, last + 1, bounds[1] if len(bounds) == 3 else 1):
        yield say(str(number))
    return 0


def _tee(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    data = yield from shell.input()
    for path in paths:
        shell.files.write(shell.files.absolute(shell.cwd, path), data, append="a" in letters)
    yield Write(STDOUT, data)
    return 0


def _base64(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    if (yield from _text_of(shell, paths, "base64")):
        return 1
    yield Write(
        STDOUT,
        base64.b64decode(shell.text) if "d" in letters else base64.b64encode(shell.text) + b"\n",
    )
    return 0


def _mkdir(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    for path in paths:
        full = shell.files.absolute(shell.cwd, path)
        if "p" in letters:
            shell.files.make_parents(full + "/x")
        elif shell.files.exists(full) or posixpath.dirname(full) not in shell.files.directories:
            why = "File exists" if shell.files.exists(full) else "No such file or directory"
            yield complain(f"mkdir: can't create directory '{path}': {why}")
            return 1
        else:
            shell.files.directories.add(full)
    return 0


def _touch(shell: "Shell", words: list[str]) -> Run:
    for path in _flags(words)[1]:
        full = shell.files.absolute(shell.cwd, path)
        try:
            if full not in shell.files.directories:
                shell.files.write(full, b"", append=True)
        except OSError:
            yield complain(f"touch: {path}: No such file or directory")
            return 1
    return 0


def _rm(shell: "Shell", words: list[str]) -> Run:
    letters, paths = _flags(words)
    for path in paths:
        full = shell.files.absolute(shell.cwd, path)
        if not shell.files.exists(full):
            if "f" not in letters:
                yield complain(f"rm: can't remove '{path}': No such file or directory")
                return 1
        elif full in shell.files.directories and not set(letters) & {"r", "R"}:
            yield complain(f"rm: '{path}' is a directory")
            return 1
        else:
            shell.files.remove(full)
    return 0


def _copy(*, move: bool) -> "Callable[[Shell, list[str]], Run]":
    name = "mv" if move else "cp"

    def run(shell: "Shell", words: list[str]) -> Run:
        paths = [shell.files.absolute(shell.cwd, word) for word in _flags(words)[1]]
        if len(paths) != 2 or not shell.files.exists(paths[0]):
            yield complain(
                f"{name}: can't stat '{words[-2] if len(words) > 1 else ''}': No such file or directory"
            )
            return 1
        source, target = paths
        if target in shell.files.directories:
            target = posixpath.join(target, posixpath.basename(source))
        for item in list(shell.files.below(source)):
            place = target + item[len(source) :]
            if item in shell.files.directories:
                shell.files.make_parents(place + "/x")
            else:
                shell.files.files[place] = shell.files.files[item]
        if move:
            shell.files.remove(source)
        return 0

    return run


def _find(shell: "Shell", words: list[str]) -> Run:
    start = words[0] if words and not words[0].startswith("-") else "."
    base = shell.files.absolute(shell.cwd, start)
    if not shell.files.exists(base):
        yield complain(f"find: {start}: No such file or directory")
        return 1
    for item in shell.files.below(base):
        yield say(
            start + item[len(base) :] if start != "." else "." + item[len(base.rstrip("/")) :]
        )
    return 0


def _which(shell: "Shell", words: list[str]) -> Run:
    code = 0
    for word in words:
        if word in TABLE or word in ("sh", "exit"):
            yield say(f"/bin/{word}")
        else:
            code = 1
    return code


def _test(shell: "Shell", words: list[str]) -> Run:
    words = words[:-1] if words and words[-1] == "]" else words
    if words[:1] == ["!"]:
        return int(not (yield from _test(shell, words[1:])))
    if len(words) == 2 and words[0] in ("-f", "-d", "-e", "-z", "-n", "-s"):
        path = shell.files.absolute(shell.cwd, words[1])
        truth = {
            "-f": path in shell.files.files,
            "-d": path in shell.files.directories,
            "-e": shell.files.exists(path),
            "-s": bool(shell.files.files.get(path)),
            "-z": not words[1],
            "-n": bool(words[1]),
        }[words[0]]
        return int(not truth)
    if len(words) == 3:
        return int(not _compare(*words))
    yield from ()
    return int(not (words and words[0]))


def _compare(left: str, operator: str, right: str) -> bool:
    if operator in ("=", "=="):
        return left == right
    if operator == "!=":
        return left != right
    try:
        have, want = int(left), int(right)
    except ValueError:
        return False
    return {
        "-eq": have == want,
        "-ne": have != want,
        "-lt": have < want,
        "-le": have <= want,
        "-gt": have > want,
        "-ge": have >= want,
    }.get(operator, False)


def _stty(shell: "Shell", words: list[str]) -> Run:
    window = shell.window
    if window is None or shell.stdin is not None:
        yield complain("stty: standard input: Not a tty")
        return 1
    if words == ["size"]:
        yield say(f"{window.rows} {window.columns}")
        return 0
    if words in ([], ["-a"]):
        yield say(f"speed 38400 baud; rows {window.rows}; columns {window.columns};")
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
        elif word not in ("sane", "raw", "-raw", "cooked", "-cooked"):
            yield complain(f"stty: invalid argument '{word}'")
            return 1
    return 0


def _tar(shell: "Shell", words: list[str]) -> Run:
    letters = next((word.lstrip("-") for word in words if not word.startswith("--")), "")
    rest = [word for word in words[1:] if not word.startswith("--")]
    folder = shell.cwd
    if "-C" in rest:
        at = rest.index("-C")
        folder = shell.files.absolute(shell.cwd, rest[at + 1])
        del rest[at : at + 2]
    archive = rest.pop(0) if "f" in letters and rest else "-"
    if "c" in letters:
        return (yield from _pack(shell, folder, rest))
    data = (
        (yield from shell.input())
        if archive == "-"
        else shell.files.read(shell.files.absolute(shell.cwd, archive))
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        for member in found:
            path = shell.files.absolute(folder, member.name.lstrip("/"))
            if member.isdir():
                shell.files.make_parents(path + "/x")
            elif (file := found.extractfile(member)) is not None:
                shell.files.make_parents(path)
                shell.files.files[path] = file.read()
    return 0


def _pack(shell: "Shell", folder: str, paths: list[str]) -> Run:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as made:
        for path in paths:
            base = shell.files.absolute(folder, path)
            if not shell.files.exists(base):
                yield complain(f"tar: {path}: No such file or directory")
                return 1
            for item in shell.files.below(base):
                member = tarfile.TarInfo((path + item[len(base) :]).lstrip("/"))
                data = shell.files.files.get(item, b"")
                member.size, member.mtime = len(data), shell.files.created.timestamp()
                member.type = (
                    tarfile.DIRTYPE if item in shell.files.directories else tarfile.REGTYPE
                )
                member.mode = 0o755 if item in shell.files.directories else 0o644
                made.addfile(member, io.BytesIO(data))
    yield Write(STDOUT, output.getvalue())
    return 0


def _df(shell: "Shell", words: list[str]) -> Run:
    yield say("Filesystem           1K-blocks      Used Available Use% Mounted on")
    yield say("overlay              101430960  23188416  78242544  23% /")
    return 0


def _chroot(shell: "Shell", words: list[str]) -> Run:
    """The machine below a node's debug pod has the same files as the pod: there is one file system."""
    return (yield from shell.execute(words[1:] or ["sh"]))


TABLE: "dict[str, Callable[[Shell, list[str]], Run]]" = {
    ":": _code(0),
    "[": _test,
    "base64": _base64,
    "cat": _cat,
    "cd": _cd,
    "chroot": _chroot,
    "clear": _fixed(lambda shell: "\033[H\033[2J"),
    "cp": _copy(move=False),
    "date": _date,
    "df": _df,
    "echo": _echo,
    "env": _env,
    "export": _export,
    "false": _code(1),
    "find": _find,
    "grep": _grep,
    "head": _head,
    "hostname": _fixed(lambda shell: shell.env.get("HOSTNAME", "localhost")),
    "id": _fixed(lambda shell: "uid=0(root) gid=0(root) groups=0(root)"),
    "ls": _ls,
    "mkdir": _mkdir,
    "mv": _copy(move=True),
    "printenv": _env,
    "printf": _printf,
    "ps": _ps,
    "pwd": _pwd,
    "rm": _rm,
    "seq": _seq,
    "set": _code(0),
    "sleep": _sleep,
    "sort": _sort,
    "stty": _stty,
    "tail": _tail,
    "tar": _tar,
    "tee": _tee,
    "test": _test,
    "touch": _touch,
    "trap": _code(0),
    "true": _code(0),
    "uname": _uname,
    "unset": _unset,
    "uptime": _fixed(lambda shell: " 10:00:00 up 12 days,  3:04,  load average: 0.42, 0.37, 0.31"),
    "wait": _code(0),
    "wc": _wc,
    "which": _which,
    "whoami": _fixed(lambda shell: "root"),
}
