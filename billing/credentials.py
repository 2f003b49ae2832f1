"""Order secrets: 30 base58 characters, shown once, stored as keyed hashes."""

import secrets

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LENGTH = 30
LONGEST = 64
SALT = "billing.order-secret"


def generate() -> str:
    """A new secret: 175 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def digest(secret: str, *, key: str | bytes | None = None) -> str:
    """The keyed hash that is stored; the key derives from SECRET_KEY."""
    return salted_hmac(
        SALT,
        secret,
        secret=key,
        algorithm="sha256",
    ).hexdigest()


def digests(secret: str) -> list[str]:
    """Hashes under the present and the retired keys (SECRET_KEY_FALLBACKS)."""
    retired = [digest(secret, key=key) for key in settings.SECRET_KEY_FALLBACKS]
    return [digest(secret), *retired]


def matches(stored: str | None, candidates: list[str]) -> bool:
    """Whether the stored hash is among the candidates; every one is compared in full."""
    is_match = False
    # No early exit: the time must not tell which key matched.
    for candidate in candidates:
        is_match |= constant_time_compare(stored or "", candidate)
    return is_match


def is_plausible(secret: str) -> bool:
    """Whether the text could be a secret at all."""
    return 0 < len(secret) <= LONGEST and secret.isascii() and secret.isprintable()
