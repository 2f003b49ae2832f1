"""Checks of who may do what: roles with wildcards, bindings to cluster-admin, anonymous callers."""

from collections.abc import Iterator, Mapping
from typing import Any

from automation.inspection.catalogue import Severity
from automation.inspection.facts import (
    Facts,
    elements,
    join_names,
    mapping,
)
from automation.inspection.hits import Checker, Hit
from clusters.manifests import Object

# What Kubernetes makes itself at each start.
_BOOTSTRAPPING = "kubernetes.io/bootstrapping"
_MASTERS = "system:masters"
_ANONYMOUS = frozenset(["system:anonymous", "system:unauthenticated"])
# Discovery and versions, which everybody may read.
_PUBLIC_ROLES = frozenset(["system:public-info-viewer"])


def is_built_in(obj: Object) -> bool:
    """Whether Kubernetes made the role or binding itself."""
    metadata = obj["metadata"]
    name = str(metadata["name"])
    return _BOOTSTRAPPING in mapping(
        metadata,
        "labels",
    ) or name.startswith("system:")


def check_role(role: Object, facts: Facts) -> Iterator[Hit]:
    """A role whose rules name everything instead of something."""
    if is_built_in(role):
        return
    wide: list[str] = []
    severity = None
    for rule in elements(role, "rules"):
        stars = [
            name
            for name in ("apiGroups", "resources", "verbs")
            if "*"
            in _list(
                rule,
                name,
            )
        ]
        # "*" in apiGroups alone names the resources and verbs still.
        if "resources" in stars or "verbs" in stars:
            wide.append(_rule_text(rule))
        if len(stars) == 3 and role["kind"] == "ClusterRole":
            severity = Severity.CRITICAL
    if wide:
        yield Hit(
            "rbac-wildcard",
            join_names(wide, 3),
            severity,
        )


def _list(rule: Mapping[str, Any], name: str) -> list[str]:
    value = rule.get(name)
    return [str(element) for element in value] if isinstance(value, list) else []


def _rule_text(rule: Mapping[str, Any]) -> str:
    verbs = ", ".join(_list(rule, "verbs"))
    resources = ", ".join(
        _list(
            rule,
            "resources",
        )
    ) or ", ".join(_list(rule, "nonResourceURLs"))
    return f"{verbs} on {resources}"


def check_binding(binding: Object, facts: Facts) -> Iterator[Hit]:
    """A binding to cluster-admin, or of anything to callers who have not signed in."""
    role = str(mapping(binding, "roleRef").get("name"))
    subjects = elements(binding, "subjects")
    anonymous = [
        str(subject.get("name")) for subject in subjects if subject.get("name") in _ANONYMOUS
    ]
    if anonymous and role not in _PUBLIC_ROLES:
        yield Hit("anonymous-access", f"{join_names(anonymous)} has {role}")
    if (
        role != "cluster-admin"
        or mapping(
            binding,
            "roleRef",
        ).get("kind")
        != "ClusterRole"
    ):
        return
    people = [_subject(each) for each in subjects if each.get("name") != _MASTERS]
    if people:
        # In one namespace it is as much as the namespace's admin has.
        severity = None if binding["kind"] == "ClusterRoleBinding" else Severity.WARNING
        yield Hit(
            "cluster-admin",
            f"cluster-admin for {join_names(people)}",
            severity,
        )


def _subject(subject: Mapping[str, Any]) -> str:
    name = str(subject.get("name"))
    if subject.get("kind") == "ServiceAccount":
        return f"ServiceAccount {subject.get('namespace') or ''}/{name}"
    return f"{subject.get('kind')} {name}"


BY_KIND: Mapping[str, Checker] = {
    "roles": check_role,
    "clusterroles": check_role,
    "rolebindings": check_binding,
    "clusterrolebindings": check_binding,
}
