"""What the forms of kinds are made of: sections, and inputs that several kinds have."""

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.translation import gettext_lazy

from console.editing.manifest_inputs import Input, Manifest, Path, Text

PAIRS = gettext_lazy("One in each line: key=value.")
PROTOCOLS = ("TCP", "UDP", "SCTP")


@dataclass(frozen=True, slots=True)
class Section:
    """Inputs under a heading."""

    title: Text
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a kind.

    `check` finds what no single input shows, as (input's name, text). `pods` is where the spec of
    its pods is, whose containers have sections of their own; None for kinds without pods.
    """

    api_version: str
    kind: str
    sections: tuple[Section, ...]
    check: Callable[[Manifest], tuple[str, str] | None] = lambda manifest: None
    pods: Path | None = None


def metadata_section(*, namespaced: bool = True, rule: str = "name") -> Section:
    """What every object has: its name, where it is, labels and annotations."""
    place = [Input(("metadata", "namespace"), gettext_lazy("Namespace"), rule="label")]
    return Section(
        gettext_lazy("Metadata"),
        (
            Input(("metadata", "name"), gettext_lazy("Name"), rule=rule, required=True),
            *(place if namespaced else []),
            Input(("metadata", "labels"), gettext_lazy("Labels"), "pairs", help=PAIRS),
            Input(("metadata", "annotations"), gettext_lazy("Annotations"), "pairs", help=PAIRS),
        ),
    )


def count_input(path: Path, title: Text, rule: str = "count") -> Input:
    """A whole number."""
    return Input(path, title, rule=rule)
