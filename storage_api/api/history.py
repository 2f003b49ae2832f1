"""What happened to objects: /history and /history/diff, out of the store's log of changes."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.utils import timezone
from rest_framework.request import Request

from clusters import registry
from clusters.differences import differences
from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import boolean, integer, moment
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Invalid
from core.times import rfc3339
from storage_api.history import as_of, descriptions
from storage_api.history.as_of import VersionQuery
from storage_api.services import multicluster

CHANGE = record(
    path=array(TEXT),
    op={"type": "string", "enum": ["add", "remove", "replace"]},
    **{"from": ANYTHING, "to": ANYTHING},
)
WHO = record(
    source={"type": "string", "enum": ["audit", "managedFields"]},
    **{
        name: nullable(TEXT)
        for name in ("user", "verb", "manager", "operation", "subresource", "at")
    },
)
VERSION = record(
    seq=INTEGER,
    at=TEXT,
    op={"type": "string", "enum": ["add", "change", "delete"]},
    kind=TEXT,
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    resource_version=TEXT,
    who=nullable(WHO),
    changes=nullable(array(CHANGE)),
)
OBJECT = (
    CLUSTER,
    QueryParameter("kind", TEXT, required=True),
    NAMESPACE,
    QueryParameter("name", TEXT),
)
TIMES = (
    QueryParameter(
        "since",
        TEXT,
        description="RFC 3339 or unix seconds.",
    ),
    QueryParameter("before", TEXT),
)


class HistoryView(DialectView):
    """What both routes share: whose history, and whether the caller may read it."""

    def subject(
        self,
        request: Request,
        parameters: Mapping[str, Any],
        *,
        is_single: bool,
    ) -> tuple[Cluster, Kind, str, str, Scope]:
        """(cluster, kind, namespace, name, scope) out of the parameters of query or body.

        Rights are checked before anything else. Raises Forbidden, NotFound, and Invalid; without
        a namespace and a name, too, where the route is about a single object.
        """
        reference = str(parameters.get("cluster_id", parameters.get("clusterId", "")))
        # No cluster has the id 0: the right is checked even when the parameter is missing.
        cluster_act = AccessAttributes("get", "clusters", cluster=reference or "0")
        authorise(self, request, cluster_act)
        self.check_input(request)
        kind_reference = str(parameters.get("kind") or "")
        if not kind_reference:
            raise Invalid("kind is required", field="kind")
        for parameter, value in parameters.items():
            if "\0" in str(value):
                raise Invalid(f"{parameter} contains a NUL character", field=parameter)
        kind = multicluster.find_kind(kind_reference, cluster=reference)
        namespace = str(parameters.get("namespace") or "") if kind.namespaced else ""
        name = str(parameters.get("name") or "")
        act = AccessAttributes(
            "history" if name else "list",
            kind.plural,
            kind.group,
            reference,
            namespace,
            name,
            cluster_scoped=not kind.namespaced,
        )
        scope = authorise(self, request, act)
        if is_single and (not name or (kind.namespaced and not namespace)):
            raise Invalid("namespace and name are required", field="name")
        if not reference:
            raise Invalid("cluster_id is required", field="cluster_id")
        cluster = registry.find(integer(reference, "cluster_id", minimum=0))
        # The log has the kind under the version in which it is collected.
        collected = multicluster.collected_version(cluster, kind)
        return cluster, collected, namespace, name, scope


class History(HistoryView):
    """GET /history: what was added, changed and deleted, when and by whom, newest first."""

    operations = {
        "get": OperationSchema(
            "What happened to objects of a kind, and who did it",
            record(
                items=array(VERSION), next_cursor=TEXT, gaps=array(record(since=TEXT, until=TEXT))
            ),
            query=(
                *OBJECT,
                *TIMES,
                *PAGING[1:3],
                QueryParameter("op", TEXT, description="add, change or delete."),
                QueryParameter(
                    "deleted", BOOLEAN, description="Objects that are gone: of each the last line."
                ),
                QueryParameter(
                    "diff",
                    BOOLEAN,
                    description="Say what changed."
                    " True for one object, false for many, unless given.",
                ),
                QueryParameter("cursor", TEXT),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"items", "next_cursor", "gaps"} for one object or all that the caller may list.

        `changes` is null without the version before or with `diff=false`, `who` when nothing says
        it. `gaps` are times within which changes may be missing.
        """
        parameters = request.query_params
        cluster, kind, namespace, name, scope = self.subject(request, parameters, is_single=False)
        # Each version may need two documents to be read and compared.
        size = min(page_request(parameters).size, 200)
        query = _version_query(
            parameters,
            namespace=namespace,
            name=name,
            namespaces=scope.namespaces,
            size=size,
        )
        versions = as_of.versions(cluster, kind, query)
        page = versions[:size]
        writes = descriptions.audited_writes(cluster, kind, page)
        gaps = [
            {"since": rfc3339(since, digits=3), "until": rfc3339(until, digits=3)}
            for since, until in as_of.gaps(cluster, kind, query)
        ]
        return {
            "items": [descriptions.describe_version(version, kind, writes) for version in page],
            "next_cursor": str(page[-1].seq) if len(versions) > size else "",
            "gaps": gaps,
        }


def _version_query(
    parameters: Mapping[str, str],
    *,
    namespace: str,
    name: str,
    namespaces: frozenset[str] | None,
    size: int,
) -> VersionQuery:
    op = parameters.get("op", "")
    if op not in ("", "add", "change", "delete"):
        raise Invalid("op must be add, change or delete", field="op")
    below = parameters.get("cursor", "")
    # For many objects the documents of all versions would be read.
    diff = parameters.get("diff", "true" if name else "false")
    return VersionQuery(
        namespace=namespace,
        name=name,
        keyword=parameters.get("keyword", ""),
        namespaces=namespaces,
        op=op,
        deleted=boolean(parameters.get("deleted", "false"), "deleted"),
        since=moment(parameters.get("since", ""), "since"),
        until=moment(parameters.get("before", ""), "before"),
        below=integer(below, "cursor", minimum=1) if below else None,
        # One more than the page, which says whether there is a next page.
        size=size + 1,
        documents=boolean(diff, "diff"),
    )


class Diff(HistoryView):
    """GET /history/diff: how one object differs between two moments."""

    operations = {
        "get": OperationSchema(
            "How an object differs between two moments",
            record(**{"from": TEXT, "to": TEXT}, changes=array(CHANGE)),
            query=(
                *OBJECT,
                QueryParameter("from", TEXT, required=True),
                QueryParameter("to", TEXT, description="Now when absent."),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """The changes from the object as it was at `from` to what it was at `to`."""
        parameters = request.query_params
        cluster, kind, namespace, name, _ = self.subject(request, parameters, is_single=True)
        begin = moment(parameters.get("from", ""), "from")
        end = moment(parameters.get("to", ""), "to")
        if begin is None:
            raise Invalid("from is required", field="from")
        end = end or timezone.now()
        before, after = (
            orjson.loads(
                as_of.read_sealed(
                    cluster,
                    kind,
                    name,
                    namespace=namespace,
                    at=at,
                )
            )
            for at in (begin, end)
        )
        return {
            "from": rfc3339(begin, digits=3),
            "to": rfc3339(end, digits=3),
            "changes": descriptions.mask_changes(differences(before, after), kind),
        }
