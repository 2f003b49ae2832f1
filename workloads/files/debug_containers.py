"""Debug containers, from which the files of a container without a shell are reached."""

import asyncio
import time
import uuid
from typing import Any

from django.conf import settings

from clusters.kinds import KINDS
from clusters.manifests import Object
from core.errors import ClusterUnavailable, DomainError, Forbidden, Rejected
from workloads.files.containers import Container
from workloads.files.ways import DEBUG, REQUIRED_TOOLS, Way
from workloads.streams.containers import all_containers

PODS = KINDS["pods"]
DEBUG_PREFIX = "kubegale-files-"
# The target's root, seen from a container that shares its processes.
TARGET_ROOT = "/proc/1/root"


async def attach_debugger(container: Container, pod: Object) -> None:
    """Run scripts in a debug container from now on; it is started when none of ours runs.

    Rejected where none can be started, or its image lacks what the scripts need.
    """
    if pod["spec"].get("shareProcessNamespace"):
        # There process 1 is the pod's own pause container.
        raise Rejected(
            f"container {container.name} has neither tar nor a shell, and its pod shares process "
            "namespaces, so a debug container cannot tell its files apart",
            reason="NoTools",
        )
    if not settings.FILES_DEBUG_IMAGE:
        raise Rejected(
            f"container {container.name} has neither tar nor a shell with stat and readlink, and "
            "debug containers are off (FILES_DEBUG_IMAGE)",
            reason="NoTools",
        )
    name = _running_debugger(pod, container.name)
    if not name:
        name = f"{DEBUG_PREFIX}{uuid.uuid4().hex[:8]}"
        await _start_debugger(container, pod, name)
    container.exec_name = name
    container.root = TARGET_ROOT
    tools = await container.probe()
    missing = [tool for tool in REQUIRED_TOOLS if tool not in tools]
    if missing:
        raise Rejected(
            f"container {container.name} has neither tar nor a shell, and the debug image "
            f"{settings.FILES_DEBUG_IMAGE} lacks {', '.join(missing)}",
            reason="NoTools",
        )
    container.way = Way(DEBUG, tools)


def _running_debugger(pod: Object, target: str) -> str:
    """The name of a debug container of ours that runs beside the target; "" without one."""
    statuses = (pod.get("status") or {}).get("ephemeralContainerStatuses") or []
    running = {entry["name"] for entry in statuses if "running" in (entry.get("state") or {})}
    for entry in pod["spec"].get("ephemeralContainers") or []:
        is_ours = entry["name"].startswith(DEBUG_PREFIX)
        if is_ours and entry.get("targetContainerName") == target and entry["name"] in running:
            return str(entry["name"])
    return ""


def _debug_manifest(pod: Object, target: str, name: str, *, is_restricted: bool) -> dict[str, Any]:
    """An ephemeral container that sees the target's processes.

    It runs as the target's user where the pod names one: another user may not follow
    /proc/1/root without SYS_PTRACE, which restricted namespaces refuse.
    """
    entry = next(item for item in all_containers(pod) if item["name"] == target)
    contexts = ((pod["spec"].get("securityContext") or {}), (entry.get("securityContext") or {}))
    security: dict[str, Any] = {}
    for context in contexts:
        security |= {
            key: context[key]
            for key in ("runAsUser", "runAsGroup", "runAsNonRoot")
            if key in context
        }
    if is_restricted:
        security |= {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    else:
        security["capabilities"] = {"add": ["SYS_PTRACE"]}
    return {
        "name": name,
        "image": settings.FILES_DEBUG_IMAGE,
        "command": ["sleep", str(settings.FILES_DEBUG_SECONDS)],
        "targetContainerName": target,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": security,
    }


async def _start_debugger(container: Container, pod: Object, name: str) -> None:
    path = PODS.path(
        namespace=container.namespace, name=container.pod, subresource="ephemeralcontainers"
    )

    async def add(*, is_restricted: bool) -> None:
        manifest = _debug_manifest(pod, container.name, name, is_restricted=is_restricted)
        body = {"spec": {"ephemeralContainers": [manifest]}}
        await container.client.json(
            "PATCH", path, body=body, content_type="application/strategic-merge-patch+json"
        )

    try:
        await add(is_restricted=False)
    except Forbidden as error:
        if "PodSecurity" not in error.message:
            raise
        await add(is_restricted=True)
    await _wait_until_running(container, name)


async def _wait_until_running(container: Container, name: str) -> None:
    path = PODS.path(namespace=container.namespace, name=container.pod)
    deadline = time.monotonic() + settings.FILES_DEBUG_START_SECONDS
    pause = 0.1
    while True:
        pod = await container.client.json("GET", path)
        statuses = (pod.get("status") or {}).get("ephemeralContainerStatuses") or []
        state: dict[str, Any] = {}
        for entry in statuses:
            if entry["name"] == name:
                state = entry.get("state") or {}
        if "running" in state:
            return
        reason = str((state.get("waiting") or {}).get("reason") or "")
        if "terminated" in state:
            ended = str(state["terminated"].get("reason") or "Completed")
            raise _no_debugger(container, f"it ended ({ended})")
        if reason in {
            "ErrImagePull",
            "ImagePullBackOff",
            "InvalidImageName",
            "CreateContainerError",
        }:
            raise _no_debugger(container, reason)
        if time.monotonic() > deadline:
            raise ClusterUnavailable(
                "the debug container did not start in time" + (f" ({reason})" if reason else ""),
                reason="timeout",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _no_debugger(container: Container, why: str) -> DomainError:
    return Rejected(
        f"container {container.name} has neither tar nor a shell, and the debug container "
        f"({settings.FILES_DEBUG_IMAGE}) does not run: {why}",
        reason="NoTools",
    )
