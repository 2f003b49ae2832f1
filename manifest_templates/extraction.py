"""A template out of objects that run already, with chosen values as parameters."""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clusters.kinds import KINDS
from clusters.manifests import Object, to_yaml
from core.errors import Invalid
from workloads.manifests import export
from workloads.objects.manifests import SECRET_FIELDS

# `Deployment/web:` in front of a path says that it is of this object alone.
OBJECT_PREFIX = re.compile(r"([A-Za-z][A-Za-z0-9]*)/([a-z0-9A-Z.:_-]+):(.+)", re.DOTALL)
STEP = re.compile(r"""\.?([^.\[\]]+)|\[(\d+)\]|\[(?:'([^']+)'|"([^"]+)")\]""")
# What Jinja2 or our own language gives a meaning.
TAKEN_NAMES = frozenset(
    {
        "and",
        "caller",
        "else",
        "false",
        "for",
        "if",
        "in",
        "is",
        "kwargs",
        "loop",
        "none",
        "not",
        "or",
        "range",
        "self",
        "super",
        "true",
        "values",
        "varargs",
    }
)
MAX_PATHS = 100
MAX_PATH = 500
Path = tuple[str | int, ...]


def extract(objects: Sequence[Object], paths: Sequence[str]) -> tuple[str, Object]:
    """The body and the schema of a template that makes these objects, as the cluster has them.

    What stands at the paths becomes parameters, with what is there as their defaults. Values of
    Secrets always do, without defaults and `writeOnly`. Invalid for a path that no object has.
    """
    return _Extraction(objects).extract(paths)


class _Extraction:
    def __init__(self, objects: Sequence[Object]) -> None:
        self.documents = [_as_document(obj) for obj in objects]
        self.properties: Object = {}
        self.required: list[str] = []
        # Placeholder -> the name of its parameter.
        self.names: dict[str, str] = {}

    def extract(self, paths: Sequence[str]) -> tuple[str, Object]:
        for document in self.documents:
            if document.get("kind") == "Secret":
                self._take_secret_values(document)
        for place, text in enumerate(paths):
            self._take_path(text, f"parametrise[{place}]")
        texts = [self._with_expressions(to_yaml(document)) for document in self.documents]
        schema: Object = {"type": "object", "properties": self.properties}
        if self.required:
            schema["required"] = self.required
        return "---\n".join(texts), schema

    def _take_secret_values(self, document: Object) -> None:
        keys = [
            key
            for field in SECRET_FIELDS
            for key in document.pop(
                field,
                None,
            )
            or {}
        ]
        texts: Object = {}
        for key in dict.fromkeys(keys):
            parts = [str(document["metadata"]["name"]), key]
            name = self._new_name(key, parts)
            self.properties[name] = {"type": "string", "writeOnly": True}
            self.required.append(name)
            texts[key] = self._placeholder(name)
        if texts:
            document["stringData"] = texts

    def _take_path(self, text: str, field: str) -> None:
        prefix = OBJECT_PREFIX.fullmatch(text)
        path_text = prefix[3] if prefix else text
        steps = _parse_path(path_text, field)
        taken = 0
        for document in self.documents:
            if prefix and not _is_named(document, prefix[1], prefix[2]):
                continue
            place = next(_find(document, steps), None)
            if place is None:
                continue
            self._take_value(document, place, field)
            taken += 1
        if not taken:
            raise Invalid(
                f"no object has a value at {text[:100]}",
                field=field,
            )

    def _take_value(
        self,
        document: Object,
        place: Path,
        field: str,
    ) -> None:
        if place[0] in {"apiVersion", "kind"}:
            raise Invalid(
                "apiVersion and kind cannot be parameters",
                field=field,
            )
        parent: Any = document
        for step in place[:-1]:
            parent = parent[step]
        value = parent[place[-1]]
        if isinstance(value, str) and value in self.names:
            # It is a parameter already: a value of a Secret, or a path that was given twice.
            return
        if _holds_placeholder(value, self.names):
            raise Invalid(
                "a value inside it is a parameter already",
                field=field,
            )
        keys = [str(step) for step in place if isinstance(step, str)]
        name = self._new_name(
            keys[-1],
            [str(document["metadata"].get("name")), *keys[-2:]],
        )
        self.properties[name] = {"type": _type_of(value), "default": value}
        if value is None:
            # Whatever may stand there: null says nothing of it.
            self.properties[name] = {"default": None}
        parent[place[-1]] = self._placeholder(name)

    def _placeholder(self, name: str) -> str:
        word = f"kg{secrets.token_hex(12)}"
        self.names[word] = name
        return word

    def _new_name(self, key: str, parts: Sequence[str]) -> str:
        """A name that no parameter has yet: of the key, or of all parts, or with a number."""
        candidates = [_identifier([key]), _identifier(parts)]
        for name in candidates:
            if name not in self.properties:
                return name
        number = 2
        while f"{candidates[1]}_{number}" in self.properties:
            number += 1
        return f"{candidates[1]}_{number}"

    def _with_expressions(self, text: str) -> str:
        """YAML text with expressions in the place of placeholders, and none that is not ours."""
        escaped = re.sub(r"\{\{|\{%|\{#", lambda match: "{{ '" + match[0] + "' }}", text)
        for word, name in self.names.items():
            escaped = escaped.replace(word, "{{ " + name + " }}")
        return escaped


def _as_document(obj: Object) -> Object:
    document = export.clean(obj)
    kind = next((each for each in KINDS.values() if each.name == document.get("kind")), None)
    metadata = dict(document["metadata"])
    if kind is None or kind.namespaced:
        # The target of a deployment says where its objects go.
        metadata.pop("namespace", None)
    copied: Object = _deep_copy({**document, "metadata": metadata})
    return copied


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _deep_copy(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_deep_copy(element) for element in value]
    return value


def _parse_path(text: str, field: str) -> Path:
    """`spec.containers[0].image`, `data['a.b']`, or the JSON pointer of the same."""
    if text.startswith("/"):
        parts = [
            part.replace("~1", "/").replace(
                "~0",
                "~",
            )
            for part in text[1:].split("/")
        ]
        return tuple(int(part) if part.isdecimal() else part for part in parts)
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = STEP.match(text, position)
        if match is None:
            break
        steps.append(int(match[2]) if match[2] else match[1] or match[3] or match[4])
        position = match.end()
    if not steps or position < len(text):
        raise Invalid(
            "must be a path such as spec.replicas",
            field=field,
        )
    return tuple(steps)


def _find(
    value: Any,
    steps: Path,
    before: Path = (),
) -> Iterator[Path]:
    """Where the steps lead; a key with dots may be spelt as several of them."""
    if not steps:
        yield before
        return
    if isinstance(value, list):
        step = steps[0]
        if isinstance(step, int) and step < len(value):
            yield from _find(value[step], steps[1:], (*before, step))
        return
    if not isinstance(value, dict):
        return
    for count in range(1, len(steps) + 1):
        key = ".".join(str(step) for step in steps[:count])
        if key in value:
            yield from _find(value[key], steps[count:], (*before, key))


def _is_named(document: Object, kind: str, name: str) -> bool:
    known = KINDS.get(kind.lower())
    kinds = {kind.lower(), known.name.lower() if known else ""}
    return str(document.get("kind")).lower() in kinds and document["metadata"].get("name") == name


def _holds_placeholder(value: Any, names: Mapping[str, str]) -> bool:
    if isinstance(value, dict):
        return any(
            _holds_placeholder(
                member,
                names,
            )
            for member in value.values()
        )
    if isinstance(value, list):
        return any(
            _holds_placeholder(
                element,
                names,
            )
            for element in value
        )
    return isinstance(value, str) and value in names


def _identifier(parts: Sequence[str]) -> str:
    words = re.findall(r"[A-Za-z0-9]+", " ".join(parts))
    name = "_".join(words) or "value"
    if name[0].isdigit() or name.lower() in TAKEN_NAMES:
        name = f"value_{name}"
    return name[:60]


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else "string"
