"""Kubernetes quantities (`250m`, `128Mi`, `1e3`) as numbers."""

import re

QUANTITY = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?\Z")
FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
FACTORS |= {suffix: 1000.0**power for power, suffix in enumerate("kMGTPE", 1)}
FACTORS |= {f"{suffix}i": 1024.0**power for power, suffix in enumerate("KMGTPE", 1)}


def number(text: object) -> float:
    """The quantity as a number: cores, bytes, pieces; 0.0 for what is no quantity."""
    found = QUANTITY.match(str(text or ""))
    if found is None:
        return 0.0
    digits, suffix = found.group(1), found.group(2) or ""
    try:
        return float(digits) * FACTORS[suffix] if suffix in FACTORS else float(digits + suffix)
    except ValueError:
        return 0.0


def whole(text: object) -> int:
    """The same, rounded."""
    return round(number(text))
