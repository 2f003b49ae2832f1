"""What containers do: whether they run on or end, with which exit code, and what they print."""

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache

from simcluster.resources import Object
from simcluster.shell import FileSystem, Shell, Sleep, Write
from simcluster.shell.interpreter import endless

_SHELL_IMAGES = (
    "busybox",
    "alpine",
    "ubuntu",
    "debian",
    "bash",
    "python",
    "node",
    "fedora",
    "centos",
)
_ANNOTATION = "simcluster.dev/"
_BRIEF = 0.2
_FOREVER = 7 * 86400.0
_MOST_STEPS = 400


@dataclass(frozen=True)
class Program:
    """A container's life: after `seconds` it ends with `exit_code`; None means that it runs on.

    `output` are the lines with their second; a program that runs on says them again every `period` seconds.
    """

    seconds: float | None = None
    exit_code: int = 0
    reason: str = ""
    output: tuple[tuple[float, str], ...] = ()
    period: float = 0.0
    scripted: bool = False


def image_name(image: str) -> str:
    """The last part of an image's name: `nginx` of `docker.io/library/nginx:1.27`."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def missing(image: str, pod: Object) -> bool:
    """Whether the registry does not have the image: a tag or name that says so, or the pod's annotation."""
    tag = image.rpartition("/")[2].partition(":")[2]
    name = image_name(image)
    told = (pod["metadata"].get("annotations") or {}).get(_ANNOTATION + "missing-images", "")
    return (
        "does-not-exist" in image
        or "nonexistent" in image
        or tag in ("missing", "no-such-tag")
        or name in told.split(",")
    )


def start_delay(pod: Object, container: Object) -> float:
    """Seconds that pulling and starting take: the same for the same pod."""
    return 0.4 + zlib.crc32(f"{pod['metadata'].get('uid')}/{container['name']}".encode()) % 80 / 100


def program_of(pod: Object, container: Object) -> Program:
    """The life of a container: its annotations, its command, or the habits of its image decide."""
    told = _told(pod, container)
    if told is not None:
        return told
    argv = [
        str(word) for word in [*(container.get("command") or ()), *(container.get("args") or ())]
    ]
    shell_image = image_name(container.get("image", "")) in _SHELL_IMAGES
    if argv and (container.get("command") or shell_image):
        literal = {
            one["name"]: one["value"] for one in container.get("env") or () if "value" in one
        }
        env = {"HOSTNAME": pod["metadata"]["name"], **literal}
        return _foretold(tuple(argv), tuple(env.items()))
    if shell_image:
        return Program(_BRIEF)
    if image_name(container.get("image", "")) == "hello-world":
        return Program(_BRIEF, output=((0.0, "Hello from Docker!"),))
    return Program()


def _told(pod: Object, container: Object) -> Program | None:
    notes = pod["metadata"].get("annotations") or {}
    if notes.get(_ANNOTATION + "oom-after"):
        return Program(float(notes[_ANNOTATION + "oom-after"]), 137, "OOMKilled")
    if notes.get(_ANNOTATION + "crash-after"):
        return Program(float(notes[_ANNOTATION + "crash-after"]), 1, "Error")
    return None


@lru_cache(maxsize=2000)
def _foretold(argv: tuple[str, ...], env: tuple[tuple[str, str], ...]) -> Program:
    """Run a container's command in the tiny shell with time in fast motion; what goes on too long runs on."""
    run = Shell(FileSystem(), dict(env), unknown=endless).execute(
        [_expanded(word, dict(env)) for word in argv]
    )
    output: list[tuple[float, str]] = []
    now, answer = 0.0, None
    for _ in range(_MOST_STEPS):
        try:
            effect = run.send(answer)
        except StopIteration as ended:
            return Program(max(now, _BRIEF), int(ended.value), output=tuple(output), scripted=True)
        answer = None
        if isinstance(effect, Sleep):
            now += effect.seconds
            if now > _FOREVER:
                return Program(output=tuple(output), scripted=True)
        elif isinstance(effect, Write):
            text = effect.data.decode(errors="replace").removesuffix("\n")
            output += [(now, line) for line in text.split("\n")]
        else:
            answer = b""
    return Program(output=tuple(output), period=max(now, 1.0), scripted=True)


def _expanded(word: str, env: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: env.get(found.group(1), found.group()), word)
