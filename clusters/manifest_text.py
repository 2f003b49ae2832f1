"""Manifests as people edit them: text with line numbers, and the line a problem belongs to."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from django.utils.translation import gettext as _

from clusters.kinds import KINDS
from clusters.manifests import (
    JSON,
    LAST_APPLIED,
    MAX_DOCUMENTS,
    Object,
    as_object,
    from_yaml,
    json_stream,
    parse_with_places,
    to_yaml,
)
from core.errors import Invalid

MAX_TEXT = 3 * 1024 * 1024
SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
BARE_SEPARATOR = re.compile(r"---[^\S\n]*+\n")
# Blank lines and comments. Possessive quantifiers keep the match linear in the text's length.
ONLY_COMMENTS = re.compile(r"\ufeff?(?:[^\S\n]*+(?:#[^\n]*+)?(?:\n|\Z))*+")
ONLY_DIRECTIVES = re.compile(
    r"(?:\ufeff)?(?:[^\S\n]*+(?:#[^\n]*+)?\n)*+(?:%[^\n]*+\n|[^\S\n]*+(?:#[^\n]*+)?\n)++"
)
# Filled in by the API server; an edit cannot change them.
SERVER_FIELDS = ("managedFields", "selfLink")
# In the way of a comparison: they change with every write.
VOLATILE_FIELDS = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp")
# Annotations that controllers keep for themselves on the objects that people edit.
CONTROLLER_ANNOTATIONS = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation")
# Where the JSON parser stopped.
JSON_POSITION = re.compile(r": line (\d+) column (\d+) \(char \d+\)\Z")
STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
# What strict decoding and Go's decoder say.
UNKNOWN = re.compile(r'(unknown|duplicate) field "([^"]+)"')
WRONG_TYPE = re.compile(
    r"cannot unmarshal (\w+) into Go (?:struct field|value)"
    r"(?: \w+\.([\w.\[\]]+))? of type ([\w.\[\]*]+)"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a line of the text, from `column` to `end`.

    Lines count from 1 and columns from 0; line 0 is about the whole text. `field` is the path of
    the field that it is about, "" when no single field is.
    """

    line: int
    column: int
    end: int
    message: str
    field: str = ""

    def as_json(self) -> dict[str, Any]:
        """The problem for the editor's script."""
        return {
            "line": self.line,
            "column": self.column,
            "end": self.end,
            "message": self.message,
            "field": self.field,
        }


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text.

    `before` counts the lines above it, `node` is its YAML tree with positions, and `obj` the
    Kubernetes object, None when the document is not one.
    """

    text: str
    before: int
    node: yaml.Node | None
    obj: Object | None
    problems: tuple[Problem, ...] = ()


def check_length(text: str) -> None:
    """Raise Invalid when a text is larger than MAX_TEXT bytes."""
    # The first test spares encoding a text that is too long in any encoding.
    if len(text) > MAX_TEXT or len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        raise Invalid(f"the text is larger than {MAX_TEXT // 1024} KiB")


def documents(text: str, *, most: int = MAX_DOCUMENTS) -> list[Document]:
    """The documents of a text, without empty ones and `null`.

    What cannot be read has a problem instead of an object. The objects of a List are documents of
    their own. At most `most` pieces of the text are read; where there are more, one more document
    is returned unread. Raises Invalid for a text that is too large.
    """
    check_length(text)
    readable: list[Document] = []
    line = start = 0
    for end in _document_ends(text):
        piece = text[start:end]
        if len(readable) >= most:
            return [*readable, Document("", line, None, None)]
        if _has_content(piece):
            # The separator itself stays with the document, so that its lines count.
            readable += _read_piece(piece, line)
        line += piece.count("\n")
        start = end
    return readable


def _document_ends(text: str) -> Iterator[int]:
    """The end of each document: the next separator, unless it only ends YAML directives."""
    start = 0
    for match in SEPARATOR.finditer(text):
        if not ONLY_DIRECTIVES.fullmatch(text, start, match.start()):
            yield match.start()
            start = match.start()
    yield len(text)


def _has_content(piece: str) -> bool:
    return ONLY_COMMENTS.fullmatch(SEPARATOR.sub("", piece, count=1)) is None


def _read_piece(piece: str, before: int) -> Iterator[Document]:
    head = BARE_SEPARATOR.match(piece)
    # The JSON parser does not know `---`; the line is counted instead.
    if head and JSON.match(piece, head.end()):
        piece = piece[head.end() :]
        before += 1
    try:
        texts = json_stream(piece)
    except Invalid as error:
        yield Document(piece, before, None, None, (Problem(before + 1, 0, 0, error.message),))
        return
    for text in texts:
        for document in _parse_yaml(text, before):
            yield from _split_list(document)
        before += text.count("\n")


def _parse_yaml(piece: str, before: int) -> Iterator[Document]:
    try:
        parsed = parse_with_places(piece)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        column = mark.column if mark else 0
        message = str(error.problem or error.context)
        problem = Problem(before + line + 1, column, column + 1, message)
        yield Document(piece, before, None, None, (problem,))
        return
    except Invalid as error:
        yield Document(piece, before, None, None, (Problem(before + 1, 0, 0, error.message),))
        return
    except (yaml.YAMLError, ValueError) as error:
        problem = Problem(before + 1, 0, 0, str(error).splitlines()[0][:200])
        yield Document(piece, before, None, None, (problem,))
        return
    for part in parsed:
        if part.value is None:
            continue
        try:
            obj = _parse_object(piece, part.value, is_first=before == 0)
        except Invalid as error:
            problem = _json_problem(error.message, before)
            yield Document(piece, before, part.node, None, (problem,))
            continue
        duplicates = tuple(_duplicate_keys(part.node, before))
        yield Document(piece, before, part.node, obj, duplicates)


def _parse_object(piece: str, value: Any, *, is_first: bool) -> Object:
    """The object of a document; JSON has its own rules for numbers and strings."""
    if not JSON.match(piece):
        return as_object(value)
    try:
        return from_yaml(piece)
    except Invalid:
        # After a separator kubectl reads JSON as YAML: comments and trailing commas are allowed.
        if is_first:
            raise
        return as_object(value)


def _json_problem(message: str, before: int) -> Problem:
    """The JSON parser's error, at the line and column that it names."""
    position = JSON_POSITION.search(message)
    if position is None:
        return Problem(before + 1, 0, 0, message)
    line = before + int(position[1])
    column = int(position[2]) - 1
    return Problem(line, column, column + 1 if column else 0, message[: position.start()])


def _split_list(document: Document) -> Iterator[Document]:
    """The objects of a List one by one, else the document itself."""
    obj = document.obj or {}
    kind = str(obj.get("kind") or "")
    items = obj.get("items")
    # kubectl takes a List without items as an empty one.
    if kind == "List" and items is None and not document.problems:
        items = []
    if not (kind.endswith("List") and isinstance(items, list)):
        yield document
        return
    # The items of a ConfigMapList need not say that they are ConfigMaps.
    implied = {"apiVersion": obj.get("apiVersion"), "kind": kind.removesuffix("List")}
    _key, node = _descend(document.node, "items")
    for index, item in enumerate(items):
        _key, item_node = _descend(node, str(index))
        # The problems of the whole List are listed once, not for each item.
        problems = document.problems if index == 0 else ()
        item_object: Object | None = None
        if not isinstance(item, dict):
            line = document.before + (item_node.start_mark.line if item_node else 0) + 1
            problems = (Problem(line, 0, 0, _("An item of a List must be an object.")),)
        elif kind == "List":
            item_object = item
        else:
            item_object = {**implied, **item}
        yield Document(document.text, document.before, item_node, item_object, problems)


def _duplicate_keys(node: yaml.Node | None, before: int) -> Iterator[Problem]:
    """Keys that a mapping has twice: readers of YAML keep the last one in silence."""
    # A stack instead of recursion, so that the depth of a document does not matter.
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, yaml.SequenceNode):
            waiting += current.value
        if isinstance(current, yaml.MappingNode):
            names: set[str] = set()
            for key, value in current.value:
                waiting.append(value)
                # A mapping may have several merge keys.
                if str(key.value) in names and key.value != "<<":
                    mark = key.start_mark
                    yield Problem(
                        before + mark.line + 1,
                        mark.column,
                        key.end_mark.column,
                        _("Duplicate key {key}.").format(key=key.value),
                    )
                names.add(str(key.value))


# --- where a problem belongs ------------------------------------------------------------------
def locate_field(document: Document, path: str) -> tuple[int, int, int]:
    """(line, column, end) of a field path such as `spec.containers[0].image`.

    Of its nearest ancestor in the document when the field itself is missing.
    """
    return locate_steps(document, [index or name for index, name in STEP.findall(path)])


def locate_steps(
    document: Document,
    steps: Iterable[str | int],
) -> tuple[int, int, int]:
    """The same for a path in steps, whose keys may contain dots."""
    node = document.node
    marked = node
    for step in steps:
        key, value = _descend(node, str(step))
        if value is None:
            break
        node = value
        # The key is marked; an element of a list has none.
        marked = key or value
    if marked is None:
        return 0, 0, 0
    start = marked.start_mark
    end = marked.end_mark
    end_column = end.column if end.line == start.line else start.column + 1
    return document.before + start.line + 1, start.column, end_column


def _descend(
    node: yaml.Node | None,
    name: str,
) -> tuple[yaml.Node | None, yaml.Node | None]:
    """(key node, value node) one step further; (None, None) where there is none."""
    # The length is bounded because int() of a long text is slow and may be refused.
    if isinstance(node, yaml.SequenceNode) and name.isdecimal() and len(name) < 10:
        return None, node.value[int(name)] if int(name) < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value) == name:
                return key, value
    return None, None


def problems_of_refusal(
    document: Document,
    message: str,
    details: Mapping[str, Any],
) -> list[Problem]:
    """The API server's refusal as problems, each at the line of its field.

    `details` is the Status of the refusal; its causes name fields. Messages of strict decoding and
    of Go's decoder name the field in the text.
    """
    causes = [
        cause
        for cause in (details.get("details") or {}).get("causes") or []
        if isinstance(cause, Mapping) and cause.get("field")
    ]
    if causes:
        return [_cause_problem(document, cause) for cause in causes]
    decoding_errors = UNKNOWN.findall(message)
    if decoding_errors:
        return [
            Problem(*locate_field(document, path), _unknown_field_text(word, path), path)
            for word, path in decoding_errors
        ]
    wrong_type = WRONG_TYPE.search(message)
    if wrong_type:
        path = (wrong_type[2] or "").removeprefix(".")
        sentence = _("{path}: expected {expected}, got {actual}").format(
            path=path,
            expected=wrong_type[3],
            actual=wrong_type[1],
        )
        return [Problem(*_locate_by_ending(document, path), sentence, path)]
    return [Problem(document.before + 1 if document.before else 0, 0, 0, message)]


def _cause_problem(document: Document, cause: Mapping[str, Any]) -> Problem:
    field = str(cause["field"])
    message = f"{field}: {cause.get('message', '')}"
    return Problem(*locate_field(document, field), message, field)


def _unknown_field_text(word: str, path: str) -> str:
    if word == "unknown":
        return _("Unknown field {path}.").format(path=path)
    return _("Duplicate field {path}.").format(path=path)


def _locate_by_ending(document: Document, path: str) -> tuple[int, int, int]:
    """The first field whose path ends like `path`: Go names it without the indexes of lists."""
    names = path.split(".")
    # Depth first, in the order of the text: the stack's top is visited next.
    stack: list[tuple[yaml.Node | None, list[str]]] = [(document.node, names)]
    while stack:
        node, remaining = stack.pop()
        if isinstance(node, yaml.SequenceNode):
            stack += [(item, remaining) for item in reversed(node.value)]
        elif remaining and isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) != remaining[0]:
                    continue
                if len(remaining) == 1:
                    start = key.start_mark
                    return document.before + start.line + 1, start.column, key.end_mark.column
                stack.append((value, remaining[1:]))
    return locate_field(document, path)


# --- objects as text --------------------------------------------------------------------------
def editable_object(item: Object) -> Object:
    """The object as the editor shows it, without the fields that only the API server writes.

    Custom kinds keep their status: without the status subresource it is theirs to write.
    """
    metadata = dict(item.get("metadata") or {})
    for name in SERVER_FIELDS:
        metadata.pop(name, None)
    annotations = dict(metadata.pop("annotations", None) or {})
    annotations.pop(LAST_APPLIED, None)
    if annotations:
        metadata["annotations"] = annotations
    document = {
        "apiVersion": item.get("apiVersion"),
        "kind": item.get("kind"),
        "metadata": metadata,
    }
    built_in = any(
        kind.name == item.get("kind") and kind.api_version == item.get("apiVersion")
        for kind in KINDS.values()
    )
    for key, value in item.items():
        if key not in document and not (key == "status" and built_in):
            document[key] = value
    return document


def restore_hidden_fields(edited: Object, live: Object) -> Object:
    """The edited object with what `editable_object` left out of the live one, ready to be sent."""
    live_annotations = (live.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED not in live_annotations:
        return edited
    metadata = edited.get("metadata") or {}
    annotations = {
        **(metadata.get("annotations") or {}),
        LAST_APPLIED: live_annotations[LAST_APPLIED],
    }
    return {**edited, "metadata": {**metadata, "annotations": annotations}}


def comparable_object(item: Object) -> Object:
    """The object as it is edited, without status and without what every write changes."""
    document = {key: value for key, value in editable_object(item).items() if key != "status"}
    document["metadata"] = {
        key: value for key, value in document["metadata"].items() if key not in VOLATILE_FIELDS
    }
    return document


def comparison_text(item: Object) -> str:
    """`comparable_object` as YAML."""
    return to_yaml(comparable_object(item))


def has_same_content(first: Object, second: Object) -> bool:
    """Whether two versions of an object differ at most in status and in what controllers keep."""
    return comparison_text(_strip_bookkeeping(first)) == comparison_text(_strip_bookkeeping(second))


def _strip_bookkeeping(item: Object) -> Object:
    metadata = item.get("metadata") or {}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(CONTROLLER_ANNOTATIONS)
    }
    return {**item, "metadata": {**metadata, "annotations": annotations}}
