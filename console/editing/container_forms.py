"""The containers of a form: a section for each, which can be added and taken away.

The form numbers its sections by itself. While it is read each container stands at its section's
number, so that what is wrong has the name that the form has for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console.editing.form_parts import PROTOCOLS, Section
from console.editing.manifest_inputs import (
    MAX_ROWS,
    MISSING,
    Column,
    Entered,
    Input,
    InputError,
    Manifest,
    Path,
    path_name,
    read_path,
    write_path,
)

PULLS = ("Always", "IfNotPresent", "Never")
LINES = gettext_lazy("One word in each line.")
AMOUNTS = (
    ("requests", "cpu", gettext_lazy("CPU request")),
    ("limits", "cpu", gettext_lazy("CPU limit")),
    ("requests", "memory", gettext_lazy("Memory request")),
    ("limits", "memory", gettext_lazy("Memory limit")),
)
# The number of the section out of which the page makes another one.
BLANK = 900
LISTS: tuple[tuple[str, str | Promise, str | Promise], ...] = (
    ("containers", gettext_lazy("Container"), gettext_lazy("Add a container")),
    ("initContainers", gettext_lazy("Init container"), gettext_lazy("Add an init container")),
)


@dataclass(frozen=True, slots=True)
class ContainerList:
    """The containers, or the init containers, of a manifest as a form has them.

    `origins` are the places in the manifest by the number of the section; None for a new one.
    """

    path: Path
    title: str | Promise
    add: str | Promise
    origins: dict[int, int | None]

    @property
    def name(self) -> str:
        """The path as Kubernetes writes it."""
        return path_name(self.path)

    def section(self, number: int, title: str = "") -> Section:
        """The section of a number; its title has the container's name."""
        return Section(
            f"{self.title} {title}".strip(),
            container_inputs((*self.path, number)),
        )


def read_lists(pods: Path, manifest: Manifest) -> list[ContainerList]:
    """The lists as they are in a manifest; one container has a section in any case."""
    lists = []
    for member, title, add in LISTS:
        path = (*pods, member)
        count = len(elements_of(manifest, path))
        if member == "containers":
            count = max(count, 1)
        lists.append(ContainerList(path, title, add, {number: number for number in range(count)}))
    return lists


def elements_of(manifest: Manifest, path: Path) -> list[Any]:
    """The elements of a list of a manifest, [] for what is none."""
    value = read_path(manifest, path)
    return value if isinstance(value, list) else []


def entered_lists(pods: Path, manifest: Manifest, entered: Entered) -> list[ContainerList]:
    """The lists with what was added and taken away in the form; InputError for too many."""
    lists = []
    for current in read_lists(pods, manifest):
        numbers = entered.get(f"{current.name}[].place")
        origins = entered.get(f"{current.name}[].origin", ())
        if numbers is None:
            lists.append(current)
            continue
        if len(numbers) > MAX_ROWS or len(numbers) != len(origins):
            raise InputError(_("At most %(count)s rows.") % {"count": MAX_ROWS})
        places = {}
        for number, origin in zip(numbers, origins, strict=True):
            places[_whole(number)] = _whole(origin) if origin else None
        lists.append(ContainerList(current.path, current.title, current.add, places))
    return lists


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise InputError(_("The request was not understood."))
    return int(text)


def is_same(containers: ContainerList, manifest: Manifest) -> bool:
    """Whether the form has the containers of the manifest, in their places."""
    count = len(elements_of(manifest, containers.path))
    numbers = {number: number for number in range(count)}
    return containers.origins == numbers or (not count and containers.origins == {0: 0})


def spread(containers: ContainerList, manifest: Manifest) -> None:
    """Put each container at the number of its section."""
    current = elements_of(manifest, containers.path)
    length = max(containers.origins, default=-1) + 1
    slots: list[Any] = [{} for _number in range(length)]
    for number, origin in containers.origins.items():
        if origin is not None and origin < len(current):
            slots[number] = current[origin]
    write_path(manifest, containers.path, slots or MISSING)


def gather(containers: ContainerList, manifest: Manifest) -> None:
    """Take away what stands between the containers after `spread`."""
    slots = elements_of(manifest, containers.path)
    left = [slots[number] for number in containers.origins if number < len(slots)]
    write_path(manifest, containers.path, left or MISSING)


def titles(containers: ContainerList, manifest: Manifest) -> Sequence[tuple[int, str]]:
    """The numbers of the sections with the names of their containers."""
    rows = []
    for number in containers.origins:
        name = read_path(manifest, (*containers.path, number, "name"))
        rows.append((number, name if isinstance(name, str) else ""))
    return rows


def container_inputs(place: Path) -> tuple[Input, ...]:
    """The inputs of the container at a path."""
    ports = (
        Column(("name",), gettext_lazy("Name"), "label"),
        Column(("containerPort",), gettext_lazy("Port"), "port", required=True),
        Column(("protocol",), gettext_lazy("Protocol"), control="select", options=PROTOCOLS),
    )
    variables = (
        Column(("name",), gettext_lazy("Name"), required=True),
        Column(("value",), gettext_lazy("Value")),
    )
    amounts = [
        Input((*place, "resources", side, resource), title, rule="quantity")
        for side, resource, title in AMOUNTS
    ]
    return (
        Input((*place, "name"), gettext_lazy("Name"), rule="label", required=True),
        Input((*place, "image"), gettext_lazy("Image"), required=True),
        Input(
            (*place, "imagePullPolicy"),
            gettext_lazy("Image pull policy"),
            "select",
            options=PULLS,
        ),
        Input((*place, "command"), gettext_lazy("Command"), "lines", help=LINES),
        Input((*place, "args"), gettext_lazy("Arguments"), "lines", help=LINES),
        Input((*place, "ports"), gettext_lazy("Ports"), "rows", columns=ports),
        Input((*place, "env"), gettext_lazy("Environment"), "rows", columns=variables),
        *amounts,
    )
