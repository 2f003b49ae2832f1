"""Helm releases: /releases, /releases/{name}, its history and differences (read only)."""

from collections.abc import Sequence
from typing import Any

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters import registry
from clusters.manifests import to_yaml
from clusters.models import Cluster
from core import text_diff
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, integer
from core.api.schema import (
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
    record,
)
from core.errors import Invalid
from workloads.manifests.documents import as_text
from workloads.releases import reading, records
from workloads.releases.records import RecordHead
from workloads.topology.references import mapping

SUMMARY = {
    "name": TEXT,
    "namespace": TEXT,
    "revision": INTEGER,
    "status": TEXT,
    "chart": TEXT,
    "version": TEXT,
    "app_version": TEXT,
    "updated": TEXT,
    "description": TEXT,
}
RELEASE = record(required=tuple(SUMMARY), **SUMMARY, error=TEXT)
RESOURCE = record(kind=TEXT, namespace=TEXT, name=TEXT, status=TEXT, message=TEXT)
# What `helm list` shows without --all.
SHOWN = ("deployed", "failed")
COMPARED = ("manifest", "values")
REVISION = QueryParameter("revision", INTEGER, description="The last one if absent.")


class ReleaseViewSet(ViewSetMixin, DialectView):
    """Everybody who may read in a namespace sees its releases; values need the right `secrets`."""

    aliases = {"clusterId": "cluster_id"}
    operations = {
        "list": OperationSchema(
            "List Helm releases",
            RELEASE,
            query=(
                CLUSTER,
                NAMESPACE,
                QueryParameter("all", BOOLEAN, description="Those of every status."),
                *PAGING,
            ),
            paged=True,
            answer_name="HelmRelease",
        ),
        "retrieve": OperationSchema(
            "One Helm release",
            record(
                required=(*SUMMARY, "notes", "values", "computed_values", "manifest", "resources"),
                **SUMMARY,
                error=TEXT,
                notes=TEXT,
                values=OBJECT,
                computed_values=OBJECT,
                manifest=TEXT,
                resources=array(RESOURCE),
            ),
            query=(CLUSTER, NAMESPACE, REVISION),
            answer_name="HelmReleaseDetail",
        ),
        "history": OperationSchema(
            "The revisions of a Helm release",
            RELEASE,
            query=(CLUSTER, NAMESPACE, *PAGING),
            paged=True,
            answer_name="HelmRevision",
        ),
        "diff": OperationSchema(
            "Compare two revisions of a Helm release",
            record(**{"from": INTEGER}, to=INTEGER, what=TEXT, diff=TEXT),
            query=(
                CLUSTER,
                NAMESPACE,
                QueryParameter("from", INTEGER, required=True),
                QueryParameter("to", INTEGER, required=True),
                QueryParameter("what", {"type": "string", "enum": list(COMPARED)}),
            ),
            answer_name="HelmRevisionComparison",
        ),
    }

    def list(self, request: Request) -> Any:
        """The last revision of each release, by namespace and name."""
        query = request.query_params
        namespace = query.get("namespace", "")
        cluster, scope = self._authorise(request, "list", namespace)
        page = page_request(query)
        every = boolean(query.get("all", "false"), "all")
        namespaces = [namespace]
        if not namespace and scope.namespaces is not None:
            namespaces = sorted(scope.namespaces)
        latest = records.newest(reading.list_heads(cluster, namespaces))
        heads = [head for _key, head in sorted(latest.items()) if every or head.status in SHOWN]
        return self._page(cluster, heads, page.page, page.size)

    @staticmethod
    def _page(cluster: Cluster, heads: Sequence[RecordHead], number: int, size: int) -> Page:
        start = (number - 1) * size
        items = [reading.summary_of(cluster, head) for head in heads[start : start + size]]
        return Page(items, len(heads), number, size)

    def retrieve(self, request: Request, name: str) -> Any:
        """A revision with its notes, values, manifest, and the state of its objects."""
        cluster, namespace = self._one(request, name, "get")
        revision = request.query_params.get("revision", "")
        number = records.check_revision(revision, "revision") if revision else None
        head = reading.find_revision(cluster, namespace, name, number)
        release, error = reading.read_record(cluster, head)
        answer = records.summary(head, release, error)
        if release is None:
            return {
                **answer,
                "notes": "",
                "values": {},
                "computed_values": {},
                "manifest": "",
                "resources": [],
            }
        reveals = self._reveals(request, cluster, namespace, head)
        values = records.values_of(release)
        computed = records.computed_values_of(release)
        return {
            **answer,
            "notes": as_text(mapping(release, "info").get("notes")),
            "values": values if reveals else records.masked(values),
            "computed_values": computed if reveals else records.masked(computed),
            "manifest": reading.visible_manifest(release, reveals=reveals),
            "resources": reading.resources(cluster, release, namespace),
        }

    def history(self, request: Request, name: str) -> Any:
        """Every revision that Helm has a record of, oldest first as `helm history` prints them."""
        cluster, namespace = self._one(request, name, "history")
        page = page_request(request.query_params)
        heads = sorted(
            reading.list_heads(cluster, [namespace], name=name), key=lambda head: head.revision
        )
        if not heads:
            reading.find_revision(cluster, namespace, name)
        return self._page(cluster, heads, page.page, page.size)

    def diff(self, request: Request, name: str) -> Any:
        """{"from","to","what","diff"}: what changed between two revisions, as `diff -u`."""
        cluster, namespace = self._one(request, name, "diff")
        query = request.query_params
        what = query.get("what", "manifest") or "manifest"
        if what not in COMPARED:
            raise Invalid("what must be manifest or values", field="what")
        first = records.check_revision(query.get("from", ""), "from")
        second = records.check_revision(query.get("to", ""), "to")
        texts = []
        for revision in (first, second):
            head = reading.find_revision(cluster, namespace, name, revision)
            reveals = self._reveals(request, cluster, namespace, head)
            texts.append(self._text(cluster, head, what, reveals=reveals))
        names = (f"{name} {first}", f"{name} {second}")
        difference = text_diff.unified_diff(texts[0], texts[1], names=names)
        return {"from": first, "to": second, "what": what, "diff": difference}

    @staticmethod
    def _text(cluster: Cluster, head: RecordHead, what: str, *, reveals: bool) -> str:
        release, error = reading.read_record(cluster, head)
        if release is None:
            raise Invalid(f"the record of revision {head.revision} is {error}")
        if what == "manifest":
            return reading.visible_manifest(release, reveals=reveals)
        values = records.values_of(release)
        return to_yaml(values if reveals else records.masked(values))

    def _one(self, request: Request, name: str, verb: str) -> tuple[Cluster, str]:
        namespace = request.query_params.get("namespace", "")
        cluster, _scope = self._authorise(request, verb, namespace, name)
        if not namespace:
            raise Invalid("namespace is required", field="namespace")
        return cluster, namespace

    def _authorise(
        self, request: Request, verb: str, namespace: str, name: str = ""
    ) -> tuple[Cluster, Scope]:
        reference = request.query_params.get("cluster_id") or request.query_params.get("clusterId")
        act = AccessAttributes(verb, "releases", "", reference or "", namespace, name)
        scope = authorise(self, request, act)
        if not reference:
            raise Invalid("cluster_id is required", field="cluster_id")
        return registry.find(integer(reference, "cluster_id", minimum=0)), scope

    def _reveals(
        self, request: Request, cluster: Cluster, namespace: str, head: RecordHead
    ) -> bool:
        """Whether the caller may see values; a line for the audit trail, as for any Secret."""
        act = AccessAttributes("get", "secrets", "", str(cluster.pk), namespace, head.object_name)
        return authorise(self, request, act).reveals
