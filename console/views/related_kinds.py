"""What objects that select, bind or publish others are related to, and the readers of all kinds."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console import navigation
from console.api_client import ApiRefusal
from console.locations import Location, resolve_reference
from console.rendering.health import Object, collect_regular, get, rows
from console.views import related
from console.views.related import Reader, RelatedGroup, RelatedLink

# Of a namespace, or of a cluster: more are looked through by tables, not by a section of a page.
MAX_CANDIDATES = 500


def _group_of_matching(
    request: HttpRequest,
    location: Location,
    plural: str,
    matches: Callable[[Object], bool],
    title: str | Promise = "",
) -> Iterator[RelatedGroup]:
    """The objects of a kind that no selector of the API finds; nothing when there is none."""
    title = title or navigation.kind_title(plural)
    try:
        items, _total = related.list_objects(request, location, plural, pageSize=MAX_CANDIDATES)
    except ApiRefusal as refusal:
        yield RelatedGroup(title, problem=refusal.message)
        return
    links = [related.object_link(location, plural, item) for item in items if matches(item)]
    if links:
        more = max(len(links) - related.MAX_LINKS, 0)
        yield RelatedGroup(title, links[: related.MAX_LINKS], more=more)


def _group_of_target(
    location: Location,
    title: str | Promise,
    reference: Mapping[str, str],
) -> Iterator[RelatedGroup]:
    """The one object that a reference with its kind names; nothing for custom kinds."""
    target = resolve_reference(location, reference)
    if target:
        kind = navigation.kind_name(target.plural)
        yield RelatedGroup(title, [RelatedLink(kind, target.name, target.address)])


def autoscaler_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """What an autoscaler scales."""
    yield from _group_of_target(location, _("Target"), get(item, "spec", "scaleTargetRef") or {})


def budget_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The pods that a disruption budget is about."""
    yield from _group_of_selected(request, location, get(item, "spec", "selector"))


def policy_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The pods that a network policy isolates."""
    yield from _group_of_selected(request, location, get(item, "spec", "podSelector"))


def _group_of_selected(
    request: HttpRequest,
    location: Location,
    selector: object,
) -> Iterator[RelatedGroup]:
    # No selector selects nothing, an empty one every pod of the namespace.
    if not isinstance(selector, Mapping):
        return
    labels = related.join_labels(selector.get("matchLabels") or {})
    terms = [labels, *(_expression(term) for term in rows(selector.get("matchExpressions")))]
    query = ",".join(term for term in terms if term)
    yield from related.group_of_list(request, location, "pods", _("Pods"), labelSelector=query)


def _expression(term: Mapping[str, object]) -> str:
    """A term of matchExpressions as selectors are written: `tier in (a,b)`, `!tier`."""
    key = str(term.get("key"))
    values = term.get("values")
    names = ",".join(map(str, values)) if isinstance(values, list) else ""
    forms = {
        "In": f"{key} in ({names})",
        "NotIn": f"{key} notin ({names})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }
    return forms.get(str(term.get("operator")), "")


def ingress_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The services that an Ingress leads to and the secrets of its certificates."""
    services = [("services", name) for name in sorted(related.backends(item)) if name != "None"]
    secrets = [
        ("secrets", str(entry.get("secretName") or "")) for entry in rows(get(item, "spec", "tls"))
    ]
    yield from related.group_of_references(location, _("Uses"), [*services, *secrets])


def volume_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The claim that a volume is bound to."""
    claim = {**(get(item, "spec", "claimRef") or {}), "kind": "PersistentVolumeClaim"}
    yield from _group_of_target(location, _("Used by"), claim)


def storage_class_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The volumes of a storage class."""
    yield from _group_of_matching(
        request,
        location,
        "persistentvolumes",
        lambda volume: get(volume, "spec", "storageClassName") == location.name,
    )


def binding_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The role that a binding gives."""
    yield from _group_of_target(location, _("Role"), item.get("roleRef") or {})


def role_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The bindings of a role; those of a cluster role are in every namespace."""
    kind = navigation.kind_name(location.plural)
    yield from _groups_of_bindings(
        request,
        location,
        lambda binding: (
            get(binding, "roleRef", "kind") == kind
            and get(binding, "roleRef", "name") == location.name
        ),
        plurals=_binding_plurals(location),
    )


def service_account_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The pods that run as a service account, and the bindings that name it."""
    yield from _group_of_matching(
        request,
        location,
        "pods",
        lambda pod: get(pod, "spec", "serviceAccountName") == location.name,
        _("Used by"),
    )
    yield from _groups_of_bindings(
        request,
        location,
        lambda binding: any(
            subject.get("kind") == "ServiceAccount"
            and subject.get("name") == location.name
            and subject.get("namespace") == location.namespace
            for subject in rows(binding.get("subjects"))
        ),
        plurals=("rolebindings", "clusterrolebindings"),
    )


def _binding_plurals(location: Location) -> Sequence[str]:
    if location.plural == "clusterroles":
        return ("clusterrolebindings", "rolebindings")
    return ("rolebindings",)


def _groups_of_bindings(
    request: HttpRequest,
    location: Location,
    matches: Callable[[Object], bool],
    *,
    plurals: Sequence[str],
) -> Iterator[RelatedGroup]:
    for plural in plurals:
        groups = list(_group_of_matching(request, location, plural, matches))
        # Who may not read bindings sees the object without them.
        yield from (group for group in groups if not group.problem)


READERS: Mapping[str, Reader] = {
    "deployments": related.workload_groups,
    "statefulsets": related.workload_groups,
    "daemonsets": related.workload_groups,
    "jobs": related.workload_groups,
    "cronjobs": related.cronjob_groups,
    "replicasets": related.replicaset_groups,
    "pods": related.pod_groups,
    "services": related.service_groups,
    "configmaps": related.config_groups,
    "secrets": related.config_groups,
    "persistentvolumeclaims": related.config_groups,
    "namespaces": related.namespace_groups,
    "horizontalpodautoscalers": autoscaler_groups,
    "poddisruptionbudgets": budget_groups,
    "networkpolicies": policy_groups,
    "ingresses": ingress_groups,
    "persistentvolumes": volume_groups,
    "storageclasses": storage_class_groups,
    "rolebindings": binding_groups,
    "clusterrolebindings": binding_groups,
    "roles": role_groups,
    "clusterroles": role_groups,
    "serviceaccounts": service_account_groups,
}


def list_related(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> list[RelatedGroup]:
    """The groups of what belongs to the object."""
    reader = READERS.get(location.plural)
    # A kind without a reader has no known relations: the section is left out.
    return collect_regular(reader(request, location, item)) if reader else []
