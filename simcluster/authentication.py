"""Who is asking: bearer tokens, and what each user may do by RBAC."""

import secrets
from dataclasses import dataclass

from simcluster.errors import ApiError
from simcluster.resources import Object
from simcluster.store import Store

ANONYMOUS_PATHS = {"/healthz", "/livez", "/readyz", "/version", "/version/"}
MASTERS = "system:masters"


@dataclass(frozen=True)
class User:
    """An authenticated user, or the anonymous one."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True)
class Attributes:
    """What a request is about to do."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Tokens:
    """The known bearer tokens."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}

    def issue(self, user: User, token: str = "") -> str:
        """A token for a user; a new random one by default."""
        token = token or secrets.token_urlsafe(32)
        self.users[token] = user
        return token

    def user_of(self, header: str | None) -> User:
        """The user behind an Authorization header; 401 for a token that is unknown."""
        if not header:
            return ANONYMOUS
        kind, _, token = header.partition(" ")
        user = self.users.get(token.strip()) if kind.lower() == "bearer" else None
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user


def allowed(user: User, what: Attributes, store: Store) -> bool:
    """Whether RBAC lets the user do it."""
    # As in Kubernetes this group needs no role, so that a broken RBAC can be mended.
    if MASTERS in user.groups:
        return True
    if what.path:
        discovery = (
            what.path.startswith(("/api", "/apis", "/openapi"))
            and "system:authenticated" in user.groups
        )
        return what.path in ANONYMOUS_PATHS or discovery
    if what.group in (
        "authorization.k8s.io",
        "authentication.k8s.io",
        # Each user may ask about their own rights.
    ) and what.resource.startswith("self"):
        return "system:authenticated" in user.groups
    return any(_permits(rule, what) for rule in rules_of(user, what.namespace, store))


def rules_of(user: User, namespace: str, store: Store) -> list[Object]:
    """The RBAC rules that hold for a user in a namespace (and in the whole cluster)."""
    rules: list[Object] = []
    bindings = [*store.list("clusterrolebindings.rbac.authorization.k8s.io")]
    if namespace:
        bindings += store.list("rolebindings.rbac.authorization.k8s.io", namespace)
    for record in bindings:
        binding = record.obj
        if not any(
            _is_subject(user, subject, record.namespace)
            for subject in binding.get("subjects") or ()
        ):
            continue
        reference = binding["roleRef"]
        kind, where = (
            ("clusterroles", "")
            # A RoleBinding may grant a ClusterRole inside its namespace.
            if reference["kind"] == "ClusterRole"
            else ("roles", record.namespace)
        )
        role = store.get(f"{kind}.rbac.authorization.k8s.io", where, reference["name"])
        # A binding to a role that does not exist grants nothing.
        rules += (role.obj.get("rules") or []) if role else []
    return rules


def _is_subject(user: User, subject: Object, namespace: str) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    if subject["kind"] == "ServiceAccount":
        return (
            user.name
            == f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject['name']}"
        )
    return bool(subject["name"] == user.name)


def _permits(rule: Object, what: Attributes) -> bool:
    resource = f"{what.resource}/{what.subresource}" if what.subresource else what.resource
    resources = rule.get("resources") or ()
    named = rule.get("resourceNames")
    return (
        _has(rule.get("verbs") or (), what.verb)
        and _has(rule.get("apiGroups") or (), what.group)
        and (
            _has(resources, resource)
            or (bool(what.subresource) and f"*/{what.subresource}" in resources)
        )
        # A rule with names never covers lists or creation, which name no object.
        and (not named or what.name in named)
    )


def _has(values: list[str] | tuple[str, ...], value: str) -> bool:
    return "*" in values or value in values


def refusal(user: User, what: Attributes) -> ApiError:
    """403 in the words of the API server."""
    if what.path:
        return ApiError(
            403,
            "Forbidden",
            f'forbidden: User "{user.name}" cannot {what.verb} path "{what.path}"',
            details={},
        )
    resource = f"{what.resource}/{what.subresource}" if what.subresource else what.resource
    qualified = f"{what.resource}.{what.group}" if what.group else what.resource
    subject = f'{qualified} "{what.name}"' if what.name else qualified
    where = f'in the namespace "{what.namespace}"' if what.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user.name}" cannot {what.verb} resource "{resource}" '
        f'in API group "{what.group}" {where}'
    )
    details: Object = {"name": what.name} if what.name else {}
    if what.group:
        details["group"] = what.group
    details["kind"] = what.resource
    return ApiError(403, "Forbidden", message, details=details)
