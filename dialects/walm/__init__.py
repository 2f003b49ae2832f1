"""The Walm document: one module for each of its chapters, one URL table here."""

from collections.abc import Iterator, Mapping

from django.urls import URLPattern, URLResolver, include, path

from core.api.dialect import DialectView
from core.api.routes import catch_all
from dialects.walm.claims import Claim, Claims
from dialects.walm.envelope import DIALECT
from dialects.walm.health import Liveness, Readiness, Stats
from dialects.walm.pods import Events, Logs, Restart
from dialects.walm.secrets import Secret, Secrets
from dialects.walm.storage_classes import StorageClass, StorageClasses
from dialects.walm.tenants import Tenant, Tenants

__all__ = ["DIALECT", "PREFIXES", "urlpatterns"]

HEALTH = {
    "liveniess": Liveness,
    "liveness": Liveness,
    "livez": Liveness,
    "readiness": Readiness,
    "stats": Stats,
}
# Chapter of the document -> address under it -> view.
RESOURCES: Mapping[str, Mapping[str, type[DialectView]]] = {
    "pod": {
        "/<str:namespace>/name/<str:pod>/events": Events,
        "/<str:namespace>/name/<str:pod>/logs": Logs,
        "/<str:namespace>/name/<str:pod>/restart": Restart,
    },
    "pvc": {"/<str:namespace>": Claims, "/<str:namespace>/name/<str:name>": Claim},
    "secret": {"/<str:namespace>": Secrets, "/<str:namespace>/name/<str:name>": Secret},
    "storageclass": {"": StorageClasses, "/<str:name>": StorageClass},
    "tenant": {"": Tenants, "/<str:name>": Tenant},
}
PREFIXES = tuple(f"/api/v1/{chapter}" for chapter in RESOURCES)


def _routes() -> Iterator[URLPattern | URLResolver]:
    for address, health in HEALTH.items():
        yield path(
            address,
            health.as_view(dialect=DIALECT),
            name=f"walm-{address}",
        )
    for chapter, addresses in RESOURCES.items():
        for address, view in addresses.items():
            yield path(
                f"api/v1/{chapter}{address}",
                view.as_view(dialect=DIALECT),
                name=f"walm-{view.__name__.lower()}",
            )
        # Other addresses of a chapter are answered in this document's words, too.
        yield path(f"api/v1/{chapter}/", include([catch_all(DIALECT)]))


urlpatterns = list(_routes())
