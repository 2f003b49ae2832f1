"""Generated secrets in files that only their owner reads."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def password() -> str:
    """A password of 128 bits without characters that a shell or an address would mind."""
    return secrets.token_urlsafe(16).replace("-", "x").replace("_", "y")


def secret_key() -> str:
    """A value for SECRET_KEY."""
    return secrets.token_urlsafe(48)


def fernet_key() -> str:
    """A value for FIELD_ENCRYPTION_KEYS: 32 random bytes, URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def read_or_generate(file: Path, make: Callable[[], str]) -> str:
    """The secret in `file`; generated and written there (mode 0600) the first time."""
    try:
        value = file.read_text().strip()
    except FileNotFoundError:
        value = ""
    return value or write(file, make())


def write(file: Path, value: str) -> str:
    """Write `value` to `file` in one step, mode 0600, and return it."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(f"{value}\n")
    fresh.replace(file)
    return value
