"""The upward hooks: who may do what is decided in `tenants`, reached through dotted strings in settings."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework.request import Request

from kubegale.api.dialect import DialectView


@dataclass(frozen=True, slots=True)
class Act:
    """What a caller is about to do. `kind` is a plural (or "" for what is not a Kubernetes kind), `cluster` a name or id as text."""

    verb: str
    kind: str = ""
    group: str = ""
    cluster: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a list the caller may see: None is every namespace."""

    namespaces: frozenset[str] | None = None


class AccessPolicy(Protocol):
    """Decides one act; raises Forbidden when the right is lacking."""

    def __call__(self, request: Request, act: Act) -> Scope: ...


@lru_cache(maxsize=1)
def _policy(dotted: str) -> AccessPolicy:
    return cast(AccessPolicy, import_string(dotted))


def authorise(view: DialectView, request: Request, act: Act) -> Scope:
    """The caller's scope for the act; raises Forbidden when the right is lacking. Open dialects may do all that they document."""
    if view.is_open():
        return Scope()
    return _policy(settings.ACCESS_POLICY)(request, act)
