"""The grammar: lists, pipelines, redirections, if, while, for."""

from dataclasses import dataclass, field

# Longer operators first: the first that fits is taken.
_OPERATORS = ("2>&1", ">&2", "&&", "||", ">>", "2>", ";", "|", "&", ">", "<", "(", ")", "\n")
_REDIRECTIONS = (">", ">>", "<", "2>")
# These say what they join: nothing follows.
_JOINS = ("2>&1", ">&2")
_KEYWORDS = {"then", "else", "elif", "fi", "do", "done"}
_ENDS_COMMAND = (";", "\n", "|", "&", "&&", "||", "(", ")")


@dataclass
class Simple:
    """One command with its redirections."""

    words: list[str] = field(default_factory=list)
    redirects: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Pipeline:
    """Commands joined by `|`."""

    parts: "list[Node]"


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
class While:
    """`while condition; do body; done`."""

    condition: Sequence
    body: Sequence


@dataclass
class For:
    """`for name in words; do body; done`."""

    name: str
    words: list[str]
    body: Sequence


Node = Simple | Sequence | If | While | For


def tokenize(text: str) -> list[str]:
    """Operators, and words with their quotes still on; SyntaxError for quotes that do not end."""
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if text[position] in " \t":
            position += 1
        # Inside a word `#` is an ordinary letter: words are read whole below.
        elif text[position] == "#":
            line_end = text.find("\n", position)
            position = len(text) if line_end < 0 else line_end
        # A backslash at the end of a line continues it.
        elif text.startswith("\\\n", position):
            position += 2
        else:
            end = _token_end(text, position)
            tokens.append(text[position:end])
            position = end
    return tokens


def _token_end(text: str, start: int) -> int:
    for operator in _OPERATORS:
        if text.startswith(operator, start):
            return start + len(operator)
    return _word_end(text, start)


def _word_end(text: str, position: int) -> int:
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            position += 2
        elif letter in "'\"":
            position = _quote_end(text, position)
        elif text.startswith("$(", position):
            position = substitution_end(text, position + 1)
        elif letter in " \t\n;|&<>()":
            break
        else:
            position += 1
    # A backslash as the last letter would step over the end.
    return min(position, len(text))


def _quote_end(text: str, start: int) -> int:
    """The place after the quoted part that begins at `start`."""
    quote = text[start]
    position = start + 1
    while position < len(text) and text[position] != quote:
        # A substitution may hold quotes of its own.
        if quote == '"' and text.startswith("$(", position):
            position = substitution_end(text, position + 1)
        elif quote == '"' and text[position] == "\\":
            position += 2
        else:
            position += 1
    if position >= len(text):
        raise SyntaxError("unterminated quoted string")
    return position + 1


def substitution_end(text: str, start: int) -> int:
    """The place after the parenthesis that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "(":
            depth += 1
        elif text[position] == ")":
            depth -= 1
        if depth == 0:
            return position + 1
    raise SyntaxError("unterminated command substitution")


class Parser:
    """Recursive descent over the tokens; raises SyntaxError in a shell's words."""

    def __init__(self, text: str) -> None:
        self._tokens = tokenize(text)
        self._position = 0

    def parse(self) -> Sequence:
        """The whole script."""
        sequence = self._sequence(set())
        if self._peek():
            raise SyntaxError(f'syntax error: unexpected "{self._peek()}"')
        return sequence

    def _peek(self) -> str:
        """The next word; "" at the end."""
        if self._position < len(self._tokens):
            return self._tokens[self._position]
        return ""

    def _take(self) -> str:
        word = self._peek()
        self._position += 1
        return word

    def _expect(self, word: str) -> None:
        self._skip_separators()
        if self._take() != word:
            raise SyntaxError(f'syntax error: unexpected end of file (expecting "{word}")')

    def _skip_separators(self) -> None:
        # A command in the background runs in front here: `&` separates as `;` does.
        while self._peek() in (";", "\n", "&"):
            self._position += 1

    def _sequence(self, ends: set[str]) -> Sequence:
        """Everything up to one of the keywords in `ends`, which stays."""
        items: list[tuple[str, Pipeline]] = []
        operator = ";"
        while True:
            if operator == ";":
                self._skip_separators()
            word = self._peek()
            if not word or word in ends or word == ")":
                return Sequence(items)
            if word in _KEYWORDS:
                raise SyntaxError(f'syntax error: unexpected "{word}"')
            items.append((operator, self._pipeline()))
            operator = ";"
            if self._peek() in ("&&", "||"):
                operator = self._take()
                while self._peek() == "\n":
                    self._position += 1

    def _pipeline(self) -> Pipeline:
        parts = [self._command()]
        while self._peek() == "|":
            self._position += 1
            parts.append(self._command())
        return Pipeline(parts)

    def _command(self) -> Node:
        word = self._peek()
        if word == "if":
            return self._if()
        if word == "while":
            self._position += 1
            condition = self._sequence({"do"})
            return While(condition, self._body())
        if word == "for":
            return self._for_loop()
        return self._simple()

    def _body(self) -> Sequence:
        self._expect("do")
        body = self._sequence({"done"})
        self._expect("done")
        return body

    def _if(self) -> If:
        branches = []
        while self._peek() in ("if", "elif"):
            self._position += 1
            condition = self._sequence({"then"})
            self._expect("then")
            branches.append((condition, self._sequence({"elif", "else", "fi"})))
        otherwise = None
        if self._peek() == "else":
            self._position += 1
            otherwise = self._sequence({"fi"})
        self._expect("fi")
        return If(branches, otherwise)

    def _for_loop(self) -> For:
        self._position += 1
        name = self._take()
        # Without words it goes over the script's arguments.
        words = ['"$@"']
        if self._peek() == "in":
            words = []
            self._position += 1
            while self._peek() not in (";", "\n", ""):
                words.append(self._take())
        return For(name, words, self._body())

    def _simple(self) -> Simple:
        command = Simple()
        while self._peek() and self._peek() not in _ENDS_COMMAND:
            word = self._take()
            if word in _JOINS:
                command.redirects.append((word, ""))
            elif word in _REDIRECTIONS:
                command.redirects.append((word, self._take()))
            else:
                command.words.append(word)
        if not command.words and not command.redirects:
            raise SyntaxError(f'syntax error: unexpected "{self._peek() or "end of file"}"')
        return command
