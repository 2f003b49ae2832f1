"""Running operations without a worker: the same turns that a worker takes, one after the other."""

import time

from operations import runner
from operations.models import Operation


def take_turn(pk: int) -> Operation:
    """One turn, and the row after it."""
    runner.run(pk, Operation.objects.get(pk=pk).turn)
    return Operation.objects.get(pk=pk)


def finish(pk: int, *, seconds: float = 30.0) -> Operation:
    """Turn after turn until the row is final; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while not (row := take_turn(pk)).is_final:
        assert time.monotonic() < deadline, [
            f"{step.name}: {step.state} {step.message}" for step in row.steps.all()
        ]
        time.sleep(0.05)
    return row


def step_states(row: Operation) -> dict[str, str]:
    """State by name of every step."""
    return dict(row.steps.values_list("name", "state"))
