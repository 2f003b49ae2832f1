"""Encryption at rest: one model field over MultiFernet, first key encrypts, all decrypt."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.db import models, transaction


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
    """Encrypt every value of every such field under the first key; how many rows. ValueError, and nothing changed, when no key fits."""
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
    return count
