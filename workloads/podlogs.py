"""A container's log as one piece of text."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings

from clusters import services as registry
from clusters.client import status_error
from clusters.kinds import KINDS
from clusters.models import Cluster


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log: seconds and lines as Kubernetes counts them; None is no limit."""

    container: str = ""
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    previous: bool = False
    timestamps: bool = False
    limit_bytes: int | None = None

    def query(self, *, follow: bool = False) -> dict[str, object]:
        """The API server's names."""
        return {
            "container": self.container,
            "tailLines": self.tail_lines,
            "sinceSeconds": self.since_seconds,
            "sinceTime": self.since_time,
            "limitBytes": self.limit_bytes,
            "previous": "true" if self.previous else "",
            "timestamps": "true" if self.timestamps else "",
            "follow": "true" if follow else "",
        }


def read_log(cluster: Cluster, namespace: str, pod: str, options: LogOptions) -> bytes:
    """The log's bytes, at most LOG_LIMIT_BYTES of them."""
    path = KINDS["pods"].path(namespace=namespace, name=pod, subresource="log")
    query = {**options.query(), "limitBytes": min(options.limit_bytes or settings.LOG_LIMIT_BYTES, settings.LOG_LIMIT_BYTES)}
    return registry.client(cluster).request("GET", path, query=query, accept="*/*")


def open_log(cluster: Cluster, namespace: str, pod: str, options: LogOptions, *, follow: bool = False) -> Iterator[bytes]:
    """The log's bytes as they come; refused before the first byte or not at all. Following ends with the container or the reader."""
    path = KINDS["pods"].path(namespace=namespace, name=pod, subresource="log")
    patience = settings.LOG_FOLLOW_SECONDS if follow else None
    query = options.query(follow=follow)
    response = registry.client(cluster).open("GET", path, query=query, accept="*/*", read_timeout=patience)
    if response.status >= 400:
        refusal = status_error(response.status, response.read())
        response.release_conn()
        raise refusal

    def parts() -> Iterator[bytes]:
        try:
            with suppress(OSError):
                while part := response.read1(1 << 16):
                    yield part
        finally:
            response.close()

    return parts()
