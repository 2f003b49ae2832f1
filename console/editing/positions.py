"""Manifests as people edit them: text with line numbers, and where in it a complaint of the cluster belongs."""

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
    placed,
    to_yaml,
)
from core.errors import Invalid

MAX_TEXT = 3 * 1024 * 1024
SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
BARE_SEPARATOR = re.compile(r"---[^\S\n]*+\n")
# Lines without a letter, and lines that are a comment; each letter can match in one way only.
ONLY_COMMENTS = re.compile(r"\ufeff?(?:[^\S\n]*+(?:#[^\n]*+)?(?:\n|\Z))*+")
ONLY_DIRECTIVES = re.compile(
    r"(?:\ufeff)?(?:[^\S\n]*+(?:#[^\n]*+)?\n)*+(?:%[^\n]*+\n|[^\S\n]*+(?:#[^\n]*+)?\n)++"
)
# Filled in by the API server; nobody can change them by editing.
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
    r"cannot unmarshal (\w+) into Go (?:struct field|value)(?: \w+\.([\w.\[\]]+))? of type ([\w.\[\]*]+)"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A complaint about a line (from 1) of the text, from a column to another (from 0); line 0 is about the whole."""

    line: int
    column: int
    end: int
    message: str

    def shown(self) -> dict[str, Any]:
        """For the editor's script."""
        return {"line": self.line, "column": self.column, "end": self.end, "message": self.message}


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text: where it begins (lines before it), its tree with marks, and the object, unless it is none."""

    text: str
    before: int
    node: yaml.Node | None
    obj: Object | None
    problems: tuple[Problem, ...] = ()


def check_length(text: str) -> None:
    """Invalid when a text of one or several documents is larger than is read at once."""
    if len(text) > MAX_TEXT or len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        raise Invalid(f"the text is larger than {MAX_TEXT // 1024} KiB")


def documents(text: str, *, most: int = MAX_DOCUMENTS) -> list[Document]:
    """The documents of a text, empty ones and `null` left out; what cannot be read has a problem instead of an object.

    The objects of a List are documents of their own. No more than `most` pieces of the text are read, and one more is
    returned unread where there are more.
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
    """Where each document ends: before the next separator, and not between directives and theirs."""
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
    if head and JSON.match(piece, head.end()):
        piece, before = piece[head.end() :], before + 1
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
        parsed = placed(piece)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        problem = Problem(
            before + line + 1, column, column + 1, str(error.problem or error.context)
        )
        yield Document(piece, before, None, None, (problem,))
        return
    except Invalid as error:
        yield Document(piece, before, None, None, (Problem(before + 1, 0, 0, error.message),))
        return
    except (yaml.YAMLError, ValueError) as error:
        problem = Problem(before + 1, 0, 0, str(error).splitlines()[0][:200])
        yield Document(piece, before, None, None, (problem,))
        return
    for parsed_document in parsed:
        if parsed_document.value is None:
            continue
        try:
            obj = _parse_object(piece, parsed_document.value, is_first=before == 0)
        except Invalid as error:
            yield Document(
                piece, before, parsed_document.node, None, (_json_problem(error.message, before),)
            )
            continue
        yield Document(
            piece,
            before,
            parsed_document.node,
            obj,
            tuple(_duplicate_keys(parsed_document.node, before)),
        )


def _parse_object(piece: str, value: Any, *, is_first: bool) -> Object:
    """The object of a document. JSON has its own rules for numbers and texts; its places are YAML's."""
    if not JSON.match(piece):
        return as_object(value)
    try:
        return from_yaml(piece)
    except Invalid:
        # Behind a separator kubectl reads YAML: comments, commas at the end.
        if is_first:
            raise
        return as_object(value)


def _json_problem(message: str, before: int) -> Problem:
    """The complaint at the place that it names."""
    sentence, line, column = message, 1, 0
    if at := JSON_POSITION.search(message):
        sentence, line, column = message[: at.start()], int(at[1]), int(at[2]) - 1
    return Problem(before + line, column, column + 1 if column else 0, sentence)


def _split_list(document: Document) -> Iterator[Document]:
    """The objects of a List one by one, else the document itself."""
    obj = document.obj or {}
    kind = str(obj.get("kind") or "")
    items = obj.get("items")
    if kind == "List" and items is None and not document.problems:
        items = []
    if not (kind.endswith("List") and isinstance(items, list)):
        yield document
        return
    # The items of a ConfigMapList need not say that they are ConfigMaps.
    implied = {"apiVersion": obj.get("apiVersion"), "kind": kind.removesuffix("List")}
    _key, node = _descend(document.node, "items")
    for index, item in enumerate(items):
        _none, place = _descend(node, str(index))
        problems = document.problems if index == 0 else ()
        if not isinstance(item, dict):
            line = document.before + (place.start_mark.line if place else 0) + 1
            problems = (Problem(line, 0, 0, _("An item of a List must be an object.")),)
        yield Document(
            document.text,
            document.before,
            place,
            ({**implied, **item} if kind != "List" else item) if isinstance(item, dict) else None,
            problems,
        )


def _duplicate_keys(node: yaml.Node | None, before: int) -> Iterator[Problem]:
    """Keys that a mapping has twice: readers of YAML keep the last one in silence."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, yaml.SequenceNode):
            waiting += current.value
        if isinstance(current, yaml.MappingNode):
            names: set[str] = set()
            for key, value in current.value:
                waiting.append(value)
                if str(key.value) in names and key.value != "<<":
                    mark = key.start_mark
                    yield Problem(
                        before + mark.line + 1,
                        mark.column,
                        key.end_mark.column,
                        _("The key {key} is here twice.").format(key=key.value),
                    )
                names.add(str(key.value))


# --- where a complaint belongs ----------------------------------------------------------------------------------------
def locate_field(document: Document, path: str) -> tuple[int, int, int]:
    """(line, column, end) of a field path such as `spec.containers[0].image`; of what stands above it when it is not there."""
    return locate_steps(document, [index or name for index, name in STEP.findall(path)])


def locate_steps(document: Document, steps: Iterable[str | int]) -> tuple[int, int, int]:
    """The same for a path in pieces, whose keys may hold dots."""
    node, marked = document.node, document.node
    for step in steps:
        key, value = _descend(node, str(step))
        if value is None:
            break
        node, marked = value, key or value
    if marked is None:
        return 0, 0, 0
    mark, end = marked.start_mark, marked.end_mark
    return (
        document.before + mark.line + 1,
        mark.column,
        end.column if end.line == mark.line else mark.column + 1,
    )


def _descend(node: yaml.Node | None, name: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """(key node, value node) one step further; (None, None) where there is none."""
    if isinstance(node, yaml.SequenceNode) and name.isdecimal() and len(name) < 10:
        return None, node.value[int(name)] if int(name) < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value) == name:
                return key, value
    return None, None


def problems_of_refusal(
    document: Document, message: str, details: Mapping[str, Any]
) -> list[Problem]:
    """What the API server said about a document, each complaint at its line."""
    causes = [
        cause
        for cause in (details.get("details") or {}).get("causes") or []
        if isinstance(cause, Mapping) and cause.get("field")
    ]
    if causes:
        return [
            Problem(
                *locate_field(document, str(cause["field"])),
                f"{cause['field']}: {cause.get('message', '')}",
            )
            for cause in causes
        ]
    if unknown := UNKNOWN.findall(message):
        return [
            Problem(*locate_field(document, path), _unknown_field_text(word, path))
            for word, path in unknown
        ]
    if wrong := WRONG_TYPE.search(message):
        path = (wrong[2] or "").removeprefix(".")
        sentence = _("{path}: this is a {given}, but {wanted} is wanted").format(
            path=path, given=wrong[1], wanted=wrong[3]
        )
        return [Problem(*_locate_by_ending(document, path), sentence)]
    return [Problem(document.before + 1 if document.before else 0, 0, 0, message)]


def _unknown_field_text(word: str, path: str) -> str:
    return (
        _("There is no field {path}.")
        if word == "unknown"
        else _("The field {path} is here twice.")
    ).format(path=path)


def _locate_by_ending(document: Document, path: str) -> tuple[int, int, int]:
    """Go names a path without the places in lists: the first one that ends like it."""
    names = path.split(".")
    # The last is looked at first.
    waiting: list[tuple[yaml.Node | None, list[str]]] = [(document.node, names)]
    while waiting:
        node, left = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, left) for item in reversed(node.value)]
        elif left and isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == left[0]:
                    if len(left) == 1:
                        return (
                            document.before + key.start_mark.line + 1,
                            key.start_mark.column,
                            key.end_mark.column,
                        )
                    waiting.append((value, left[1:]))
    return locate_field(document, path)


# --- objects as text ----------------------------------------------------------------------------------------------------
def editable(item: Object) -> Object:
    """The object as it is given to the editor: without what the server alone writes. Custom kinds keep a status of their own."""
    metadata = {
        key: value
        for key, value in (item.get("metadata") or {}).items()
        if key not in SERVER_FIELDS
    }
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key != LAST_APPLIED
    }
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    ours = any(
        kind.name == item.get("kind") and kind.api_version == item.get("apiVersion")
        for kind in KINDS.values()
    )
    document = {
        "apiVersion": item.get("apiVersion"),
        "kind": item.get("kind"),
        "metadata": metadata,
    }
    return document | {
        key: value
        for key, value in item.items()
        if key not in document and not (key == "status" and ours)
    }


def restore_hidden_fields(edited: Object, live: Object) -> Object:
    """What is sent to the cluster: the edited object with what `editable` left out of the live one."""
    live_annotations = (live.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED not in live_annotations:
        return edited
    metadata = edited.get("metadata") or {}
    annotations = {
        **(metadata.get("annotations") or {}),
        LAST_APPLIED: live_annotations[LAST_APPLIED],
    }
    return {**edited, "metadata": {**metadata, "annotations": annotations}}


def comparable(item: Object) -> str:
    """The object as text for a comparison: as it is edited, without what every write changes."""
    edited = editable(item)
    metadata = {
        key: value for key, value in edited["metadata"].items() if key not in VOLATILE_FIELDS
    }
    return to_yaml(
        {**{key: value for key, value in edited.items() if key != "status"}, "metadata": metadata}
    )


def same_content(first: Object, second: Object) -> bool:
    """Whether two versions of an object differ at most in status and in what controllers keep."""
    return comparable(_without_bookkeeping(first)) == comparable(_without_bookkeeping(second))


def _without_bookkeeping(item: Object) -> Object:
    metadata = item.get("metadata") or {}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(CONTROLLER_ANNOTATIONS)
    }
    return {**item, "metadata": {**metadata, "annotations": annotations}}
