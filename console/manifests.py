"""Manifests as people edit them: text with line numbers, and where in it a complaint of the cluster belongs."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from django.utils.translation import gettext as _

from clusters.documents import LAST_APPLIED, Object, from_yaml, to_yaml
from clusters.kinds import KINDS
from kubegale.errors import Invalid

SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
# Filled in by the API server; nobody can change them by editing.
KEPT_BY_SERVER = ("managedFields", "selfLink")
# In the way of a comparison: they change with every write.
RESTLESS = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp")
# Annotations that controllers keep for themselves on the objects that people edit.
BOOKKEEPING = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation")
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


def documents(text: str) -> list[Document]:
    """The documents of a text, empty ones left out; what cannot be read has a problem instead of an object."""
    found, start = [], 0
    ends = [match.start() for match in SEPARATOR.finditer(text)] + [len(text)]
    for end in ends:
        piece = text[start:end]
        if _says_something(piece):
            # The separator itself stays with the document, so that its lines count.
            found.append(_document(piece, text.count("\n", 0, start)))
        start = end
    return found


def _says_something(piece: str) -> bool:
    lines = SEPARATOR.sub("", piece, count=1).splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _document(piece: str, before: int) -> Document:
    try:
        node = yaml.compose(piece, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        return Document(
            piece,
            before,
            None,
            None,
            (Problem(before + line + 1, column, column + 1, str(error.problem or error.context)),),
        )
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return Document(
            piece,
            before,
            None,
            None,
            (Problem(before + 1, 0, 0, str(error).splitlines()[0][:200]),),
        )
    try:
        obj = from_yaml(piece)
    except Invalid as error:
        return Document(piece, before, node, None, (Problem(before + 1, 0, 0, error.message),))
    return Document(piece, before, node, obj, tuple(_doubled(node, before)))


def _doubled(node: yaml.Node | None, before: int) -> Iterator[Problem]:
    """Keys that a mapping has twice: readers of YAML keep the last one in silence."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, yaml.SequenceNode):
            waiting += each.value
        if isinstance(each, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in each.value:
                waiting.append(value)
                if str(key.value) in seen and key.value != "<<":
                    mark = key.start_mark
                    yield Problem(
                        before + mark.line + 1,
                        mark.column,
                        key.end_mark.column,
                        _("The key {key} is here twice.").format(key=key.value),
                    )
                seen.add(str(key.value))


# --- where a complaint belongs ----------------------------------------------------------------------------------------
def place(document: Document, path: str) -> tuple[int, int, int]:
    """(line, column, end) of a field path such as `spec.containers[0].image`; of what stands above it when it is not there."""
    return spot(document, [index or name for index, name in STEP.findall(path)])


def spot(document: Document, steps: Iterable[str | int]) -> tuple[int, int, int]:
    """The same for a path in pieces, whose keys may hold dots."""
    node, marked = document.node, document.node
    for step in steps:
        key, value = _step(node, str(step))
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


def _step(node: yaml.Node | None, name: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """(key node, value node) one step further; (None, None) where there is none."""
    if isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
        return None, node.value[int(name)]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if str(key.value) == name:
                return key, value
    return None, None


def complaints(document: Document, message: str, details: Mapping[str, Any]) -> list[Problem]:
    """What the API server said about a document, each complaint at its line."""
    causes = [
        one
        for one in (details.get("details") or {}).get("causes") or []
        if isinstance(one, Mapping) and one.get("field")
    ]
    if causes:
        return [
            Problem(
                *place(document, str(one["field"])), f"{one['field']}: {one.get('message', '')}"
            )
            for one in causes
        ]
    if unknown := UNKNOWN.findall(message):
        return [Problem(*place(document, path), _unknown(word, path)) for word, path in unknown]
    if wrong := WRONG_TYPE.search(message):
        path = (wrong[2] or "").removeprefix(".")
        said = _("{path}: this is a {given}, but {wanted} is wanted").format(
            path=path, given=wrong[1], wanted=wrong[3]
        )
        return [Problem(*_ending(document, path), said)]
    return [Problem(document.before + 1 if document.before else 0, 0, 0, message)]


def _unknown(word: str, path: str) -> str:
    return (
        _("There is no field {path}.")
        if word == "unknown"
        else _("The field {path} is here twice.")
    ).format(path=path)


def _ending(document: Document, path: str) -> tuple[int, int, int]:
    """Go names a path without the places in lists: the first one that ends like it."""
    names = path.split(".")
    waiting: list[tuple[yaml.Node | None, list[str]]] = [(document.node, names)]
    while waiting:
        node, left = waiting.pop(0)
        if isinstance(node, yaml.SequenceNode):
            waiting = [(item, left) for item in node.value] + waiting
        elif left and isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == left[0]:
                    if len(left) == 1:
                        return (
                            document.before + key.start_mark.line + 1,
                            key.start_mark.column,
                            key.end_mark.column,
                        )
                    waiting.insert(0, (value, left[1:]))
    return place(document, path)


# --- objects as text ----------------------------------------------------------------------------------------------------
def editable(item: Object) -> Object:
    """The object as it is given to the editor: without what the server alone writes. Custom kinds keep a status of their own."""
    metadata = {
        key: value
        for key, value in (item.get("metadata") or {}).items()
        if key not in KEPT_BY_SERVER
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
    shown = {"apiVersion": item.get("apiVersion"), "kind": item.get("kind"), "metadata": metadata}
    return shown | {
        key: value
        for key, value in item.items()
        if key not in shown and not (key == "status" and ours)
    }


def whole(edited: Object, live: Object) -> Object:
    """What is sent to the cluster: the edited object with what `editable` left out of the live one."""
    kept = (live.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED not in kept:
        return edited
    metadata = edited.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: kept[LAST_APPLIED]}
    return {**edited, "metadata": {**metadata, "annotations": annotations}}


def comparable(item: Object) -> str:
    """The object as text for a comparison: as it is edited, without what every write changes."""
    shown = editable(item)
    metadata = {key: value for key, value in shown["metadata"].items() if key not in RESTLESS}
    return to_yaml(
        {**{key: value for key, value in shown.items() if key != "status"}, "metadata": metadata}
    )


def same_content(one: Object, other: Object) -> bool:
    """Whether two versions of an object differ at most in status and in what controllers keep."""
    return comparable(_without_bookkeeping(one)) == comparable(_without_bookkeeping(other))


def _without_bookkeeping(item: Object) -> Object:
    metadata = item.get("metadata") or {}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(BOOKKEEPING)
    }
    return {**item, "metadata": {**metadata, "annotations": annotations}}
