"""Walm's persistent volume claims: list, read, delete one, delete by selector."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from clusters.manifests import Object
from core.api.dialect import Page
from core.api.schema import TEXT, OperationSchema, array, nullable, record
from core.errors import Invalid, NotFound
from dialects.walm.envelope import (
    CLUSTER,
    META,
    NOTHING,
    SELECTOR,
    Missing,
    WalmView,
    empty_response,
    label_selector,
    meta,
    prefix_errors,
)
from workloads.objects import claims

CLAIM = record(
    **META,
    labels={"type": "object", "nullable": True, "additionalProperties": TEXT},
    storageClass=TEXT,
    volumeName=TEXT,
    capacity=TEXT,
    accessModes=nullable(array(TEXT)),
    volumeMode=TEXT,
)


class WalmClaimView(WalmView):
    """A call about claims."""

    plural = "persistentvolumeclaims"


def _claim(item: Object) -> dict[str, Any]:
    spec = item.get("spec") or {}
    status = item.get("status") or {}
    return {
        **meta(item, "PersistentVolumeClaim", status.get("phase")),
        "labels": item["metadata"].get("labels") or None,
        "storageClass": spec.get("storageClassName") or "",
        "volumeName": spec.get("volumeName") or "",
        "capacity": (status.get("capacity") or {}).get("storage", ""),
        "accessModes": spec.get("accessModes") or None,
        "volumeMode": spec.get("volumeMode") or "",
    }


class Claims(WalmClaimView):
    """GET and DELETE /pvc/{namespace}."""

    operations = {
        "get": OperationSchema(
            "Claims of a namespace.",
            CLAIM,
            (SELECTOR, CLUSTER),
            paged=True,
        ),
        "delete": OperationSchema(
            "Delete the claims that a selector matches.",
            NOTHING,
            (SELECTOR, CLUSTER),
        ),
    }

    def get(self, request: Request, namespace: str) -> Any:
        """{"num","items"}."""
        self.permit(request, "list", namespace=namespace)
        with prefix_errors("failed to get pvcs: "):
            rows = claims.list_claims(
                self.cluster(),
                namespace,
                label_selector(request),
            )
            items = [_claim(row) for row in rows]
        return Page(items, len(items))

    def delete(self, request: Request, namespace: str) -> HttpResponse:
        """Empty; either all matching claims are deleted, or one in use refuses the call.

        An empty selector is refused, so that no caller deletes all claims by mistake.
        """
        self.permit(request, "delete", namespace=namespace)
        # A selector of blanks and commas alone matches everything, too.
        selector = label_selector(request).strip(" \t\r\n,")
        with prefix_errors("failed to delete pvcs: "):
            if not selector and not settings.WALM_ALLOW_EMPTY_SELECTOR:
                raise Invalid("labelselector must not be empty")
            claims.delete_selected_claims(self.cluster(), namespace, selector)
        return empty_response()


class Claim(WalmClaimView):
    """GET and DELETE /pvc/{namespace}/name/{pvcname}."""

    operations = {
        "get": OperationSchema("One claim.", CLAIM, (CLUSTER,)),
        "delete": OperationSchema(
            "Delete a claim that no StatefulSet uses.",
            NOTHING,
            (CLUSTER,),
        ),
    }

    def get(self, request: Request, namespace: str, name: str) -> Any:
        """The claim."""
        self.permit(request, "get", namespace=namespace, name=name)
        with prefix_errors("failed to get pvc: "):
            cluster = self.cluster()
            try:
                return _claim(claims.get_claim(cluster, namespace, name))
            except NotFound as error:
                raise Missing(f"pvc {name} is not found") from error

    def delete(
        self,
        request: Request,
        namespace: str,
        name: str,
    ) -> HttpResponse:
        """Empty, also when there is no such claim."""
        self.permit(request, "delete", namespace=namespace, name=name)
        with prefix_errors("failed to delete pvc : "):
            claims.delete_claim(self.cluster(), namespace, name)
        return empty_response()
