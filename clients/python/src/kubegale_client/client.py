"""The client itself: one KubeGale server as one user sees it."""

import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

from kubegale_client.errors import (
    EXPIRED,
    NotFound,
    NotSignedIn,
    OperationFailed,
    WaitTimeout,
)
from kubegale_client.objects import Objects
from kubegale_client.operations import (
    BASE,
    COLLECTIONS,
    OPERATIONS,
    Operation,
)
from kubegale_client.transport import JSON, Transport

FINAL = frozenset({"succeeded", "failed", "cancelled", "interrupted"})
# Seconds between two looks at an operation: the first, and the longest.
FIRST_LOOK = 0.1
LONGEST_LOOK = 2.0
CUSTOM = f"{BASE}resources/{{group}}/{{version}}/{{plural}}"


class KubeGale:
    """A KubeGale server as one user sees it; each collection of the API is an attribute.

    `kg.pods`, `kg.operations`. `cluster` (id or name) and `namespace` are for calls that name none.
    `timeout` is in seconds. A server with its own certificate:
    `context=ssl.create_default_context(cafile=…)`. Instances may be shared between threads.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        cluster: int | str | None = None,
        namespace: str = "",
        timeout: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.cluster = cluster
        self.namespace = namespace
        self.timeout = timeout
        self._refresh_token = ""
        self._renewing = threading.Lock()
        self._transport = Transport(url, timeout=timeout, context=context)
        self._cluster_ids: dict[str, int] = {}

    @classmethod
    def sign_in(cls, url: str, username: str, password: str, **options: Any) -> Self:
        """A client for a user with a password; it renews its token while the server lets it."""
        client = cls(url, **options)
        client._adopt(client.call("signIn", username=username, password=password))
        return client

    @classmethod
    def from_environment(cls, **options: Any) -> Self:
        """A client from KUBEGALE_URL and KUBEGALE_TOKEN."""
        return cls(
            os.environ["KUBEGALE_URL"],
            os.environ["KUBEGALE_TOKEN"],
            **options,
        )

    def __getattr__(self, name: str) -> Objects:
        collection = name.replace("_", "-")
        if collection not in COLLECTIONS:
            raise AttributeError(f"the API has no collection {collection!r}; see dir()")
        return Objects(self, BASE + collection)

    def __dir__(self) -> list[str]:
        return [
            *super().__dir__(),
            *(name.replace("-", "_") for name in COLLECTIONS),
        ]

    def custom(self, group: str, version: str, plural: str) -> Objects:
        """Objects of any kind of the cluster: `kg.custom("example.com", "v1", "gadgets")`."""
        return Objects(self, CUSTOM, group=group, version=version, plural=plural)

    def call(
        self,
        operation: str,
        *address: str | int,
        body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **parameters: Any,
    ) -> Any:
        """Any call by its name in the OpenAPI document: `kg.call("listHistory", kind="pods")`.

        `address` fills the names in the address, in order; keywords go where the call has them. A
        trailing underscore avoids Python's own words (`from_`), and `label_selector` is
        `labelSelector`. TypeError for a name that the call does not take.
        """
        declared = _operation(operation)
        query, members = self._split_parameters(declared, len(address), parameters)
        members |= body or {}
        content = members if declared.body is not None else None
        return self._send(declared, address, query, content, JSON, timeout)

    def send(
        self,
        operation: str,
        *address: str | int,
        body: Any,
        content_type: str = JSON,
        timeout: float | None = None,
        **parameters: Any,
    ) -> Any:
        """As `call`, with a body that is sent as it is."""
        declared = _operation(operation)
        query, members = self._split_parameters(declared, len(address), parameters)
        if members:
            names = ", ".join(members)
            raise TypeError(f"{operation} takes these in its body: {names}")
        return self._send(declared, address, query, body, content_type, timeout)

    def wait(self, work: Mapping[str, Any] | int, *, timeout: float = 300.0) -> dict[str, Any]:
        """The operation once it is done; `work` is its id, or an answer with it (as of `scale`).

        OperationFailed when it did not succeed; WaitTimeout after `timeout` seconds. An answer
        without an operation (nothing was to be done) is returned as it is.
        """
        number = work if isinstance(work, int) else work.get("operation_id")
        if number is None:
            return dict(work) if isinstance(work, Mapping) else {}
        ends = time.monotonic() + timeout
        pause = FIRST_LOOK
        while True:
            operation: dict[str, Any] = self.call("getOperation", number)
            if operation["state"] in FINAL:
                break
            if time.monotonic() + pause > ends:
                message = f"operation {number} is {operation['state']} after {timeout:g} s"
                raise WaitTimeout(0, message, details=operation)
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_LOOK)
        if operation["state"] != "succeeded":
            reason = operation.get("error") or operation.get("reason") or "no reason was given"
            message = f"operation {number} is {operation['state']}: {reason}"
            raise OperationFailed(0, message, details=operation)
        return operation

    def _adopt(self, tokens: Mapping[str, Any]) -> None:
        self.token = tokens["token"]
        self._refresh_token = tokens["refresh_token"]

    def _split_parameters(
        self,
        operation: Operation,
        positional: int,
        parameters: Mapping[str, Any],
    ) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        """(pairs of the query, members of the body), with the client's defaults."""
        needed = len(operation.in_path)
        if positional != needed:
            raise TypeError(
                f"{operation.name} takes {needed} names in its address, not {positional}"
            )
        in_body = operation.body or ()
        values = self._values({*operation.query, *in_body}, operation.name, parameters)
        members: dict[str, Any] = {}
        query: list[tuple[str, str]] = []
        for name, value in values.items():
            # What a call takes in both places goes into the body.
            if name in in_body:
                members[name] = value
            else:
                query.append((name, _text(value)))
        return query, members

    def _values(
        self,
        accepted: set[str],
        operation: str,
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The values under the API's own names; TypeError for a name that is not accepted."""
        spellings = {_snake(name): name for name in accepted}
        if "cluster_id" in accepted:
            spellings["cluster"] = "cluster_id"
        values: dict[str, Any] = {}
        for word, value in parameters.items():
            plain = word.removesuffix("_")
            name = plain if plain in accepted else spellings.get(plain, plain)
            values[name] = value
        if unknown := values.keys() - accepted:
            names = ", ".join(sorted(unknown))
            raise TypeError(f"{operation} does not take {names}; it takes {sorted(accepted)}")
        # None means "not set", so that the client's default applies.
        explicit = {name: value for name, value in values.items() if value is not None}
        values = {**self._defaults(accepted), **explicit}
        if isinstance(values.get("cluster_id"), str):
            values["cluster_id"] = self._cluster_id(values["cluster_id"])
        return values

    def _defaults(self, takes: set[str]) -> dict[str, Any]:
        defaults: dict[str, Any] = {}
        if self.cluster is not None and "cluster_id" in takes:
            defaults["cluster_id"] = self.cluster
        if self.namespace and "namespace" in takes:
            defaults["namespace"] = self.namespace
        return defaults

    def _cluster_id(self, name: str) -> int:
        if name.isdecimal():
            return int(name)
        if name not in self._cluster_ids:
            rows: Iterator[dict[str, Any]] = Objects(self, f"{BASE}clusters").iterate(keyword=name)
            self._cluster_ids |= {row["name"]: row["id"] for row in rows}
        if name not in self._cluster_ids:
            raise NotFound(1002, f"no cluster is called {name!r}")
        return self._cluster_ids[name]

    def _send(
        self,
        operation: Operation,
        address: tuple[str | int, ...],
        query: list[tuple[str, str]],
        body: Any,
        content_type: str,
        timeout: float | None,
    ) -> Any:
        path = operation.path
        for name, value in zip(operation.in_path, address, strict=True):
            if not str(value):
                raise TypeError(f"{operation.name} needs a {name}: it is empty")
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""), 1)
        options: dict[str, Any] = {
            "query": query,
            "body": body,
            "content_type": content_type,
            "timeout": timeout,
        }
        token = self.token
        try:
            return self._transport.send(operation.method, path, token=token, **options)
        except NotSignedIn as refusal:
            if refusal.code != EXPIRED or not self._renew(token):
                raise
            return self._transport.send(operation.method, path, token=self.token, **options)

    def _renew(self, expired: str) -> bool:
        """Whether there is a newer token than the expired one.

        Of several threads the first one asks for it.
        """
        with self._renewing:
            if self.token == expired and self._refresh_token:
                refresh = OPERATIONS["refreshToken"]
                body = {"refresh_token": self._refresh_token}
                # It can be used once only.
                self._refresh_token = ""
                self._adopt(self._transport.send(refresh.method, refresh.path, query=[], body=body))
            return self.token != expired


def _operation(name: str) -> Operation:
    if name not in OPERATIONS:
        raise TypeError(f"{name!r} is no call of the API; dir() and /api/docs list them")
    return OPERATIONS[name]


def _snake(name: str) -> str:
    """`labelSelector` -> `label_selector`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _text(value: Any) -> str:
    """A value as it stands in a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list | tuple | set) else str(value)
