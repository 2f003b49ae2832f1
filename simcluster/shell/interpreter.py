"""Running scripts: expansion, redirection, control flow."""

import fnmatch
import re
from collections.abc import Callable, Generator

from simcluster.shell import commands
from simcluster.shell.effects import (
    STDERR,
    STDOUT,
    Effect,
    Read,
    Run,
    Sleep,
    Window,
    Write,
    complain,
)
from simcluster.shell.files import FileSystem
from simcluster.shell.grammar import For, If, Loop, Node, Parser, Pipeline, Sequence, Simple

_ASSIGNMENT = re.compile(r"^([A-Za-z_]\w*)=(.*)$", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*|[?$#0-9]")


class Exit(Exception):
    """`exit N`."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Shell:
    """One shell: environment, working directory, files; commands it does not know go to `unknown`."""

    def __init__(
        self,
        files: FileSystem,
        env: dict[str, str],
        *,
        window: Window | None = None,
        unknown: "Callable[[Shell, list[str]], Run] | None" = None,
    ) -> None:
        self.files = files
        self.env: dict[str, str] = env
        self.window = window
        self.cwd = env.get("PWD", "/")
        self.code = 0
        self.stdin: bytes | None = None
        self.text: bytes = b""
        self._unknown = unknown or _not_found

    def run(self, script: str) -> Run:
        """Run a script; returns the exit code."""
        try:
            tree = Parser(script).parse()
        except SyntaxError as error:
            yield complain(f"sh: {error.msg}")
            return 2
        try:
            return (yield from self._node(tree))
        except Exit as ended:
            return ended.code

    def execute(self, argv: list[str]) -> Run:
        """Run one command given as words, as exec does."""
        try:
            return (yield from self._invoke(argv))
        except Exit as ended:
            return ended.code

    def interactive(self) -> Run:
        """Read and run line by line until the end of input or `exit`."""
        pending = b""
        while True:
            if self.window:
                yield Write(STDOUT, f"{self.cwd} # ".encode())
            while b"\n" not in pending:
                data = yield Read()
                if not data:
                    if pending.strip():
                        pending += b"\n"
                        break
                    return self.code
                pending += data
            line, _, pending = pending.partition(b"\n")
            try:
                self.code = yield from self._line(line.decode(errors="replace"))
            except Exit as ended:
                return ended.code

    def _line(self, text: str) -> Run:
        try:
            tree = Parser(text).parse()
        except SyntaxError as error:
            yield complain(f"sh: {error.msg}")
            return 2
        return (yield from self._node(tree)) if tree.items else self.code

    def _node(self, node: "Node | Pipeline") -> Run:
        if isinstance(node, Sequence):
            for operator, part in node.items:
                if operator == ";" or (operator == "&&") is (self.code == 0):
                    self.code = yield from self._node(part)
            return self.code
        if isinstance(node, Pipeline):
            code = yield from self._pipeline(node.parts)
            return int(not code) if node.negated else code
        if isinstance(node, If):
            return (yield from self._if(node))
        if isinstance(node, Loop):
            while ((yield from self._node(node.condition)) == 0) is not node.until:
                self.code = yield from self._node(node.body)
                self.code = 0
            return 0
        if isinstance(node, For):
            for word in (yield from self._words(node.words)):
                self.env[node.name] = word
                self.code = yield from self._node(node.body)
            return self.code
        return (yield from self._simple(node))

    def _if(self, node: If) -> Run:
        for condition, body in node.branches:
            if (yield from self._node(condition)) == 0:
                self.code = 0
                return (yield from self._node(body))
        self.code = 0
        return (yield from self._node(node.otherwise)) if node.otherwise else 0

    def _pipeline(self, parts: "list[Node]") -> Run:
        before = self.stdin
        try:
            for part in parts[:-1]:
                self.stdin = yield from self._captured(self._node(part))
            return (yield from self._node(parts[-1]))
        finally:
            self.stdin = before

    def _captured(self, run: Run) -> Generator[Effect, bytes | None, bytes]:
        output = b""
        answer: bytes | None = None
        while True:
            try:
                effect = run.send(answer)
            except StopIteration as ended:
                self.code = ended.value
                return output
            answer = None
            if isinstance(effect, Write) and effect.stream == STDOUT:
                output += effect.data
            else:
                answer = yield effect

    def _simple(self, node: Simple) -> Run:
        words = list(node.words)
        while words and (found := _ASSIGNMENT.match(words[0])):
            values = yield from self._expand(found.group(2), split=False)
            self.env[found.group(1)] = " ".join(values)
            words.pop(0)
        argv = yield from self._words(words)
        if not argv:
            return 0
        run = self._invoke(argv)
        return (
            (yield from self._redirected(run, node.redirects))
            if node.redirects
            else (yield from run)
        )

    def _redirected(self, run: Run, redirects: list[tuple[str, str]]) -> Run:
        targets: dict[int, str] = {}
        before = self.stdin
        for operator, raw in redirects:
            path = ""
            if raw:
                path = self.files.absolute(self.cwd, " ".join((yield from self._expand(raw))))
            try:
                if operator == "<":
                    self.stdin = self.files.read(path)
                elif operator == "2>&1":
                    targets[STDERR] = targets.get(STDOUT, "&1")
                else:
                    self.files.write(path, b"", append=operator == ">>")
                    for stream in {"2>": (STDERR,), "&>": (STDOUT, STDERR)}.get(
                        operator, (STDOUT,)
                    ):
                        targets[stream] = path
            except OSError as error:
                yield complain(f"sh: can't open {raw}: {error}")
                return 1
        try:
            return (yield from self._diverted(run, targets))
        finally:
            self.stdin = before

    def _diverted(self, run: Run, targets: dict[int, str]) -> Run:
        answer: bytes | None = None
        while True:
            try:
                effect = run.send(answer)
            except StopIteration as ended:
                return int(ended.value)
            answer = None
            path = targets.get(effect.stream) if isinstance(effect, Write) else None
            if path is None or not isinstance(effect, Write):
                answer = yield effect
            elif path == "&1":
                yield Write(STDOUT, effect.data)
            else:
                self.files.write(path, effect.data, append=True)

    def _invoke(self, argv: list[str]) -> Run:
        name = argv[0].rpartition("/")[2]
        if name == "exit":
            raise Exit(
                int(argv[1]) if len(argv) > 1 and argv[1].lstrip("-").isdigit() else self.code
            )
        if name in ("sh", "bash", "ash"):
            return (yield from self._nested(argv))
        if name == "exec" and len(argv) > 1:
            raise Exit((yield from self._invoke(argv[1:])))
        command = commands.TABLE.get(name)
        if command is None:
            return (yield from self._unknown(self, argv))
        return (yield from command(self, argv[1:]))

    def _nested(self, argv: list[str]) -> Run:
        for at, word in enumerate(argv[1:], 1):
            if word.startswith("-") and word.endswith("c") and at + 1 < len(argv):
                return (
                    yield from Shell(
                        self.files,
                        {**self.env, "PWD": self.cwd},
                        window=self.window,
                        unknown=self._unknown,
                    ).run(argv[at + 1])
                )
            if not word.startswith("-"):
                try:
                    text = self.files.read(self.files.absolute(self.cwd, word)).decode(
                        errors="replace"
                    )
                except OSError:
                    yield complain(f"sh: can't open '{word}': No such file or directory")
                    return 2
                return (
                    yield from Shell(
                        self.files,
                        {**self.env, "PWD": self.cwd},
                        window=self.window,
                        unknown=self._unknown,
                    ).run(text)
                )
        if self.stdin is not None:
            return (yield from self.run(self.stdin.decode(errors="replace")))
        return (
            yield from Shell(
                self.files, {**self.env, "PWD": self.cwd}, window=self.window, unknown=self._unknown
            ).interactive()
        )

    def input(self) -> Generator[Effect, bytes | None, bytes]:
        """All of a command's standard input."""
        if self.stdin is not None:
            return self.stdin
        data = b""
        while chunk := (yield Read()):
            data += chunk
        return data

    def _words(self, raw: list[str]) -> Generator[Effect, bytes | None, list[str]]:
        found: list[str] = []
        for word in raw:
            found += yield from self._expand(word)
        return found

    def _expand(
        self, word: str, *, split: bool = True
    ) -> Generator[Effect, bytes | None, list[str]]:
        text, at, quoted, splits = "", 0, False, False
        while at < len(word):
            letter = word[at]
            if letter == "'":
                end = word.index("'", at + 1)
                text, at, quoted = text + word[at + 1 : end], end + 1, True
            elif letter == '"':
                inner, at = yield from self._double(word, at + 1)
                text, quoted = text + inner, True
            elif letter == "\\" and at + 1 < len(word):
                text, at = text + word[at + 1], at + 2
            elif letter in "$`":
                value, at = yield from self._substitute(word, at)
                text, splits = text + value, True
            else:
                text, at = text + letter, at + 1
        if splits and not quoted and split:
            return text.split()
        return [text] if quoted or not split else self._globbed(text)

    def _double(self, word: str, at: int) -> Generator[Effect, bytes | None, tuple[str, int]]:
        text = ""
        while word[at] != '"':
            if word[at] == "\\" and word[at + 1] in '$`"\\':
                text, at = text + word[at + 1], at + 2
            elif word[at] in "$`":
                value, at = yield from self._substitute(word, at)
                text += value
            else:
                text, at = text + word[at], at + 1
        return text, at + 1

    def _substitute(self, word: str, at: int) -> Generator[Effect, bytes | None, tuple[str, int]]:
        if word.startswith("$(", at) or word[at] == "`":
            end = word.index("`", at + 1) if word[at] == "`" else _matching(word, at + 1) - 1
            script = word[at + (1 if word[at] == "`" else 2) : end]
            output = yield from self._captured(self._node(Parser(script).parse()))
            return output.decode(errors="replace").rstrip("\n"), end + 1
        if word.startswith("${", at):
            end = word.find("}", at)
            name, _, default = word[at + 2 : end].partition(":-")
            return self._variable(name) or default, end + 1
        found = _NAME.match(word, at + 1)
        return (self._variable(found.group()), found.end()) if found else ("$", at + 1)

    def _variable(self, name: str) -> str:
        return {"?": str(self.code), "$": "1", "#": "0", "0": "sh"}.get(name) or self.env.get(
            name, ""
        )

    def _globbed(self, text: str) -> list[str]:
        if not any(letter in text for letter in "*?["):
            return [text]
        folder, _, pattern = text.rpartition("/")
        base = self.files.absolute(self.cwd, folder or ("/" if text.startswith("/") else "."))
        names = [
            name
            for name in self.files.children(base)
            if fnmatch.fnmatchcase(name, pattern) and not name.startswith(".")
        ]
        return [f"{folder}/{name}" if "/" in text else name for name in names] or [text]


def _matching(text: str, at: int) -> int:
    depth = 0
    while True:
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
        if depth == 0:
            return at


def _not_found(shell: Shell, argv: list[str]) -> Run:
    yield complain(f"sh: {argv[0]}: not found")
    return 127


def endless(shell: Shell, argv: list[str]) -> Run:
    """A command that we do not know, in a container's own program: taken for a server, it runs on."""
    while True:
        yield Sleep(float("inf"))
