"""Reading settings from environment variables: typed, with defaults, failing in one sentence."""

import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Any
from urllib.parse import unquote, urlsplit

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
# `20/min`: Django REST framework looks at the first letter of the period only.
RATE = re.compile(r"0*[1-9][0-9]*/[smhd]", re.ASCII)
# Headers that already decide who is asking, from where and for what.
RESERVED_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "origin",
        "secret",
        "transfer-encoding",
        "upgrade",
        "x-bcs-user-token",
        "x-forwarded-for",
        "x-forwarded-proto",
    }
)


class SettingError(SystemExit):
    """A setting is missing or unusable; ends the process with one sentence on standard error."""


def text(name: str, default: str = "") -> str:
    """The variable's text, or the content of the file named by `NAME_FILE`, or the default."""
    if name in os.environ:
        return os.environ[name]
    if path := os.environ.get(f"{name}_FILE"):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise SettingError(f"{name}_FILE cannot be read: {error.strerror}.") from error
    return default


def required(name: str, hint: str) -> str:
    """The variable's text; SettingError with the hint when it is not set."""
    if value := text(name):
        return value
    raise SettingError(f"{name} is not set: {hint}")


def http_address(name: str) -> str:
    """An http or https address without credentials and query; "" when it is not set."""
    value = text(name).strip()
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if value and (not usable or parts.username or parts.query or parts.fragment):
        # The value is not quoted: it may hold a password.
        raise SettingError(
            f"{name} must be an address such as http://collector:4318, "
            "without credentials and query."
        )
    return value


def integer(name: str, default: int) -> int:
    """A whole number."""
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise SettingError(f"{name} must be a whole number, not {value!r}.") from None


def number(name: str, default: float) -> float:
    """A decimal number, usually seconds."""
    value = text(name, str(default))
    try:
        return float(value)
    except ValueError:
        raise SettingError(f"{name} must be a number, not {value!r}.") from None


def decimal(name: str, default: str) -> Decimal:
    """An exact decimal number above zero."""
    value = text(name, default)
    try:
        exact = Decimal(value)
    except InvalidOperation:
        raise SettingError(f"{name} must be a number, not {value!r}.") from None
    if not exact.is_finite() or exact <= 0:
        raise SettingError(f"{name} must be above zero, not {value!r}.")
    return exact


def integers(name: str, default: str) -> list[int]:
    """A comma-separated list of whole numbers."""
    try:
        return [int(word) for word in words(name, default)]
    except ValueError:
        raise SettingError(f"{name} must be whole numbers with commas between them.") from None


def rate(name: str, default: str) -> str:
    """How many in which time, `20/min` (sec, min, hour, day); "" is no limit."""
    value = text(name, default).strip()
    if value and not RATE.match(value):
        raise SettingError(f"{name} must look like 20/min (sec, min, hour or day), not {value!r}.")
    return value


def ports(name: str, default: str) -> frozenset[int]:
    """Port numbers and ranges: `22,10248-10259`."""
    numbers: set[int] = set()
    for word in words(name, default):
        first, dash, last = word.partition("-")
        are_numbers = first.isdigit() and (last.isdigit() or not dash)
        if not are_numbers or not 1 <= int(first) <= int(last or first) <= 65535:
            raise SettingError(
                f"{name} must be ports and ranges such as 22,10248-10259, not {word!r}."
            )
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def boolean(name: str, default: bool) -> bool:
    """A yes or no: 1/true/yes/on or 0/false/no/off."""
    value = text(name, str(default)).strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise SettingError(f"{name} must be true or false, not {value!r}.")


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list; blanks are dropped."""
    return [word for part in text(name, default).split(",") if (word := part.strip())]


def hosts(name: str, default: str = "") -> list[str]:
    """A comma-separated list of host names and addresses, as the Host header spells them.

    An IPv6 address may come without its brackets, as Kubernetes tells a pod its own.
    """
    entries = [word.strip("[]") for word in words(name, default)]
    return [f"[{entry}]" if ":" in entry else entry for entry in entries]


def networks(name: str, default: str = "") -> list[str]:
    """A comma-separated list of IP networks or addresses."""
    entries = words(name, default)
    try:
        return [str(ip_network(entry, strict=False)) for entry in entries]
    except ValueError as error:
        raise SettingError(f"{name} must be a comma-separated list of networks: {error}.") from None


def opened_dialects(name: str) -> list[tuple[str, str, str]]:
    """(word, network or "", rule for certificates or "") of each entry of a comma-separated list.

    An entry is `word`, `word@network`, `word@cert:rule` or `word@network@cert:rule`. SettingError
    for anything else.
    """
    entries = []
    for part in words(name):
        word, has_limits, limits = part.partition("@")
        # `@cert:` may begin the limits, so they get back the @ that divided them from the word.
        network, has_rule, rule = f"@{limits}".partition("@cert:")
        network = network.removeprefix("@").strip()
        rule = rule.strip()
        if has_limits and not network and not has_rule:
            raise SettingError(f"{name}: {part!r} names no network.")
        if has_rule and not rule:
            raise SettingError(f"{name}: {part!r} names no certificate.")
        try:
            network = str(ip_network(network, strict=False)) if network else ""
        except ValueError as error:
            raise SettingError(f"{name}: {part!r} names no network: {error}.") from None
        entries.append((word.strip(), network, rule))
    return entries


def header(name: str) -> str:
    """The name of an HTTP header, or "".

    Underscores are refused: servers drop such headers, as they can pass for others.
    """
    value = text(name).strip()
    if value and not HEADER_NAME.fullmatch(value):
        raise SettingError(
            f"{name} must be the name of a header such as X-SSL-Client-S-DN, not {value!r}."
        )
    if value.lower().startswith("x-kubegale-") or value.lower() in RESERVED_HEADERS:
        raise SettingError(f"{name} must be a header of its own; {value} has another meaning.")
    return value


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One word out of a fixed set."""
    value = text(name, default)
    if value not in allowed:
        raise SettingError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def database(url: str) -> dict[str, str | int]:
    """Django's connection settings out of a `postgres://user:password@host:port/name` address."""
    parts = urlsplit(url)
    name = parts.path.lstrip("/")
    if parts.scheme not in {"postgres", "postgresql"} or not name:
        raise SettingError("DATABASE_URL must look like postgres://user:password@host:port/name.")
    return {
        "NAME": unquote(name),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": parts.port or 5432,
    }


def overrides(name: str, standards: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON object, each as the type of its standard value.

    SettingError for a member that has no standard value.
    """
    value = text(name)
    if not value:
        return {}
    try:
        chosen = json.loads(value)
        unknown = sorted(key for key in chosen if not key.isupper() or key not in standards)
        if unknown:
            raise SettingError(f"{name} names {unknown[0]}, which is not in kubegale/tuning.py.")
        return {key: _as_type_of(standards[key], entry) for key, entry in chosen.items()}
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name} must be a JSON object of numbers.") from error


def _as_type_of(standard: Any, value: Any) -> Any:
    if isinstance(standard, tuple):
        return tuple(int(part) for part in value)
    return type(standard)(value)
