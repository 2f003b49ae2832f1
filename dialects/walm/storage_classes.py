"""Walm's storage classes, read only."""

from typing import Any

import orjson
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from core.api.dialect import Page
from core.api.schema import BOOLEAN, TEXT, OperationSchema, record
from core.errors import NotFound
from dialects.walm.envelope import CLUSTER, META, Missing, WalmView, meta, prefix_errors
from workloads.objects import lists

KIND = KINDS["storageclasses"]

CLASS = record(
    **META,
    provisioner=TEXT,
    reclaimPolicy=TEXT,
    allowVolumeExpansion=BOOLEAN,
    volumeBindingMode=TEXT,
)


class WalmStorageClassView(WalmView):
    """A call about storage classes."""

    plural = KIND.plural
    group = KIND.group


def _class(item: Object) -> dict[str, Any]:
    return {
        **meta(item, "StorageClass", "Ready"),
        "provisioner": item.get("provisioner") or "",
        "reclaimPolicy": item.get("reclaimPolicy") or "",
        "allowVolumeExpansion": bool(item.get("allowVolumeExpansion")),
        "volumeBindingMode": item.get("volumeBindingMode") or "",
    }


class StorageClasses(WalmStorageClassView):
    """GET /storageclass."""

    operations = {
        "get": OperationSchema(
            "Storage classes of the cluster.",
            CLASS,
            (CLUSTER,),
            paged=True,
        )
    }

    def get(self, request: Request) -> Any:
        """{"num","items"}."""
        self.permit(request, "list")
        with prefix_errors("failed to get storageClasses: "):
            rows = list_all(registry.client(self.cluster()), KIND, "")
            items = [_class(row) for row in rows]
        return Page(items, len(items))


class StorageClass(WalmStorageClassView):
    """GET /storageclass/{name}."""

    operations = {"get": OperationSchema("One storage class.", CLASS, (CLUSTER,))}

    def get(self, request: Request, name: str) -> Any:
        """The storage class."""
        self.permit(request, "get", name=name)
        with prefix_errors("failed to get storageClass: "):
            cluster = self.cluster()
            try:
                return _class(
                    orjson.loads(
                        lists.get_object(
                            cluster,
                            KIND,
                            name,
                        )
                    )
                )
            except NotFound as error:
                raise Missing(f"storageClass {name} is not found") from error
