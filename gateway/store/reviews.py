"""What a caller may do where the store answers: read, as far as the policy lets them."""

from typing import Any

from gateway.messages import Request
from gateway.request_info import RequestInfo
from gateway.store.kinds import (
    StoredKind,
    places_in_scope,
    read_act,
    stored_kinds,
    view_verbs,
)
from gateway.store.views import StoreView, ask_scopes, open_view, refusal_of_writes

# The addresses besides those of objects that the store answers.
PATHS = ("/api", "/apis", "/version", "/healthz", "/livez", "/readyz")
_READS = frozenset({"get", "list", "watch"})


def review_access(request: Request, asked: RequestInfo) -> dict[str, Any]:
    """{"allowed","reason"} for a request that the caller asks about, in any version of its kind.

    Raises NotFound where the caller may not know of the cluster, Invalid for what is no time.
    """
    view = open_view(request.target, request.caller)
    reason = _refusal(request, view, asked)
    return {"allowed": not reason, "reason": reason}


def _refusal(request: Request, view: StoreView, asked: RequestInfo) -> str:
    if not asked.is_resource:
        return _refusal_of_path(request, asked)
    if asked.verb not in _READS:
        return refusal_of_writes(request.target)
    named = (asked.group, asked.resource)
    kinds = [
        stored for stored in stored_kinds(view) if named == (stored.kind.group, stored.kind.plural)
    ]
    if asked.subresource not in {"", "status"} or not kinds:
        return f"{asked.resource} is not stored" if not kinds else "subresources are not stored"
    if all(asked.verb not in view_verbs(stored, view) for stored in kinds):
        return "this cannot be watched here"
    requests = [(stored, asked) for stored in kinds]
    return (
        "" if any(_are_allowed(request, view, requests)) else "KubeGale grants you no right to this"
    )


def _refusal_of_path(request: Request, asked: RequestInfo) -> str:
    if asked.verb not in {"get", "head"}:
        return refusal_of_writes(request.target)
    is_served = any(asked.path == path or asked.path.startswith(f"{path}/") for path in PATHS)
    return "" if is_served else "this path is not served here"


def list_rules(request: Request, namespace: str) -> dict[str, Any]:
    """The status of a SelfSubjectRulesReview: every kind that the caller may read here."""
    view = open_view(request.target, request.caller)
    requests = [
        (stored, _read(stored, verb, namespace))
        for stored in stored_kinds(view)
        for verb in view_verbs(stored, view)
    ]
    verbs: dict[tuple[str, str], list[str]] = {}
    for (stored, asked), allowed in zip(
        requests, _are_allowed(request, view, requests), strict=True
    ):
        known = verbs.setdefault((stored.kind.group, stored.kind.plural), [])
        # A kind that is served in two versions is one kind to the policy.
        if allowed and asked.verb not in known:
            known.append(asked.verb)
    return {
        "resourceRules": [
            {"verbs": allowed, "apiGroups": [group], "resources": [plural]}
            for (group, plural), allowed in verbs.items()
            if allowed
        ],
        "nonResourceRules": [
            {"verbs": ["get"], "nonResourceURLs": [path, f"{path}/*"]} for path in PATHS
        ],
        "incomplete": False,
    }


def _read(stored: StoredKind, verb: str, namespace: str) -> RequestInfo:
    kind = stored.kind
    return RequestInfo(
        verb,
        "",
        is_resource=True,
        group=kind.group,
        version=kind.version,
        namespace=namespace if kind.namespaced else "",
        resource=kind.plural,
    )


def _are_allowed(
    request: Request, view: StoreView, requests: list[tuple[StoredKind, RequestInfo]]
) -> list[bool]:
    """For each request, whether there is a place where the caller may see what it asks for."""
    acts = [read_act(view, stored.kind, asked) for stored, asked in requests]
    scopes = ask_scopes(request.caller, acts)
    return [
        bool(places_in_scope(view, stored, asked, scope))
        for (stored, asked), scope in zip(requests, scopes, strict=True)
    ]
