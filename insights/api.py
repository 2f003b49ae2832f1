"""GET /insights/what-changed and /insights/why-failing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise, is_allowed
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import moment
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import ClusterNotFound, Invalid
from core.times import rfc3339
from insights import changes, diagnosis
from insights.changes import ChangeQuery
from insights.diagnosis import Readable
from storage_api.api.history import CHANGE, WHO
from storage_api.api.multicluster import (
    cluster_problem,
    list_parameter,
    select_places,
    visible_places_by_kind,
)
from storage_api.services import multicluster
from storage_api.services.multicluster import ClusterScope
from workloads.api.pods import parse_duration
from workloads.api.request_target import RequestTarget
from workloads.objects.object_ref import ObjectRef

DEFAULT_PERIOD = timedelta(hours=1)
RANKED_CHANGE = record(
    seq=INTEGER,
    at=TEXT,
    op={"type": "string", "enum": ["add", "change", "delete"]},
    cluster_id=INTEGER,
    cluster=TEXT,
    kind=TEXT,
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    resource_version=TEXT,
    who=nullable(WHO),
    changes=nullable(array(CHANGE)),
    more_changes=INTEGER,
    harm={"type": "integer", "minimum": 0, "maximum": 100},
    reasons=array(TEXT),
    troubled=BOOLEAN,
    summary=TEXT,
)
CAUSE = record(reason=TEXT, message=TEXT, object=TEXT, advice=TEXT)
DIAGNOSIS = record(
    cluster_id=INTEGER,
    cluster=TEXT,
    object=OBJECT,
    healthy=BOOLEAN,
    summary=TEXT,
    causes=array(CAUSE),
    conditions=array(OBJECT),
    pods=array(OBJECT),
    owners=array(OBJECT),
    events=array(OBJECT),
    changes=array(ANYTHING),
    logs=nullable(
        record(pod=TEXT, container=TEXT, previous=BOOLEAN, text=TEXT),
    ),
    unread=array(TEXT),
)


def parse_since(text: str, now: datetime) -> datetime:
    """A moment as RFC 3339 or unix seconds, or how long ago (`90s`, `30m`, `1h30m`).

    DEFAULT_PERIOD ago for nothing. Invalid for anything else, and for a moment in the future.
    """
    if not text:
        return now - DEFAULT_PERIOD
    if text[-1] in "smh":
        return now - timedelta(seconds=parse_duration(text, "since"))
    since = moment(text, "since") or now
    if since > now:
        raise Invalid("since is in the future", field="since")
    return since


class WhatChanged(DialectView):
    """GET /insights/what-changed: changes since a moment, the likely most harmful first."""

    operations = {
        "get": OperationSchema(
            "What changed since a moment, by whom, the likely most harmful first",
            RANKED_CHANGE,
            query=(
                QueryParameter(
                    "clusters",
                    TEXT,
                    description="Ids or names, comma list; all that the caller may see when "
                    "absent. `cluster_id` names a single one.",
                ),
                NAMESPACE,
                QueryParameter(
                    "kind",
                    TEXT,
                    description="Only objects of this kind.",
                ),
                QueryParameter(
                    "name",
                    TEXT,
                    description="Only objects of this name.",
                ),
                QueryParameter(
                    "since",
                    TEXT,
                    description="RFC 3339, unix seconds, or how long ago, as 30m; 1h when absent.",
                ),
                QueryParameter(
                    "before",
                    TEXT,
                    description="RFC 3339 or unix seconds.",
                ),
                *PAGING[:2],
            ),
            also_query=("cluster_id",),
            paged=True,
        )
    }

    def get(self, request: Request) -> Any:
        """A page of changes, with `since`, `until`, `truncated` and `partial_errors`."""
        parameters = request.query_params
        authorise(self, request, AccessAttributes("list", "clusters"))
        if any("\0" in value for value in parameters.values()):
            raise Invalid("a parameter contains a NUL character")
        now = timezone.now()
        query = ChangeQuery(
            since=parse_since(parameters.get("since", ""), now),
            until=moment(parameters.get("before", ""), "before") or now,
            namespace=parameters.get("namespace", ""),
            name=parameters.get("name", ""),
        )
        page = page_request(parameters, maximum=100)
        registered = list(registry.clusters())
        places, problems = self._places(
            request,
            _kinds(parameters.get("kind", "")),
            registered,
        )
        by_id = {cluster.pk: cluster for cluster in registered}
        report = changes.list_changes(places, by_id, query)
        problems += [cluster_problem(*problem) for problem in report.problems]
        on_page = report.changes[page.offset : page.offset + page.size]
        extra = {
            "since": rfc3339(query.since, digits=3),
            "until": rfc3339(query.until, digits=3),
            "truncated": report.is_cut,
            "partial_errors": problems,
        }
        items = [change.represent() for change in on_page]
        return Page(items, len(report.changes), page.page, page.size, extra)

    def _places(
        self,
        request: Request,
        kinds: Sequence[Kind],
        clusters: Sequence[Cluster],
    ) -> tuple[dict[Kind, Sequence[ClusterScope]], list[dict[str, Any]]]:
        """(where the caller may list each kind, problems of clusters that were named)."""
        references = list_parameter(request, "clusters")
        # No values of Secrets are shown: that one changed is no read of it. A kind that the caller
        # may not list has no changes for them.
        visible = visible_places_by_kind(self, request, kinds, clusters)
        all_places = {place.cluster: place for places in visible.values() for place in places}
        chosen, problems = select_places(references, list(all_places.values()))
        if references and not chosen:
            raise ClusterNotFound(str(problems[0]["msg"]))
        ids = {place.cluster for place in chosen}
        narrowed: dict[Kind, Sequence[ClusterScope]] = {
            kind: [place for place in places if place.cluster in ids]
            for kind, places in visible.items()
        }
        return narrowed, problems


def _kinds(reference: str) -> Sequence[Kind]:
    return [multicluster.find_kind(reference)] if reference else changes.KINDS_WATCHED


class WhyFailing(DialectView):
    """GET /insights/why-failing: what stands in the way of one object, in one answer."""

    operations = {
        "get": OperationSchema(
            "Why an object fails: conditions, events, owners, last changes and the end of a log",
            DIAGNOSIS,
            query=(
                CLUSTER,
                QueryParameter("kind", TEXT, required=True),
                NAMESPACE,
                QueryParameter("name", TEXT, required=True),
                QueryParameter(
                    "logs", BOOLEAN, description="With the end of a log; true when absent."
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """The diagnosis; parts that the caller may not read are named in `unread`."""
        target = RequestTarget(self, request)
        # No cluster has the id 0: the right is checked even when the parameter is missing.
        reference = target.cluster_text or "0"
        authorise(
            self,
            request,
            AccessAttributes("get", "clusters", cluster=reference),
        )
        target.check()
        name = target.option("name")
        kind = self._kind(target.option("kind"), reference)
        namespace = target.namespace if kind.namespaced else ""
        if "\0" in f"{namespace}{name}":
            raise Invalid("a name contains a NUL character", field="name")
        act = AccessAttributes(
            "get",
            kind.plural,
            kind.group,
            reference,
            namespace,
            name,
            cluster_scoped=not kind.namespaced,
        )
        authorise(self, request, act)
        if not name or (kind.namespaced and not namespace):
            raise Invalid("namespace and name are required", field="name")
        ref = ObjectRef(target.cluster(), kind, namespace, name)
        readable = self._readable(request, act)
        with_logs = target.flag("logs", default=True)
        return diagnosis.diagnose(ref, readable, with_logs=with_logs)

    def _kind(self, text: str, cluster: str) -> Kind:
        if not text or "\0" in text:
            raise Invalid("kind is required", field="kind")
        return multicluster.find_kind(text, cluster=cluster)

    def _readable(
        self,
        request: Request,
        act: AccessAttributes,
    ) -> Readable:
        """Which parts the caller may read; reading a log goes to the audit trail."""
        cluster = act.cluster
        namespace = act.namespace
        verbs: Mapping[str, AccessAttributes] = {
            "pods": AccessAttributes("list", "pods", "", cluster, namespace),
            "events": replace(act, verb="events"),
            "logs": AccessAttributes("logs", "pods", "", cluster, namespace),
        }
        allowed = {
            part: is_allowed(
                self,
                request,
                needed,
            )
            for part, needed in verbs.items()
        }

        def note_log(pod: str) -> None:
            authorise(
                self,
                request,
                AccessAttributes("logs", "pods", "", cluster, namespace, pod),
            )

        return Readable(**allowed, note_log=note_log)
