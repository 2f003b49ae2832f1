"""Kubernetes documents as text: strict JSON or YAML as Kubernetes itself reads it."""

import re
from typing import Any

import yaml

from kubegale.errors import Invalid

MAX_NODES = 200_000
MAX_DEPTH = 100
Object = dict[str, Any]


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def pruned(obj: Object) -> Object:
    """The object without managedFields and what kubectl last applied; changes the object given."""
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
        annotations = metadata.get("annotations")
        if (
            isinstance(annotations, dict)
            and annotations.pop(LAST_APPLIED, None) is not None
            and not annotations
        ):
            del metadata["annotations"]
    return obj


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 as Kubernetes' reader takes it: no dates, no base-60 numbers, plain tags only."""


# Kubernetes keeps `2024-01-01` and `1:30` as text; PyYAML would make a date and a number of them.
_Loader.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag
        not in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
    ]
    for letter, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def from_yaml(text: str) -> Object:
    """One YAML (or JSON) document as an object; Invalid with line and column when it is not one."""
    try:
        documents = [
            document for document in yaml.load_all(text, Loader=_Loader) if document is not None
        ]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise Invalid(f"not valid YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"not valid YAML: {str(error).splitlines()[0][:200]}") from None
    if len(documents) != 1:
        raise Invalid(f"expected one YAML document, found {len(documents)}")
    return as_object(documents[0])


def as_object(value: object) -> Object:
    """The value as plain JSON data; Invalid when it is no object, too deep, too large or not finite."""
    if not isinstance(value, dict):
        raise Invalid("a Kubernetes object must be a mapping")
    plain = _Plain().copy(value, 0)
    return plain if isinstance(plain, dict) else {}


class _Plain:
    """Copies data while counting, so that shared YAML anchors cannot blow up."""

    def __init__(self) -> None:
        self.nodes = 0

    def copy(self, value: object, depth: int) -> object:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise Invalid("the document is too deep or too large")
        if isinstance(value, dict):
            return {self.key(key): self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, depth + 1) for item in value]
        if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):
            raise Invalid("numbers must be finite")
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise Invalid(f"{type(value).__name__} values are not allowed")

    @staticmethod
    def key(key: object) -> str:
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, str | int | float):
            return str(key)
        raise Invalid("keys must be text")


class _Dumper(yaml.CSafeDumper):
    """YAML that both this module and Kubernetes read back as it was: what either would take for something else than text is quoted."""


for letter, resolvers in _Loader.yaml_implicit_resolvers.items():
    for tag, pattern in resolvers:
        _Dumper.add_implicit_resolver(tag, pattern, [letter])
# `1e3` is a number to Kubernetes, but text to PyYAML, which would write it without quotes.
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*([eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def to_yaml(value: object) -> str:
    """A document as YAML text in the order that it has, texts of several lines as blocks; `from_yaml` gives the same document back."""
    return str(
        yaml.dump(
            value,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=160,
            default_flow_style=False,
        )
    )
