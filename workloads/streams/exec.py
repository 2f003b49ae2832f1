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
    "TERM=xterm-256color; export TERM; "
    "if [ -x /bin/bash ]; then exec /bin/bash; else exec /bin/sh; fi",
]
NODE_SHELL = ["chroot", "/host", *SHELL]
# How long a debug pod may take to start.
POD_SECONDS = 60.0
STARTING = "starting"


def exec_path(namespace: str, pod: str) -> str:
    """The path of a pod's exec subresource."""
    return PODS.path(namespace=namespace, name=pod, subresource="exec")


def exec_query(container: str, command: list[str]) -> dict[str, object]:
    """The query of exec for a terminal; a terminal has no separate stderr."""
    return {
        "container": container,
        "command": command,
        "stdin": "true",
        "stdout": "true",
        "tty": "true",
    }


@asynccontextmanager
async def open_shell(ticket: Ticket, starting: Callable[[str], None]) -> AsyncIterator[Channels]:
    """The channels of the shell that a ticket is for.

    `starting` is called with the state when the shell takes a moment to start.
    """
    async with (
        stream_clients.stream_client(ticket.cluster, ticket.user) as client,
        _exec_channels(client, ticket, starting) as channels,
    ):
        yield channels


@asynccontextmanager
async def _exec_channels(
    client: StreamClient, ticket: Ticket, starting: Callable[[str], None]
) -> AsyncIterator[Channels]:
    options = ticket.options
    command = list(options.get("command") or [])
    if node := options.get("node"):
        manifest = debug_pod_manifest(str(node), ticket.mark, ticket.user)
        async with _debug_pod(client, manifest, starting) as name:
            path = exec_path(settings.NODE_TERMINAL_NAMESPACE, name)
            query = exec_query("shell", command or NODE_SHELL)
            async with client.exec(path, query) as channels:
                yield channels
        return
    path = exec_path(ticket.namespace, ticket.name)
    query = exec_query(str(options.get("container") or ""), command or SHELL)
    async with client.exec(path, query) as channels:
        yield channels


# --- nodes --------------------------------------------------------------------
def is_node_terminal(namespace: str, name: str) -> bool:
    """Whether a pod is the debug pod of a node's terminal, from which one reaches the node."""
    return namespace == settings.NODE_TERMINAL_NAMESPACE and name.startswith(DEBUG_POD)


def debug_pod_manifest(node: str, mark: str, user: int) -> Object:
    """A privileged pod on the node, with the node's root file system under /host.

    Its deadline lets the kubelet end it even if nothing removes it. `mark` is the hash of the
    session's id: the id itself must not be readable from a label.
    """
    expires = datetime.now(UTC) + timedelta(seconds=settings.NODE_TERMINAL_SECONDS)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{DEBUG_POD}{mark[:12]}",
            "namespace": settings.NODE_TERMINAL_NAMESPACE,
            "labels": {
                LABEL: mark,
                "app.kubernetes.io/managed-by": "kubegale",
            },
            "annotations": {
                EXPIRES: f"{expires:%Y-%m-%dT%H:%M:%SZ}",
                USER: str(user),
            },
        },
        "spec": {
            # Bypasses the scheduler, so that it runs on cordoned and full nodes too.
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
                    "command": [
                        "sleep",
                        str(settings.NODE_TERMINAL_SECONDS),
                    ],
                    "securityContext": {"privileged": True},
                    "volumeMounts": [{"name": "host", "mountPath": "/host"}],
                }
            ],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }


@asynccontextmanager
async def _debug_pod(
    client: StreamClient, manifest: Object, starting: Callable[[str], None]
) -> AsyncIterator[str]:
    """The debug pod's name once it runs; it is deleted at the end in any case."""
    name = manifest["metadata"]["name"]
    starting(STARTING)
    try:
        path = PODS.path(namespace=settings.NODE_TERMINAL_NAMESPACE)
        await client.json("POST", path, body=manifest)
        await _wait_until_running(client, name)
        yield name
    finally:
        # Shielded: the task is cancelled when its client leaves, and the pod must go then too.
        await asyncio.shield(_delete_pod(client, name))


async def _wait_until_running(client: StreamClient, name: str) -> None:
    """Rejected when the pod ends at once, ClusterUnavailable when it does not start in time."""
    deadline = time.monotonic() + POD_SECONDS
    pause = 0.1
    path = PODS.path(namespace=settings.NODE_TERMINAL_NAMESPACE, name=name)
    while True:
        pod = await client.json("GET", path)
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Running":
            return
        if phase in {"Failed", "Succeeded"}:
            raise Rejected(f"the debug pod ended before it could be used: {_pod_reason(pod)}")
        if time.monotonic() > deadline:
            raise ClusterUnavailable(
                f"the debug pod did not start within {POD_SECONDS:.0f} s: {_pod_reason(pod)}",
                reason="timeout",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _pod_reason(pod: Mapping[str, Any]) -> str:
    """Why the pod does not run, such as ErrImagePull."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    return str(status.get("reason") or status.get("phase") or "unknown")


async def _delete_pod(client: StreamClient, name: str) -> None:
    """Delete the debug pod, in three tries; `debug_pod_gc` finds what is left."""
    path = PODS.path(namespace=settings.NODE_TERMINAL_NAMESPACE, name=name)
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
    }
    for pause in (0.5, 2.0, 0.0):
        try:
            await client.json("DELETE", path, body=options)
        except NotFound:
            return
        except DomainError as error:
            log.warning(
                "a debug pod could not be removed yet",
                extra={"pod": name, "error": error.message},
            )
            await asyncio.sleep(pause)
        else:
            return
