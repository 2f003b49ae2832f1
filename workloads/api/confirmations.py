"""Dangerous actions: what they would take along, and the confirmation that they need."""

from typing import Any

from django.conf import settings
from rest_framework.request import Request

from core.api.confirmation import ConfirmationRequest, require_confirmation
from workloads.actions import protection
from workloads.objects.object_ref import ObjectRef


def deletion_forecast(ref: ObjectRef) -> dict[str, Any]:
    """{"impact", "protected", "require_name"} of deleting the object.

    `impact` has the counts of what would be deleted too, `protected` the reason or "".
    """
    item = ref.read()
    no_impact: dict[str, Any] = {
        "pods": None,
        "pvcs": None,
        "children": None,
        "warnings": [],
    }
    return {
        "impact": {**no_impact, **protection.impact(ref, item)},
        "protected": protection.protection_reason(ref, item),
        "require_name": ref.kind.plural in protection.NEEDS_NAME,
    }


def confirm_object_action(
    request: Request, ref: ObjectRef, action: str, *, protected: str = ""
) -> None:
    """ConfirmationRequired unless the action on that object needs no confirmation or has it.

    `protected` is a reason that comes with the action rather than with the object.
    """
    if settings.CONFIRMATION_LEVEL == "off":
        return
    item = ref.read()
    guarded = ConfirmationRequest(
        action,
        ref.kind.name,
        ref.name,
        ref.namespace,
        identity=item["metadata"].get("uid", ""),
        protected=protected or protection.protection_reason(ref, item),
        require_name=ref.kind.plural in protection.NEEDS_NAME,
        # Counted only when a confirmation is asked for: it takes several requests to the cluster.
        impact=lambda: protection.impact(ref, item),
    )
    require_confirmation(request, guarded)
