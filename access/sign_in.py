"""Signing in: JWT pairs with rotation and revocation."""

import hashlib
import time
from dataclasses import dataclass
from typing import Self, TypeVar

from django.contrib.auth import authenticate
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, Token
from rest_framework_simplejwt.tokens import RefreshToken as LibraryRefreshToken
from rest_framework_simplejwt.utils import datetime_from_epoch, get_md5_hash_password

from access import attempts
from core import row_cache
from core.errors import Invalid, TokenExpired, Unauthenticated
from core.row_cache import Topic

SESSION = "session"
# Of names and passwords, in characters.
LONGEST = 1024


T = TypeVar("T", bound=Token)


class Revocable(BlacklistMixin[T]):  # type: ignore[misc]  # the library has no types
    """Tokens that can be revoked before they expire.

    The library's rows would store the tokens in clear text; these store their ids alone.
    """

    def outstand(self) -> tuple[OutstandingToken, bool]:
        """(row, whether it is new)."""
        user = User.objects.filter(pk=self.payload.get(api_settings.USER_ID_CLAIM)).first()
        facts = {
            "user": user,
            "token": "",
            "created_at": self.current_time,
            "expires_at": datetime_from_epoch(self.payload["exp"]),
        }
        row: tuple[OutstandingToken, bool] = OutstandingToken.objects.get_or_create(
            jti=self.payload[api_settings.JTI_CLAIM], defaults=facts
        )
        return row

    def blacklist(self) -> tuple[BlacklistedToken, bool]:
        """(row, whether the token was valid until now)."""
        row: tuple[BlacklistedToken, bool] = BlacklistedToken.objects.get_or_create(
            token=self.outstand()[0]
        )
        return row

    @classmethod
    def for_user(cls, user: AbstractBaseUser) -> Self:
        """A token of the user, with a row by which it can be revoked."""
        token: Self = super(BlacklistMixin, cls).for_user(user)
        token.outstand()
        return token


# The library has no types.
class RevocableAccessToken(Revocable[AccessToken], AccessToken):  # type: ignore[misc]
    """An access token that signing out revokes before it expires."""


class RefreshToken(Revocable["RefreshToken"], LibraryRefreshToken):  # type: ignore[misc]
    """A refresh token, valid once."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What signing in gives; `expires_in` is the access token's life in seconds."""

    token: str
    refresh_token: str
    expires_in: int


# --- passwords ------------------------------------------------------------------------------------
def sign_in(username: object, password: object, *, address: str = "") -> TokenPair:
    """A new pair for the right password.

    Invalid without name or password, Unauthenticated for a wrong one, TooManyRequests after ten
    failures of the name in a minute.
    """
    if (
        not isinstance(username, str)
        or not isinstance(password, str)
        or not username
        or not password
    ):
        raise Invalid("username and password are required")
    return pair_for(verify_password(username, password, address=address))


def verify_password(username: str, password: str, *, address: str) -> User:
    """The user whose password it is.

    Unauthenticated for a wrong one, TooManyRequests after too many failures.
    """
    if "\x00" in username + password or max(len(username), len(password)) > LONGEST:
        raise Unauthenticated("wrong username or password")
    attempts.check(username, address)
    with attempts.HASHING.turn():
        user = authenticate(username=username, password=password)
    if not isinstance(user, User):
        attempts.record_failure(username, address)
        raise Unauthenticated("wrong username or password")
    return user


def existing_username(username: object) -> str:
    """The name when a user has it, else "".

    People type passwords into the wrong field, and the audit trail must not keep those.
    """
    if not isinstance(username, str) or "\x00" in username:
        return ""
    return username if User.objects.filter(username=username).exists() else ""


def change_password(
    user: User | AnonymousUser, old: object, new: object, *, address: str = ""
) -> TokenPair:
    """Set a new password and return a new pair; all earlier JWTs are revoked.

    Invalid for a weak password or when the old one is wrong.
    """
    if not isinstance(old, str) or not isinstance(new, str) or not old or not new:
        raise Invalid("password and new_password are required")
    try:
        verified_user = verify_password(user.get_username(), old, address=address)
    except Unauthenticated:
        raise Invalid("the password is wrong", field="password") from None
    try:
        validate_password(new, verified_user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), field="new_password") from None
    verified_user.set_password(new)
    verified_user.save(update_fields=["password"])
    return pair_for(verified_user)


def pair_for(user: AbstractBaseUser) -> TokenPair:
    """A new access and refresh token.

    The access token names its refresh token, so that signing out once revokes both.
    """
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    access[SESSION] = refresh["jti"]
    lifetime = int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds())
    return TokenPair(str(access), str(refresh), lifetime)


# --- JWT ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """An access token that was checked: its user, and until when it counts (Unix time)."""

    user: AbstractBaseUser
    expires_at: float


def _active_user(token: AccessToken | RefreshToken) -> AbstractBaseUser:
    """The token's user; Unauthenticated after deletion, deactivation or a new password."""
    user = User.objects.filter(pk=token.get("user_id"), is_active=True).first()
    claim = str(token.get(api_settings.REVOKE_TOKEN_CLAIM))
    if user is None or not constant_time_compare(claim, get_md5_hash_password(user.password)):
        raise Unauthenticated("the token was revoked")
    return user


def user_from_jwt(raw: str) -> AbstractBaseUser:
    """The user behind an access token; TokenExpired or Unauthenticated otherwise."""
    digest = hashlib.sha256(raw.encode()).digest()
    verified = row_cache.read(Topic.ACCESS, ("jwt", digest), lambda: _verify(raw))
    if verified.expires_at <= time.time():
        raise TokenExpired("the token has expired")
    return row_cache.copy_row(verified.user)


def _verify(raw: str) -> VerifiedToken:
    try:
        token = RevocableAccessToken(raw.encode())
    except ExpiredTokenError:
        raise TokenExpired("the token has expired") from None
    except TokenError:
        raise Unauthenticated("the token is not valid") from None
    return VerifiedToken(_active_user(token), float(token["exp"]))


def refresh(raw: object) -> TokenPair:
    """A new pair for a refresh token, which is then used up.

    Unauthenticated when it was used before, TokenExpired.
    """
    if not isinstance(raw, str) or not raw:
        raise Invalid("refresh_token is required")
    try:
        token = RefreshToken(raw.encode())
        with transaction.atomic():
            user = _active_user(token)
            # Two requests may bring the same token at once: the row tells which came first.
            _, is_first_use = token.blacklist()
    except ExpiredTokenError:
        raise TokenExpired("the refresh token has expired") from None
    except TokenError:
        raise Unauthenticated("the refresh token is not valid") from None
    if not is_first_use:
        raise Unauthenticated("the refresh token was used before")
    return pair_for(user)


def sign_out(raw_access: str, raw_refresh: object = None) -> None:
    """Revoke the access token and the refresh token that belongs to it."""
    try:
        access = RevocableAccessToken(raw_access.encode())
    except TokenError:
        return
    access.blacklist()
    for outstanding in OutstandingToken.objects.filter(jti=access.get(SESSION, "")):
        BlacklistedToken.objects.get_or_create(token=outstanding)
    if isinstance(raw_refresh, str) and raw_refresh:
        try:
            RefreshToken(raw_refresh.encode()).blacklist()
        except TokenError:
            return
