"""API tokens: creating, checking and revoking them.

Only their hashes are stored, and they never allow more than their user may do.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from access.models import ApiToken
from access.policy import SCOPE_PRESETS, Right
from core import row_cache
from core.errors import Invalid, NotFound, TokenExpired, Unauthenticated
from core.row_cache import Topic
from core.times import rfc3339

PREFIX = "kgt_"
LONGEST_CLUSTER_NAME = 200


def _digest(raw: str) -> str:
    """The hash by which a token is looked up.

    The database compares hashes, so the time of a lookup discloses nothing about a token.
    """
    return hashlib.sha256(raw.encode()).hexdigest()


def check_name(value: object) -> str:
    """The name of a token; Invalid unless it is 1 to 100 printable characters."""
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > 100
        or not value.isprintable()
    ):
        raise Invalid("name must be 1 to 100 printable characters", field="name")
    return value


def check_scopes(value: object) -> list[str]:
    """Scopes without duplicates, presets taken apart; None means all that the user may do.

    Invalid for unknown scopes and for an empty list.
    """
    names = [*Right, *SCOPE_PRESETS]
    if value is not None and (
        not isinstance(value, list) or not value or any(name not in names for name in value)
    ):
        raise Invalid(f"scopes must be some of {', '.join(names)}", field="scopes")
    scopes = [str(scope) for name in value or [] for scope in SCOPE_PRESETS.get(name, (name,))]
    return list(dict.fromkeys(scopes))


def check_clusters(value: object) -> list[str]:
    """Names of clusters or clusterIds without duplicates; None means every cluster.

    Invalid for impossible names and for an empty list.
    """
    if value is not None and not (isinstance(value, list) and value):
        raise Invalid("clusters must be a list of at least one", field="clusters")
    names = [
        str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        for name in value or []
    ]
    if not all(
        isinstance(name, str) and 0 < len(name) <= LONGEST_CLUSTER_NAME and name.isprintable()
        for name in names
    ):
        raise Invalid("clusters must be names or ids of clusters, or clusterIds", field="clusters")
    return list(dict.fromkeys(names))


def check_wire(value: object) -> str:
    """The wire profile of bcs-storage for the token: doc, go or ""; Invalid for others."""
    if value not in (None, "", "doc", "go"):
        raise Invalid("wire must be doc or go", field="wire")
    return str(value or "")


def create_api_token(
    user: AbstractBaseUser,
    name: str,
    *,
    lifetime: timedelta | None = None,
    days: int | None = None,
    scopes: Sequence[str] = (),
    clusters: Sequence[str] = (),
    wire: str = "",
) -> tuple[ApiToken, str]:
    """(row, the token itself). Only the hash is stored: this is the only time that it is visible.

    It expires after `days`, or after `lifetime`; without both it does not.
    """
    # 256 bits, so that a plain hash cannot be reversed by guessing.
    raw = PREFIX + secrets.token_urlsafe(32)
    lifetime = timedelta(days=days) if days else lifetime
    expires_at: datetime | None = timezone.now() + lifetime if lifetime else None
    row = ApiToken.objects.create(
        user_id=user.pk,
        name=name[:100],
        digest=_digest(raw),
        hint=raw[:8],
        expires_at=expires_at,
        scopes=list(scopes),
        clusters=list(clusters),
        wire=wire,
    )
    return row, raw


def find_by_token(raw: str) -> ApiToken:
    """The row of a token; TokenExpired, or Unauthenticated for an invalid one.

    Records the time of use, at most once a minute: a write for each request would be too many.
    """
    digest = _digest(raw)

    def read() -> ApiToken | None:
        return ApiToken.objects.select_related("user").filter(digest=digest).first()

    row = row_cache.read_row(Topic.ACCESS, ("token", digest), read)
    if row is None or row.revoked_at or not row.user.is_active:
        raise Unauthenticated("the token is not valid")
    if row.is_expired():
        raise TokenExpired("the token has expired")
    _record_use(row)
    return row


def _record_use(row: ApiToken) -> None:
    """Save the time of use, at most once a minute."""
    now = timezone.now()
    # The row may come from the cache, which hears nothing of uses: this list is our own.
    last_use = row_cache.read(Topic.ACCESS, ("use", row.pk), lambda: [row.last_used_at])
    if last_use[0] is not None and now - last_use[0] <= timedelta(minutes=1):
        return
    last_use[0] = now
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)


def revoke(user: AbstractBaseUser, pk: int) -> ApiToken:
    """Revoke one of the user's tokens; NotFound for any other."""
    row = ApiToken.objects.filter(pk=pk, user_id=user.pk).first()
    if row is None:
        raise NotFound("there is no such token")
    if row.revoked_at is None:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
    return row


def represent(row: ApiToken) -> dict[str, Any]:
    """A token as JSON data, without the token itself; times are RFC 3339 or None."""
    times = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        **{field: getattr(row, field) for field in ("name", "hint", "scopes", "clusters", "wire")},
        "id": row.pk,
        **{field: rfc3339(getattr(row, field)) for field in times},
    }
