"""Encryption at rest: one model field over MultiFernet, and sealed values; the first key encrypts, all decrypt."""

import base64
import binascii
import hmac
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.utils.module_loading import import_string

PLACE_BYTES = 12


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def _current() -> MultiFernet:
    return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS))


def encrypt(text: str) -> str:
    """The text as a Fernet token under the first key."""
    return _current().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The text behind a token of any current key; ValueError when no key fits."""
    try:
        return _current().decrypt(token.encode()).decode()
    except InvalidToken:
        raise ValueError("no key of FIELD_ENCRYPTION_KEYS decrypts this value") from None


def rotate(token: str) -> str:
    """The same text under the first key."""
    return _current().rotate(token.encode()).decode()


# --- sealed values --------------------------------------------------------------------------------
@lru_cache(maxsize=4)
def _sealers(keys: tuple[str, ...]) -> list[tuple[AESSIV, bytes]]:
    """For each key the cipher and the key of its digests of places."""
    secrets = [base64.urlsafe_b64decode(key) for key in keys]
    return [
        (
            AESSIV(hmac.digest(secret, b"kubegale sealed value", "sha512")),
            hmac.digest(secret, b"kubegale sealed place", "sha256"),
        )
        for secret in secrets
    ]


def seal(text: bytes, place: str) -> str:
    """The text encrypted under the first key, as url-safe base64 (AES-SIV, RFC 5297).

    The same text at the same place is the same token, so that a change can be seen; at two places
    the tokens differ.
    """
    cipher, place_key = _sealers(tuple(settings.FIELD_ENCRYPTION_KEYS))[0]
    digest = hmac.digest(place_key, place.encode("utf-8", "surrogatepass"), "sha256")[:PLACE_BYTES]
    return base64.urlsafe_b64encode(digest + cipher.encrypt(text, [digest])).decode()


def unseal(token: str) -> bytes:
    """The text behind a sealed value of any current key; ValueError when no key fits."""
    try:
        raw = base64.urlsafe_b64decode(token)
    except binascii.Error:
        raise ValueError("this is no sealed value") from None
    for cipher, _ in _sealers(tuple(settings.FIELD_ENCRYPTION_KEYS)):
        try:
            return cipher.decrypt(raw[PLACE_BYTES:], [raw[:PLACE_BYTES]])
        except (InvalidTag, ValueError):
            continue
    raise ValueError("no key of FIELD_ENCRYPTION_KEYS opens this value")


if TYPE_CHECKING:
    TextField = models.TextField[str, str]
else:
    TextField = models.TextField


class EncryptedTextField(TextField):
    """Text that is encrypted in the database and clear in Python; it cannot be searched or indexed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("unique") or kwargs.get("db_index"):
            raise TypeError("an encrypted field cannot be unique or indexed")
        super().__init__(*args, **kwargs)

    def from_db_value(self, value: str | None, *_: object) -> str | None:
        """Decrypt what the database holds."""
        return value if value is None else decrypt(value)

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt what goes to the database."""
        value = super().get_prep_value(value)
        return value if value is None else encrypt(value)


def rotate_all() -> int:
    """Encrypt every value of every such field under the first key, and what KEY_ROTATIONS names; how many rows.

    ValueError, and nothing changed, when no key fits.
    """
    count = 0
    with transaction.atomic():
        for model in apps.get_models():
            names = [
                field.name
                for field in model._meta.concrete_fields
                if isinstance(field, EncryptedTextField)
            ]
            for row in model._base_manager.select_for_update() if names else ():
                row.save(update_fields=names)
                count += 1
        for dotted in settings.KEY_ROTATIONS:
            rotate_more: Callable[[], int] = import_string(dotted)
            count += rotate_more()
    return count
