"""Reading settings out of environment variables: typed, with defaults, failing in one sentence."""

import os
from ipaddress import ip_network
from urllib.parse import unquote, urlsplit

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


class SettingError(SystemExit):
    """A setting is missing or unusable; ends the process with one sentence on standard error."""


def text(name: str, default: str = "") -> str:
    """The variable's text, or what the file named by `NAME_FILE` holds, or the default."""
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
    """The variable's text; ends the process with one sentence when it is not set."""
    if value := text(name):
        return value
    raise SettingError(f"{name} is not set: {hint}")


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


def networks(name: str) -> list[str]:
    """A comma-separated list of IP networks or addresses."""
    found = words(name)
    try:
        return [str(ip_network(word, strict=False)) for word in found]
    except ValueError as error:
        raise SettingError(f"{name} must be a comma-separated list of networks: {error}.") from None


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
