"""The selectors of a request as conditions on the store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from clusters.kinds import Kind
from core.errors import Invalid
from gateway.messages import Request
from gateway.store.documents import CLUSTER_LABEL
from gateway.store.kinds import is_events
from storage_api.query import selectors
from storage_api.query.conditions import Clause
from storage_api.query.selectors import LabelRequirement, LabelSelection
from storage_api.services.multicluster import ClusterScope

QUOTED_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Selection:
    """What a label selector and a field selector choose.

    `clusters` are the terms about the cluster of an object, which is no label of its own.
    `label_text` is the rest of the label selector. Fields of Events are left as text.
    """

    labels: LabelSelection
    fields: tuple[Clause, ...]
    clusters: tuple[LabelRequirement, ...]
    label_text: str
    field_text: str

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """The conditions on the row of an object."""
        return (*self.labels.clauses, *self.fields)

    def narrow(
        self,
        places: Sequence[ClusterScope],
    ) -> list[ClusterScope]:
        """The clusters that the terms about clusters choose."""
        return [
            place for place in places if all(term.matches(place.name) for term in self.clusters)
        ]


def parse_selection(
    request: Request,
    kind: Kind,
    *,
    fleet: bool,
) -> Selection:
    """The selectors of a request; Invalid for those that cannot be parsed or are not supported."""
    label_text = request.head.parameter("labelSelector") or ""
    field_text = request.head.parameter("fieldSelector") or ""
    if "\0" in label_text + field_text:
        raise Invalid("a selector contains a NUL character")
    terms = selectors.parse_labels(label_text)
    if terms is None:
        raise Invalid(
            f"unable to parse requirement: {label_text[:QUOTED_CHARACTERS]!r} is no label selector"
        )
    about_clusters = tuple(term for term in terms if fleet and term.key == CLUSTER_LABEL)
    rest = tuple(term for term in terms if term not in about_clusters)
    fields = () if is_events(kind) else _parse_fields(field_text, kind)
    return Selection(
        selectors.label_selection(rest),
        fields,
        about_clusters,
        ",".join(term.text for term in rest),
        field_text,
    )


def _parse_fields(text: str, kind: Kind) -> tuple[Clause, ...]:
    fields = selectors.fields(text, kind)
    if fields is not None:
        return fields
    for term in text.split(","):
        label, operator, _ = re.split(r"(!=|==?|\Z)", term, maxsplit=1)
        if not operator:
            raise Invalid(f"invalid field selector {term[:QUOTED_CHARACTERS]!r}: can't understand")
        if selectors.fields(term, kind) is None:
            raise Invalid(f"field label not supported: {label[:QUOTED_CHARACTERS]}")
    raise Invalid(f"invalid field selector {text[:QUOTED_CHARACTERS]!r}")
