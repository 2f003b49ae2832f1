"""Kubernetes quantities (`100m`, `1.5Gi`, `2e3`) as exact numbers."""

import re
from decimal import Decimal

BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]{1,2})|([KMGTPE]i|[numkMGTPE]))?\Z"
)


def parse(text: object) -> Decimal | None:
    """The number meant; None for what is no quantity."""
    match = (
        QUANTITY.match(str(text))
        if isinstance(text, str | int | float) and not isinstance(text, bool)
        else None
    )
    if match is None or len(str(text)) > 40:
        return None
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    if suffix in BINARY:
        return Decimal(number) * BINARY[suffix]
    return Decimal(number).scaleb(DECIMAL[suffix or ""])


def number(text: object) -> float:
    """The same for display and sums: cores, bytes, pieces; 0.0 for what is no quantity."""
    return float(parse(text) or 0)
