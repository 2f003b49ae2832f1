"""The types of tasks by name."""

from automation.types.applying import ApplyManifests
from automation.types.backups import Backup
from automation.types.base import TaskType
from automation.types.calls import Http
from automation.types.cleanups import Cleanup
from automation.types.commands import Exec
from automation.types.inspections import Inspect
from automation.types.nodes import Cordon, Drain, Uncordon
from automation.types.scaling import Scale
from automation.types.templates import ApplyTemplate
from automation.types.workloads import Restart, SetImage
from core.errors import Invalid

_ALL: tuple[TaskType, ...] = (
    Scale(),
    Restart(),
    SetImage(),
    Cordon(),
    Uncordon(),
    Drain(),
    Cleanup(),
    Inspect(),
    Backup(),
    ApplyTemplate(),
    ApplyManifests(),
    Exec(),
    Http(),
)
TYPES: dict[str, TaskType] = {kind.name: kind for kind in _ALL}


def find(name: str) -> TaskType:
    """A type by its name; Invalid for an unknown one."""
    try:
        return TYPES[name]
    except KeyError:
        raise Invalid(
            f"type must be one of {', '.join(TYPES)}",
            field="type",
        ) from None
