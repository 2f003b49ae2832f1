"""What a check answers about one object."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from automation.inspection.catalogue import Severity
from automation.inspection.facts import Facts
from clusters.manifests import Object


@dataclass(frozen=True, slots=True)
class Hit:
    """A check that the object does not pass; `severity` where it is not the check's own."""

    check: str
    message: str
    severity: Severity | None = None


Checker = Callable[[Object, Facts], Iterator[Hit]]
