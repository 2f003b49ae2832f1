"""Running scripts: expansion, redirection, control flow."""

import fnmatch
import re
from collections.abc import Callable, Generator, Mapping
from typing import TypeVar

from simcluster.shell.effects import (
    STDERR,
    STDOUT,
    Effect,
    Read,
    Run,
    Window,
    Write,
    complain,
)
from simcluster.shell.files import FileSystem
from simcluster.shell.grammar import (
    For,
    If,
    Node,
    Parser,
    Pipeline,
    Sequence,
    Simple,
    While,
    substitution_end,
)

T = TypeVar("T")
Steps = Generator[Effect, bytes | None, T]
Command = Callable[["Shell", list[str]], Run]

_ASSIGNMENT = re.compile(r"^([A-Za-z_]\w*)=(.*)$", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*|[0-9?#@])|\{([A-Za-z_]\w*)\})")
_ARITHMETIC = re.compile(r"\s*(\w+)\s*([-+*])\s*(\w+)\s*")
_SHELLS = ("sh", "bash", "ash")
_SPECIAL = ("?", "#", "@")


class Exit(Exception):
    """`exit N`."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Input:
    """What has come from outside and was not read yet."""

    def __init__(self) -> None:
        self.pending = bytearray()
        self.ended = False


class Shell:
    """One shell: environment, working directory, files.

    `commands` are those that it knows by name, as functions of shell and arguments; every other
    goes to `unknown`, with its name as the first word. `window` is set on a terminal.
    """

    def __init__(
        self,
        files: FileSystem,
        env: dict[str, str],
        *,
        commands: Mapping[str, Command],
        window: Window | None = None,
        unknown: Command | None = None,
    ) -> None:
        self.files = files
        self.env = env
        self.window = window
        self.cwd = env.get("PWD", "/")
        self.code = 0
        # What a pipe or `<` hands to the command; None reads from outside.
        self.stdin: bytes | None = None
        self.input = Input()
        # $0 and what follows it.
        self.name = "sh"
        self.arguments: list[str] = []
        self.on_exit = ""
        self._commands = commands
        self._unknown = unknown or _unknown_command

    def run(self, script: str) -> Run:
        """Run a script; returns the exit code."""
        try:
            code = yield from self._script(script)
        except Exit as exit_call:
            code = exit_call.code
        if self.on_exit:
            on_exit = self.on_exit
            self.on_exit = ""
            yield from self._script(on_exit)
        return code

    def knows(self, name: str) -> bool:
        """Whether there is a command of that name."""
        return name in self._commands or name in _SHELLS

    def execute(self, argv: list[str]) -> Run:
        """Run one command from its words, as exec does; returns the exit code."""
        try:
            return (yield from self._invoke(argv))
        except Exit as exit_call:
            return exit_call.code

    def interactive(self) -> Run:
        """Read and run line by line until the end of input or `exit`; returns the exit code."""
        pending = b""
        while True:
            # A script over a pipe expects no prompt in its output.
            if self.window:
                yield Write(STDOUT, f"{self.cwd} # ".encode())
            while b"\n" not in pending:
                chunk = yield Read()
                if chunk:
                    pending += chunk
                elif pending.strip():
                    # The last line needs no line feed.
                    pending += b"\n"
                else:
                    return self.code
            line, _, pending = pending.partition(b"\n")
            try:
                self.code = yield from self._script(line.decode(errors="replace"))
            except Exit as exit_call:
                return exit_call.code

    def read_input(self) -> Steps[bytes]:
        """All of a command's standard input."""
        data = bytearray()
        while chunk := (yield from self.read_part()):
            data += chunk
        return bytes(data)

    def read_part(self) -> Steps[bytes]:
        """Some of the standard input; b"" at its end."""
        if self.stdin is not None:
            data = self.stdin
            self.stdin = b""
            return data
        if self.input.pending:
            data = bytes(self.input.pending)
            self.input.pending.clear()
            return data
        if self.input.ended:
            return b""
        chunk = yield Read()
        self.input.ended = not chunk
        return chunk or b""

    def read_exactly(self, size: int) -> Steps[bytes]:
        """So many bytes of the standard input, fewer only at its end; the rest stays."""
        data = bytearray()
        while len(data) < size and (chunk := (yield from self.read_part())):
            data += chunk
        self._put_back(bytes(data[size:]))
        return bytes(data[:size])

    def read_line(self) -> Steps[tuple[bytes, bool]]:
        """(a line without its end, whether it had one)."""
        data = bytearray()
        while b"\n" not in data and (chunk := (yield from self.read_part())):
            data += chunk
        line, end, rest = bytes(data).partition(b"\n")
        self._put_back(rest)
        return line, bool(end)

    def _put_back(self, data: bytes) -> None:
        if self.stdin is not None:
            self.stdin = data + self.stdin
        else:
            self.input.pending[:0] = data

    def _script(self, text: str) -> Run:
        try:
            sequence = Parser(text).parse()
        except SyntaxError as error:
            yield complain(f"sh: {error.msg}")
            return 2
        if not sequence.items:
            return self.code
        return (yield from self._node(sequence))

    def _node(self, node: Node | Pipeline) -> Run:
        if isinstance(node, Sequence):
            return (yield from self._sequence(node))
        if isinstance(node, Pipeline):
            return (yield from self._pipeline(node.parts))
        if isinstance(node, If):
            return (yield from self._if(node))
        if isinstance(node, While):
            while (yield from self._node(node.condition)) == 0:
                yield from self._node(node.body)
            return 0
        if isinstance(node, For):
            words: list[str] = []
            for raw in node.words:
                for word in (yield from self._expand(raw)):
                    words += self._matches(word) if _is_pattern(raw) else [word]
            for word in words:
                self.env[node.name] = word
                self.code = yield from self._node(node.body)
            return self.code
        return (yield from self._simple(node))

    def _sequence(self, sequence: Sequence) -> Run:
        for operator, part in sequence.items:
            # `&&` runs after success and `||` after failure.
            if operator == ";" or (operator == "&&") is (self.code == 0):
                self.code = yield from self._node(part)
        return self.code

    def _if(self, node: If) -> Run:
        for condition, body in node.branches:
            if (yield from self._node(condition)) == 0:
                self.code = 0
                return (yield from self._node(body))
        self.code = 0
        if node.otherwise is None:
            return 0
        return (yield from self._node(node.otherwise))

    def _pipeline(self, parts: list[Node]) -> Run:
        stdin = self.stdin
        try:
            # One after the other: the whole output of a part is the input of the next.
            for part in parts[:-1]:
                self.stdin = yield from self._captured(self._node(part))
            return (yield from self._node(parts[-1]))
        finally:
            self.stdin = stdin

    def _captured(self, run: Run) -> Steps[bytes]:
        """What the run writes to stdout; its exit code is left in `code`."""
        output = b""
        reply: bytes | None = None
        while True:
            try:
                effect = run.send(reply)
            except StopIteration as end:
                self.code = end.value
                return output
            reply = None
            if isinstance(effect, Write) and effect.stream == STDOUT:
                output += effect.data
            else:
                reply = yield effect

    def _simple(self, node: Simple) -> Run:
        words = list(node.words)
        while words and (assignment := _ASSIGNMENT.match(words[0])):
            name, raw = assignment.groups()
            values = yield from self._expand(raw, split=False)
            self.env[name] = " ".join(values)
            words.pop(0)
        argv = yield from self._words(words)
        if not argv:
            return 0
        if node.redirects:
            return (yield from self._redirected(argv, node.redirects))
        return (yield from self._invoke(argv))

    def _redirected(self, argv: list[str], redirects: list[tuple[str, str]]) -> Run:
        targets: dict[int, str] = {}
        joined: dict[int, int] = {}
        stdin = self.stdin
        try:
            for operator, raw in redirects:
                if operator == "2>&1" and STDOUT in targets:
                    targets[STDERR] = targets[STDOUT]
                if operator in ("2>&1", ">&2"):
                    joined |= {STDERR: STDOUT} if operator == "2>&1" else {STDOUT: STDERR}
                    continue
                name = " ".join((yield from self._expand(raw)))
                path = self.files.absolute(self.cwd, name)
                if operator == "<":
                    self.stdin = self.files.read(path)
                else:
                    # The file is created, and emptied by `>`, even if the command writes nothing.
                    self.files.write(path, b"", append=operator == ">>")
                    targets[STDERR if operator == "2>" else STDOUT] = path
            return (yield from self._diverted(self._invoke(argv), targets, joined))
        except OSError as error:
            yield complain(f"sh: can't open {raw}: {error}")
            return 1
        finally:
            self.stdin = stdin

    def _diverted(self, run: Run, targets: dict[int, str], joined: dict[int, int]) -> Run:
        """The run, with what it writes to these streams put into files, or into other streams."""
        reply: bytes | None = None
        while True:
            try:
                effect = run.send(reply)
            except StopIteration as end:
                return int(end.value)
            reply = None
            if isinstance(effect, Write) and effect.stream in targets:
                self.files.write(targets[effect.stream], effect.data, append=True)
            elif isinstance(effect, Write) and effect.stream in joined:
                yield Write(joined[effect.stream], effect.data)
            else:
                reply = yield effect

    def _invoke(self, argv: list[str]) -> Run:
        # Programs have no files here: /bin/ls and ls are the same.
        name = argv[0].rpartition("/")[2]
        if name == "exit":
            is_number = len(argv) > 1 and argv[1].lstrip("-").isdigit()
            raise Exit(int(argv[1]) if is_number else self.code)
        if name in _SHELLS:
            return (yield from self._nested(argv))
        if name == "exec" and len(argv) > 1:
            # The command takes the place of the shell.
            raise Exit((yield from self._invoke(argv[1:])))
        command = self._commands.get(name)
        if command is None:
            return (yield from self._unknown(self, argv))
        return (yield from command(self, argv[1:]))

    def _nested(self, argv: list[str]) -> Run:
        """`sh -c SCRIPT`, a script on standard input, or an interactive shell."""
        shell = Shell(
            self.files,
            # A copy: a child cannot change the environment of its parent.
            {**self.env, "PWD": self.cwd},
            commands=self._commands,
            window=self.window,
            unknown=self._unknown,
        )
        shell.stdin = self.stdin
        shell.input = self.input
        for place, option in enumerate(argv[:-1]):
            if option.startswith("-") and option.endswith("c"):
                shell.name, *shell.arguments = argv[place + 2 :] or ["sh"]
                return (yield from shell.run(argv[place + 1]))
        if self.stdin is not None:
            return (yield from shell.run(self.stdin.decode(errors="replace")))
        return (yield from shell.interactive())

    def _words(self, raw: list[str]) -> Steps[list[str]]:
        words: list[str] = []
        for word in raw:
            words += yield from self._expand(word)
        return words

    def _expand(self, word: str, *, split: bool = True) -> Steps[list[str]]:
        """The words that a word stands for: none or many for an unquoted variable, else one."""
        if word == '"$@"':
            return list(self.arguments)
        text = ""
        position = 0
        quoted = False
        substituted = False
        while position < len(word):
            letter = word[position]
            if letter == "'":
                end = word.index("'", position + 1)
                text += word[position + 1 : end]
                position = end + 1
                quoted = True
            elif letter == '"':
                inner, position = yield from self._double_quoted(word, position + 1)
                text += inner
                quoted = True
            elif letter == "\\" and position + 1 < len(word):
                text += word[position + 1]
                position += 2
            elif letter == "$":
                value, position = yield from self._substitute(word, position)
                text += value
                substituted = True
            else:
                text += letter
                position += 1
        if substituted and not quoted and split:
            return text.split()
        return [text]

    def _double_quoted(self, word: str, position: int) -> Steps[tuple[str, int]]:
        """What stands up to the closing quote, and the place after it."""
        text = ""
        while word[position] != '"':
            if word[position] == "\\" and word[position + 1] in '$`"\\':
                text += word[position + 1]
                position += 2
            elif word[position] == "$":
                value, position = yield from self._substitute(word, position)
                text += value
            else:
                text += word[position]
                position += 1
        return text, position + 1

    def _substitute(self, word: str, position: int) -> Steps[tuple[str, int]]:
        """The value of `$NAME`, `${NAME}`, `$?` or `$(script)`, and the place after it."""
        if word.startswith("$((", position):
            end = substitution_end(word, position + 1)
            return self._calculated(word[position + 3 : end - 2]), end
        if word.startswith("$(", position):
            end = substitution_end(word, position + 1)
            script = word[position + 2 : end - 1]
            output = yield from self._captured(self._script(script))
            return output.decode(errors="surrogateescape").rstrip("\n"), end
        variable = _VARIABLE.match(word, position)
        if variable is None:
            return "$", position + 1
        name = variable.group(1) or variable.group(2)
        if name in _SPECIAL or name.isdigit():
            return self._special(name), variable.end()
        return self.env.get(name, ""), variable.end()

    def _special(self, name: str) -> str:
        """`$?`, `$#`, `$@`, `$0` or `$1`."""
        if name == "?":
            return str(self.code)
        if name == "#":
            return str(len(self.arguments))
        if name == "@":
            return " ".join(self.arguments)
        words = [self.name, *self.arguments]
        return words[int(name)] if int(name) < len(words) else ""

    def _calculated(self, text: str) -> str:
        """`$((n+1))`: two numbers or variables and an operator."""
        match = _ARITHMETIC.fullmatch(text)
        if match is None:
            return "0"
        left, right = (
            int(word) if word.isdigit() else int(self.env.get(word) or 0)
            for word in (match.group(1), match.group(3))
        )
        results = {"+": left + right, "-": left - right, "*": left * right}
        return str(results[match.group(2)])

    def _matches(self, pattern: str) -> list[str]:
        """The paths that a pattern in the last component stands for; itself without any."""
        folder, slash, last = pattern.rpartition("/")
        try:
            names = self.files.children(self.files.absolute(self.cwd, folder or "."))
        except OSError:
            names = []
        expression = re.compile(fnmatch.translate(last))
        matching = [
            name
            for name in names
            if expression.match(name) and name.startswith(".") is last.startswith(".")
        ]
        return [f"{folder}{slash}{name}" for name in matching] or [pattern]


def _is_pattern(raw: str) -> bool:
    return not any(letter in raw for letter in "'\"$\\") and any(letter in raw for letter in "*?[")


def _unknown_command(shell: Shell, argv: list[str]) -> Run:
    yield complain(f"sh: {argv[0]}: not found")
    return 127
