"""Whether a stream may go on: the caller's credentials and rights, checked again while it lasts."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from access import authorization, grants
from access.authentication import BearerAuthentication, ConsoleSession
from access.models import ApiToken
from access.permissions import authorise
from access.sign_in import SESSION, RevocableAccessToken
from clusters import registry
from core import crypto, row_cache
from core.api.auth import AccessAttributes, Scope
from core.errors import ClusterNotFound, DomainError, Forbidden, Unauthenticated
from core.row_cache import Topic

User = get_user_model()


def credential(request: Request) -> dict[str, Any]:
    """What to check again later: the user, and the API token, JWT or session of the console.

    {"user","username"} and one of "api_token" (id), "console" (encrypted session key), or "jti",
    "session", "password" and "expires" of a JWT. It contains nothing that could be used to sign in.
    """
    facts: dict[str, Any] = {"user": request.user.pk, "username": request.user.get_username()}
    match request.auth:
        case ApiToken():
            facts["api_token"] = request.auth.pk
        case ConsoleSession():
            facts["console"] = crypto.encrypt(request.auth.key)
        case str():
            token = RevocableAccessToken(request.auth.encode(), verify=False)
            facts["jti"] = token.get("jti", "")
            facts["session"] = token.get(SESSION, "")
            # A hash of the password: a new password ends the stream.
            facts["password"] = token.get(api_settings.REVOKE_TOKEN_CLAIM, "")
            facts["expires"] = token.get("exp", 0)
    return facts


def still_allowed(credential: Mapping[str, Any], act: AccessAttributes | None) -> None:
    """Check credentials and right again; None as the act checks the credentials alone.

    Unauthenticated when user or token were deleted, revoked or deactivated, or the password
    changed; Forbidden when the right was withdrawn. Runs outside any request.
    """
    user, token = _user_and_token(credential)
    if act is None:
        return
    request = Request(HttpRequest())
    request.user = user
    request.auth = token
    authorise(request, act)


def console_session(credential: Mapping[str, Any]) -> str | None:
    """The key of the console's session in which the credential was made; None without one."""
    if "console" not in credential:
        return None
    try:
        return crypto.decrypt(credential["console"])
    except ValueError:
        # Its key is no longer there: nobody has that session.
        raise Unauthenticated("signed out") from None


def require_still_allowed(work: Mapping[str, Any]) -> None:
    """Unauthenticated or Forbidden when the requester of some work may no longer do it.

    `work` is {"credential","acts"}.
    """
    credential = work["credential"]
    if not credential["user"]:
        # Requested through an open dialect, which asks for no credentials.
        return
    user, token = _user_and_token(credential)
    effective = grants.effective_grants(user)
    for act in work["acts"]:
        authorization.decide(effective, token, AccessAttributes(**act))


def scopes(credential: Mapping[str, Any], acts: Sequence[AccessAttributes]) -> list[Scope | None]:
    """The scope of each act as of now, None for a refused one.

    Unauthenticated as in `still_allowed`.
    """
    user, token = _user_and_token(credential)
    effective = grants.effective_grants(user)
    return authorization.decide_each(effective, token, acts)


def require_cluster(act: AccessAttributes) -> None:
    """Forbidden when the act is in a cluster that was removed."""
    # The store's clusterIds are free text and need no registered cluster.
    if not act.cluster or act.kind == "storage":
        return
    try:
        registry.find(act.cluster)
    except ClusterNotFound:
        raise Forbidden("the cluster is no longer registered") from None


def _user_and_token(credential: Mapping[str, Any]) -> tuple[Any, ApiToken | None]:
    pk = credential["user"]
    user = row_cache.read_row(
        Topic.ACCESS, ("user", pk), lambda: User.objects.filter(pk=pk, is_active=True).first()
    )
    token = _api_token(credential["api_token"]) if "api_token" in credential else None
    if user is None or not _is_valid(credential, user.password, token):
        raise Unauthenticated("signed out")
    return user, token


def _api_token(pk: int) -> ApiToken | None:
    return row_cache.read_row(
        Topic.ACCESS,
        ("token by id", pk),
        lambda: ApiToken.objects.filter(pk=pk, revoked_at=None).first(),
    )


def _is_valid(credential: Mapping[str, Any], password: str, token: ApiToken | None) -> bool:
    if "api_token" in credential:
        return token is not None and not token.is_expired()
    if "jti" in credential:
        if _is_revoked(credential["jti"]):
            return False
        if time.time() > credential.get("expires", math.inf):
            return False
        unchanged: bool = credential["password"] == get_md5_hash_password(password)
        return unchanged
    if "console" in credential:
        return _is_open(credential["console"], int(credential["user"]))
    return True


def _is_revoked(jti: str) -> bool:
    """Whether a JWT was signed out."""

    def read() -> bool:
        return bool(BlacklistedToken.objects.filter(token__jti=jti).exists())

    return row_cache.read(Topic.ACCESS, ("revoked", jti), read)


def _is_open(session: str, user: int) -> bool:
    """Whether the console's session, by its encrypted key, is still that user's.

    False after signing out, after it expired, and after the password changed.
    """
    # Django's get_user reads nothing of a request but its session.
    visit = HttpRequest()
    try:
        visit.session = SessionStore(crypto.decrypt(session))
    except ValueError:
        return False
    return get_user(visit).pk == user


def sign_in(bearer: str) -> dict[str, Any]:
    """The credential of a bearer token that opened a socket; Unauthenticated for an invalid one."""
    django_request = HttpRequest()
    django_request.META["HTTP_AUTHORIZATION"] = f"Bearer {bearer}"
    request = Request(django_request, authenticators=[BearerAuthentication()])
    try:
        if not request.user.is_authenticated:
            raise Unauthenticated("authentication credentials were not provided")
    except DomainError as error:
        raise Unauthenticated(error.message) from error
    return credential(request)
