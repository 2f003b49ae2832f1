"""Maps of texts as a field of several lines holds them: `key=value` in each."""

from collections.abc import Mapping


class EntryError(ValueError):
    """What was entered cannot be read; the text is the line, or the value, in question.

    `field` is the name of the form's field, "" while it is not known.
    """

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


def as_lines(values: Mapping[str, str]) -> str:
    """The map as lines, in its order."""
    return "\n".join(f"{name}={value}" for name, value in values.items())


def parse_lines(text: str, field: str = "") -> dict[str, str]:
    """The map that lines stand for; empty lines count for nothing. EntryError names a bad line."""
    values = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, separator, value = line.partition("=")
        if not separator or not name.strip():
            raise EntryError(line.strip()[:100], field)
        values[name.strip()] = value
    return values


def plain_values(values: Mapping[str, str]) -> dict[str, str]:
    """The members that a line can hold."""
    return {name: value for name, value in values.items() if value.isprintable()}
