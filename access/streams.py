"""Whether a stream may go on: the caller's credentials and rights, looked at again while it lasts."""

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
from access import sign_in as services
from access.authentication import BearerAuthentication, ConsoleSession
from access.models import ApiToken
from access.permissions import authorise
from access.policy import EffectiveGrant
from clusters import registry
from core import crypto
from core.api.auth import Act, Scope
from core.errors import ClusterNotFound, DomainError, Forbidden, Unauthenticated

User = get_user_model()


def credential(request: Request) -> dict[str, Any]:
    """What to look at later: the user, and the API token, the JWT or the console's session. Never a secret that could be used."""
    found: dict[str, Any] = {"user": request.user.pk, "username": request.user.get_username()}
    match request.auth:
        case ApiToken():
            found["api_token"] = request.auth.pk
        case ConsoleSession():
            found["console"] = crypto.encrypt(request.auth.key)
        case str():
            token = services.RevocableAccessToken(request.auth.encode(), verify=False)
            found["jti"], found["session"] = token.get("jti", ""), token.get(services.SESSION, "")
            found["password"] = token.get(api_settings.REVOKE_TOKEN_CLAIM, "")
            found["expires"] = token.get("exp", 0)
    return found


def still_allowed(credential: Mapping[str, Any], act: Act | None) -> None:
    """Unauthenticated when user, token or password are gone or changed, Forbidden when the right is. Runs outside any request.

    None instead of an act: only the credentials are looked at.
    """
    user, token = _user_and_token(credential)
    if act is None:
        return
    request = Request(HttpRequest())
    request.user, request.auth = user, token
    authorise(request, act)


def require(work: Mapping[str, Any]) -> None:
    """Unauthenticated or Forbidden when whoever ordered some work ({"credential","acts"}) may no longer do it.

    What was ordered through an open dialect was allowed to nobody in particular.
    """
    credential = work["credential"]
    if not credential["user"]:
        return
    user, token = _user_and_token(credential)
    held = grants.effective_grants(user)
    for act in work["acts"]:
        authorization.decide(held, token, Act(**act))


def scopes(credential: Mapping[str, Any], acts: Sequence[Act]) -> list[Scope | None]:
    """What of each act the caller may do now, None for nothing; Unauthenticated as in `still_allowed`."""
    user, token = _user_and_token(credential)
    held = grants.effective_grants(user)
    return [_scope(held, token, act) for act in acts]


def require_cluster(act: Act) -> None:
    """Forbidden when the act is in a cluster that was removed. The store's clusterIds are free texts."""
    if not act.cluster or act.kind == "storage":
        return
    try:
        registry.find(act.cluster)
    except ClusterNotFound:
        raise Forbidden("the cluster is no longer registered") from None


def _scope(held: list[EffectiveGrant], token: ApiToken | None, act: Act) -> Scope | None:
    try:
        return authorization.decide(held, token, act)
    except Forbidden:
        return None


def _user_and_token(credential: Mapping[str, Any]) -> tuple[Any, ApiToken | None]:
    user = User.objects.filter(pk=credential["user"], is_active=True).first()
    if user is None or not _is_valid(credential, user.password):
        raise Unauthenticated("signed out")
    return user, ApiToken.objects.filter(
        pk=credential["api_token"]
    ).first() if "api_token" in credential else None


def _is_valid(credential: Mapping[str, Any], password: str) -> bool:
    if "api_token" in credential:
        row = ApiToken.objects.filter(pk=credential["api_token"], revoked_at=None).first()
        return row is not None and not row.is_expired()
    if "jti" in credential:
        ended = BlacklistedToken.objects.filter(token__jti=credential["jti"]).exists()
        expired = time.time() > credential.get("expires", math.inf)
        return not (ended or expired) and credential["password"] == get_md5_hash_password(password)
    if "console" in credential:
        return _is_open(credential["console"], int(credential["user"]))
    return True


def _is_open(session: str, user: int) -> bool:
    """Whether the console's session (encrypted) is still that user's: not signed out, not expired, the password not changed since."""
    visit = HttpRequest()
    try:
        visit.session = SessionStore(crypto.decrypt(session))
    except ValueError:
        return False
    return get_user(visit).pk == user


def sign_in(bearer: str) -> dict[str, Any]:
    """The credential behind a bearer token that a socket was opened with; Unauthenticated when it is no good."""
    plain = HttpRequest()
    plain.META["HTTP_AUTHORIZATION"] = f"Bearer {bearer}"
    request = Request(plain, authenticators=[BearerAuthentication()])
    try:
        if not request.user.is_authenticated:
            raise Unauthenticated("authentication credentials were not provided")
    except DomainError as error:
        raise Unauthenticated(error.message) from error
    return credential(request)
