"""Which container is meant, and by which way its files are reached."""

import posixpath

from django.conf import settings

from clusters.manifests import Object
from clusters.streams import StreamClient
from core.errors import Invalid
from workloads.files.containers import Confirm, Container
from workloads.files.debug_containers import attach_debugger
from workloads.files.failures import not_running
from workloads.files.ways import (
    DEBUG,
    REQUIRED_TOOLS,
    SHELL,
    TAR,
    Way,
    remember_way,
    remembered_way,
)
from workloads.streams.containers import (
    GROUPS,
    all_containers,
    container_status,
    select_containers,
)


async def find_container(
    client: StreamClient,
    pod: Object,
    name: str,
    confirm_debug: Confirm,
) -> Container:
    """The container of the pod that `name` means, and the way to its files.

    `confirm_debug` raises Forbidden when the caller may not start a debug container. Invalid when
    the pod has several containers and none is named, Rejected when it does not run.
    """
    chosen = _choose(pod, name)
    status = container_status(pod, chosen)
    if status.state != "running":
        raise not_running(chosen, status.reason or status.state)
    container = Container(
        client,
        pod["metadata"]["namespace"],
        pod["metadata"]["name"],
        chosen,
        Way(SHELL),
        exec_name=chosen,
        denied=(*settings.FILES_DENY, *_token_paths(pod, chosen)),
        image=_image(pod, chosen),
    )
    way = remembered_way(container.image) or await _try_ways(container)
    container.way = way
    if way.via == DEBUG:
        await confirm_debug()
        await attach_debugger(container, pod)
    return container


def _choose(pod: Object, name: str) -> str:
    regular = [container["name"] for container in pod["spec"].get("containers") or []]
    if not name and len(regular) > 1:
        raise Invalid(
            f"container is required: pod {pod['metadata']['name']} has {', '.join(regular)}",
            field="container",
        )
    if name == "*":
        raise Invalid("container must name one container", field="container")
    return select_containers(pod, [name] if name else [])[0]


def _token_paths(pod: Object, name: str) -> list[str]:
    """Where tokens of service accounts are mounted besides their usual place."""
    if not settings.FILES_DENY:
        return []
    volumes = {
        volume["name"]
        for volume in pod["spec"].get("volumes") or []
        for source in (volume.get("projected") or {}).get("sources") or []
        if "serviceAccountToken" in source
    }
    entry = next(item for item in all_containers(pod) if item["name"] == name)
    mounts = entry.get("volumeMounts") or []
    return [posixpath.normpath(mount["mountPath"]) for mount in mounts if mount["name"] in volumes]


def _image(pod: Object, name: str) -> str:
    """What the way is remembered under: the image's digest, or the pod's own where none is known.

    A user that cannot run `sh` in one pod of an image cannot in another either.
    """
    status = pod.get("status") or {}
    for _, statuses in GROUPS:
        for entry in status.get(statuses) or []:
            if entry["name"] == name and entry.get("imageID"):
                return str(entry["imageID"])
    return f"{pod['metadata']['uid']}/{name}"


async def _try_ways(container: Container) -> Way:
    """Look for a shell and its tools; a container without them is reached from beside it."""
    tools = await container.probe()
    if tools.issuperset(REQUIRED_TOOLS):
        way = Way(TAR if "tar" in tools else SHELL, tools)
    else:
        way = Way(DEBUG)
    remember_way(container.image, way)
    return way
