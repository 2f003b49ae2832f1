"""Self-subject reviews: what the caller may do here is what we and the cluster allow together."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from access import impersonation as identities
from access import policy
from clusters import impersonation, registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.manifests import from_yaml
from core.errors import Invalid
from gateway import rights
from gateway.messages import Request, Response
from gateway.protobuf import MEDIA_TYPE, decode_review, encode_access_review
from gateway.request_info import RequestInfo
from gateway.rights import Refused
from gateway.store.reviews import list_rules, review_access

MAX_BODY = 256 * 1024
_AUTHORIZATION = "authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_OWN = {
    (_AUTHORIZATION, "selfsubjectaccessreviews"),
    (_AUTHORIZATION, "selfsubjectrulesreviews"),
    (_AUTHENTICATION, "selfsubjectreviews"),
}
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_POD_VERBS = (
    ("get", "pods/log"),
    ("create", "pods/exec"),
    ("create", "pods/attach"),
    ("create", "pods/portforward"),
    ("patch", "pods/ephemeralcontainers"),
    ("create", "pods/eviction"),
)
_OPEN_PATHS = ("/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz")


def is_review(info: RequestInfo) -> bool:
    """Whether a request only asks about rights: it changes nothing and is not audited."""
    return info.group in {_AUTHORIZATION, _AUTHENTICATION} and info.resource.endswith("reviews")


def is_own(info: RequestInfo) -> bool:
    """Whether a request asks about its own caller."""
    return info.verb == "create" and (info.group, info.resource) in _OWN and not info.subresource


def respond(request: Request, body: bytes) -> Response:
    """The answer to a self-subject review; Invalid for a body that is none.

    Runs outside of the event loop: it asks the policy, and a live cluster. The fleet and the past
    are answered out of the store, which only reads.
    """
    info = request.info
    review = _decode(request, body)
    spec = review.get("spec") or {}
    if not isinstance(spec, dict):
        raise Invalid("spec must be a mapping")
    answer = {
        "kind": review.get("kind"),
        "apiVersion": f"{info.group}/{info.version}",
        "metadata": {"creationTimestamp": None},
        "spec": spec,
    }
    if info.resource == "selfsubjectreviews":
        answer.pop("spec")
        answer["kind"] = "SelfSubjectReview"
        answer["status"] = {"userInfo": _user_info(request)}
        return _encode(request, answer)
    namespace = str(spec.get("namespace") or "")
    is_access = info.resource == "selfsubjectaccessreviews"
    answer["kind"] = "SelfSubjectAccessReview" if is_access else "SelfSubjectRulesReview"
    if not request.target.is_live:
        answer["status"] = (
            review_access(request, _asked(spec)) if is_access else list_rules(request, namespace)
        )
        return _encode(request, answer)
    with impersonation.act_as(lambda: identities.identity_by_id(request.caller.user)):
        client = registry.client(registry.find(request.target.cluster))
        answer["status"] = (
            _access(request, client, spec) if is_access else _rules(request, client, namespace)
        )
    return _encode(request, answer)


def _decode(request: Request, body: bytes) -> dict[str, Any]:
    media = request.head.header("content-type").partition(";")[0].strip().lower()
    if media == MEDIA_TYPE:
        return decode_review(body)
    if "yaml" in media:
        return dict(from_yaml(body.decode("utf-8", "replace")))
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Invalid("the body is not JSON") from None
    if not isinstance(review, dict):
        raise Invalid("the body must be an object")
    return review


def _encode(request: Request, answer: Mapping[str, Any]) -> Response:
    """In JSON, which every client reads; in protobuf where a client asks for that alone."""
    accepted = request.head.header("accept").lower()
    wants_protobuf = MEDIA_TYPE in accepted and "json" not in accepted
    if wants_protobuf and answer["kind"] == "SelfSubjectAccessReview":
        return Response(201, encode_access_review(answer), (("content-type", MEDIA_TYPE),))
    return Response(201, orjson.dumps(answer))


def _user_info(request: Request) -> dict[str, Any]:
    identity = identities.identity_by_id(request.caller.user)
    return {
        "username": identity.username,
        "uid": str(request.caller.user),
        "groups": [*identity.groups, "system:authenticated"],
    }


# --- one act --------------------------------------------------------------------------------------
def _access(request: Request, client: ClusterClient, spec: Mapping[str, Any]) -> dict[str, Any]:
    """{"allowed","reason"}: ours first; the cluster is asked only about what we allow."""
    try:
        rights.check(request.caller.credential, rights.need_of(_asked(spec), _cluster(request)))
    except Refused as refused:
        reason = refused.reason or "KubeGale grants you no right to this"
        return {"allowed": False, "reason": reason}
    body = {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": f"{_AUTHORIZATION}/v1",
        "spec": spec,
    }
    path = f"/apis/{_AUTHORIZATION}/v1/selfsubjectaccessreviews"
    status = orjson.loads(client.request("POST", path, body=body)).get("status") or {}
    return {"allowed": bool(status.get("allowed")), "reason": str(status.get("reason") or "")}


def _cluster(request: Request) -> str:
    return request.target.cluster


def _asked(spec: Mapping[str, Any]) -> RequestInfo:
    """The request that a review asks about; Invalid when it names none."""
    resource = spec.get("resourceAttributes")
    path = spec.get("nonResourceAttributes")
    if isinstance(resource, dict) and not path:
        return _resource_info(resource)
    if isinstance(path, dict) and not resource:
        name = str(path.get("path") or "/")
        return RequestInfo(str(path.get("verb") or "get").lower(), name)
    raise Invalid("exactly one of resourceAttributes and nonResourceAttributes must be given")


def _resource_info(attributes: Mapping[str, Any]) -> RequestInfo:
    def text(name: str) -> str:
        return str(attributes.get(name) or "")

    return RequestInfo(
        verb=text("verb"),
        path="",
        is_resource=True,
        group=text("group"),
        version=text("version") or "v1",
        namespace=text("namespace"),
        resource=text("resource"),
        subresource=text("subresource"),
        name=text("name"),
    )


# --- all rules ------------------------------------------------------------------------------------
def _rules(request: Request, client: ClusterClient, namespace: str) -> dict[str, Any]:
    """The rules of the cluster for us, without what the caller may not do."""
    body = {
        "kind": "SelfSubjectRulesReview",
        "apiVersion": f"{_AUTHORIZATION}/v1",
        "spec": {"namespace": namespace or "default"},
    }
    path = f"/apis/{_AUTHORIZATION}/v1/selfsubjectrulesreviews"
    status = orjson.loads(client.request("POST", path, body=body)).get("status") or {}
    everything = RequestInfo("*", "", True, group="*", version="v1", resource="*")
    if _are_allowed(request, [everything])[0]:
        return dict(status)
    served = list(_served(status.get("resourceRules") or []))
    allowed: dict[tuple[str, str], list[str]] = {}
    infos = list(_known_requests(namespace))
    for info, is_allowed in zip(infos, _are_allowed(request, infos), strict=True):
        resource = f"{info.resource}/{info.subresource}".rstrip("/")
        if is_allowed and any(_covers(rule, info.verb, info.group, resource) for rule in served):
            allowed.setdefault((info.group, resource), []).append(info.verb)
    return {
        "resourceRules": [
            {"verbs": verbs, "apiGroups": [group], "resources": [resource]}
            for (group, resource), verbs in allowed.items()
        ],
        "nonResourceRules": [
            {"verbs": ["get"], "nonResourceURLs": [path, f"{path}/*"]} for path in _OPEN_PATHS
        ],
        "incomplete": True,
        "evaluationError": "custom kinds are not listed; ask about them one by one",
    }


def _served(rules: list[Any]) -> Iterator[Mapping[str, Any]]:
    for rule in rules:
        if isinstance(rule, dict) and not rule.get("resourceNames"):
            yield rule


def _covers(rule: Mapping[str, Any], verb: str, group: str, resource: str) -> bool:
    def has(member: str, *words: str) -> bool:
        return not {"*", *words}.isdisjoint(rule.get(member) or [])

    subresource = resource.partition("/")[2]
    names = (resource, f"*/{subresource}") if subresource else (resource,)
    return has("verbs", verb) and has("apiGroups", group) and has("resources", *names)


def _known_requests(namespace: str) -> Iterator[RequestInfo]:
    """Requests for every kind that the policy's tables and ours know, in one namespace."""
    for group, plural in policy.RULES:
        kind = KINDS.get(plural)
        if kind is None or kind.group != group:
            continue
        where = namespace if kind.namespaced else ""
        for verb in _VERBS:
            yield RequestInfo(
                verb, "", True, group=group, version="v1", namespace=where, resource=plural
            )
    for verb, path in _POD_VERBS:
        resource, _, subresource = path.partition("/")
        yield RequestInfo(
            verb,
            "",
            True,
            version="v1",
            namespace=namespace,
            resource=resource,
            subresource=subresource,
        )


def _are_allowed(request: Request, infos: list[RequestInfo]) -> list[bool]:
    needs = [rights.need_of(info, request.target.cluster) for info in infos]
    return rights.are_allowed(request.caller.credential, needs)
