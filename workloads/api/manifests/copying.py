"""/manifests/copy: an object, and what it refers to, to other namespaces or clusters."""

from typing import Any

import orjson
from rest_framework.request import Request

from clusters.kinds import Kind
from clusters.manifests import Object, to_yaml
from clusters.models import Cluster
from core.api.auth import authorise
from core.api.parsing import boolean, dry_run
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    TEXT,
    OperationSchema,
)
from core.api.schema import record as schema
from core.errors import Forbidden, Invalid
from workloads.api.manifests.applying import APPLY_ANSWER, ApplyView
from workloads.api.manifests.base import (
    kind_in,
    object_act,
)
from workloads.api.manifests.targets import TARGETS, read_targets
from workloads.manifests import copying
from workloads.manifests.apply import (
    ApplyOptions,
)
from workloads.objects import lists
from workloads.objects.manifests import is_secret


class CopyManifest(ApplyView):
    """POST /manifests/copy."""

    operations = {
        "post": OperationSchema(
            "Copy an object to other namespaces or clusters",
            APPLY_ANSWER,
            body=schema(
                required=("from", "targets"),
                **{
                    "from": schema(
                        required=("cluster_id", "kind", "name"),
                        cluster_id=INTEGER,
                        namespace=TEXT,
                        kind=TEXT,
                        name=TEXT,
                    )
                },
                targets=TARGETS,
                with_references=BOOLEAN,
                dry_run=BOOLEAN,
            ),
            answer_name="ApplyResult",
            body_name="ObjectToCopy",
        )
    }

    def post(self, request: Request) -> Any:
        """As for apply: the object, and before it what it refers to."""
        body = self.begin(request, "apply").body
        source = body.get("from")
        if not isinstance(source, dict):
            raise Invalid("from is required", field="from")
        cluster = self.cluster(request, source.get("cluster_id"))
        kind = kind_in(cluster, str(source.get("kind") or ""), field="from.kind")
        namespace = str(source.get("namespace") or "") if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise Invalid("from.namespace is required", field="from.namespace")
        name = str(source.get("name") or "")
        if not name:
            raise Invalid("from.name is required", field="from.name")
        self._require_readable(request, cluster, kind, namespace, name)
        obj = orjson.loads(lists.get_object(cluster, kind, name, namespace=namespace))
        objects: list[Object] = []
        if boolean(body.get("with_references", True), "with_references"):
            for referenced_kind, referenced in copying.referenced_objects(cluster, kind, obj):
                self._require_readable(
                    request, cluster, referenced_kind, namespace, referenced["metadata"]["name"]
                )
                objects.append(referenced)
        objects.append(obj)
        text = "---\n".join(to_yaml(copying.as_manifest(item)) for item in objects)
        if body.get("targets") is None:
            raise Invalid("targets is required", field="targets")
        targets = read_targets(self, request, body, namespace)
        options = ApplyOptions(dry_run=dry_run(body.get("dry_run", False)), force_conflicts=True)
        return self.apply_to(request, text, targets, options)

    def _require_readable(
        self, request: Request, cluster: Cluster, kind: Kind, namespace: str, name: str
    ) -> None:
        """Forbidden for what the caller may not read whole: a Secret without its values too."""
        scope = authorise(self, request, object_act("get", cluster, kind, namespace, name))
        if is_secret(kind) and not scope.reveals:
            raise Forbidden("you may not copy secrets here: their values would be readable there")
