"""What the store holds, for people who look into it: GET /store (the documents themselves are bcs-storage's)."""

from typing import Any

from rest_framework.request import Request

from core.api import audit
from core.api.auth import Act, authorise
from core.api.dialect import DialectView
from core.api.schema import BOOLEAN, INTEGER, TEXT, Described, array, record
from core.errors import Forbidden
from storage_api.services import inventory

HELD = record(cluster=TEXT, type=TEXT, namespaced=BOOLEAN, count=INTEGER)


class Contents(DialectView):
    """GET /store."""

    operations = {
        "get": Described(
            "What the store holds, cluster by cluster and type by type",
            record(clusters=array(TEXT), types=array(HELD)),
        )
    }

    def get(self, request: Request) -> Any:
        """{"clusters","types"}: the clusterIds whose rows the caller may read, and how many documents of each type they have."""
        names = [name for name in inventory.clusters() if self._readable(request, name)]
        return {"clusters": names, "types": inventory.types(names)}

    def _readable(self, request: Request, name: str) -> bool:
        """What is left out of a list was no refusal, and is none in the audit trail."""
        try:
            authorise(self, request, Act("list", "storage", cluster=name))
        except Forbidden:
            kept = audit.deeds(request)
            kept[:] = [deed for deed in kept if deed.allowed]
            return False
        return True
