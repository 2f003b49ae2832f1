"""What a buyer asks to run: the document's deploy body, checked as a whole (contract 3.6)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billing.images import split_reference
from billing.models import Order
from billing.pricing import GIB
from kubegale.errors import Invalid

EMPTY = "item field empty"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
MEMORY = re.compile(r"([1-9][0-9]{0,9})(Mi|Gi)\Z")
VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,252}\Z")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
SIZES = {"Mi": 2**20, "Gi": GIB}
PROTOCOLS = ("TCP", "UDP")
MAX_CONTAINERS = 32


@dataclass(frozen=True, slots=True)
class PortWanted:
    """A container's port; `host` is None while the system is to choose, or when none is wanted."""

    container: int
    host: int | None
    protocol: str


@dataclass(frozen=True, slots=True)
class ContainerWanted:
    """One container."""

    name: str
    image: str
    memory: str
    ports: tuple[PortWanted, ...]
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return memory_bytes(self.memory)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A whole deploy."""

    region: str
    containers: tuple[ContainerWanted, ...]

    @property
    def memory_bytes(self) -> int:
        """The memory of all containers."""
        return sum(container.memory_bytes for container in self.containers)


def parse(body: Mapping[str, Any], order: Order) -> Wanted:
    """What the body asks for, within what the order bought; Invalid otherwise."""
    region = _region(body, order)
    given = _filled(body.get("containers"), list)
    if len(given) > MAX_CONTAINERS:
        raise Invalid(f"at most {MAX_CONTAINERS} containers are allowed")
    random = order.ports == Order.Ports.RANDOM
    wanted = Wanted(region, tuple(_container(item, random=random) for item in given))
    _check_names(wanted)
    _check_size(wanted, order)
    _check_ports(wanted, random=random)
    return wanted


def _filled(value: Any, kind: type) -> Any:
    """The value when it is of that type and not empty."""
    if not isinstance(value, kind) or not value:
        raise Invalid(EMPTY)
    return value


def _text(value: Any, what: str) -> str:
    found: str = _filled(value, str).strip()
    if not found:
        raise Invalid(EMPTY)
    if "\x00" in found:
        raise Invalid(f"{what} format not allow")
    return found


def _region(body: Mapping[str, Any], order: Order) -> str:
    selector = body.get("nodeSelector")
    if selector is None and order.region:
        return order.region
    region = _text(_filled(selector, dict).get("region"), "region")
    if not LABEL_VALUE.match(region):
        raise Invalid("region not found", field="region")
    if order.region and region != order.region:
        raise Invalid("region does not match the order", field="region")
    return region


def _container(item: Any, *, random: bool) -> ContainerWanted:
    fields = _filled(item, dict)
    image = _text(fields.get("imageName"), "imageName")
    split_reference(image)
    memory = _text(_filled(fields.get("resource"), dict).get("memory"), "memory")
    if not MEMORY.match(memory):
        raise Invalid("memory format not allow.Format: 100Mi or 1Gi", field="memory")
    return ContainerWanted(
        name=_text(fields.get("name"), "name"),
        image=image,
        memory=memory,
        ports=tuple(_port(port, random=random) for port in _list(fields.get("ports"), "ports")),
        command=words(fields.get("command"), "command"),
        args=words(fields.get("args"), "args"),
        env=tuple(_variable(entry) for entry in _list(fields.get("envs"), "envs")),
    )


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Invalid(f"{what} must be a list", field=what)
    return value


def number(value: Any, what: str) -> int:
    """A port as a number or digits; Invalid outside 1 to 65535."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{what} must be a number", field=what)
    if not 1 <= value <= 65535:
        raise Invalid("port out of range", field=what)
    return value


def _port(item: Any, *, random: bool) -> PortWanted:
    fields = _filled(item, dict)
    if fields.get("containerPort") is None:
        raise Invalid(
            "hostPort needs a containerPort" if fields.get("hostPort") is not None else EMPTY,
            field="ports",
        )
    host = fields.get("hostPort")
    protocol = str(fields.get("protocol") or "TCP").upper()
    if protocol not in PROTOCOLS:
        raise Invalid("protocol must be TCP or UDP", field="protocol")
    # A chosen port is ignored, whatever it is, when the system chooses.
    chosen = None if random or host is None else number(host, "hostPort")
    return PortWanted(number(fields["containerPort"], "containerPort"), chosen, protocol)


def words(value: Any, what: str) -> tuple[str, ...]:
    r"""A command as its words: split at line ends, or at `\n` written out when there are none; a list is taken as it is."""
    if value is None:
        return ()
    if isinstance(value, list):
        found = value
    elif isinstance(value, str):
        text = value.replace("\r", "")
        found = text.split("\n" if "\n" in text else "\\n")
        found = found[:-1] if not found[-1] else found
    else:
        raise Invalid(f"{what} must be text or a list of texts", field=what)
    if not all(isinstance(word, str) and "\x00" not in word for word in found):
        raise Invalid(f"{what} must be text or a list of texts", field=what)
    return tuple(found)


def _variable(item: Any) -> tuple[str, str]:
    fields = _filled(item, dict)
    name, value = _text(fields.get("name"), "envs"), fields.get("value", "")
    if not VARIABLE.match(name):
        raise Invalid(
            "the name of a variable must be letters, digits, '-', '_' or '.'", field="envs"
        )
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "\x00" in str(value):
        raise Invalid("the value of a variable must be text", field="envs")
    return name, str(value)


def memory_bytes(memory: str) -> int:
    """`100Mi` or `2Gi` in bytes."""
    found = MEMORY.match(memory)
    if found is None:
        raise Invalid("memory format not allow.Format: 100Mi or 1Gi", field="memory")
    return int(found[1]) * SIZES[found[2]]


def _check_names(wanted: Wanted) -> None:
    names = [container.name for container in wanted.containers]
    if not all(NAME.match(name) for name in names):
        raise Invalid("container name not allow: lower case letters, digits and '-'", field="name")
    if len(set(names)) < len(names):
        raise Invalid("container name duplicate", field="name")


def _check_size(wanted: Wanted, order: Order) -> None:
    if wanted.memory_bytes > order.units * GIB:
        raise Invalid("memory exceeds purchased resource", field="memory")
    if sum(len(container.ports) for container in wanted.containers) > order.units:
        raise Invalid("ports exceed purchased resource", field="ports")


def _check_ports(wanted: Wanted, *, random: bool) -> None:
    ports = [port for container in wanted.containers for port in container.ports]
    hosts = [(port.host, port.protocol) for port in ports if port.host]
    if len(set(hosts)) < len(hosts):
        raise Invalid("hostPort duplicate", field="hostPort")
    if random and len(set(ports)) < len(ports):
        raise Invalid("containerPort duplicate", field="containerPort")
