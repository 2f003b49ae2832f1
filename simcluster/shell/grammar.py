"""The grammar: lists, pipelines, redirections, if, while, for."""

from dataclasses import dataclass, field

_OPERATORS = ("&&", "||", ">>", "2>&1", "2>", "&>", ";;", ";", "|", "&", ">", "<", "(", ")", "\n")
_KEYWORDS = {"then", "else", "elif", "fi", "do", "done", "}"}


@dataclass
class Simple:
    """One command with its redirections."""

    words: list[str] = field(default_factory=list)
    redirects: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Pipeline:
    """Commands joined by `|`; `!` negates."""

    parts: "list[Node]"
    negated: bool = False


@dataclass
class Sequence:
    """Pipelines, each with the condition to run it: `;`, `&&` or `||`."""

    items: "list[tuple[str, Pipeline]]"


@dataclass
class If:
    """Conditions with bodies, and an else."""

    branches: list[tuple[Sequence, Sequence]]
    otherwise: Sequence | None


@dataclass
class Loop:
    """`while` and `until`."""

    condition: Sequence
    body: Sequence
    until: bool


@dataclass
class For:
    """`for name in words`."""

    name: str
    words: list[str]
    body: Sequence


Node = Simple | Sequence | If | Loop | For


def tokens(text: str) -> list[str]:
    """Operators, and words with their quotes still on."""
    found: list[str] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if letter in " \t":
            at += 1
        elif letter == "#":
            at = _end_of_line(text, at)
        elif text.startswith("\\\n", at):
            at += 2
        else:
            operator = next((one for one in _OPERATORS if text.startswith(one, at)), None)
            if operator is not None:
                found.append(operator)
                at += len(operator)
            else:
                end = _word_end(text, at)
                found.append(text[at:end])
                at = end
    return found


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _word_end(text: str, at: int) -> int:
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 2
        elif letter in "'\"":
            at = _closing(text, at, letter)
        elif text.startswith("$(", at):
            at = _matching(text, at + 1)
        elif letter == "`":
            at = _closing(text, at, "`")
        elif letter in " \t\n;|&<>()":
            break
        else:
            at += 1
    return min(at, len(text))


def _closing(text: str, at: int, quote: str) -> int:
    at += 1
    while at < len(text) and text[at] != quote:
        if quote != "'" and text.startswith("$(", at):
            at = _matching(text, at + 1)
            continue
        at += 2 if text[at] == "\\" and quote != "'" else 1
    if at >= len(text):
        raise SyntaxError("unterminated quoted string")
    return at + 1


def _matching(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    raise SyntaxError("unterminated command substitution")


class Parser:
    """Recursive descent over the tokens; SyntaxError when it makes no sense."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0

    def parse(self) -> Sequence:
        """The whole script."""
        sequence = self._sequence(set())
        if self._peek():
            raise SyntaxError(f'syntax error: unexpected "{self._peek()}"')
        return sequence

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    def _expect(self, word: str) -> None:
        self._skip()
        if self._take() != word:
            raise SyntaxError(f'syntax error: unexpected end of file (expecting "{word}")')

    def _skip(self) -> None:
        while self._peek() in (";", "\n", "&") and self._peek():
            self._at += 1

    def _sequence(self, ends: set[str]) -> Sequence:
        items: list[tuple[str, Pipeline]] = []
        operator = ";"
        while True:
            if operator == ";":
                self._skip()
            word = self._peek()
            if not word or word in ends or word in (")", ";;"):
                return Sequence(items)
            if word in _KEYWORDS:
                raise SyntaxError(f'syntax error: unexpected "{word}"')
            items.append((operator, self._pipeline()))
            word = self._peek()
            if word in ("&&", "||"):
                operator = self._take()
                while self._peek() == "\n":
                    self._at += 1
            else:
                operator = ";"

    def _pipeline(self) -> Pipeline:
        negated = self._peek() == "!"
        if negated:
            self._at += 1
        parts = [self._command()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._command())
        return Pipeline(parts, negated)

    def _command(self) -> Node:
        word = self._peek()
        if word == "if":
            return self._if()
        if word in ("while", "until"):
            self._at += 1
            condition = self._sequence({"do"})
            return Loop(condition, self._body(), word == "until")
        if word == "for":
            return self._for()
        if word in ("(", "{"):
            self._at += 1
            inner = self._sequence({"}"})
            self._expect(")" if word == "(" else "}")
            return inner
        return self._simple()

    def _body(self) -> Sequence:
        self._expect("do")
        body = self._sequence({"done"})
        self._expect("done")
        return body

    def _if(self) -> If:
        branches = []
        while self._take() in ("if", "elif"):
            condition = self._sequence({"then"})
            self._expect("then")
            branches.append((condition, self._sequence({"elif", "else", "fi"})))
        self._at -= 1
        otherwise = None
        if self._peek() == "else":
            self._at += 1
            otherwise = self._sequence({"fi"})
        self._expect("fi")
        return If(branches, otherwise)

    def _for(self) -> For:
        self._at += 1
        name = self._take()
        words = []
        if self._peek() == "in":
            self._at += 1
            while self._peek() not in (";", "\n", ""):
                words.append(self._take())
        return For(name, words, self._body())

    def _simple(self) -> Simple:
        simple = Simple()
        while (word := self._peek()) and word not in (
            ";",
            "\n",
            "|",
            "&",
            "&&",
            "||",
            ")",
            "(",
            ";;",
        ):
            self._at += 1
            if word in (">", ">>", "<", "2>", "&>"):
                simple.redirects.append((word, self._take()))
            elif word == "2>&1":
                simple.redirects.append((word, ""))
            else:
                simple.words.append(word)
        if not simple.words and not simple.redirects:
            raise SyntaxError(f'syntax error: unexpected "{self._peek() or "end of file"}"')
        return simple
