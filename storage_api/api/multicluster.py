"""One kind in many clusters: /multicluster/resources/{kind} (contract, beyond 4.5).

And what all routes over many clusters share.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.core import signing
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import registry
from clusters.kinds import Kind
from clusters.manifests import MASK
from clusters.models import Cluster
from clusters.resource_types import SECRETS
from core.api.auth import AccessAttributes, Scope, authorise, find_scopes
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import boolean, moment, split_words
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    KUBERNETES_OBJECT,
    PAGING,
    SELECTORS,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Expired, Invalid
from core.times import duration_words
from storage_api.history import as_of
from storage_api.query import selectors
from storage_api.services import multicluster, sync
from storage_api.services.multicluster import ClusterScope, Search, Slice
from storage_api.services.snapshot import problem_clause
from storage_api.services.sync import Coverage, Freshness

SALT = "multicluster-cursor"
PROBLEM = record(
    cluster_id=INTEGER,
    cluster_name=TEXT,
    code=INTEGER,
    msg=TEXT,
)
# Error codes of the contract: a cluster that cannot be reached, one that does not exist, and a
# right that its credentials lack.
UNREACHED = 1006
UNKNOWN = 1002
FORBIDDEN = 1005
SINGULAR = {"clusters": "cluster_id", "namespaces": "namespace"}


def visible_places(view: DialectView, request: Request, kind: Kind) -> list[ClusterScope]:
    """The registered clusters in which the caller may list the kind, with its namespaces there.

    Forbidden when there is none. Clusters that authorize each caller by their own rules are left
    out: what the store has of them was read with other rights.
    """
    return _places(authorise(view, request, _search_act(kind)), registry.clusters())


def visible_places_by_kind(
    view: DialectView,
    request: Request,
    kinds: Iterable[Kind],
    clusters: Sequence[Cluster],
) -> dict[Kind, Sequence[ClusterScope]]:
    """As `visible_places` for each of many kinds, in these clusters; none for a refused kind.

    All kinds are asked for at once. Nothing of it goes to the audit trail.
    """
    acts = {kind: _search_act(kind) for kind in kinds}
    scopes = find_scopes(view, request, list(acts.values()))
    # Kinds that need the same right have one scope, and so one list of places.
    shared: dict[int, list[ClusterScope]] = {}
    places: dict[Kind, Sequence[ClusterScope]] = {}
    for kind, scope in zip(acts, scopes, strict=True):
        if scope is None:
            places[kind] = ()
            continue
        if id(scope) not in shared:
            shared[id(scope)] = _places(scope, clusters)
        places[kind] = shared[id(scope)]
    return places


def _search_act(kind: Kind) -> AccessAttributes:
    return AccessAttributes(
        "search",
        kind.plural,
        kind.group,
        cluster_scoped=not kind.namespaced,
    )


def _places(scope: Scope, clusters: Iterable[Cluster]) -> list[ClusterScope]:
    return [
        ClusterScope(cluster.pk, cluster.name, _namespaces(scope, cluster))
        for cluster in clusters
        if not cluster.impersonate and is_visible(scope, cluster)
    ]


def is_visible(scope: Scope, cluster: Cluster) -> bool:
    """Whether the scope includes the cluster, or some of its namespaces."""
    return scope.clusters is None or cluster.pk in scope.clusters


def _namespaces(scope: Scope, cluster: Cluster) -> frozenset[str] | None:
    return None if scope.clusters is None else scope.clusters[cluster.pk]


def list_parameter(request: Request, name: str) -> list[str]:
    """A comma list of the query, under the name or under its singular as in other routes.

    Invalid when both are there with different values.
    """
    keys = (name, SINGULAR.get(name, name))
    texts = {request.query_params.get(key, "") for key in keys} - {""}
    if len(texts) > 1:
        raise Invalid(f"{name} is given twice with different values", field=name)
    return split_words(texts.pop()) if texts else []


def select_places(
    references: Sequence[str], places: Sequence[ClusterScope]
) -> tuple[list[ClusterScope], list[dict[str, Any]]]:
    """(the places that the references name, a problem for each reference that names none).

    References are ids or names of clusters in any case of letters; without any, all places.
    """
    if not references:
        return list(places), []
    by_reference = {str(place.cluster): place for place in places}
    by_reference.update({place.name.lower(): place for place in places})
    matching: dict[int, ClusterScope] = {}
    problems = []
    for reference in references:
        place = by_reference.get(reference.lower())
        if place is None:
            problems.append(_unknown_cluster(reference))
        else:
            matching[place.cluster] = place
    return list(matching.values()), problems


def _unknown_cluster(reference: str) -> dict[str, Any]:
    # Not int() of anything longer: an id that no integer column has is no id.
    is_id = reference.isascii() and reference.isdigit() and len(reference) < 18
    return {
        "cluster_id": int(reference) if is_id else 0,
        "cluster_name": reference,
        "code": UNKNOWN,
        "msg": f"cluster {reference[:60]!r} does not exist, or you may not see it",
    }


def cluster_problem(pk: int, name: str, message: str, *, code: int = UNREACHED) -> dict[str, Any]:
    """A cluster whose part of an answer may be missing or old, for `partial_errors`."""
    return {
        "cluster_id": pk,
        "cluster_name": name,
        "code": code,
        "msg": message,
    }


def stale_places(
    places: Sequence[ClusterScope], kind: Kind
) -> tuple[list[dict[str, Any]], float | None]:
    """(a problem for each cluster whose copy is not fresh, age of the oldest copy in seconds).

    What is stored of such clusters is in the answer all the same. The age is None when that of
    no copy is known.
    """
    problems = []
    ages = []
    pks = [place.cluster for place in places]
    clusters = registry.clusters().in_bulk(pks)
    copies_by_cluster = sync.freshness_by_cluster(pks, kind)
    for place in places:
        cluster = clusters.get(place.cluster)
        copies = copies_by_cluster.get(place.cluster, [])
        whole = next((copy for copy in copies if not copy.namespace), None)
        if whole is not None and whole.age is not None:
            ages.append(whole.age)
        if whole is None or cluster is None:
            problems.append(
                cluster_problem(
                    place.cluster,
                    place.name,
                    "this kind is not collected there",
                )
            )
            continue
        by_namespace = _namespace_coverage(cluster, copies)
        if by_namespace:
            ages.append(by_namespace.age)
        elif message := _staleness(whole):
            problems.append(cluster_problem(place.cluster, place.name, message))
    return problems, max(ages, default=None)


def _staleness(copy: Freshness) -> str:
    """Why the copy is not fresh; "" when it is."""
    if copy.age is None:
        return f"this kind is not watched now ({copy.phase}): {copy.error}".rstrip(": ")
    if copy.age > settings.STORE_FRESH_SECONDS:
        return f"the store's copy is {duration_words(copy.age)} old"
    return ""


def _namespace_coverage(cluster: Cluster, copies: Sequence[Freshness]) -> Coverage | None:
    """How a kind is collected namespace by namespace; None when it is not.

    None also while rows of other namespaces remain from when it was collected as a whole.
    """
    coverage = sync.coverage_of_copies(
        copies,
        cluster.namespaces,
        settings.STORE_FRESH_SECONDS,
        exact=False,
    )
    if not coverage or coverage.namespaces is None:
        return None
    was_whole = any(copy.listed_at and not copy.namespace for copy in copies)
    return None if was_whole else coverage


def refuse_past(request: Request) -> None:
    """Invalid for `at` where only the present is answered."""
    if request.query_params.get("at"):
        raise Invalid("at is not supported here", field="at")


def places_with_history(
    places: Sequence[ClusterScope], kind: Kind, at: datetime
) -> tuple[list[ClusterScope], list[dict[str, Any]]]:
    """(the places whose log goes back to the moment, a problem for each of the others).

    Expired when there is no such place, Invalid for a moment in the future.
    """
    as_of.check_moment(at)
    covered = []
    problems = []
    clusters = registry.clusters().in_bulk([place.cluster for place in places])
    for place in places:
        try:
            as_of.check_beginning(clusters[place.cluster], kind, at)
            covered.append(place)
        except Expired as error:
            problems.append(cluster_problem(place.cluster, place.name, error.message))
    if places and not covered:
        raise Expired(str(problems[0]["msg"]))
    return covered, problems


FILTERS = (
    QueryParameter(
        "clusters",
        TEXT,
        description="Ids or names, comma list; all that the caller may see when absent.",
    ),
    QueryParameter("namespaces", TEXT, description="Comma list."),
    *PAGING,
    *SELECTORS,
    QueryParameter(
        "owner",
        TEXT,
        description="The uid of an owner, at any depth above.",
    ),
    QueryParameter(
        "since",
        TEXT,
        description="Created at or after: RFC 3339 or unix seconds.",
    ),
    QueryParameter("before", TEXT, description="Created before."),
    QueryParameter(
        "orderby",
        TEXT,
        description="name, namespace, cluster, created, status, node, restarts or ready; a minus "
        "before it for backwards.",
    ),
    QueryParameter("cursor", TEXT, description="next_cursor of the page before."),
    QueryParameter("total", BOOLEAN, description="Count all; null otherwise."),
    QueryParameter(
        "troubled",
        BOOLEAN,
        description="Only what is in trouble now.",
    ),
)
RESOURCES = record(
    items=array(KUBERNETES_OBJECT),
    total=nullable(INTEGER),
    page=INTEGER,
    pageSize=INTEGER,
    next_cursor=TEXT,
    partial_errors=array(PROBLEM),
)


class MulticlusterResources(DialectView):
    """GET /multicluster/resources/{kind}: objects of one kind in all clusters."""

    operations = {
        "get": OperationSchema(
            "Objects of one kind in many clusters",
            RESOURCES,
            query=FILTERS,
            also_query=("at", *SINGULAR.values()),
        )
    }

    def get(self, request: Request, kind: str) -> Any:
        """Objects with `cluster_id` and `cluster_name` in front of their own members.

        `partial_errors` names the clusters that may be behind. X-Data-Age is the age in seconds of
        the oldest copy.
        """
        query = request.query_params
        scope = authorise(self, request, AccessAttributes("list", "clusters"))
        requested = multicluster.find_kind(kind, within=scope.clusters)
        places, problems = select_places(
            list_parameter(request, "clusters"),
            visible_places(self, request, requested),
        )
        at = moment(query.get("at", ""), "at")
        if at:
            places, too_young = places_with_history(places, requested, at)
            problems += too_young
        search = self._search(request, requested, places)
        page = page_request(query)
        order = query.get("orderby", "") or "name"
        part = Slice(
            order=order,
            after=_cursor_position(request, order),
            offset=0 if "cursor" in query else page.offset,
            size=page.size,
        )
        rows, more = multicluster.page(search, part)
        # The store knows clusters by name.
        ids = {place.name: place.cluster for place in places}
        # The past does not get old.
        age: float | None = None
        if not at:
            late, age = stale_places(places, requested)
            problems += late
        is_counted = boolean(query.get("total", "false"), "total")
        answer = {
            "items": [
                tagged_item(text.encode(), requested, ids[name], name) for name, text in rows
            ],
            "total": multicluster.total(search) if is_counted else None,
            "page": page.page,
            "pageSize": page.size,
            "next_cursor": signing.dumps([order, *more], salt=SALT) if more else "",
            "partial_errors": problems,
        }
        headers = {} if age is None else {"X-Data-Age": f"{age:.3f}"}
        return Response(answer, headers=headers)

    def _search(
        self,
        request: Request,
        kind: Kind,
        places: Sequence[ClusterScope],
    ) -> Search:
        query = request.query_params
        if any("\0" in value for value in query.values()):
            raise Invalid("a parameter contains a NUL character")
        labels = selectors.labels(query.get("labelSelector", ""))
        fields = selectors.fields(query.get("fieldSelector", ""), kind)
        if query.get("at") and query.get("owner"):
            # Owners are resolved through the current rows.
            raise Invalid("owner cannot be combined with at", field="owner")
        if labels is None:
            raise Invalid("labelSelector cannot be parsed", field="labelSelector")
        if fields is None:
            raise Invalid(
                "fieldSelector cannot be parsed, or names a field that is not supported",
                field="fieldSelector",
            )
        clauses = [*labels.clauses, *fields]
        if boolean(query.get("troubled", "false"), "troubled"):
            clauses.append(problem_clause(kind))
        return Search(
            places=places,
            kind=kind,
            clauses=tuple(clauses),
            namespaces=list_parameter(request, "namespaces"),
            keyword=query.get("keyword", ""),
            owner=query.get("owner", ""),
            since=moment(query.get("since", ""), "since"),
            before=moment(query.get("before", ""), "before"),
            at=moment(query.get("at", ""), "at"),
        )


def _cursor_position(request: Request, order: str) -> list[str]:
    """The sort values of the last row of the page before; [] without a cursor."""
    text = request.query_params.get("cursor", "")
    if not text:
        return []
    try:
        cursor_order, *position = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        raise Invalid("invalid cursor", field="cursor") from None
    if cursor_order != order:
        raise Invalid("cursor belongs to another order", field="cursor")
    return [str(value) for value in position]


def tagged_item(
    content: bytes,
    kind: Kind,
    cluster: int,
    name: str,
) -> orjson.Fragment:
    """A stored object with its cluster in front; of a Secret without values."""
    # Put in as text: the object is never parsed.
    tags = orjson.dumps({"cluster_id": cluster, "cluster_name": name})[1:-1]
    manifest = mask_secret(content, kind)
    # An agent may have stored what has no members.
    if manifest == b"{}" or not manifest.startswith(b"{"):
        return orjson.Fragment(b"{" + tags + b"}")
    return orjson.Fragment(b"{" + tags + b"," + manifest[1:])


def mask_secret(raw: bytes, kind: Kind) -> bytes:
    """A stored object as JSON for an answer: of a Secret's values not even hashes or tokens."""
    if (kind.group, kind.plural) != SECRETS:
        return raw
    secret = orjson.loads(raw)
    if not isinstance(secret, dict):
        # An agent has stored what is no object: its value is sealed as a whole.
        return orjson.dumps(MASK)
    for member in ("data", "stringData"):
        values = secret.get(member)
        if isinstance(values, dict):
            secret[member] = dict.fromkeys(values, MASK)
        elif values is not None:
            secret[member] = MASK
    return orjson.dumps(secret)
