"""Reviews: questions that are answered and not stored (access, tokens, who am I)."""

from typing import Any

from simcluster import authentication
from simcluster.authentication import Attributes, User
from simcluster.cluster import Cluster
from simcluster.errors import ApiError, bad_request
from simcluster.resources import Object, Resource

_KINDS = {
    "selfsubjectaccessreviews",
    "subjectaccessreviews",
    "localsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "tokenreviews",
    "selfsubjectreviews",
}


def serves(resource: Resource) -> bool:
    """Whether the kind is a question."""
    return (
        resource.group in ("authorization.k8s.io", "authentication.k8s.io")
        and resource.plural in _KINDS
    )


def answer(cluster: Cluster, resource: Resource, obj: Any, user: User, namespace: str) -> Object:
    """The review with its status."""
    if not isinstance(obj, dict):
        raise bad_request("the review is not an object")
    spec = obj.get("spec") or {}
    if resource.plural == "tokenreviews":
        status = _token(cluster, spec)
    elif resource.plural == "selfsubjectreviews":
        status = {"userInfo": _user_info(user)}
    elif resource.plural == "selfsubjectrulesreviews":
        status = _rules(cluster, user, spec.get("namespace", ""))
    else:
        subject = (
            user
            if resource.plural == "selfsubjectaccessreviews"
            else User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        )
        permitted = authentication.allowed(subject, _attributes(spec, namespace), cluster.store)
        status = {"allowed": permitted, **({} if permitted else {"reason": ""})}
    meta = obj.get("metadata") or {}
    return {
        "kind": resource.kind,
        "apiVersion": resource.group_version,
        "metadata": meta,
        "spec": spec,
        "status": status,
    }


def _attributes(spec: Object, namespace: str) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    attributes = spec.get("resourceAttributes") or {}
    namespace_name = attributes.get("namespace", "") or namespace
    return Attributes(
        attributes.get("verb", ""),
        attributes.get("group", ""),
        attributes.get("resource", ""),
        attributes.get("subresource", ""),
        namespace_name,
        attributes.get("name", ""),
    )


def _user_info(user: User) -> Object:
    return {
        "username": user.name,
        **({"uid": user.uid} if user.uid else {}),
        "groups": list(user.groups),
        **({"extra": {key: list(values) for key, values in user.extra}} if user.extra else {}),
    }


def _token(cluster: Cluster, spec: Object) -> Object:
    try:
        user = cluster.tokens.user_of(f"Bearer {spec.get('token', '')}")
    except ApiError:
        return {"user": {}, "error": "[invalid bearer token, unknown]"}
    return {
        "authenticated": True,
        "user": _user_info(user),
        "audiences": ["https://kubernetes.default.svc"],
    }


def _rules(cluster: Cluster, user: User, namespace: str) -> Object:
    if authentication.MASTERS in user.groups:
        rules: list[Object] = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    else:
        rules = authentication.rules_of(user, namespace, cluster.store)
    return {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/version"]}],
        "incomplete": False,
    }
