"""The table of calls, made from the OpenAPI document by `make client`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

BASE = "/api/v1/kubernetes/"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: `body` is None when it takes none, empty when it takes any."""

    name: str
    method: str
    path: str
    query: tuple[str, ...]
    body: tuple[str, ...] | None

    @property
    def in_path(self) -> list[str]:
        """The names that stand in the address, in their order."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    @property
    def parameters(self) -> set[str]:
        """All names that the call takes."""
        return {*self.in_path, *self.query, *(self.body or ())}


def _load() -> dict[str, Operation]:
    text = files("kubegale_client").joinpath("operations.json").read_text()
    return {
        name: Operation(
            name,
            method,
            path,
            tuple(query),
            None if body is None else tuple(body),
        )
        for name, (method, path, query, body) in json.loads(text).items()
    }


OPERATIONS: Mapping[str, Operation] = _load()
_BY_ADDRESS = {(operation.method, operation.path): name for name, operation in OPERATIONS.items()}
COLLECTIONS = frozenset(
    operation.path.removeprefix(BASE)
    for operation in OPERATIONS.values()
    if operation.path.startswith(BASE) and "/" not in operation.path.removeprefix(BASE)
)


def operation_at(method: str, path: str) -> str:
    """The name of the call with that method and address; empty when there is none."""
    return _BY_ADDRESS.get((method, path), "")


def item_path(collection: str) -> str:
    """The address of one object of a collection: its last part is {name} or {id}."""
    for parameter in ("{name}", "{id}"):
        path = f"{collection}/{parameter}"
        if any(operation.path.startswith(path) for operation in OPERATIONS.values()):
            return path
    return f"{collection}/{{name}}"
