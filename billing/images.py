"""References to container images, as the document and Docker write them."""

import re
from dataclasses import dataclass

from core.errors import Invalid

PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z"
)
HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(?::[0-9]{1,5})?\Z"
)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
DIGEST = re.compile(r"sha256:[a-f0-9]{64}\Z")
BAD_FORMAT = "image format not allow.Format: image:tag"
HUB = frozenset({"docker.io", "index.docker.io"})
LONGEST = 255


@dataclass(frozen=True, slots=True)
class Image:
    """A repository at a registry; the registry is "" for the configured one."""

    registry: str
    repository: str


def _split(name: str) -> tuple[str, str]:
    """(registry, path): a first component with a dot or colon, or `localhost`, is a registry."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ("", rest) if first in HUB else (first, rest)
    return "", name


def parse(name: object) -> Image:
    """An image without tag or digest; Invalid, in the document's words, when it is none."""
    if not isinstance(name, str) or not name or len(name) > LONGEST:
        raise Invalid(BAD_FORMAT)
    registry, path = _split(name)
    if not PATH.match(path) or (registry and not HOST.match(registry)):
        raise Invalid(BAD_FORMAT)
    return Image(registry, path if registry or "/" in path else f"library/{path}")


def check_tag(tag: object) -> str:
    """The tag; Invalid, in the document's words, when it is none."""
    if not isinstance(tag, str) or not TAG.match(tag):
        raise Invalid(BAD_FORMAT)
    return tag


def split_reference(reference: str) -> tuple[str, str]:
    """(image, tag) of `image`, `image:tag` or `image@sha256:…`; Invalid when it is none."""
    name, at, digest = reference.partition("@")
    if at and not DIGEST.match(digest):
        raise Invalid(BAD_FORMAT)
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon:
        check_tag(tag)
    image = f"{head}{slash}{last}"
    parse(image)
    return image, digest or tag or "latest"
