"""What the simulator reads from objects of many kinds; fields that may be missing included."""

from simcluster.resources import Object


def get_annotations(obj: Object) -> Object:
    """The annotations; empty when there are none."""
    return obj["metadata"].get("annotations") or {}


def is_terminating(obj: Object) -> bool:
    """Whether the object is marked for deletion and waits for finalizers or its grace period."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def get_phase(obj: Object) -> str:
    """`status.phase`; "" before there is a status."""
    return str(obj.get("status", {}).get("phase") or "")


def is_finished(pod: Object) -> bool:
    """Whether all containers of a pod have ended for good."""
    return get_phase(pod) in ("Succeeded", "Failed")


def get_conditions(obj: Object) -> list[Object]:
    """The conditions of the status; not to be changed."""
    return obj.get("status", {}).get("conditions") or []


def has_condition(obj: Object, kind: str) -> bool:
    """Whether a condition of this type is there and True."""
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in get_conditions(obj)
    )


def controller_reference(obj: Object) -> Object | None:
    """The owner reference of the object's controller; None without one."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None
