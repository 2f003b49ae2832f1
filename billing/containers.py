"""The containers that a buyer asks for: the document's deploy body, checked as a whole (3.6)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from billing import images
from billing.images import split_reference
from billing.models import Order
from billing.pricing import GIB
from core.errors import Invalid

EMPTY = "item field empty"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
MEMORY = re.compile(r"([1-9][0-9]{0,9})(Mi|Gi)\Z")
VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,252}\Z")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
SIZES = {"Mi": 2**20, "Gi": GIB}
PROTOCOLS = ("TCP", "UDP")
MAX_CONTAINERS = 32
MAX_FILES = 64
# Kubernetes lets a ConfigMap have one MiB, names included.
MAX_FILE_BYTES = 900_000
MOUNT_PATH = re.compile(r"(/[^/:\x00-\x1f\x7f]+)+\Z")
# In characters.
LONGEST_PATH = 512
LONGEST_NAME = 255
LONGEST_PASSWORD = 16_384
DOCKER_HUB = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A container's port; `host` is None when the system chooses one, or none is requested."""

    container: int
    host: int | None
    protocol: str


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """One container; `files` are (mount path, text)."""

    name: str
    image: str
    memory: str
    ports: tuple[PortRequest, ...]
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return memory_bytes(self.memory)


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """A login for a private registry, which is named as Docker's configuration names it."""

    registry: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """A whole deploy, checked: the region, the containers and the logins for their registries."""

    region: str
    containers: tuple[ContainerRequest, ...]
    logins: tuple[RegistryLogin, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """The memory of all containers."""
        return sum(container.memory_bytes for container in self.containers)


def parse(
    body: Mapping[str, Any],
    order: Order,
    *,
    published: bool = False,
    running: str = "",
) -> DeployRequest:
    """The deploy that the body asks for; Invalid beyond what the order bought.

    `published` reads what V-Kube's published client says beyond the document (resourceUnit,
    configMap, mountPath, exposedPorts, pvtLogin). `running` is the region where the order runs,
    for bodies that name none.
    """
    region = _parse_region(body, order, published=published, running=running)
    entries = _require(body.get("containers"), list)
    if len(entries) > MAX_CONTAINERS:
        raise Invalid(f"at most {MAX_CONTAINERS} containers are allowed")
    random = order.ports == Order.Ports.RANDOM
    containers = tuple(
        _parse_container(item, random=random, published=published) for item in entries
    )
    logins = _parse_logins(body.get("pvtLogin"), containers) if published else ()
    request = DeployRequest(region, containers, logins)
    _check_names(request)
    _check_size(request, order)
    _check_ports(request, random=random)
    _check_files(request)
    return request


def _require(value: Any, kind: type) -> Any:
    """The value when it is of that type and not empty."""
    if not isinstance(value, kind) or not value:
        raise Invalid(EMPTY)
    return value


def _require_text(value: Any, what: str) -> str:
    text: str = _require(value, str).strip()
    if not text:
        raise Invalid(EMPTY)
    if "\x00" in text:
        raise Invalid(f"{what} format not allow")
    return text


def _parse_region(
    body: Mapping[str, Any],
    order: Order,
    *,
    published: bool,
    running: str,
) -> str:
    selector = body.get("nodeSelector")
    if selector is None and (order.region or running):
        return order.region or running
    if selector is None and published:
        # The published client cannot name a region, so the document's two words would lead nowhere.
        raise Invalid(
            "the order has no region: ask the seller for one with a region, "
            "or send nodeSelector.region",
            field="region",
        )
    region = _require_text(_require(selector, dict).get("region"), "region")
    if not LABEL_VALUE.match(region):
        raise Invalid("region not found", field="region")
    if order.region and region != order.region:
        raise Invalid("region does not match the order", field="region")
    return region


def _parse_container(item: Any, *, random: bool, published: bool) -> ContainerRequest:
    fields = _require(item, dict)
    image = _require_text(fields.get("imageName"), "imageName")
    split_reference(image)
    memory = _memory_of_units(fields) if published else _parse_memory(fields.get("resource"))
    if published:
        _check_unsupported(fields)
    return ContainerRequest(
        name=_require_text(fields.get("name"), "name"),
        image=image,
        memory=memory,
        ports=tuple(
            _parse_port_request(port, random=random)
            for port in _optional_list(fields.get("ports"), "ports")
        ),
        command=parse_command(fields.get("command"), "command"),
        args=parse_command(fields.get("args"), "args"),
        env=tuple(_parse_variable(entry) for entry in _optional_list(fields.get("envs"), "envs")),
        files=_parse_files(fields.get("configMap")) if published else (),
    )


def _parse_memory(resource: Any) -> str:
    memory = _require_text(_require(resource, dict).get("memory"), "memory")
    if not MEMORY.match(memory):
        raise Invalid("memory format not allow.Format: 100Mi or 1Gi", field="memory")
    return memory


def _memory_of_units(fields: Mapping[str, Any]) -> str:
    """The memory of a container: one Gi a resource unit, or as the document says it."""
    unit = fields.get("resourceUnit")
    if unit is None:
        return _parse_memory(fields.get("resource"))
    if isinstance(unit, str) and unit.isascii() and unit.isdigit() and len(unit) < 10:
        unit = int(unit)
    if isinstance(unit, bool) or not isinstance(unit, int) or not 1 <= unit < 10**9:
        raise Invalid("resourceUnit must be a whole number from 1", field="resourceUnit")
    memory = f"{unit}Gi"
    if fields.get("resource") and memory_bytes(_parse_memory(fields["resource"])) != unit * GIB:
        raise Invalid("resourceUnit and resource.memory differ", field="resourceUnit")
    return memory


def _check_unsupported(fields: Mapping[str, Any]) -> None:
    """Storage and published paths are not sold; an explicit "none" is accepted."""
    if fields.get("mountPath") not in (None, ""):
        raise Invalid("mountPath needs storage, and the order has none", field="mountPath")
    if fields.get("exposedPorts") not in (None, []):
        raise Invalid(
            "exposedPorts is not supported: leave path and rewrite out, and name a hostPort",
            field="exposedPorts",
        )


def _parse_files(value: Any) -> tuple[tuple[str, str], ...]:
    """(mount path, text) of each file, sorted."""
    if value is None or value == {}:
        return ()
    if not isinstance(value, dict):
        raise Invalid("configMap must be an object of mount paths and texts", field="configMap")
    if len(value) > MAX_FILES:
        raise Invalid(f"configMap has more than {MAX_FILES} files", field="configMap")
    for path, text in value.items():
        parts = path.split("/")
        if len(path) > LONGEST_PATH or not MOUNT_PATH.match(path) or {".", ".."} & set(parts):
            raise Invalid(
                "a mount path of configMap must be the absolute path of a file", field="configMap"
            )
        if not isinstance(text, str) or "\x00" in text:
            raise Invalid("a file of configMap must be text", field="configMap")
        # A container that has to mount a file below a file does not start.
        if any("/".join(parts[:depth]) in value for depth in range(2, len(parts))):
            raise Invalid("a file of configMap cannot be below another one", field="configMap")
    return tuple(sorted(value.items()))


def _parse_logins(value: Any, containers: Sequence[ContainerRequest]) -> tuple[RegistryLogin, ...]:
    """Logins for the images' registries: the client sends one for each container, in order."""
    entries = _optional_list(value, "pvtLogin")
    if len(entries) > len(containers):
        raise Invalid("pvtLogin has more entries than there are containers", field="pvtLogin")
    logins: dict[str, RegistryLogin] = {}
    for entry, container in zip(entries, containers, strict=False):
        login = _parse_login(entry, container.image)
        if logins.setdefault(login.registry, login) != login:
            raise Invalid("pvtLogin has two logins for one registry", field="pvtLogin")
    return tuple(logins[registry] for registry in sorted(logins))


def _parse_login(entry: Any, image: str) -> RegistryLogin:
    fields = _require(entry, dict)
    username = _require_text(fields.get("username"), "pvtLogin")
    password = _require(fields.get("password"), str)
    if len(username) > LONGEST_NAME or len(password) > LONGEST_PASSWORD:
        raise Invalid("a login of pvtLogin is too long", field="pvtLogin")
    if ":" in username or not (username + password).isprintable():
        raise Invalid("a login of pvtLogin cannot be used", field="pvtLogin")
    registry = images.parse(split_reference(image)[0]).registry
    return RegistryLogin(registry or DOCKER_HUB, username, password)


def _optional_list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Invalid(f"{what} must be a list", field=what)
    return value


def parse_port(value: Any, what: str) -> int:
    """A port as a number or digits; Invalid outside 1 to 65535."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{what} must be a number", field=what)
    if not 1 <= value <= 65535:
        raise Invalid("port out of range", field=what)
    return value


def _parse_port_request(item: Any, *, random: bool) -> PortRequest:
    fields = _require(item, dict)
    if fields.get("containerPort") is None:
        has_host_port = fields.get("hostPort") is not None
        message = "hostPort needs a containerPort" if has_host_port else EMPTY
        raise Invalid(message, field="ports")
    host = fields.get("hostPort")
    protocol = str(fields.get("protocol") or "TCP").upper()
    if protocol not in PROTOCOLS:
        raise Invalid("protocol must be TCP or UDP", field="protocol")
    # A chosen port is ignored when the system chooses.
    chosen = None if random or host is None else parse_port(host, "hostPort")
    return PortRequest(parse_port(fields["containerPort"], "containerPort"), chosen, protocol)


def parse_command(value: Any, what: str) -> tuple[str, ...]:
    r"""A command as its words; a list is taken as it is.

    Text is split at line ends, or at `\n` written out when it has none.
    """
    if value is None:
        return ()
    if isinstance(value, list):
        parts = value
    elif isinstance(value, str):
        text = value.replace("\r", "")
        parts = text.split("\n" if "\n" in text else "\\n")
        if not parts[-1]:
            # A line end at the end of the text begins no further word.
            parts = parts[:-1]
    else:
        raise Invalid(f"{what} must be text or a list of texts", field=what)
    if not all(isinstance(word, str) and "\x00" not in word for word in parts):
        raise Invalid(f"{what} must be text or a list of texts", field=what)
    return tuple(parts)


def _parse_variable(item: Any) -> tuple[str, str]:
    fields = _require(item, dict)
    name = _require_text(fields.get("name"), "envs")
    value = fields.get("value", "")
    if not VARIABLE.match(name):
        raise Invalid(
            "the name of a variable must be letters, digits, '-', '_' or '.'", field="envs"
        )
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "\x00" in str(value):
        raise Invalid("the value of a variable must be text", field="envs")
    return name, str(value)


def memory_bytes(memory: str) -> int:
    """`100Mi` or `2Gi` in bytes."""
    match = MEMORY.match(memory)
    if match is None:
        raise Invalid("memory format not allow.Format: 100Mi or 1Gi", field="memory")
    return int(match[1]) * SIZES[match[2]]


def _check_names(request: DeployRequest) -> None:
    names = [container.name for container in request.containers]
    if not all(NAME.match(name) for name in names):
        raise Invalid("container name not allow: lower case letters, digits and '-'", field="name")
    if len(set(names)) < len(names):
        raise Invalid("container name duplicate", field="name")


def _check_size(request: DeployRequest, order: Order) -> None:
    # A unit is one Gi of memory and one port.
    if request.memory_bytes > order.units * GIB:
        raise Invalid("memory exceeds purchased resource", field="memory")
    if sum(len(container.ports) for container in request.containers) > order.units:
        raise Invalid("ports exceed purchased resource", field="ports")


def _check_ports(request: DeployRequest, *, random: bool) -> None:
    ports = [port for container in request.containers for port in container.ports]
    hosts = [(port.host, port.protocol) for port in ports if port.host]
    if len(set(hosts)) < len(hosts):
        raise Invalid("hostPort duplicate", field="hostPort")
    # The system chooses a host port for each (container port, protocol).
    if random and len(set(ports)) < len(ports):
        raise Invalid("containerPort duplicate", field="containerPort")


def _check_files(request: DeployRequest) -> None:
    size = sum(
        len(path.encode(errors="replace")) + len(text.encode(errors="replace"))
        for container in request.containers
        for path, text in container.files
    )
    if size > MAX_FILE_BYTES:
        raise Invalid(
            f"the files of configMap are larger than {MAX_FILE_BYTES} bytes", field="configMap"
        )
