"""Clusters as if they had been collected, and a client that reads them through the gateway."""

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from django.utils import timezone

from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from clusters.resource_types import resource_type
from storage_api.models import ClusterSync, KindSync
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.gateway.running import Running

WIDGET = Kind("Widget", "widgets", "example.com", "v1", True, ("widget", "wd"))
PLURALS = (
    "pods",
    "nodes",
    "namespaces",
    "secrets",
    "deployments",
    "configmaps",
    "events",
    "customresourcedefinitions",
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class StoredCluster:
    """A registered cluster whose objects the test writes into the store itself."""

    def __init__(self, name: str) -> None:
        self.row = Cluster.objects.create(
            name=name, server="https://10.0.0.1", status="active", version="v1.36.2"
        )
        self.name = name
        later = timezone.now() + timedelta(hours=1)
        ClusterSync.objects.create(
            cluster=self.row, expires_at=later, stored_as=name, beaten_at=later
        )
        for kind in (*(KINDS[plural] for plural in PLURALS), WIDGET):
            KindSync.objects.create(
                cluster=self.row,
                group=kind.group,
                version=kind.version,
                plural=kind.plural,
                kind=kind.name,
                namespaced=kind.namespaced,
                aliases=list(kind.aliases),
                resource_type=resource_type(kind),
                phase="watching",
                listed_at=timezone.now() - timedelta(days=1),
            )

    def write(self, plural: str, name: str, namespace: str = "", **rest: Any) -> None:
        """Create or change an object."""
        bulk.write([self._record(plural, name, namespace, rest)])

    def write_many(self, plural: str, names: list[str], namespace: str, **rest: Any) -> None:
        """Create many objects at once."""
        bulk.write([self._record(plural, name, namespace, dict(rest)) for name in names])

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        bulk.write([WriteRecord(self._key(_kind(plural), name, namespace), None)])

    def _key(self, kind: Kind, name: str, namespace: str) -> Key:
        return Key(self.name, resource_type(kind), namespace, name)

    def _record(self, plural: str, name: str, namespace: str, rest: dict[str, Any]) -> WriteRecord:
        kind = _kind(plural)
        metadata = {
            "name": name,
            "uid": f"{self.name}-{plural}-{namespace}-{name}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **rest.pop("metadata", {}),
        }
        if namespace:
            metadata["namespace"] = namespace
        document = {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": metadata,
            **rest,
        }
        return WriteRecord(self._key(kind, name, namespace), orjson.dumps(document))


def _kind(plural: str) -> Kind:
    return WIDGET if plural == "widgets" else KINDS[plural]


@dataclass
class Answer:
    """An answer that was read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def names(self) -> list[str]:
        """`cluster/name` of the items of a list."""
        found = []
        for item in self.json["items"]:
            metadata = item["metadata"]
            cluster = metadata.get("annotations", {}).get("kubegale.io/cluster", "")
            found.append(f"{cluster}/{metadata['name']}")
        return found


class StoreClient:
    """Reads through the gateway with a token."""

    def __init__(self, running: Running, token: str) -> None:
        self._running = running
        self._token = token

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(
            cafile=str(self._running.folder / "gateway" / "ca.crt")
        )
        return http.client.HTTPSConnection(
            "127.0.0.1", self._running.port, context=context, timeout=30
        )

    def _headers(self, accept: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Accept": accept}

    def get(self, path: str, accept: str = "application/json", *, method: str = "GET") -> Answer:
        """The answer; `path` begins behind /kube."""
        connection = self._connect()
        connection.request(method, f"/kube/{path}", headers=self._headers(accept))
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def review(self, target: str, kind: str, **spec: Any) -> Any:
        """The status that a self-subject review of the kind is answered with."""
        group = "authentication" if kind == "SelfSubjectReview" else "authorization"
        body = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "spec": spec}
        connection = self._connect()
        connection.request(
            "POST",
            f"/kube/{target}/apis/{group}.k8s.io/v1/{kind.lower()}s",
            json.dumps(body),
            {**self._headers("application/json"), "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert (response.status, answer["kind"]) == (201, kind), answer
        return answer["status"]

    @contextmanager
    def watch(self, path: str, accept: str = "application/json") -> Iterator["WatchEvents"]:
        """The events of a watch, for a `with` block."""
        connection = self._connect()
        connection.request("GET", f"/kube/{path}", headers=self._headers(accept))
        response = connection.getresponse()
        assert response.status == 200, response.read()
        try:
            yield WatchEvents(response)
        finally:
            connection.close()


class WatchEvents:
    """Reads events of a watch as they come."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def next(self) -> Any:
        """The next event; None at the end."""
        line = self._response.readline()
        return json.loads(line) if line else None

    def take(self, count: int) -> list[str]:
        """`TYPE cluster/name` of so many events."""
        events = [self.next() for _ in range(count)]
        return [describe(event) for event in events]


def describe(event: Any) -> str:
    """`TYPE cluster/name` of an event."""
    metadata = event["object"]["metadata"]
    cluster = metadata.get("annotations", {}).get("kubegale.io/cluster", "")
    return f"{event['type']} {cluster}/{metadata.get('name', '')}"
