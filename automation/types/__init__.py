"""The types of tasks by name."""

from automation.types.base import TaskType
from core.errors import Invalid

TYPES: dict[str, TaskType] = {kind.name: kind for kind in ()}


def find(name: str) -> TaskType:
    """A type by its name; Invalid for an unknown one."""
    try:
        return TYPES[name]
    except KeyError:
        raise Invalid(f"type must be one of {', '.join(TYPES)}", field="type") from None
