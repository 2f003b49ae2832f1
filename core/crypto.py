"""Encryption at rest: a model field over Fernet, and sealed values.

The first key of FIELD_ENCRYPTION_KEYS encrypts, all of them decrypt.
"""

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

# Bytes of the digest of a place that stand in front of a sealed value.
PLACE_BYTES = 12


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def _current_fernet() -> MultiFernet:
    return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS))


def encrypt(text: str) -> str:
    """The text as a Fernet token under the first key."""
    return _current_fernet().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The text behind a token of any current key; ValueError when no key fits."""
    try:
        return _current_fernet().decrypt(token.encode()).decode()
    except InvalidToken:
        raise ValueError("no key of FIELD_ENCRYPTION_KEYS decrypts this value") from None


def rotate(token: str) -> str:
    """The same text under the first key."""
    return _current_fernet().rotate(token.encode()).decode()


# --- sealed values --------------------------------------------------------------------------------
@lru_cache(maxsize=4)
def _sealers(keys: tuple[str, ...]) -> list[tuple[AESSIV, bytes]]:
    """For each key the cipher, and the key of its digests of places."""
    sealers = []
    for key in keys:
        secret = base64.urlsafe_b64decode(key)
        # Two keys derived from one, as one key must not serve two purposes.
        cipher = AESSIV(hmac.digest(secret, b"kubegale sealed value", "sha512"))
        place_key = hmac.digest(secret, b"kubegale sealed place", "sha256")
        sealers.append((cipher, place_key))
    return sealers


def seal(text: bytes, place: str) -> str:
    """The text encrypted under the first key, as url-safe base64 (AES-SIV, RFC 5297).

    The same text at the same place is the same token, so that a change can be seen; at two places
    the tokens differ.
    """
    cipher, place_key = _sealers(tuple(settings.FIELD_ENCRYPTION_KEYS))[0]
    place_bytes = place.encode("utf-8", "surrogatepass")
    digest = hmac.digest(place_key, place_bytes, "sha256")[:PLACE_BYTES]
    return base64.urlsafe_b64encode(digest + cipher.encrypt(text, [digest])).decode()


def unseal(token: str) -> bytes:
    """The text behind a sealed value of any current key; ValueError when no key fits."""
    try:
        raw = base64.urlsafe_b64decode(token)
    except binascii.Error:
        raise ValueError("not a sealed value") from None
    digest = raw[:PLACE_BYTES]
    for cipher, _ in _sealers(tuple(settings.FIELD_ENCRYPTION_KEYS)):
        try:
            return cipher.decrypt(raw[PLACE_BYTES:], [digest])
        except (InvalidTag, ValueError):
            continue
    raise ValueError("no key of FIELD_ENCRYPTION_KEYS opens this value")


if TYPE_CHECKING:
    TextField = models.TextField[str, str]
else:
    TextField = models.TextField


class EncryptedTextField(TextField):
    """Text that is encrypted in the database and plain in Python; it cannot be searched."""

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
    """Re-encrypt every encrypted value under the first key; the number of rows.

    These are all EncryptedTextFields, and what the functions in KEY_ROTATIONS rewrite. ValueError,
    and nothing changed, when no key fits.
    """
    count = 0
    with transaction.atomic():
        for model in apps.get_models():
            names = _encrypted_fields(model)
            if not names:
                continue
            for row in model._base_manager.select_for_update():
                # Read with any key, written with the first.
                row.save(update_fields=names)
                count += 1
        for dotted in settings.KEY_ROTATIONS:
            rotate_more: Callable[[], int] = import_string(dotted)
            count += rotate_more()
    return count


def _encrypted_fields(model: type[models.Model]) -> list[str]:
    fields = model._meta.concrete_fields
    return [field.name for field in fields if isinstance(field, EncryptedTextField)]
