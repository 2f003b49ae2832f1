"""Asking whether a caller may do something.

The policy is above this layer, in `access`: the settings ACCESS_POLICY and OPEN_ACCESS_POLICY name
it.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework.request import Request

from core.api import long_lived
from core.api.accepted_input import CHANGING
from core.api.attributes import AccessAttributes, Scope
from core.api.audit import record
from core.api.dialect import DialectView
from core.api.long_lived import StreamPolicy, stream_policy
from core.errors import Forbidden

READ_VERBS = frozenset({"get", "list", "history"})


class AccessPolicy(Protocol):
    """Decides one act; raises Forbidden when the right is lacking."""

    def __call__(self, request: Request, act: AccessAttributes) -> Scope: ...


class BatchPolicy(Protocol):
    """Decides many acts at once, each as AccessPolicy does; None for a refused one."""

    def __call__(
        self, request: Request, acts: Sequence[AccessAttributes]
    ) -> list[Scope | None]: ...


@lru_cache(maxsize=4)
def _policy(dotted: str) -> AccessPolicy:
    return cast(AccessPolicy, import_string(dotted))


@lru_cache(maxsize=1)
def _batch_policy(dotted: str) -> BatchPolicy:
    return cast(BatchPolicy, import_string(dotted))


def authorise(view: DialectView, request: Request, act: AccessAttributes) -> Scope:
    """The caller's scope for the act.

    Forbidden when the right is lacking. UnclearInput when the call has parameters or members that
    its route does not read; that is checked after the right, so that a refusal gives nothing away.
    """
    event = record(request, act)
    try:
        scope = _scope(view, request, act)
    except Forbidden:
        event.allowed = False
        raise
    # A route that changes something may ask first whether its object may be seen; the right to
    # change it, and the check of the input, come later.
    if request.method not in CHANGING or act.verb not in READ_VERBS:
        view.check_input(request)
    long_lived.allow(request, act, scope)
    return scope


def is_allowed(view: DialectView, request: Request, act: AccessAttributes) -> bool:
    """Whether the caller may do this, e.g. to leave parts out of an answer.

    Nothing of it goes to the audit trail.
    """
    return _scope_or_none(view, request, act) is not None


def find_scope(view: DialectView, request: Request, act: AccessAttributes) -> Scope:
    """The caller's scope for one of many acts of a call, to narrow its answer.

    Forbidden when the right is lacking. Nothing of it goes to the audit trail.
    """
    return _scope(view, request, act)


def find_scopes(
    view: DialectView, request: Request, acts: Sequence[AccessAttributes]
) -> list[Scope | None]:
    """What `find_scope` gives for each of many acts, asked at once; None for a refused one."""
    if not view.is_open():
        return _batch_policy(settings.ACCESS_POLICY_OF_MANY)(request, acts)
    return [_scope_or_none(view, request, act) for act in acts]


def _scope_or_none(view: DialectView, request: Request, act: AccessAttributes) -> Scope | None:
    try:
        return _scope(view, request, act)
    except Forbidden:
        return None


def visible_clusters(view: DialectView, request: Request) -> Collection[int] | None:
    """The ids of the clusters whose names the caller may read; None is every cluster.

    Nothing of it goes to the audit trail.
    """
    scope = _scope_or_none(view, request, AccessAttributes("list", "clusters"))
    return () if scope is None else scope.clusters


def _scope(view: DialectView, request: Request, act: AccessAttributes) -> Scope:
    """Open dialects may do all that they document; Forbidden when the right is lacking."""
    if not view.is_open():
        return _policy(settings.ACCESS_POLICY)(request, act)
    try:
        return _policy(settings.OPEN_ACCESS_POLICY)(request, act)
    except Forbidden:
        if not request.successful_authenticator:
            raise
        # Where an open dialect may not go, a caller with credentials still has their own rights.
        return _policy(settings.ACCESS_POLICY)(request, act)


__all__ = [
    "AccessAttributes",
    "AccessPolicy",
    "BatchPolicy",
    "Scope",
    "StreamPolicy",
    "authorise",
    "find_scope",
    "find_scopes",
    "is_allowed",
    "stream_policy",
    "visible_clusters",
]
