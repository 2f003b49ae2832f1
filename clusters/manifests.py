"""Kubernetes documents as text: strict JSON or YAML as Kubernetes itself reads it."""

import json
import re
from typing import Any

import yaml

from clusters.yamlreader import (
    BEYOND_64_BITS,
    INT64,
    MAX_DEPTH,
    MAX_NODES,
    STR,
    TIME,
    Parsed,
    check_size,
    is_text,
    parse,
    resolved,
    whole_number,
)
from core.errors import Invalid
from core.jsontext import check_shape, loads

# Empty ones count.
MAX_DOCUMENTS = 1000
# What begins like this is read as JSON alone, as kubectl does it.
JSON = re.compile(r'\ufeff?[ \t\r\n]*\{[ \t\r\n]*"')
BLANK = re.compile(r"[\ufeff \t\r\n]*+")
SCANNER = json.JSONDecoder()
Object = dict[str, Any]


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What stands in answers in place of a secret value.
MASK = "***"


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


def from_yaml(text: str) -> Object:
    """One YAML (or JSON) document as an object; Invalid with line and column when it is not one."""
    documents = [document for document in read(text) if document.value is not None]
    if len(documents) != 1:
        raise Invalid(f"expected one YAML document, found {len(documents)}")
    return as_object(documents[0].value)


def read(text: str, *, places: bool = False) -> list[Parsed]:
    """Every document of a text of at most 1 MiB, `null` ones too; Invalid with line and column where it is none.

    A text that begins like JSON is read as JSON. With `places` it is read as YAML, and each document has its tree, too.
    """
    check_size(text)
    if JSON.match(text) and not places:
        return [Parsed(_json(text))]
    try:
        found: list[Parsed] = []
        for document in parse(text, places=places):
            found.append(document)
            if len(found) > MAX_DOCUMENTS:
                raise Invalid(f"the text has more than {MAX_DOCUMENTS} documents")
        return found
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise Invalid(f"not valid YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"not valid YAML: {str(error).splitlines()[0][:200]}") from None


def placed(text: str) -> list[Parsed]:
    """Every document with its tree, `null` ones too; raises as the reader does: Invalid for a limit, yaml.YAMLError else."""
    return list(parse(text, places=True))


def _json(text: str) -> Any:
    try:
        raw = text.removeprefix("\ufeff").encode()
    except UnicodeEncodeError:
        raise Invalid("the text holds half of a surrogate pair") from None
    try:
        check_shape(raw, nodes=MAX_NODES)
        # As in YAML, and as kubectl reads it: of a member that stands there twice the last one counts.
        return loads(raw, last_wins=True, what="the text")
    except Invalid as error:
        raise Invalid(error.message.replace("the body", "the text", 1)) from None


def json_stream(text: str) -> list[str]:
    """The texts of JSON objects that stand one after the other; only the text itself when it is no such stream."""
    if not JSON.match(text):
        return [text]
    check_shape(text.encode("utf-8", "surrogatepass"), nodes=MAX_NODES)
    pieces, start = [], 0
    try:
        while (at := BLANK.match(text, start).end()) < len(text):  # type: ignore[union-attr]
            _value, end = SCANNER.raw_decode(text, at)
            pieces.append(text[start:end])
            if len(pieces) > MAX_DOCUMENTS:
                raise Invalid(f"the text has more than {MAX_DOCUMENTS} documents")
            start = end
    except ValueError:
        return [text]
    return pieces


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
        if isinstance(value, str) or value is None:
            return value
        if isinstance(value, dict):
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, depth + 1) for item in value]
        if isinstance(value, float):
            if value != value or value in {float("inf"), float("-inf")}:
                raise Invalid("numbers must be finite")
            return whole_number(value)
        if isinstance(value, int):
            if value not in INT64:
                raise Invalid(BEYOND_64_BITS)
            return value
        raise Invalid(f"{type(value).__name__} values are not allowed")


class _Dumper(yaml.CSafeDumper):
    """YAML that both this module and Kubernetes read back as it was: what either would take for something else than text is quoted."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """What a plain scalar would be read as."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        found = resolved(value)[0]
        return found if found != STR or is_text(value) else TIME


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def to_yaml(value: object, *, sort_keys: bool = False) -> str:
    """A document as YAML text in the order that it has, texts of several lines as blocks; `from_yaml` gives the same document back."""
    return str(
        yaml.dump(
            value,
            Dumper=_Dumper,
            sort_keys=sort_keys,
            allow_unicode=True,
            width=160,
            default_flow_style=False,
        )
    )
