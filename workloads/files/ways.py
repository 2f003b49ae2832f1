"""By which way an image's files are reached, as one process remembers it."""

import time
from collections import OrderedDict
from dataclasses import dataclass

TAR = "tar"
SHELL = "shell"
DEBUG = "debug"
# What every script needs, and what some of them do.
REQUIRED_TOOLS = ("stat", "readlink", "cat", "tail", "mv", "mkdir", "rm", "stat-c")
OTHER_TOOLS = ("tar", "dd", "sha256sum", "find", "wc", "chmod")
# How many images' ways one process remembers, and for how long (seconds).
_REMEMBERED = 512
_FRESH_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Way:
    """How an image's files are reached: tar, shell or debug, and the programs that it has."""

    via: str
    tools: frozenset[str] = frozenset()


# Image -> (when it was tried, way), the latest last.
_ways: "OrderedDict[str, tuple[float, Way]]" = OrderedDict()


def remembered_way(image: str) -> Way | None:
    """The way that was tried not long ago."""
    tried, way = _ways.get(image, (0.0, None))
    return way if way and time.monotonic() - tried < _FRESH_SECONDS else None


def remember_way(image: str, way: Way) -> None:
    """Use the way for the image from now on; the oldest of many goes."""
    _ways.pop(image, None)
    _ways[image] = (time.monotonic(), way)
    while len(_ways) > _REMEMBERED:
        _ways.popitem(last=False)


def forget_way(image: str) -> None:
    """Try the image's ways again next time."""
    _ways.pop(image, None)
