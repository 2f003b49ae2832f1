"""Quantities such as `100m`, `1.5Gi` or `2e3`, read and written as the API server does."""

import re
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache

FORM_RULE = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_RULE = "unable to parse quantity's suffix"
# Wider than the rule that Go names in its refusals: Go takes a lone sign, dot or suffix for 0.
_FORM = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_SUFFIX_OF = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_LARGEST_BINARY = Decimal(2**63 - 1)
_NANO = Decimal("1e-9")
# Larger exponents are refused: one number of a request must not take gigabytes to write out.
_EXPONENT_LIMIT = 1000
_EXACT = Context(prec=4 * _EXPONENT_LIMIT, rounding=ROUND_UP)
_TEXT_LIMIT = 1000


def valid(text: object) -> bool:
    """Whether the text is a quantity."""
    try:
        _parse(str(text))
    except ValueError:
        return False
    return True


def parse(text: object) -> Decimal:
    """The plain number; ValueError, in the words of the API server, when it is none."""
    return _parse(str(text))[0]


def canonical_text(text: str, *, listed: bool = False) -> str:
    """The quantity as the API server writes it back (`0.5` as `500m`); ValueError when it is none.

    `listed` is for the amounts of lists of resources, which are rounded up to thousandths."""
    amount, canonical = _parse(text)
    if not listed or not amount * 1000 % 1:
        return canonical
    rounded = amount.quantize(Decimal("1e-3"), context=_EXACT)
    return _decimal_text(rounded, "e" if _EXPONENT.search(text) else "")


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Decimal, str]:
    text = text.strip()
    parts = _FORM.fullmatch(text) if text and len(text) <= _TEXT_LIMIT else None
    if parts is None:
        raise ValueError(FORM_RULE)
    sign, digits, fraction, suffix = parts.groups()
    fraction = fraction or ""
    number = Decimal(f"{sign}{digits or 0}.{fraction or 0}")
    if suffix in _BINARY:
        return _binary(text, number, digits, fraction, _BINARY[suffix])
    exponent = _DECIMAL.get(suffix)
    if exponent is not None:
        return _decimal(text, number, digits, fraction, exponent, "")
    parts = _EXPONENT.fullmatch(suffix)
    if parts is None or abs(int(parts.group(1))) > _EXPONENT_LIMIT:
        raise ValueError(SUFFIX_RULE)
    return _decimal(text, number, digits, fraction, int(parts.group(1)), "e")


def _binary(
    text: str, number: Decimal, digits: str, fraction: str, power: int
) -> tuple[Decimal, str]:
    amount = _EXACT.multiply(number, Decimal(1024**power))
    # Go caps binary amounts at the largest int64.
    amount = max(min(amount, _LARGEST_BINARY), -_LARGEST_BINARY)
    amount = _round_to_nano(amount)
    # Go keeps the text of short numbers that 8 does not divide; they are canonical already.
    precision = 15 - len(digits or "0") - power * 3 - 1
    if not fraction and precision >= 0 and int(digits or "0") % 8:
        return amount, text
    whole = amount == amount.to_integral_value()
    if -1024 < amount < 1024 or not whole:
        return amount, _decimal_text(amount, "")
    return amount, memory(amount)


def _decimal(
    text: str,
    number: Decimal,
    digits: str,
    fraction: str,
    exponent: int,
    letter: str,
) -> tuple[Decimal, str]:
    amount = _round_to_nano(number.scaleb(exponent, _EXACT))
    shifted = (digits or "0") + fraction
    scale = exponent - len(fraction)
    # Go keeps the text of short numbers that look canonical to it, `1.500` and `1e3` among them.
    looks_canonical = scale % 3 == 0 and not shifted.endswith("000") and shifted[0] != "0"
    if len(shifted) <= 18 and scale >= -9 and looks_canonical:
        return amount, text
    return amount, _decimal_text(amount, letter)


def _round_to_nano(amount: Decimal) -> Decimal:
    """The amount with at most nine places, rounded away from zero, so that little is not none."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -9:
        return amount.quantize(_NANO, context=_EXACT)
    return amount


def _decimal_text(amount: Decimal, letter: str) -> str:
    """The amount without a fraction and with the largest suffix, or exponent after `letter`."""
    if not amount:
        return "0"
    sign, digits, exponent = _EXACT.normalize(amount).as_tuple()
    mantissa = "".join(map(str, digits))
    # Suffixes exist for every third power of ten.
    least = int(exponent) // 3 * 3
    mantissa += "0" * (int(exponent) - least)
    suffix = f"{letter or 'e'}{least}" if least else ""
    if not letter:
        suffix = _SUFFIX_OF.get(least, suffix)
    return f"{'-' if sign else ''}{mantissa}{suffix}"


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
