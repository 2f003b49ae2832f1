"""Opening a shell: exec into a container, or into a short-lived debug pod on a node."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from clusters import stream_clients
from clusters.kinds import KINDS
from clusters.manifests import Object
from clusters.streams import Channels, StreamClient
from core.errors import ClusterUnavailable, DomainError, NotFound, Rejected
from core.sockets.tickets import Ticket

log = logging.getLogger(__name__)
PODS = KINDS["pods"]
LABEL = "kubegale.io/node-terminal"
USER = "kubegale.io/user"
EXPIRES = "kubegale.io/expires"
DEBUG_POD = "node-terminal-"
SHELL = [
    "/bin/sh",
    "-c",
    "TERM=xterm-256color; export TERM; if [ -x /bin/bash ]; then exec /bin/bash; else exec /bin/sh; fi",
]
NODE_SHELL = ["chroot", "/host", *SHELL]
POD_SECONDS = 60.0
STARTING = "starting"


def exec_path(namespace: str, pod: str) -> str:
    """The address of exec."""
    return PODS.path(namespace=namespace, name=pod, subresource="exec")


def exec_query(container: str, command: list[str]) -> dict[str, object]:
    """What exec takes for a terminal; with one there is no separate stderr."""
    return {
        "container": container,
        "command": command,
        "stdin": "true",
        "stdout": "true",
        "tty": "true",
    }


@asynccontextmanager
async def open_shell(ticket: Ticket, starting: Callable[[str], None]) -> AsyncIterator[Channels]:
    """The channels of the shell that a ticket is for."""
    async with (
        stream_clients.stream_client(ticket.cluster, ticket.user) as client,
        _shell(client, ticket, starting) as channels,
    ):
        yield channels


@asynccontextmanager
async def _shell(
    client: StreamClient, ticket: Ticket, starting: Callable[[str], None]
) -> AsyncIterator[Channels]:
    options = ticket.options
    if node := options.get("node"):
        async with _debug_pod(
            client, debug_pod_manifest(str(node), ticket.mark, ticket.user), starting
        ) as name:
            query = exec_query("shell", list(options.get("command") or NODE_SHELL))
            async with client.exec(
                exec_path(settings.NODE_TERMINAL_NAMESPACE, name), query
            ) as channels:
                yield channels
        return
    query = exec_query(str(options.get("container") or ""), list(options.get("command") or SHELL))
    async with client.exec(exec_path(ticket.namespace, ticket.name), query) as channels:
        yield channels


# --- nodes ----------------------------------------------------------------------------------------------------------
def debug_pod_manifest(node: str, mark: str, user: int) -> Object:
    """A privileged pod on the node, with its root under /host; the kubelet ends it even if nobody comes to remove it.

    `mark` stands for the session, whose id must not be read from a label.
    """
    expires = datetime.now(UTC) + timedelta(seconds=settings.NODE_TERMINAL_SECONDS)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{DEBUG_POD}{mark[:12]}",
            "namespace": settings.NODE_TERMINAL_NAMESPACE,
            "labels": {LABEL: mark, "app.kubernetes.io/managed-by": "kubegale"},
            "annotations": {EXPIRES: f"{expires:%Y-%m-%dT%H:%M:%SZ}", USER: str(user)},
        },
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "hostIPC": True,
            "hostNetwork": True,
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "activeDeadlineSeconds": settings.NODE_TERMINAL_SECONDS,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "shell",
                    "image": settings.NODE_TERMINAL_IMAGE,
                    "command": ["sleep", str(settings.NODE_TERMINAL_SECONDS)],
                    "securityContext": {"privileged": True},
                    "volumeMounts": [{"name": "host", "mountPath": "/host"}],
                }
            ],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }


@asynccontextmanager
async def _debug_pod(
    client: StreamClient, body: Object, starting: Callable[[str], None]
) -> AsyncIterator[str]:
    """Its name, once it runs; removed at the end, whatever the end is."""
    name = body["metadata"]["name"]
    starting(STARTING)
    try:
        await client.json("POST", PODS.path(namespace=settings.NODE_TERMINAL_NAMESPACE), body=body)
        await _until_running(client, name)
        yield name
    finally:
        await asyncio.shield(_remove(client, name))


async def _until_running(client: StreamClient, name: str) -> None:
    deadline, pause = time.monotonic() + POD_SECONDS, 0.1
    while True:
        pod = await client.json(
            "GET", PODS.path(namespace=settings.NODE_TERMINAL_NAMESPACE, name=name)
        )
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Running":
            return
        if phase in {"Failed", "Succeeded"}:
            raise Rejected(f"the debug pod ended before it could be used: {_reason(pod)}")
        if time.monotonic() > deadline:
            raise ClusterUnavailable(
                f"the debug pod did not start within {POD_SECONDS:.0f} s: {_reason(pod)}",
                reason="timeout",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _reason(pod: Mapping[str, Any]) -> str:
    status = pod.get("status") or {}
    waiting = [
        (each.get("state") or {}).get("waiting") or {}
        for each in status.get("containerStatuses") or []
    ]
    return str(
        next(
            (each["reason"] for each in waiting if each.get("reason")),
            status.get("reason") or status.get("phase") or "unknown",
        )
    )


async def _remove(client: StreamClient, name: str) -> None:
    path = PODS.path(namespace=settings.NODE_TERMINAL_NAMESPACE, name=name)
    for pause in (0.5, 2.0, 0.0):
        try:
            await client.json(
                "DELETE",
                path,
                body={"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0},
            )
        except NotFound:
            return
        except DomainError as error:
            log.warning(
                "a debug pod could not be removed yet", extra={"pod": name, "error": error.message}
            )
            await asyncio.sleep(pause)
        else:
            return
