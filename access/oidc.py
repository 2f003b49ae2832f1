"""Sign-in through an OpenID Connect provider, off unless OIDC_CLIENT_ID is set.

The library is mozilla-django-oidc.

The library checks signature, nonce and expiry; issuer, audience and subject are checked here. Users
are recognised by the provider's issuer and subject, never by an email address. Groups of the
provider become groups named `oidc:<name>`, updated at each sign-in.
"""

from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from access.models import ExternalIdentity

PREFIX = "oidc:"
MOST_GROUPS = 200
Claims = dict[str, Any]


class Backend(OIDCAuthenticationBackend):  # type: ignore[misc]  # the library has no types
    """Django's authentication backend for the provider."""

    def verify_token(self, token: str, **kwargs: Any) -> Claims:
        """The claims of a valid token of our provider for us; SuspiciousOperation otherwise."""
        try:
            payload: Claims = super().verify_token(token, **kwargs)
        except jwt.InvalidTokenError as error:
            raise SuspiciousOperation(
                f"the provider's token is invalid: {type(error).__name__}"
            ) from None
        audience = payload.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if (
            payload.get("iss") != settings.OIDC_ISSUER
            or settings.OIDC_RP_CLIENT_ID not in audiences
        ):
            raise SuspiciousOperation("the token is of another issuer or for another audience")
        # A token for several audiences must name the client that it was issued to (azp).
        if len(audiences) > 1 and payload.get("azp") != settings.OIDC_RP_CLIENT_ID:
            raise SuspiciousOperation("the token was issued to another client")
        if not payload.get("sub") or "exp" not in payload:
            raise SuspiciousOperation("the token names no subject, or never expires")
        return payload

    def get_userinfo(
        self,
        access_token: str,
        id_token: str,
        payload: Claims,
    ) -> Claims:
        """The claims of userinfo and of the token; both must have the same subject."""
        info: Claims = super().get_userinfo(access_token, id_token, payload)
        if info.get("sub") != payload["sub"]:
            raise SuspiciousOperation("userinfo has another subject than the token")
        return {**payload, **info}

    def verify_claims(self, claims: Claims) -> bool:
        """Whether the claims have a username and a subject."""
        return isinstance(claims.get(settings.OIDC_USERNAME_CLAIM), str) and bool(claims.get("sub"))

    def filter_users_by_claims(self, claims: Claims) -> QuerySet[User]:
        """The user of an earlier sign-in, by issuer and subject."""
        return User.objects.filter(
            external_identities__issuer=settings.OIDC_ISSUER,
            external_identities__subject=str(claims["sub"]),
        )

    def create_user(self, claims: Claims) -> User:
        """A new user without a password; SuspiciousOperation when the username exists already."""
        user = User(
            username=claims[settings.OIDC_USERNAME_CLAIM], email=_as_text(claims.get("email"))
        )
        user.set_unusable_password()
        try:
            user.full_clean()
        except ValidationError as error:
            raise SuspiciousOperation(
                f"no user can be created from these claims: {', '.join(error.message_dict)}"
            ) from None
        with transaction.atomic():
            user.save()
            ExternalIdentity.objects.create(
                user=user,
                issuer=settings.OIDC_ISSUER,
                subject=str(claims["sub"]),
            )
            _sync_groups(user, claims)
        return user

    def update_user(self, user: User, claims: Claims) -> User:
        """The same user, with the groups of these claims."""
        with transaction.atomic():
            _sync_groups(user, claims)
        return user


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _sync_groups(user: User, claims: Claims) -> None:
    """Set the provider's groups of the user; groups that were assigned here stay."""
    claim = claims.get(settings.OIDC_GROUPS_CLAIM)
    names: set[str] = set()
    if isinstance(claim, list):
        # 140 and the prefix fit Django's 150.
        names = {name for name in claim if isinstance(name, str) and 0 < len(name) <= 140}
    groups = []
    for name in sorted(names)[:MOST_GROUPS]:
        group, _ = Group.objects.get_or_create(name=PREFIX + name)
        groups.append(group)
    outdated = user.groups.filter(name__startswith=PREFIX).exclude(
        pk__in=[group.pk for group in groups]
    )
    user.groups.remove(*outdated)
    user.groups.add(*groups)
