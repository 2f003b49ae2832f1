"""Templates of labels and annotations, as Prometheus writes them.

`{{ $labels.pod }}`, `{{ index $labels "pod" }}` and `{{ $value }}` are replaced, with Prometheus'
functions for numbers and letters behind a `|` or in front. Nothing is evaluated beyond that, and
what a value holds is never read as a template.
"""

import math
import re
from collections.abc import Callable, Mapping

# Of a rendered text, in characters.
LONGEST = 8192
_EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL = re.compile(r"(?:\$labels|\.Labels)\.([A-Za-z_][A-Za-z0-9_]*)\Z")
_INDEX = re.compile(r"index\s+(?:\$labels|\.Labels)\s+\"([^\"]+)\"\Z")
_VALUES = frozenset({"$value", ".Value"})
_PRINTF = re.compile(r"printf\s+\"([^\"]*)\"(?:\s+(\$value|\.Value))?\Z")
# One verb, with plain text around it.
_FORMAT = re.compile(r"([^%]*)(%[-+0 ]?\d{0,3}(?:\.\d{1,2})?[fgesdv])((?:[^%]|%%)*)\Z")
_THOUSANDS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_PARTS = ("", "m", "u", "n", "p", "f", "a", "z", "y")
_BINARY = ("", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")


def render(template: str, labels: Mapping[str, str], value: object = None) -> str:
    """The text with labels and value filled in; a label that is absent is "".

    An expression of another form stays as it stands: `unsupported` names those.
    """

    def fill(match: re.Match[str]) -> str:
        result = _evaluate(match[1], labels, value)
        return match[0] if result is None else result

    return _EXPRESSION.sub(fill, template[:LONGEST])[:LONGEST]


def unsupported(template: str) -> list[str]:
    """The expressions of a template that `render` leaves as they stand."""
    return [
        match[0] for match in _EXPRESSION.finditer(template) if _evaluate(match[1], {}, 0.0) is None
    ]


def _evaluate(expression: str, labels: Mapping[str, str], value: object) -> str | None:
    head, *pipes = [part.strip() for part in expression.split("|")]
    result = _first_value(head, labels, value)
    for pipe in pipes:
        if result is None:
            return None
        result = _apply(pipe, result)
    return result


def _first_value(head: str, labels: Mapping[str, str], value: object) -> str | None:
    """What stands in front of the pipes: a label, the value, or a function of one of them."""
    if head in _VALUES:
        return plain_number(value)
    if match := _LABEL.match(head) or _INDEX.match(head):
        return str(labels.get(match[1], ""))
    match = _PRINTF.match(head)
    if match and match[2]:
        return _printf(match[1], plain_number(value))
    function, _, argument = head.partition(" ")
    if function not in _FUNCTIONS or not argument.strip():
        return None
    inner = _first_value(argument.strip(), labels, value)
    return None if inner is None else _apply(function, inner)


def _apply(name: str, text: str) -> str | None:
    if match := _PRINTF.match(name):
        return None if match[2] else _printf(match[1], text)
    function = _FUNCTIONS.get(name)
    return None if function is None else function(text)


def plain_number(value: object) -> str:
    """A value as Prometheus prints it: `3` for 3.0; texts as they are, "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else f"{value:.15g}"


def _printf(pattern: str, text: str) -> str | None:
    """Go's printf with one verb; None for a pattern that is not of that form."""
    match = _FORMAT.match(pattern)
    if match is None:
        return None
    before, verb, after = match.groups()
    after = after.replace("%%", "%")
    if verb[-1] in "sv":
        return f"{before}{verb[:-1].partition('.')[0] + 's' if verb[:-1] else '%s'}{after}" % text
    number = _number(text)
    if number is None or not math.isfinite(number):
        return f"{before}{text}{after}"
    shown = verb % (int(number) if verb[-1] == "d" else number)
    return f"{before}{shown}{after}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _of_number(show: Callable[[float], str]) -> Callable[[str], str]:
    """A function of texts that leaves those alone that are no finite numbers."""

    def apply(text: str) -> str:
        number = _number(text)
        if number is None or not math.isfinite(number):
            return text
        return show(number)

    return apply


def _humanize(number: float) -> str:
    if number == 0:
        return "0"
    power = math.floor(math.log10(abs(number)) / 3)
    prefixes = _THOUSANDS if power >= 0 else _PARTS
    power = min(abs(power), len(prefixes) - 1) * (1 if power >= 0 else -1)
    return f"{number / 1000.0**power:.4g}{prefixes[abs(power)]}"


def _humanize_1024(number: float) -> str:
    power = 0
    while abs(number) >= 1024 and power < len(_BINARY) - 1:
        number /= 1024
        power += 1
    return f"{number:.4g}{_BINARY[power]}"


def _humanize_duration(number: float) -> str:
    if abs(number) < 1:
        return f"{_humanize(number)}s"
    sign = "-" if number < 0 else ""
    whole = int(abs(number))
    parts: list[str] = []
    for letter, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
        if parts or whole >= seconds:
            parts.append(f"{whole // seconds}{letter}")
        whole %= seconds
    if not parts:
        return f"{sign}{abs(number):.4g}s"
    return sign + " ".join([*parts, f"{whole}s"])


_FUNCTIONS: Mapping[str, Callable[[str], str]] = {
    "humanize": _of_number(_humanize),
    "humanize1024": _of_number(_humanize_1024),
    "humanizePercentage": _of_number(lambda number: f"{number * 100:.4g}%"),
    "humanizeDuration": _of_number(_humanize_duration),
    "toUpper": str.upper,
    "toLower": str.lower,
    "title": str.title,
}
