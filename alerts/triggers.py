"""Tasks that a rule starts: who says which tasks a rule may name.

Alerts know no tasks. The application that has them registers a validator, and takes the rows of
`TaskTrigger` that alerts write when they fire.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User

from core.errors import Invalid

MAX_TASKS = 20
# (caller, the limits of their API token as access.authorization.limits_of, ids of tasks). It raises
# Invalid with the field `tasks` for a task that the caller may not have started.
Validator = Callable[[User, Mapping[str, Any], Sequence[int]], None]
_validators: list[Validator] = []


def register_validator(validator: Validator) -> None:
    """Let this function decide which tasks a rule may name; for an AppConfig's `ready`."""
    _validators[:] = [validator]


def parse_tasks(value: object, user: User, limits: Mapping[str, Any]) -> list[int]:
    """The ids of a rule's `tasks`, each once; Invalid for what is no list of them."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_TASKS:
        raise Invalid(f"tasks must be a list of at most {MAX_TASKS} ids", field="tasks")
    for element in value:
        if isinstance(element, bool) or not isinstance(element, int) or not 0 < element < 2**63:
            raise Invalid("tasks must hold ids of tasks", field="tasks")
    ids = sorted(set(value))
    if not ids:
        return []
    if not _validators:
        raise Invalid(f"there is no task {ids[0]}", field="tasks")
    _validators[0](user, limits, ids)
    return ids
