"""Every object of a kind in one cluster, one after the other, as far as a caller may read it.

The store answers where its copy is fresh, so that looking at many clusters asks none of them;
otherwise the cluster itself is read. Neither holds more than a part of the list in memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.conf import settings
from django.db import connection

from automation.context import RunContext, Targets
from clusters import registry
from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.resource_types import SECRETS, resource_type
from clusters.wire import CHUNK_SIZE
from core.api.attributes import AccessAttributes, Scope
from core.errors import Expired, Forbidden, Invalid
from storage_api.query.selectors import parse_labels
from storage_api.services import sync

# Asks the policy for an act; Forbidden when the caller lacks the right.
Authorise = Callable[[AccessAttributes], Scope]
Namespaces = frozenset[str] | None

# By the unique key of the table. What the documents leave out of managedFields is added again as
# far as it says who writes in which API version.
_PART = """
SELECT r.namespace, r.resource_name, r.data::text, jsonb_path_query_array(
  r.omitted::jsonb, '$.managedFields[*] ? (exists(@.apiVersion)).apiVersion')::text
FROM storage_resource r
WHERE r.cluster_id = %s AND r.resource_type = %s
  AND (r.namespace, r.resource_name) > (%s, %s)
  AND (%s::text[] IS NULL OR r.namespace = ANY (%s))
ORDER BY r.namespace, r.resource_name LIMIT %s
"""


@dataclass(slots=True)
class ClusterObjects:
    """Reads one cluster for one caller; `namespaces` narrows what is read, None is all of it.

    `ages` says after reading how old the copy of a kind was in seconds, None for a kind that was
    read live. `live` reads nothing out of the store.
    """

    cluster: Cluster
    authorise: Authorise
    namespaces: Namespaces = None
    live: bool = False
    ages: dict[str, float | None] = field(default_factory=dict)

    def read(self, kind: Kind) -> Iterator[Object]:
        """Each object of the kind, in no order that means anything.

        Out of the store, values of Secrets are sealed, and managedFields have apiVersions alone.
        Forbidden when the caller or the cluster's credentials may not list the kind.
        """
        namespaces = self._visible(kind)
        uses_store = settings.LISTS_FROM_STORE and not (self.live or self.cluster.impersonate)
        if uses_store:
            coverage = sync.coverage(
                self.cluster,
                kind,
                settings.STORE_FRESH_SECONDS,
            )
            if coverage is not None:
                self.ages[kind.plural] = round(coverage.age, 1)
                stored = _both(namespaces, coverage.namespaces)
                yield from self._read_stored(kind, stored)
                return
        self.ages[kind.plural] = None
        yield from self._read_live(kind, namespaces)

    def _visible(self, kind: Kind) -> Namespaces:
        """The namespaces of the kind that are asked for and that the caller may list."""
        act = AccessAttributes(
            "list",
            kind.plural,
            kind.group,
            str(self.cluster.pk),
            cluster_scoped=not kind.namespaced,
        )
        scope = self.authorise(act)
        if not kind.namespaced:
            return None
        return _both(self.namespaces, scope.namespaces)

    def _read_stored(
        self,
        kind: Kind,
        namespaces: Namespaces,
    ) -> Iterator[Object]:
        names = None if namespaces is None else sorted(namespaces)
        last = ("", "")
        while True:
            params = [self.cluster.name, resource_type(kind), *last, names, names, CHUNK_SIZE]
            with connection.cursor() as cursor:
                cursor.execute(_PART, params)
                rows = cursor.fetchall()
            for namespace, name, text, versions in rows:
                last = (namespace, name)
                obj: Object = orjson.loads(text)
                if not _is_regular(obj):
                    continue
                # Collectors write what an object is; other agents may leave it out.
                obj.setdefault("apiVersion", kind.api_version)
                obj.setdefault("kind", kind.name)
                if versions and (kind.group, kind.plural) != SECRETS:
                    obj["metadata"]["managedFields"] = [
                        {"apiVersion": version} for version in orjson.loads(versions)
                    ]
                yield obj
            if len(rows) < CHUNK_SIZE:
                return

    def _read_live(
        self,
        kind: Kind,
        namespaces: Namespaces,
    ) -> Iterator[Object]:
        if namespaces is not None:
            for namespace in sorted(namespaces):
                yield from self._read_namespace(kind, namespace)
            return
        try:
            yield from self._read_namespace(kind, "")
        except Forbidden:
            # Credentials for some namespaces only may not list the whole cluster.
            if not kind.namespaced or not self.cluster.namespaces:
                raise
            for namespace in self.cluster.namespaces:
                yield from self._read_namespace(kind, namespace)

    def _read_namespace(
        self,
        kind: Kind,
        namespace: str,
    ) -> Iterator[Object]:
        client = registry.client(self.cluster)
        last = ""
        # A list that expires between two chunks is read again in one answer, which cannot expire.
        for limit in (CHUNK_SIZE, 0):
            try:
                for chunk in client.chunks(
                    kind,
                    namespace=namespace or None,
                    limit=limit,
                ):
                    for raw in chunk.items or []:
                        obj: Object = orjson.loads(bytes(raw))
                        # The API server lists by "namespace/name": what was read is passed over.
                        key = object_key(obj)
                        if limit == 0 and key <= last:
                            continue
                        last = key
                        # Items of a list do not say what they are.
                        obj.setdefault("apiVersion", kind.api_version)
                        obj.setdefault("kind", kind.name)
                        yield obj
                return
            except Expired:
                if limit == 0:
                    raise


def authoriser(context: RunContext) -> Authorise:
    """Asks for the rights that the run's owner has now, as ClusterObjects does it."""

    def authorise(act: AccessAttributes) -> Scope:
        scope = context.scope(act)
        if scope is None:
            raise Forbidden(f"{context.owner_name} may not {act.verb} {act.kind} here")
        return scope

    return authorise


def choice_of(targets: Targets) -> Callable[[Object], bool]:
    """Whether a task's targets choose an object, by its name and labels.

    Invalid for a label selector that is none.
    """
    names = frozenset(targets.names)
    terms = parse_labels(targets.label_selector)
    if terms is None:
        raise Invalid(
            "label_selector is not a label selector such as app=web,tier!=db",
            field="targets.label_selector",
        )

    def is_chosen(obj: Object) -> bool:
        metadata = obj["metadata"]
        if names and metadata["name"] not in names:
            return False
        labels = metadata.get("labels") or {}
        return all(term.matches(labels.get(term.key)) for term in terms)

    return is_chosen


def object_key(obj: Object) -> str:
    """`namespace/name`, as the API server orders a list."""
    metadata = obj["metadata"]
    return f"{metadata.get('namespace') or ''}/{metadata['name']}"


def _is_regular(obj: Any) -> bool:
    """Whether it is an object of Kubernetes: an agent may have stored any JSON."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        return False
    if not all(isinstance(obj.get(member, ""), str) for member in ("apiVersion", "kind")):
        return False
    owners = obj["metadata"].get("ownerReferences") or []
    if not isinstance(owners, list) or not all(
        isinstance(owner, dict) and isinstance(owner.get("kind"), str) for owner in owners
    ):
        return False
    parts = [obj.get(member) or {} for member in ("spec", "status")]
    is_named = isinstance(obj["metadata"].get("name"), str)
    return is_named and all(isinstance(part, dict) for part in parts)


def _both(some: Namespaces, others: Namespaces) -> Namespaces:
    if some is None:
        return others
    return some if others is None else some & others
