"""What the store has, for people: GET /store (bcs-storage has the documents themselves)."""

from typing import Any

from rest_framework.request import Request

from core.api import audit
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.schema import BOOLEAN, INTEGER, TEXT, OperationSchema, array, record
from core.errors import Forbidden
from storage_api.services import inventory

TYPE_COUNT = record(
    cluster=TEXT,
    type=TEXT,
    namespaced=BOOLEAN,
    count=INTEGER,
)


class StoreInventory(DialectView):
    """GET /store."""

    operations = {
        "get": OperationSchema(
            "What the store holds, cluster by cluster and type by type",
            record(clusters=array(TEXT), types=array(TYPE_COUNT)),
        )
    }

    def get(self, request: Request) -> Any:
        """{"clusters", "types"}: clusterIds and document counts of each type in them.

        Only of clusters whose rows the caller may read.
        """
        names = [name for name in inventory.clusters() if self._readable(request, name)]
        return {"clusters": names, "types": inventory.types(names)}

    def _readable(self, request: Request, name: str) -> bool:
        try:
            authorise(self, request, AccessAttributes("list", "storage", cluster=name))
        except Forbidden:
            # What a list leaves out is not refused, so the audit trail must not say it was.
            audit.forget_refusals(request)
            return False
        return True
