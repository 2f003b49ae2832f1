"""Debug containers: `kubectl debug -it POD --image=… --target=…`.

An ephemeral container is added to a pod and stays until the pod goes.
"""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from clusters.manifests import Object
from core.errors import ClusterUnavailable, Forbidden, Invalid, Rejected
from workloads.objects.object_ref import ObjectRef
from workloads.streams.containers import FINISHED, container_status

SUBRESOURCE = "ephemeralcontainers"
PREFIX = "debugger-"
# kubectl's alphabet for the ends of names: no vowels, so that no words come about.
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}\Z")
MAX_COMMAND = 8 * 1024
# kubectl's profiles, without those that take the node's network or all capabilities.
PROFILES = ("general", "baseline", "restricted")
START_SECONDS = 30.0
# The kubelet tries these again, but nobody who waits wants to see how often.
HOPELESS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerError",
        "CreateContainerConfigError",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class DebugOptions:
    """What to start: `target` is the container whose processes it sees, "" for none."""

    image: str
    target: str = ""
    command: Sequence[str] = ()
    profile: str = "general"
    dry_run: bool = False


def check_options(options: DebugOptions) -> None:
    """Invalid for what cannot be started, Forbidden for an image that DEBUG_IMAGES does not have.

    Asks no cluster.
    """
    if not options.image:
        raise Invalid("image is required", field="image")
    if not IMAGE.match(options.image):
        raise Invalid("image must be the name of an image, as in a pod", field="image")
    if options.profile not in PROFILES:
        raise Invalid(f"profile must be one of {', '.join(PROFILES)}", field="profile")
    if any("\x00" in part for part in options.command):
        raise Invalid("command: an argument must not contain NUL", field="command")
    if sum(len(part.encode()) + 1 for part in options.command) > MAX_COMMAND:
        raise Invalid(f"command is longer than {MAX_COMMAND // 1024} KiB", field="command")
    check_image(options.image)


def check_image(image: str) -> None:
    """Forbidden for an image that DEBUG_IMAGES does not have."""
    patterns = settings.DEBUG_IMAGES
    if patterns and not any(image_matches(image, pattern) for pattern in patterns):
        raise Forbidden(
            f"image {image[:512]} is not among the images for debugging: {', '.join(patterns)}"
        )


def image_matches(image: str, pattern: str) -> bool:
    """Whether the image fits: `*` is anything but a slash, `**` anything."""
    # A lone star stops at a slash, else `busybox*` would let in busybox.example.com/anything.
    parts = [
        {"**": ".*", "*": "[^/]*"}.get(part, re.escape(part))
        for part in re.split(r"(\*\*|\*)", pattern)
    ]
    return re.fullmatch("".join(parts), image) is not None


def start(ref: ObjectRef, options: DebugOptions) -> dict[str, Any]:
    """Add the container and wait until it runs.

    {"name", "namespace", "container", "image", "target", "state", "dry_run"}. Invalid for a target
    that the pod does not have; Rejected when the pod has ended or the container cannot start;
    ClusterUnavailable when it does not run within START_SECONDS.
    """
    pod = ref.read()
    _check_pod(pod, options)
    container = PREFIX + "".join(secrets.choice(NAME_LETTERS) for _ in range(5))
    body = {"spec": {"ephemeralContainers": [build_container(container, options)]}}
    ref.patch(body, patch="strategic", subresource=SUBRESOURCE, dry_run=options.dry_run)
    answer = {
        "name": ref.name,
        "namespace": ref.namespace,
        "container": container,
        "image": options.image,
        "target": options.target,
        "state": "running",
        "dry_run": options.dry_run,
    }
    if options.dry_run:
        return answer | {"state": "waiting"}
    _wait_until_running(ref, container)
    return answer


def _check_pod(pod: Object, options: DebugOptions) -> None:
    if pod["metadata"].get("deletionTimestamp"):
        raise Rejected("the pod is being deleted")
    phase = (pod.get("status") or {}).get("phase")
    if phase in FINISHED:
        raise Rejected(f"the pod has ended ({phase}): no container starts in it any more")
    spec = pod["spec"]
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    names = [container["name"] for container in containers]
    if options.target and options.target not in names:
        raise Invalid(
            f"target {options.target[:100]!r} is no container of the pod, "
            f"which has {', '.join(names)}",
            field="target",
        )


def build_container(name: str, options: DebugOptions) -> dict[str, Any]:
    """The ephemeral container, as `kubectl debug -it` makes it."""
    container: dict[str, Any] = {
        "name": name,
        "image": options.image,
        "stdin": True,
        "tty": True,
        "terminationMessagePolicy": "File",
    }
    if options.command:
        container["command"] = list(options.command)
    if options.target:
        container["targetContainerName"] = options.target
    if options.profile == "general":
        # strace and gdb need it to look into the target's processes.
        container["securityContext"] = {"capabilities": {"add": ["SYS_PTRACE"]}}
    elif options.profile == "restricted":
        container["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    return container


def _wait_until_running(ref: ObjectRef, container: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    pause = 0.1
    while True:
        status = container_status(ref.read(), container)
        if status.state == "running":
            return
        if status.state == "ended":
            reason = status.reason or "the pod has ended"
            raise Rejected(f"container {container} ended at once: {reason}")
        if status.reason in HOPELESS:
            raise Rejected(f"container {container} does not start: {status.reason}")
        if time.monotonic() > deadline:
            because = f" ({status.reason})" if status.reason else ""
            raise ClusterUnavailable(
                f"container {container} does not run after {START_SECONDS:.0f} seconds{because}; "
                "it may still start",
                reason="timeout",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
