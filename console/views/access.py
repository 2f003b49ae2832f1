"""Who may do what in a cluster by its own roles: who can, and what one subject can do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console.api_client import call
from console.locations import Location
from console.page import render_page, require_sign_in
from console.rendering import html
from console.rendering.health import Object, get, rows
from console.views.describe import rule_cells, subject_link

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
SUBJECT_KINDS = ("User", "Group", "ServiceAccount")
PAGE_SIZE = 1000
MAX_PAGES = 20


@dataclass(frozen=True, slots=True)
class Binding:
    """A role given to subjects: in `namespace`, "" for the whole cluster."""

    location: Location
    namespace: str
    role: Location
    rules: Sequence[Mapping[str, Any]]
    subjects: Sequence[Mapping[str, Any]]


@require_GET
@require_sign_in
def viewer(request: HttpRequest, cluster: int) -> HttpResponse:
    """The form with both questions, and the answer to the one that was asked."""
    asked = {
        name: request.GET.get(name, "").strip()
        for name in ("verb", "resource", "namespace", "kind", "name", "home")
    }
    context: dict[str, Any] = {
        "cluster_id": cluster,
        "asked": asked,
        "verbs": VERBS,
        "subject_kinds": SUBJECT_KINDS,
    }
    if asked["verb"] and asked["resource"]:
        context["subjects"] = _who_can(list(_bindings(request, cluster)), asked)
    elif asked["name"]:
        context["grants"] = _rules_of_subject(list(_bindings(request, cluster)), asked)
    else:
        # The page is refused to those to whom its answer would be.
        call(request, "GET", "clusterroles", query={"cluster_id": cluster, "pageSize": 1})
    return render_page(request, "console/access.html", context)


def _list_all(request: HttpRequest, cluster: int, plural: str) -> Iterator[Object]:
    """Every object of a kind, page by page."""
    for page in range(1, MAX_PAGES + 1):
        query = {"cluster_id": cluster, "page": page, "pageSize": PAGE_SIZE}
        data = call(request, "GET", plural, query=query).data
        yield from data["items"]
        if page * PAGE_SIZE >= data["total"]:
            return


def _bindings(request: HttpRequest, cluster: int) -> Iterator[Binding]:
    """Every binding with the rules of its role; a role that does not exist has none."""
    rules: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
    for plural in ("clusterroles", "roles"):
        for role in _list_all(request, cluster, plural):
            key = (str(get(role, "metadata", "namespace") or ""), role["metadata"]["name"])
            rules[key] = rows(role.get("rules"))
    for plural in ("clusterrolebindings", "rolebindings"):
        for item in _list_all(request, cluster, plural):
            namespace = str(get(item, "metadata", "namespace") or "")
            reference = item.get("roleRef") or {}
            is_cluster_role = reference.get("kind") == "ClusterRole"
            name = str(reference.get("name") or "")
            home = "" if is_cluster_role else namespace
            role_plural = "clusterroles" if is_cluster_role else "roles"
            yield Binding(
                Location(cluster, plural, namespace, item["metadata"]["name"]),
                namespace,
                Location(cluster, role_plural, home, name),
                rules.get((home, name), ()),
                rows(item.get("subjects")),
            )


def rule_allows(rule: Mapping[str, Any], verb: str, resource: str) -> bool:
    """Whether a rule allows the verb on `resource`: a plural, `plural.group` or `plural/sub`.

    As in RBAC, `*` stands for everything and `*/scale` for a subresource of all. A rule for names
    allows it for those. A resource that begins with a slash is a path, as /metrics.
    """
    if not {verb, "*"} & set(rule.get("verbs") or ()):
        return False
    if resource.startswith("/"):
        return any(_path_matches(path, resource) for path in rule.get("nonResourceURLs") or ())
    reference, slash, subresource = resource.partition("/")
    plural, dot, group = reference.partition(".")
    # Without a group the plural is looked for in every group.
    if dot and not {group, "*"} & set(rule.get("apiGroups") or ()):
        return False
    names = {"*", plural + slash + subresource}
    if slash:
        names.add(f"*/{subresource}")
    return bool(names & set(rule.get("resources") or ()))


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path


def _who_can(bindings: Sequence[Binding], asked: Mapping[str, str]) -> list[list[Any]]:
    """Rows of who can do it: kind, subject, where, role, binding."""
    lines = []
    for binding in bindings:
        # Rights in one namespace do not reach another, and nothing beyond namespaces.
        if binding.namespace and binding.namespace != asked["namespace"]:
            continue
        fitting = [
            rule for rule in binding.rules if rule_allows(rule, asked["verb"], asked["resource"])
        ]
        if not fitting:
            continue
        names = {name for rule in fitting for name in rule.get("resourceNames") or ()}
        all_names = any(not rule.get("resourceNames") for rule in fitting)
        limit = "" if all_names else html.chips(sorted(names), 8)
        for subject in binding.subjects:
            home = str(subject.get("namespace") or "")
            lines.append(
                [
                    html.text(subject.get("kind")),
                    f"{html.escape(home)}/" * bool(home) + subject_link(binding.location, subject),
                    html.text(binding.namespace or "*"),
                    html.link(binding.role.address, binding.role.name),
                    html.link(binding.location.address, binding.location.name),
                    limit,
                ]
            )
    return [[html.mark_safe(cell) for cell in line] for line in lines]


def subject_matches(subject: Mapping[str, Any], kind: str, name: str, home: str) -> bool:
    """Whether a binding's subject is the one that is asked about, or a group that it is in.

    Of a user only the groups that every user has are known: others come with their credentials.
    """
    same_home = kind != "ServiceAccount" or str(subject.get("namespace") or "") == home
    if subject.get("kind") == kind and subject.get("name") == name and same_home:
        return True
    groups = set()
    if kind == "ServiceAccount":
        groups = {"system:serviceaccounts", f"system:serviceaccounts:{home}"}
        if subject.get("kind") == "User":
            return subject.get("name") == f"system:serviceaccount:{home}:{name}"
    if kind in ("User", "ServiceAccount") and name != "system:anonymous":
        groups.add("system:authenticated")
    return subject.get("kind") == "Group" and subject.get("name") in groups


def _rules_of_subject(bindings: Sequence[Binding], asked: Mapping[str, str]) -> list[list[Any]]:
    """Rows of what the subject can do: where, by which role, and the rule."""
    lines = []
    for binding in bindings:
        if not any(
            subject_matches(subject, asked["kind"], asked["name"], asked["home"])
            for subject in binding.subjects
        ):
            continue
        place = html.text(binding.namespace or "*")
        role = html.link(binding.role.address, binding.role.name)
        lines += [[place, role, *rule_cells(rule)] for rule in binding.rules]
    return [[html.mark_safe(cell) for cell in line] for line in lines]
