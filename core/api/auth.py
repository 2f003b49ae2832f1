"""The upward hooks: who may do what is decided in `tenants`, reached through dotted strings in settings."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework.request import Request

from core.api import long_lived
from core.api.accepted_input import CHANGING
from core.api.audit import record
from core.api.dialect import DialectView
from core.api.long_lived import StreamPolicy, stream_policy
from core.errors import Forbidden

LOOKING = frozenset({"get", "list", "history"})


@dataclass(frozen=True, slots=True)
class Act:
    """What a caller is about to do. `kind` is a plural (or "" for what is not a Kubernetes kind), `cluster` a name or id as text.

    Verbs and kinds stand in `access.policy`; what stands in no table there is an admin's. `cluster_scoped` says that a custom kind,
    once discovered, lives in no namespace. An act on the default cluster names it. `stored_type` is the resource type of rows of the store.
    """

    verb: str
    kind: str = ""
    group: str = ""
    cluster: str = ""
    namespace: str = ""
    name: str = ""
    cluster_scoped: bool = False
    stored_type: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller may see: `namespaces` None is all of them; `reveals` says whether Secret values are shown.

    For acts that name no cluster, `clusters` gives the namespaces (None is all) by cluster id; None is every cluster.
    `unbounded` says that the caller administers the whole cluster, and so may give rights beyond those of a namespace's admin.
    """

    namespaces: frozenset[str] | None = None
    clusters: Mapping[int, frozenset[str] | None] | None = None
    reveals: bool = True
    unbounded: bool = False


class AccessPolicy(Protocol):
    """Decides one act; raises Forbidden when the right is lacking."""

    def __call__(self, request: Request, act: Act) -> Scope: ...


@lru_cache(maxsize=4)
def _policy(dotted: str) -> AccessPolicy:
    return cast(AccessPolicy, import_string(dotted))


def authorise(view: DialectView, request: Request, act: Act) -> Scope:
    """The caller's scope for the act; raises Forbidden when the right is lacking. Open dialects may do all that they document.

    Where an open dialect may not go, a caller with credentials still has the rights of their own. Then the call is looked at:
    UnclearInput when it says what its route does not read.
    """
    deed = record(request, act)
    try:
        scope = _scope(view, request, act)
    except Forbidden:
        deed.allowed = False
        raise
    # A route that changes something may ask first whether its object may be seen; the right to change it comes later.
    if request.method not in CHANGING or act.verb not in LOOKING:
        view.check_input(request)
    long_lived.allow(request, act, scope)
    return scope


def visible_clusters(view: DialectView, request: Request) -> Collection[int] | None:
    """The ids of the clusters whose names the caller may read; None is every cluster. Nothing is recorded."""
    try:
        return _scope(view, request, Act("list", "clusters")).clusters
    except Forbidden:
        return ()


def _scope(view: DialectView, request: Request, act: Act) -> Scope:
    if not view.is_open():
        return _policy(settings.ACCESS_POLICY)(request, act)
    try:
        return _policy(settings.OPEN_ACCESS_POLICY)(request, act)
    except Forbidden:
        if not request.successful_authenticator:
            raise
        return _policy(settings.ACCESS_POLICY)(request, act)


__all__ = [
    "AccessPolicy",
    "Act",
    "Scope",
    "StreamPolicy",
    "authorise",
    "stream_policy",
    "visible_clusters",
]
