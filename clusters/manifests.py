"""Kubernetes manifests as text: strict JSON, or YAML as Kubernetes itself reads it."""

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
    resolve_scalar,
    whole_number,
)
from core.errors import Invalid
from core.jsontext import check_shape, loads

# Empty ones count.
MAX_DOCUMENTS = 1000
# A text that begins like this is read as JSON alone, as kubectl does it.
JSON = re.compile(r'\ufeff?[ \t\r\n]*\{[ \t\r\n]*"')
BLANK = re.compile(r"[\ufeff \t\r\n]*+")
SCANNER = json.JSONDecoder()
Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What stands in answers in place of a secret value.
MASK = "***"


def prune(obj: Object) -> Object:
    """The same object, changed in place: without managedFields and what kubectl last applied."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    metadata.pop("managedFields", None)
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        last_applied = annotations.pop(LAST_APPLIED, None)
        if last_applied is not None and not annotations:
            del metadata["annotations"]
    return obj


def from_yaml(text: str) -> Object:
    """The one YAML (or JSON) document of a text as an object.

    Invalid, with line and column, for a text that is not exactly one object.
    """
    return as_object(_single_value(text))


def read_mapping(text: str) -> Object:
    """The one YAML (or JSON) document of a text that need be no object of Kubernetes.

    Invalid, with line and column, for a text that is not exactly one mapping.
    """
    value = _single_value(text)
    if not isinstance(value, dict):
        raise Invalid("lines of the form 'key: value' are needed")
    return as_object(value)


def _single_value(text: str) -> Any:
    documents = [document for document in read(text) if document.value is not None]
    if len(documents) != 1:
        raise Invalid(f"expected one YAML document, found {len(documents)}")
    return documents[0].value


def read(text: str, *, places: bool = False) -> list[Parsed]:
    """Every document of a text of at most 1 MiB, `null` ones too; Invalid with line and column.

    A text that begins like JSON is read as JSON. With `places` it is read as YAML, and each
    document has its tree with places in the text, too.
    """
    check_size(text)
    if JSON.match(text) and not places:
        return [Parsed(_json(text))]
    try:
        documents: list[Parsed] = []
        for document in parse(text, places=places):
            documents.append(document)
            if len(documents) > MAX_DOCUMENTS:
                raise Invalid(f"the text has more than {MAX_DOCUMENTS} documents")
        return documents
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise Invalid(f"not valid YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"not valid YAML: {str(error).splitlines()[0][:200]}") from None


def parse_with_places(text: str) -> list[Parsed]:
    """Every document with its tree, `null` ones too.

    Unlike `read` it raises yaml.YAMLError for a text that is not YAML; Invalid for a limit.
    """
    return list(parse(text, places=True))


def _json(text: str) -> Any:
    try:
        raw = text.removeprefix("\ufeff").encode()
    except UnicodeEncodeError:
        raise Invalid("the text contains half of a surrogate pair") from None
    try:
        check_shape(raw, nodes=MAX_NODES)
        # As in YAML, and as kubectl reads it: the last of two members with one name counts.
        return loads(raw, last_wins=True, what="the text")
    except Invalid as error:
        raise Invalid(error.message.replace("the body", "the text", 1)) from None


def json_stream(text: str) -> list[str]:
    """The texts of JSON objects that follow each other, as in the output of `kubectl get -o json`.

    [text] when it is no such stream; Invalid for a limit.
    """
    if not JSON.match(text):
        return [text]
    check_shape(text.encode("utf-8", "surrogatepass"), nodes=MAX_NODES)
    pieces: list[str] = []
    start = 0
    try:
        while (begin := BLANK.match(text, start).end()) < len(text):  # type: ignore[union-attr]
            _value, end = SCANNER.raw_decode(text, begin)
            # With the blanks before it: together the pieces are the whole text.
            pieces.append(text[start:end])
            if len(pieces) > MAX_DOCUMENTS:
                raise Invalid(f"the text has more than {MAX_DOCUMENTS} documents")
            start = end
    # `Invalid` is no ValueError.
    except ValueError:
        return [text]
    return pieces


def as_object(value: object) -> Object:
    """The value as plain JSON data.

    Invalid when it is no mapping, too deep or too large, or holds what JSON cannot.
    """
    if not isinstance(value, dict):
        raise Invalid("an object of Kubernetes is written as lines of the form 'key: value'")
    plain = _Plain().copy(value, 0)
    return plain if isinstance(plain, dict) else {}


class _Plain:
    """Copies data and counts it, so that aliases of YAML anchors cannot expand without end."""

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
            # Only NaN is unequal to itself.
            if value != value or value in {float("inf"), float("-inf")}:
                raise Invalid("numbers must be finite")
            return whole_number(value)
        if isinstance(value, int):
            if value not in INT64:
                raise Invalid(BEYOND_64_BITS)
            return value
        raise Invalid(f"{type(value).__name__} values are not allowed")


class _Dumper(yaml.CSafeDumper):
    """Writes YAML that both this module and Kubernetes read back as it was.

    A text that either would take for something else is quoted.
    """

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """The tag that a plain scalar would be read with."""
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        tag = resolve_scalar(value)[0]
        if tag == STR and not is_text(value):
            # Any other tag than STR makes PyYAML quote it.
            return TIME
        return tag


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None
    )


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def to_yaml(value: object, *, sort_keys: bool = False) -> str:
    """A document as YAML text, which `from_yaml` reads back as it was.

    Keys stay in their order unless sorted; texts of several lines are blocks.
    """
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
