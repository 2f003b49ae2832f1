"""What a collection of the API offers: `kg.pods.list()`, `kg.deployments.scale("web", 3)`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from kubegale_client.operations import OPERATIONS, item_path, operation_at

if TYPE_CHECKING:
    from kubegale_client.client import KubeGale

Object = dict[str, Any]
Content = Mapping[str, Any] | str
# What a list asks for at a time when all of it is read.
CHUNK = 500
PATCHES: Mapping[str, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
    "json": "application/json-patch+json",
}


class Page(Sequence[Object]):
    """The objects of one page; `total` is how many there are on all pages."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.items: list[Object] = list(data["items"])
        self.total = int(data["total"])
        self.number = int(data.get("page", 1))
        self.size = int(data.get("pageSize", len(self.items)))

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Object: ...

    @overload
    def __getitem__(self, index: slice) -> list[Object]: ...

    def __getitem__(self, index: int | slice) -> Object | list[Object]:
        return self.items[index]

    def __repr__(self) -> str:
        return f"<page {self.number}: {len(self)} of {self.total}>"


class Objects:
    """One collection of the API.

    In all calls `cluster` (id or name) and `namespace` replace those of the client. Further
    keywords are the call's own parameters, as the API names them (`labelSelector="app=web"`).
    """

    def __init__(self, client: "KubeGale", collection: str, **place: str) -> None:
        self._client = client
        self._collection = collection
        self._item = item_path(collection)
        # What stands in the address before the name: group, version and plural of a custom kind.
        self._place = place

    def list(self, *, page: int = 1, page_size: int = 20, **parameters: Any) -> Page:
        """One page."""
        return Page(self._list(page, page_size, parameters))

    def iterate(self, *, page_size: int = CHUNK, **parameters: Any) -> Iterator[Object]:
        """All objects, page after page as they are used."""
        number = 0
        count = 0
        while True:
            number += 1
            page = Page(self._list(number, page_size, parameters))
            yield from page
            count += len(page)
            # An empty page: objects were deleted while the list was read.
            if not len(page) or count >= page.total:
                return

    def get(self, name: str | int, **parameters: Any) -> Object:
        """One object; NotFound when it does not exist."""
        return self._object("GET", self._item, name, parameters)

    def create(self, content: Content, **parameters: Any) -> Object:
        """Create it; `content` is the object, as a mapping or as YAML text."""
        return self._write("POST", self._collection, (), content, parameters)

    def replace(self, name: str | int, content: Content, **parameters: Any) -> Object:
        """Replace the object by `content`."""
        return self._write("PUT", self._item, (name,), content, parameters)

    def patch(
        self,
        name: str | int,
        changes: Any,
        *,
        strategy: str = "merge",
        **parameters: Any,
    ) -> Object:
        """Change parts of the object.

        `strategy` is merge, strategic, apply or json; with json `changes` is a list.
        """
        operation = self._operation("PATCH", self._item)
        data = self._client.send(
            operation,
            *self._address(name),
            body=changes,
            content_type=PATCHES[strategy],
            **parameters,
        )
        return dict(data)

    def delete(
        self,
        name: str | int,
        *,
        confirm: bool | str = False,
        **parameters: Any,
    ) -> Object:
        """Delete the object.

        What is protected raises ConfirmationRequired; `confirm` is True or that error's token.
        """
        operation = self._operation("DELETE", self._item)
        return dict(
            self._client.call(
                operation,
                *self._address(name),
                **parameters,
                **_confirmed(confirm),
            )
            or {}
        )

    def act(
        self,
        action: str,
        name: str | int,
        *,
        confirm: bool | str = False,
        **parameters: Any,
    ) -> Object:
        """Run an action on it: `act("restart", "web")`, `kg.nodes.act("drain", "node-1")`."""
        operation = self._operation("POST", f"{self._item}/{action}")
        return dict(
            self._client.call(
                operation,
                *self._address(name),
                **parameters,
                **_confirmed(confirm),
            )
            or {}
        )

    def read(self, name: str | int, part: str, **parameters: Any) -> Any:
        """A part of the object: `read("web-1", "logs", tail_lines=20)`."""
        operation = self._operation("GET", f"{self._item}/{part}")
        return self._client.call(operation, *self._address(name), **parameters)

    def scale(self, name: str, replicas: int, **parameters: Any) -> Object:
        """Change the number of replicas; `kg.wait` follows the answer."""
        return self.act("scale", name, replicas=replicas, **parameters)

    def restart(self, name: str, **parameters: Any) -> Object:
        """Restart its pods."""
        return self.act("restart", name, **parameters)

    def rollback(self, name: str, revision: int, **parameters: Any) -> Object:
        """Go back to a revision."""
        return self.act("rollback", name, revision=revision, **parameters)

    def _operation(self, method: str, path: str) -> str:
        if operation := operation_at(method, path):
            return operation
        offered = sorted(
            f"{operation.method} {operation.path.removeprefix(self._item).strip('/') or 'object'}"
            for operation in OPERATIONS.values()
            if operation.path.startswith((self._item, f"{self._item}/"))
        )
        raise TypeError(f"{method} {path} is no call of the API; there are: {', '.join(offered)}")

    def _address(self, *name: str | int) -> tuple[str | int, ...]:
        return (*self._place.values(), *name)

    def _list(self, page: int, size: int, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        operation = self._operation("GET", self._collection)
        data: Mapping[str, Any] = self._client.call(
            operation,
            *self._address(),
            page=page,
            pageSize=size,
            **parameters,
        )
        return data

    def _object(
        self,
        method: str,
        path: str,
        name: str | int,
        parameters: Mapping[str, Any],
    ) -> Object:
        operation = self._operation(method, path)
        return dict(self._client.call(operation, *self._address(name), **parameters))

    def _write(
        self,
        method: str,
        path: str,
        name: tuple[str | int, ...],
        content: Content,
        parameters: Mapping[str, Any],
    ) -> Object:
        operation = self._operation(method, path)
        if "content" in (OPERATIONS[operation].body or ()):
            members: dict[str, Any] = {"content": content}
        elif isinstance(content, str):
            raise TypeError(f"{operation} takes a mapping")
        else:
            members = dict(content)
        data = self._client.call(operation, *self._address(*name), body=members, **parameters)
        return dict(data or {})


def _confirmed(confirm: bool | str) -> dict[str, Any]:
    if isinstance(confirm, str):
        return {"confirm_token": confirm}
    return {"confirm": True} if confirm else {}
