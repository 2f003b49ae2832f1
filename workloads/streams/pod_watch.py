"""Pods of a label selector as they come and go: a list, then a watch, in a loop."""

import asyncio
from collections.abc import AsyncIterator

import orjson
from django.conf import settings

from clusters.kinds import KINDS
from clusters.manifests import Object
from clusters.streams import StreamClient
from core.errors import ClusterUnavailable, TooManyRequests

PODS = KINDS["pods"]
PAGE = 500
WATCH_SECONDS = 300


async def _list_pods(
    client: StreamClient, namespace: str, selector: str
) -> tuple[list[Object], str]:
    """(pods, the resourceVersion to watch from)."""
    query: dict[str, object] = {"labelSelector": selector, "limit": PAGE}
    pods: list[Object] = []
    while True:
        page = await client.json("GET", PODS.path(namespace=namespace), query=query)
        pods += page.get("items") or []
        if not page["metadata"].get("continue"):
            return pods, page["metadata"].get("resourceVersion", "")
        query["continue"] = page["metadata"]["continue"]


async def follow_pods(
    client: StreamClient, namespace: str, selector: str
) -> AsyncIterator[list[Object]]:
    """The pods as they are now, then each pod that appears or changes.

    ClusterUnavailable when the cluster does not come back within STREAM_GIVE_UP_SECONDS.
    """
    failures = 0
    while True:
        try:
            pods, version = await _list_pods(client, namespace, selector)
            failures = 0
            yield pods
            async for pod in _watch_pods(client, namespace, selector, version):
                yield [pod]
        except (ClusterUnavailable, TooManyRequests) as error:
            failures += 1
            # There is a try every two seconds.
            if failures * 2 > settings.STREAM_GIVE_UP_SECONDS:
                raise ClusterUnavailable(error.message, **error.details) from error
        await asyncio.sleep(min(2.0, settings.STREAM_GIVE_UP_SECONDS / 4) if failures else 0.2)


async def _watch_pods(
    client: StreamClient, namespace: str, selector: str, version: str
) -> AsyncIterator[Object]:
    """Pods that appear or change, until the watch ends or its resourceVersion has expired."""
    query = {
        "labelSelector": selector,
        "watch": "true",
        "resourceVersion": version,
        "timeoutSeconds": WATCH_SECONDS,
    }
    # The server ends the watch itself; the read time-out is only for a server that does not.
    async with client.open(
        "GET",
        PODS.path(namespace=namespace),
        query=query,
        read=WATCH_SECONDS + 30,
    ) as response:
        rest = b""
        async for data in response.content.iter_any():
            *lines, rest = (rest + data).split(b"\n")
            for line in filter(None, lines):
                event = orjson.loads(line)
                # 410 Gone: list again.
                if event["type"] == "ERROR":
                    return
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]
