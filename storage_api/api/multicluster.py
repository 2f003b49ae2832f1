"""One kind in many clusters: /multicluster/resources/{kind} (contract, beyond 4.5), and what all routes over many clusters share."""

from collections.abc import Sequence
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
from core.api.auth import Act, Scope, authorise
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import boolean, moment
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    KUBERNETES_OBJECT,
    PAGING,
    SELECTORS,
    TEXT,
    Described,
    Query,
    array,
    nullable,
    record,
)
from core.errors import Expired, Invalid
from storage_api.history import as_of
from storage_api.query import selectors
from storage_api.services import multicluster, sync
from storage_api.services.multicluster import Place, Search, Slice
from storage_api.services.snapshot import in_trouble
from storage_api.services.sync import Coverage, Freshness

SALT = "multicluster-cursor"
PROBLEM = record(cluster_id=INTEGER, cluster_name=TEXT, code=INTEGER, msg=TEXT)
UNREACHED, UNKNOWN = 1006, 1002
SINGULAR = {"clusters": "cluster_id", "namespaces": "namespace"}


def visible(view: DialectView, request: Request, kind: Kind) -> list[Place]:
    """The clusters in which the caller may list the kind, and the namespaces of it; Forbidden when there is none.

    Clusters that judge each caller by their own rules are left out: what the store holds of them was read with other rights.
    """
    scope = authorise(
        view, request, Act("search", kind.plural, kind.group, cluster_scoped=not kind.namespaced)
    )
    found = registry.clusters().filter(impersonate=False)
    return [
        Place(cluster.pk, cluster.name, _namespaces(scope, cluster))
        for cluster in found
        if sees(scope, cluster)
    ]


def sees(scope: Scope, cluster: Cluster) -> bool:
    return scope.clusters is None or cluster.pk in scope.clusters


def _namespaces(scope: Scope, cluster: Cluster) -> frozenset[str] | None:
    return None if scope.clusters is None else scope.clusters[cluster.pk]


def words(request: Request, name: str) -> list[str]:
    """A comma list of the query, under the name or its singular, as single clusters have it; Invalid for both with different values."""
    given = {
        text for one in (name, SINGULAR.get(name, name)) if (text := request.query_params.get(one))
    }
    if len(given) > 1:
        raise Invalid(f"{name} is given twice, and differently", field=name)
    return [word for text in given for part in text.split(",") if (word := part.strip())]


def chosen(
    wanted: Sequence[str], places: Sequence[Place]
) -> tuple[list[Place], list[dict[str, Any]]]:
    """The places that `wanted` (ids or names; none: all) leaves, and those of it that are none."""
    if not wanted:
        return list(places), []
    known = {str(place.cluster): place for place in places} | {
        place.name.lower(): place for place in places
    }
    problems = [
        {
            "cluster_id": int(word) if word.isascii() and word.isdigit() and len(word) < 18 else 0,
            "cluster_name": word,
            "code": UNKNOWN,
        }
        | {"msg": f"cluster {word[:60]!r} does not exist, or you may not see it"}
        for word in wanted
        if word.lower() not in known
    ]
    return list(
        {
            known[word.lower()].cluster: known[word.lower()]
            for word in wanted
            if word.lower() in known
        }.values()
    ), problems


def stale(places: Sequence[Place], kind: Kind) -> tuple[list[dict[str, Any]], float | None]:
    """(The clusters whose copy is not fresh, and how old it is; the age of the oldest copy that is known.)

    What is stored of them is answered all the same.
    """
    found, ages = [], []
    clusters = registry.clusters().in_bulk([place.cluster for place in places])
    for place in places:
        cluster = clusters.get(place.cluster)
        copies = sync.freshness_of(cluster, kind) if cluster else []
        known = next((copy for copy in copies if not copy.namespace), None)
        if known is not None and known.age is not None:
            ages.append(known.age)
        if known is None or cluster is None:
            sentence = "this kind is not collected there"
        elif covering := _by_namespace(cluster, copies):
            ages.append(covering.age)
            continue
        elif known.age is None:
            sentence = f"this kind is not watched now ({known.phase}): {known.error}".rstrip(": ")
        elif known.age > settings.STORE_FRESH_SECONDS:
            sentence = f"the store's copy is {known.age:.0f} seconds old"
        else:
            continue
        found.append(
            {
                "cluster_id": place.cluster,
                "cluster_name": place.name,
                "code": UNREACHED,
                "msg": sentence,
            }
        )
    return found, max(ages, default=None)


def _by_namespace(cluster: Cluster, copies: Sequence[Freshness]) -> Coverage | None:
    """How a kind is collected namespace by namespace; None when it is not, or when rows of other namespaces are left from before."""
    covering = sync.covered(copies, cluster.namespaces, settings.STORE_FRESH_SECONDS, exact=False)
    was_whole = any(copy.listed_at and not copy.namespace for copy in copies)
    return covering if covering and covering.namespaces is not None and not was_whole else None


def refuse_past(request: Request) -> None:
    """Invalid for `at` where only the present is answered."""
    if request.query_params.get("at"):
        raise Invalid("at: this is only answered as of now", field="at")


def reaching(
    places: Sequence[Place], kind: Kind, at: datetime
) -> tuple[list[Place], list[dict[str, Any]]]:
    """The places whose log reaches back to the moment, and the others named; Expired when there is none, Invalid for the future."""
    as_of.check_moment(at)
    kept, problems = [], []
    clusters = registry.clusters().in_bulk([place.cluster for place in places])
    for place in places:
        try:
            as_of.check_beginning(clusters[place.cluster], kind, at)
            kept.append(place)
        except Expired as error:
            problems.append(
                {
                    "cluster_id": place.cluster,
                    "cluster_name": place.name,
                    "code": UNREACHED,
                    "msg": error.message,
                }
            )
    if places and not kept:
        raise Expired(str(problems[0]["msg"]))
    return kept, problems


FILTERS = (
    Query(
        "clusters",
        TEXT,
        description="Ids or names, comma list; all that the caller may see when absent.",
    ),
    Query("namespaces", TEXT, description="Comma list."),
    *PAGING,
    *SELECTORS,
    Query("owner", TEXT, description="The uid of an owner, at any depth above."),
    Query("since", TEXT, description="Created at or after: RFC 3339 or unix seconds."),
    Query("before", TEXT, description="Created before."),
    Query(
        "orderby",
        TEXT,
        description="name, namespace, cluster or created; a minus before it for backwards.",
    ),
    Query("cursor", TEXT, description="next_cursor of the page before."),
    Query("total", BOOLEAN, description="Count all; null otherwise."),
    Query("troubled", BOOLEAN, description="Only what is in trouble now."),
)
RESOURCES = record(
    items=array(KUBERNETES_OBJECT),
    total=nullable(INTEGER),
    page=INTEGER,
    pageSize=INTEGER,
    next_cursor=TEXT,
    partial_errors=array(PROBLEM),
)


class Resources(DialectView):
    """GET /multicluster/resources/{kind}: objects of one kind in all clusters."""

    operations = {
        "get": Described(
            "Objects of one kind in many clusters",
            RESOURCES,
            query=FILTERS,
            also_query=("at", *SINGULAR.values()),
        )
    }

    def get(self, request: Request, kind: str) -> Any:
        """Objects with `cluster_id` and `cluster_name` beside their own members; `partial_errors` names the clusters that may be behind."""
        scope = authorise(self, request, Act("list", "clusters"))
        found = multicluster.find_kind(kind, within=scope.clusters)
        places, problems = chosen(words(request, "clusters"), visible(self, request, found))
        if at := moment(request.query_params.get("at", ""), "at"):
            places, lost = reaching(places, found, at)
            problems += lost
        search, page = self._search(request, found, places), page_request(request.query_params)
        order = request.query_params.get("orderby", "") or "name"
        part = Slice(
            order=order,
            after=_position(request, order),
            offset=0 if "cursor" in request.query_params else page.offset,
            size=page.size,
        )
        rows, more = multicluster.page(search, part)
        ids = {place.name: place.cluster for place in places}
        behind, age = ([], None) if at else stale(places, found)
        answer = {
            "items": [_item(text, found, ids[name], name) for name, text in rows],
            "total": multicluster.total(search)
            if boolean(request.query_params.get("total", "false"), "total")
            else None,
            "page": page.page,
            "pageSize": page.size,
            "next_cursor": signing.dumps([order, *more], salt=SALT) if more else "",
            "partial_errors": [*problems, *behind],
        }
        return Response(answer, headers={} if age is None else {"X-Data-Age": f"{age:.3f}"})

    def _search(self, request: Request, kind: Kind, places: Sequence[Place]) -> Search:
        query = request.query_params
        if any("\0" in value for value in query.values()):
            raise Invalid("a parameter holds a NUL")
        labels = selectors.labels(query.get("labelSelector", ""))
        fields = selectors.fields(query.get("fieldSelector", ""), kind)
        if query.get("at") and query.get("owner"):
            raise Invalid("owner cannot be asked of the past", field="owner")
        if labels is None:
            raise Invalid("labelSelector cannot be read", field="labelSelector")
        if fields is None:
            raise Invalid(
                "fieldSelector cannot be read, or names a field that is not kept apart",
                field="fieldSelector",
            )
        return Search(
            places=places,
            kind=kind,
            clauses=(
                *labels.clauses,
                *fields,
                *(
                    [in_trouble(kind)]
                    if boolean(query.get("troubled", "false"), "troubled")
                    else []
                ),
            ),
            namespaces=words(request, "namespaces"),
            keyword=query.get("keyword", ""),
            owner=query.get("owner", ""),
            since=moment(query.get("since", ""), "since"),
            before=moment(query.get("before", ""), "before"),
            at=moment(query.get("at", ""), "at"),
        )


def _position(request: Request, order: str) -> list[str]:
    text = request.query_params.get("cursor", "")
    if not text:
        return []
    try:
        of_order, *position = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        raise Invalid("cursor is none of ours", field="cursor") from None
    if of_order != order:
        raise Invalid("cursor belongs to another order", field="cursor")
    return [str(part) for part in position]


def _item(text: str, kind: Kind, cluster: int, name: str) -> orjson.Fragment:
    tags = orjson.dumps({"cluster_id": cluster, "cluster_name": name})[1:-1]
    return orjson.Fragment(b"{" + tags + b"," + shown(text.encode(), kind)[1:])


def shown(raw: bytes, kind: Kind) -> bytes:
    """A stored object as it goes out: of a Secret's values not even hashes or tokens."""
    if (kind.group, kind.plural) != SECRETS:
        return raw
    secret = orjson.loads(raw)
    for part in ("data", "stringData"):
        if isinstance(secret.get(part), dict):
            secret[part] = dict.fromkeys(secret[part], MASK)
    return orjson.dumps(secret)
