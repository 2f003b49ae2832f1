"""Semantic versions (semver.org): whether a text is one, and their order."""

import re

from core.errors import Invalid

# The expression that semver.org publishes.
SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)
MAX_LENGTH = 64


def precedence(version: object, field: str = "version") -> str:
    """A text that sorts by bytes as the version does among others; Invalid when it is none.

    Versions that differ in build metadata alone have the same one.
    """
    if not isinstance(version, str) or len(version) > MAX_LENGTH:
        raise Invalid(
            f"{field} must be a semantic version such as 1.2.3",
            field=field,
        )
    match = SEMVER.fullmatch(version)
    if match is None:
        raise Invalid(
            f"{field} must be a semantic version such as 1.2.3",
            field=field,
        )
    numbers = ".".join(_number(match[place]) for place in (1, 2, 3))
    if match[4] is None:
        # Behind every pre-release: "~" is greater than any character of one.
        return f"{numbers}~"
    identifiers = " ".join(_identifier(text) for text in match[4].split("."))
    return f"{numbers} {identifiers}"


def _number(digits: str) -> str:
    """How many digits there are stands in front, so that numbers of any length sort as text."""
    return f"{len(digits):02d}{digits}"


def _identifier(text: str) -> str:
    """Numbers stand before words; the space between two is less than any character of them."""
    return f"0{_number(text)}" if text.isdigit() else f"1{text}"
