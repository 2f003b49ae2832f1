"""Quantities such as `100m`, `1.5Gi` or `2e3`."""

import re
from decimal import Decimal
from functools import lru_cache

_FORM = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))((?:[KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+|)$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def valid(text: object) -> bool:
    """Whether the text is a quantity."""
    return bool(_FORM.match(str(text)))


def parse(text: object) -> Decimal:
    """The plain number; ValueError when it is none."""
    return _parse(str(text))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Decimal:
    found = _FORM.match(text)
    if found is None:
        raise ValueError(f"quantities must match the regular expression: {text}")
    number, suffix = Decimal(found.group(1)), found.group(2)
    if suffix in _BINARY:
        return number * (Decimal(1024) ** _BINARY[suffix])
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


def cpu(cores: Decimal) -> str:
    """Cores in canonical form: `250m`, `2`."""
    milli = int((cores * 1000).to_integral_value(rounding="ROUND_UP"))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def memory(size: Decimal) -> str:
    """Bytes in canonical binary form: `128Mi`."""
    count = int(size)
    for suffix, power in reversed(_BINARY.items()):
        unit = 1024**power
        if count and count % unit == 0:
            return f"{count // unit}{suffix}"
    return str(count)


def canonical(name: str, amount: Decimal) -> str:
    """An amount of a named resource in canonical form."""
    if name.endswith("cpu"):
        return cpu(amount)
    if name.endswith(("memory", "storage")):
        return memory(amount)
    return str(int(amount))
