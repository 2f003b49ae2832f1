"""Validation of objects: every bad field is named, in the words of the API server."""

from simcluster.errors import ApiError, invalid
from simcluster.resources import Object, Resource
from simcluster.validation import custom, ephemeral
from simcluster.validation.causes import Cause
from simcluster.validation.kinds import ON_CREATE, ON_UPDATE
from simcluster.validation.metadata import metadata_causes, same_metadata_causes

__all__ = ["Cause", "validate", "validate_update"]


def _own(obj: Object) -> Object:
    return {
        key: value for key, value in obj.items() if key not in ("metadata", "kind", "apiVersion")
    }


def _refusal(resource: Resource, name: str, causes: list[Cause]) -> ApiError:
    return invalid(resource.kind, name, causes, group=resource.group)


def validate(resource: Resource, obj: Object, schema: Object) -> None:
    """Refuse an object that breaks a rule of its kind or schema: 422 with every cause."""
    causes = list(metadata_causes(resource, obj)) + (
        list(custom.causes(_own(obj), schema)) if resource.custom else []
    )
    check = ON_CREATE.get(resource.storage)
    if check is not None:
        causes += check(obj)
    if resource.storage == "pods":
        causes += ephemeral.creation_causes(obj)
    if causes:
        raise _refusal(resource, obj["metadata"].get("name", ""), causes)


def validate_update(
    resource: Resource,
    obj: Object,
    old: Object,
    schema: Object,
    *,
    subresource: str = "",
) -> None:
    """Refuse a change that breaks a rule or an immutable field: 422 with every cause."""
    causes = list(metadata_causes(resource, obj)) + list(same_metadata_causes(obj, old))
    causes += list(custom.causes(_own(obj), schema)) if resource.custom else []
    check = ON_CREATE.get(resource.storage)
    if check is not None:
        causes += check(obj)
    changed = ON_UPDATE.get(resource.storage)
    if subresource == ephemeral.SUBRESOURCE:
        changed = ephemeral.update_causes
    if changed is not None:
        causes += changed(obj, old)
    if causes:
        raise _refusal(resource, obj["metadata"].get("name", ""), causes)
