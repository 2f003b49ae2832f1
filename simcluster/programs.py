"""What containers do: whether they run on or end, with which exit code, and what they print."""

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache

from simcluster.objects import get_annotations
from simcluster.resources import Object
from simcluster.shell import FileSystem, Run, Shell, Sleep, Write, make_shell

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

    `output` are the lines with their second; a program that runs on prints them again every
    `period` seconds.
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
    """Whether the image cannot be pulled: its tag, name or the pod's annotation says so."""
    tag = image.rpartition("/")[2].partition(":")[2]
    name = image_name(image)
    annotations = get_annotations(pod)
    missing_images = annotations.get(_ANNOTATION + "missing-images", "").split(",")
    return (
        "does-not-exist" in image
        or "nonexistent" in image
        or tag in ("missing", "no-such-tag")
        or name in missing_images
    )


def start_delay(pod: Object, container: Object) -> float:
    """Seconds that pulling and starting take: the same for the same pod."""
    key = f"{pod['metadata'].get('uid')}/{container['name']}"
    return 0.4 + zlib.crc32(key.encode()) % 80 / 100


def program_of(pod: Object, container: Object) -> Program:
    """The life of a container: its annotations, its command, or the habits of its image decide."""
    annotated = _annotated_program(pod)
    if annotated is not None:
        return annotated
    command = container.get("command") or ()
    argv = [str(word) for word in (*command, *(container.get("args") or ()))]
    shell_image = image_name(container.get("image", "")) in _SHELL_IMAGES
    # Arguments alone go to the image's own program, which only shell images tell us of.
    if argv and (command or shell_image):
        env = {"HOSTNAME": pod["metadata"]["name"]}
        for variable in container.get("env") or ():
            if "value" in variable:
                env[variable["name"]] = variable["value"]
        return _run_ahead(tuple(argv), tuple(env.items()))
    if shell_image:
        return Program(_BRIEF)
    if image_name(container.get("image", "")) == "hello-world":
        return Program(_BRIEF, output=((0.0, "Hello from Docker!"),))
    return Program()


def _annotated_program(pod: Object) -> Program | None:
    annotations = get_annotations(pod)
    oom_after = annotations.get(_ANNOTATION + "oom-after")
    if oom_after:
        # 137 is 128 + SIGKILL.
        return Program(float(oom_after), 137, "OOMKilled")
    crash_after = annotations.get(_ANNOTATION + "crash-after")
    if crash_after:
        return Program(float(crash_after), 1, "Error")
    return None


def _run_on(shell: Shell, argv: list[str]) -> Run:
    """A program that the shell does not know is taken for a server: it runs on."""
    while True:
        yield Sleep(float("inf"))


@lru_cache(maxsize=2000)
def _run_ahead(argv: tuple[str, ...], env: tuple[tuple[str, str], ...]) -> Program:
    """Run a command in the tiny shell in fast motion; one that goes on too long runs on."""
    variables = dict(env)
    shell = make_shell(FileSystem(), dict(env), unknown=_run_on)
    run = shell.execute([_expanded(word, variables) for word in argv])
    output: list[tuple[float, str]] = []
    now = 0.0
    answer: bytes | None = None
    for _ in range(_MOST_STEPS):
        try:
            effect = run.send(answer)
        except StopIteration as end:
            seconds = max(now, _BRIEF)
            return Program(seconds, int(end.value), output=tuple(output), scripted=True)
        answer = None
        if isinstance(effect, Sleep):
            now += effect.seconds
            if now > _FOREVER:
                return Program(output=tuple(output), scripted=True)
        elif isinstance(effect, Write):
            text = effect.data.decode(errors="replace").removesuffix("\n")
            output += [(now, line) for line in text.split("\n")]
        else:
            # A container without `stdin: true` reads the end of its input.
            answer = b""
    # So much output can only come from a loop: it is repeated from its start.
    return Program(output=tuple(output), period=max(now, 1.0), scripted=True)


def _expanded(word: str, env: dict[str, str]) -> str:
    """`$(NAME)` in commands and arguments, as the kubelet expands it; unknown names stay."""

    def replace(reference: re.Match[str]) -> str:
        return env.get(reference.group(1), reference.group())

    return re.sub(r"\$\((\w+)\)", replace, word)
