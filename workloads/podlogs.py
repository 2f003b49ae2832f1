"""A container's log as one piece of text."""

from dataclasses import dataclass

from django.conf import settings

from clusters import services as registry
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
