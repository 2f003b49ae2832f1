"""Kubernetes quantities (`100m`, `1.5Gi`, `2e3`) as exact numbers."""

import re
from decimal import Decimal

BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# Longer ones would only cost time.
MAX_LENGTH = 40
QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]{1,2})|([KMGTPE]i|[numkMGTPE]))?\Z"
)


def parse(text: object) -> Decimal | None:
    """The number of a quantity, e.g. Decimal("0.1") for `100m`; None for anything else."""
    # YAML reads `cpu: 1` as a number; a bool is an int to Python.
    if not isinstance(text, str | int | float) or isinstance(text, bool):
        return None
    match = QUANTITY.match(str(text))
    if match is None or len(str(text)) > MAX_LENGTH:
        return None
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    if suffix in BINARY:
        return Decimal(number) * BINARY[suffix]
    return Decimal(number).scaleb(DECIMAL[suffix or ""])


def number(text: object) -> float:
    """A quantity as a float, for display and sums (cores, bytes, pieces); 0.0 for anything else."""
    return float(parse(text) or 0)
