"""Reading requests: the path as resource, namespace and name; bodies; what the client accepts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote

import orjson
import yaml

from simcluster import decoding, protobuf
from simcluster.authentication import Attributes
from simcluster.errors import ApiError, bad_request
from simcluster.resources import Object, Resource, ResourceTable

BODY_LIMIT = 3 * 1024 * 1024
JSON = "application/json"
YAML = "application/yaml"
MAX_YAML_DEPTH = 200
MAX_YAML_NODES = 1_000_000
_IMPLICIT = ("bool", "merge", "null")


@dataclass(frozen=True)
class Target:
    """What a path points at."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    all_namespaces: bool = False

    def attributes(self, verb: str) -> Attributes:
        """The request as authorization sees it."""
        return Attributes(
            verb,
            self.resource.group,
            self.resource.plural,
            self.subresource,
            self.namespace,
            self.name,
        )

    @property
    def scope(self) -> str | None:
        """The namespace to list; None for all."""
        return None if self.all_namespaces or not self.resource.namespaced else self.namespace


def parse_path(raw_path: str, table: ResourceTable) -> Target | None:
    """The target of a resource path; None when nothing is served there."""
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        group = ""
        version = parts[1]
        rest = parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group = parts[1]
        version = parts[2]
        rest = parts[3:]
    else:
        return None
    if rest[0] == "namespaces" and len(rest) >= 3:
        resource = table.find(group, version, rest[2])
        # `namespaces/NAME/finalize` has the same form, but names a namespace.
        if resource is not None and resource.namespaced:
            return _target(resource, rest[2:], namespace=rest[1])
    resource = table.find(group, version, rest[0])
    # All namespaces can be listed and watched, never addressed by name.
    if resource is None or (resource.namespaced and len(rest) > 1):
        return None
    return _target(resource, rest)


def _target(resource: Resource, rest: list[str], *, namespace: str | None = None) -> Target:
    name = rest[1] if len(rest) > 1 else ""
    subresource = "/".join(rest[2:])
    everywhere = resource.namespaced and namespace is None
    owner = name if resource.storage == "namespaces" and name else namespace or ""
    return Target(
        resource,
        namespace=owner if resource.namespaced else "",
        name=name,
        subresource=subresource,
        all_namespaces=everywhere,
    )


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """The API verb of a request."""
    if method in ("GET", "HEAD"):
        if is_true(query.get("watch")):
            return "watch"
        return "get" if target.name else "list"
    if method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, method.lower())


def is_true(text: str | None) -> bool:
    """A boolean query parameter."""
    return text in ("1", "true", "True")


def integer(query: Mapping[str, str], name: str) -> int | None:
    """A numeric query parameter; 400 when it is not a number."""
    text = query.get(name)
    if text in (None, ""):
        return None
    try:
        return int(str(text))
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def parse_body(raw: bytes, content_type: str) -> Any:
    """The decoded body of a write: JSON, YAML or protobuf; 400 when broken, 415 otherwise."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/yaml", "application/apply-patch+yaml", "text/yaml"):
        return _yaml(raw)
    if kind in ("", JSON) or kind.endswith("+json"):
        return _json(raw)
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode(raw)
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {YAML}, {protobuf.MEDIA_TYPE}"
    )
    raise ApiError(415, "UnsupportedMediaType", message, details={})


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain scalars as Kubernetes reads them: `1e3` is a number; `1:30`, `=` and dates are text."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {
        first: [(tag, form) for tag, form in resolvers if tag.rpartition(":")[2] in _IMPLICIT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _decimal(loader: Any, node: Any) -> Any:
    """An `int` or `float` that is no number of base 60, which takes quadratic time to build."""
    if ":" in str(node.value):
        raise ValueError(f"{str(node.value)[:80]!r} is not a number")
    of_tag = {"int": yaml.SafeLoader.construct_yaml_int}
    kind = node.tag.rpartition(":")[2]
    return of_tag.get(kind, yaml.SafeLoader.construct_yaml_float)(loader, node)


for _kind, _form in (
    ("int", r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}",
        re.compile(f"^(?:{_form})$"),
        list("-+.0123456789"),
    )
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _decimal)


def _yaml(raw: bytes) -> Any:
    try:
        _check_expansion(raw, _Loader)
        document = yaml.load(raw, Loader=_Loader)  # noqa: S506
        # Dates and other types of YAML become the texts that JSON has for them.
        plain = orjson.loads(orjson.dumps(document, default=str))
        return decoding.whole_numbers(plain)
    except (
        *(yaml.YAMLError, orjson.JSONEncodeError, ValueError, RecursionError),
        # What PyYAML raises for scalars that do not fit the tag they name.
        *(ArithmeticError, AttributeError, LookupError),
    ) as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def _check_expansion(raw: bytes, loader: Any) -> None:
    """ValueError for a document that is too deep, or that its aliases make far larger."""
    sizes: dict[str, int] = {}
    # For each open collection: its anchor, and its nodes so far with aliases written out.
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]

    def add(count: int) -> None:
        anchor, before = open_nodes[-1]
        if before + count > MAX_YAML_NODES:
            raise ValueError("document contains excessive aliasing")
        open_nodes[-1] = (anchor, before + count)

    for event in yaml.parse(raw, Loader=loader):
        match event:
            case yaml.AliasEvent():
                add(sizes.get(event.anchor or "", 1))
            case yaml.ScalarEvent():
                if event.anchor:
                    sizes[event.anchor] = 1
                add(1)
            case yaml.CollectionStartEvent():
                if len(open_nodes) > MAX_YAML_DEPTH:
                    raise ValueError("exceeded max depth")
                open_nodes.append((event.anchor, 1))
            case yaml.CollectionEndEvent():
                anchor, count = open_nodes.pop()
                if anchor:
                    sizes[anchor] = count
                add(count)


@dataclass(frozen=True)
class Accepted:
    """How to answer: plain, as a Table, or as metadata only; in JSON or YAML."""

    form: str = ""
    yaml: bool = False

    @property
    def partial(self) -> bool:
        """Whether only metadata was asked for."""
        return self.form.startswith("PartialObjectMetadata")


def accepted(header: str) -> Accepted:
    """The first offer of an Accept header that we can meet; 406 when there is none."""
    if not header:
        return Accepted()
    for offer in header.split(","):
        kind, *parameters = (part.strip() for part in offer.split(";"))
        values = dict(part.partition("=")[::2] for part in parameters)
        if kind in (
            JSON,
            YAML,
            "*/*",
            "application/*",
            "text/html",
            "text/*",
            "application/xhtml+xml",
        ):
            form = values.get("as", "")
            if form and (
                values.get("g") != "meta.k8s.io" or values.get("v") != "v1" or form not in _FORMS
            ):
                continue
            return Accepted(form, yaml=kind == YAML)
    message = "only the following media types are accepted: application/json, application/yaml"
    raise ApiError(406, "NotAcceptable", message, details={})


_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def delete_options(raw: bytes, content_type: str, query: Mapping[str, str]) -> Object:
    """DeleteOptions out of the body or of the query."""
    body = parse_body(raw, content_type) if raw.strip() else {}
    options: Object = body if isinstance(body, dict) else {}
    if query.get("propagationPolicy"):
        options.setdefault("propagationPolicy", query["propagationPolicy"])
    grace = integer(query, "gracePeriodSeconds")
    if grace is not None:
        options.setdefault("gracePeriodSeconds", grace)
    return options
