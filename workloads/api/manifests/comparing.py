"""/multicluster/compare: one object over several clusters."""

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework.request import Request

from clusters import registry
from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise
from core.api.parsing import split_words
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    NAMESPACE,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
)
from core.api.schema import record as schema
from core.errors import ClusterNotFound, Forbidden, Invalid, NotFound
from workloads.api.manifests.base import CHANGE, ManifestView, kind_in, object_act
from workloads.manifests import comparison


class CompareObject(ManifestView):
    """GET /multicluster/compare."""

    operations = {
        "get": OperationSchema(
            "One object over several clusters",
            schema(
                base=nullable(INTEGER),
                clusters=array(
                    schema(
                        required=("cluster_id", "cluster", "found", "changes"),
                        cluster_id=INTEGER,
                        cluster=TEXT,
                        found=BOOLEAN,
                        changes=array(CHANGE),
                        error=TEXT,
                    )
                ),
            ),
            query=(
                QueryParameter("kind", TEXT, required=True),
                NAMESPACE,
                QueryParameter("name", TEXT, required=True),
                QueryParameter(
                    "clusters", TEXT, description="Comma list of ids or names; all if absent."
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"base","clusters"}: changes of each cluster's object against the first that has it."""
        visible = authorise(self, request, AccessAttributes("list", "clusters")).clusters
        self.check_input(request)
        query = request.query_params
        clusters, is_explicit = self._clusters(query.get("clusters", ""), visible)
        name = query.get("name", "")
        if not name or "\x00" in name:
            raise Invalid("name is required", field="name")
        kind = self._kind(clusters, query.get("kind", ""))
        namespace = query.get("namespace", "") if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise Invalid("namespace is required", field="namespace")
        readable: list[Cluster] = []
        reveals: list[bool] = []
        for cluster in clusters:
            try:
                act = object_act("get", cluster, kind, namespace, name)
                reveals.append(authorise(self, request, act).reveals)
                readable.append(cluster)
            except Forbidden:
                if is_explicit:
                    raise
        return comparison.compare(readable, kind, name, namespace=namespace, reveals=reveals)

    @staticmethod
    def _clusters(
        text: str, visible: Mapping[int, frozenset[str] | None] | None
    ) -> tuple[list[Cluster], bool]:
        """(the clusters, whether the caller named them)."""
        references = split_words(text)
        if not references:
            every = [
                cluster
                for cluster in registry.clusters().order_by("pk")
                if visible is None or cluster.pk in visible
            ]
            return every[: comparison.MAX_CLUSTERS], False
        if len(references) > comparison.MAX_CLUSTERS:
            raise Invalid(f"at most {comparison.MAX_CLUSTERS} clusters", field="clusters")
        clusters = []
        for reference in dict.fromkeys(references):
            cluster = registry.find(reference)
            if visible is not None and cluster.pk not in visible:
                # In the words for a cluster that does not exist.
                raise ClusterNotFound(f"cluster {reference[:60]!r} does not exist")
            clusters.append(cluster)
        return clusters, True

    @staticmethod
    def _kind(clusters: Sequence[Cluster], text: str) -> Kind:
        if not clusters:
            raise NotFound("there is no cluster to compare")
        return kind_in(clusters[0], text, field="kind")
