"""Signing in: JWT pairs with rotation and revocation, and API tokens kept as hashes."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from kubegale.errors import Invalid, TokenExpired, TooManyRequests, Unauthenticated
from tenants.models import ApiToken

User = get_user_model()
PREFIX = "kgt_"
SESSION = "session"
FAILURES_PER_MINUTE = 10


class RevocableAccessToken(BlacklistMixin[AccessToken], AccessToken):  # type: ignore[misc]  # the library has no types
    """An access token that signing out can end before its time."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What signing in gives; `expires_in` is the access token's life in seconds."""

    token: str
    refresh_token: str
    expires_in: int


# --- passwords ------------------------------------------------------------------------------------------------------
def _failure_key(username: str, address: str) -> str:
    return "sign-in-failures:" + hashlib.sha256(f"{username.lower()}\0{address}".encode()).hexdigest()


def sign_in(username: object, password: object, *, address: str = "") -> TokenPair:
    """A new pair for a right password; Unauthenticated otherwise, TooManyRequests after ten failures in a minute."""
    if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
        raise Invalid("username and password are required")
    if "\x00" in username + password:
        raise Unauthenticated("wrong username or password")
    key = _failure_key(username, address)
    if cache.get(key, 0) >= FAILURES_PER_MINUTE:
        raise TooManyRequests("too many failed sign-ins; wait a minute", retry_after=60)
    user = authenticate(username=username, password=password)
    if user is None:
        if not cache.add(key, 1, 60):
            cache.incr(key)
        raise Unauthenticated("wrong username or password")
    return pair_for(user)


def pair_for(user: AbstractBaseUser) -> TokenPair:
    """A fresh access and refresh token; the access token names its refresh token, so that one sign-out ends both."""
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    access[SESSION] = refresh["jti"]
    return TokenPair(str(access), str(refresh), int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()))


# --- JWT ------------------------------------------------------------------------------------------------------------
def _active_user(token: AccessToken | RefreshToken) -> AbstractBaseUser:
    """The token's user, unless gone, switched off or with a new password since."""
    user = User.objects.filter(pk=token.get("user_id"), is_active=True).first()
    if user is None or token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise Unauthenticated("the token was revoked")
    return user


def user_of_jwt(raw: str) -> AbstractBaseUser:
    """The user behind an access token; TokenExpired or Unauthenticated otherwise."""
    try:
        token = RevocableAccessToken(raw.encode())
    except ExpiredTokenError:
        raise TokenExpired("the token has expired") from None
    except TokenError:
        raise Unauthenticated("the token is not valid") from None
    return _active_user(token)


def refresh(raw: object) -> TokenPair:
    """A new pair for a refresh token, which is then spent; used twice it is Unauthenticated."""
    if not isinstance(raw, str) or not raw:
        raise Invalid("refresh_token is required")
    try:
        token = RefreshToken(raw.encode())
        with transaction.atomic():
            user = _active_user(token)
            _, first = token.blacklist()
    except ExpiredTokenError:
        raise TokenExpired("the refresh token has expired") from None
    except TokenError:
        raise Unauthenticated("the refresh token is not valid") from None
    if not first:
        raise Unauthenticated("the refresh token was used before")
    return pair_for(user)


def sign_out(raw_access: str, raw_refresh: object = None) -> None:
    """End the access token and the refresh token that belongs to it."""
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


# --- API tokens -----------------------------------------------------------------------------------------------------
def _digest(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()


def create_api_token(user: AbstractBaseUser, name: str, *, lifetime: timedelta | None = None) -> tuple[ApiToken, str]:
    """(row, the token itself): the only time that it can be seen."""
    raw = PREFIX + secrets.token_urlsafe(32)
    expires: datetime | None = timezone.now() + lifetime if lifetime else None
    row = ApiToken.objects.create(user_id=user.pk, name=name[:100], digest=_digest(raw), hint=raw[:8], expires_at=expires)
    return row, raw


def api_token(raw: str) -> ApiToken:
    """The row behind a token; TokenExpired or Unauthenticated otherwise. Notes the time of use, at most once a minute."""
    row = ApiToken.objects.select_related("user").filter(digest=_digest(raw)).first()
    if row is None or row.revoked_at or not row.user.is_active:
        raise Unauthenticated("the token is not valid")
    if row.is_expired():
        raise TokenExpired("the token has expired")
    now = timezone.now()
    if row.last_used_at is None or now - row.last_used_at > timedelta(minutes=1):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row
