"""What containers do: whether they run on or end, with which exit code, and what they print."""

import zlib
from dataclasses import dataclass
from typing import Any

from simcluster.resources import Object

_SHELL_IMAGES = ("busybox", "alpine", "ubuntu", "debian", "bash", "python", "node", "fedora", "centos")
_ANNOTATION = "simcluster.dev/"


@dataclass(frozen=True)
class Program:
    """A container's life: after `seconds` it ends with `exit_code`; None means that it runs on."""

    seconds: float | None = None
    exit_code: int = 0
    reason: str = ""
    output: tuple[tuple[float, str], ...] = ()


def image_name(image: str) -> str:
    """The last part of an image's name: `nginx` of `docker.io/library/nginx:1.27`."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def missing(image: str, pod: Object) -> bool:
    """Whether the registry does not have the image: a tag or name that says so, or the pod's annotation."""
    tag = image.rpartition("/")[2].partition(":")[2]
    name = image_name(image)
    told = (pod["metadata"].get("annotations") or {}).get(_ANNOTATION + "missing-images", "")
    return "does-not-exist" in image or "nonexistent" in image or tag in ("missing", "no-such-tag") or name in told.split(",")


def start_delay(pod: Object, container: Object) -> float:
    """Seconds that pulling and starting take: the same for the same pod."""
    return 0.4 + zlib.crc32(f"{pod['metadata'].get('uid')}/{container['name']}".encode()) % 80 / 100


def program_of(pod: Object, container: Object) -> Program:
    """The life of a container: its annotations, its command, or the habits of its image decide."""
    told = _told(pod, container)
    if told is not None:
        return told
    argv: list[Any] = [*(container.get("command") or ()), *(container.get("args") or ())]
    if container.get("command"):
        return _command([str(word) for word in argv])
    if image_name(container.get("image", "")) in _SHELL_IMAGES:
        return _command([str(word) for word in argv]) if argv else Program(0.2)
    if image_name(container.get("image", "")) == "hello-world":
        return Program(0.3, output=((0.0, "Hello from Docker!"),))
    return Program()


def _told(pod: Object, container: Object) -> Program | None:
    notes = pod["metadata"].get("annotations") or {}
    if notes.get(_ANNOTATION + "oom-after"):
        return Program(float(notes[_ANNOTATION + "oom-after"]), 137, "OOMKilled")
    if notes.get(_ANNOTATION + "crash-after"):
        return Program(float(notes[_ANNOTATION + "crash-after"]), 1, "Error")
    return None


def _command(argv: list[str]) -> Program:
    name = argv[0].rpartition("/")[2]
    if name in ("true", "echo"):
        return Program(0.2, output=((0.0, " ".join(argv[1:])),) if name == "echo" else ())
    if name == "false":
        return Program(0.2, 1, "Error")
    return Program()
