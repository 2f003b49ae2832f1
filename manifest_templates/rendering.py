"""Rendering a version of a template with values, so that no value changes its structure.

The template never writes a value. Each expression writes a marker, a word that nobody can guess;
the text is read as YAML; and in what was read the markers are replaced: one that is a whole scalar
by the value with its type, one inside a scalar by its text. Whatever a value holds, it is read by
nobody as YAML, so it cannot add a document, a key, an anchor or a comment.
"""

import re
import secrets
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import Template as CompiledTemplate
from jinja2 import TemplateError

from clusters import manifests
from clusters.schema_check import path_text
from clusters.yamlreader import MAX_BYTES, MAX_NODES, Parsed
from core.errors import Invalid
from manifest_templates import values as template_values
from manifest_templates.models import TemplateVersion
from manifest_templates.sandbox import (
    IndentedText,
    MisplacedValue,
    MissingValue,
    Sandbox,
    TemplateFault,
    YamlText,
    as_invalid,
    compile_body,
    text_of,
    weight_of,
)

Object = dict[str, Any]
Path = tuple[str | int, ...]
MAX_MARKERS = 50_000
# First characters of scalars that are texts whatever they hold: quoted ones, blocks, tagged ones.
TEXT_STYLES = "\"'|>!"


@dataclass(frozen=True, slots=True)
class Rendering:
    """The manifests as YAML, and what values did not fit.

    `missing` are paths of values that are required, or used, and were not given; `unused` are paths
    of given values that nothing uses. `values` are the given ones with defaults.
    """

    text: str
    missing: list[str]
    unused: list[str]
    values: Object


def render(version: TemplateVersion, values: object) -> Rendering:
    """The version with the values, which may lack some that are required.

    Invalid, whose `details["field"]` is the path of a value, for one that the schema does not
    allow or that cannot stand where the template has it; `body` for a fault of the template.
    """
    return render_body(version.body, version.schema, values)


def render_body(
    body: str,
    schema: Object,
    values: object,
) -> Rendering:
    """As `render`, of a body and a schema that are not stored."""
    given = values if isinstance(values, dict) else {}
    complete, missing = template_values.complete_values(schema, values)
    try:
        rendering = _Rendering(body, schema, complete)
        text = rendering.text()
    except TemplateFault as fault:
        raise as_invalid(fault) from None
    missing += [path for path in rendering.missing if path not in missing]
    unused = [
        path_text(path)
        for path in template_values.unknown_values(schema, given)
        if len(path) > 1 or not rendering.uses(str(path[0]))
    ]
    unused += [name for name in given if not rendering.uses(name) and name not in unused]
    return Rendering(text, missing, unused, complete)


class _Rendering:
    """One rendering: the markers that it wrote, and the values behind them."""

    def __init__(
        self,
        body: str,
        schema: Object,
        values: Object,
    ) -> None:
        self.schema = schema
        self.values = values
        self.code, self.names, self.takes_all = compile_body(body)
        self.missing: dict[str, None] = {}
        self.pieces: list[Any] = []
        self.size = 0
        # Of lists and objects in the values, by their identity; made when it is needed.
        self.paths: dict[int, Path] = {}
        self.marked = ""
        # Nobody who writes a template or a value can know it.
        self.word = f"kg{secrets.token_hex(12)}"
        self.marker = re.compile(rf"{self.word}x([0-9]+)z")
        self.own_line = re.compile(rf"(?m)^([ \t]*){self.word}x([0-9]+)z[ \t]*$")
        self.merged = re.compile(rf"{self.word}x([0-9]+)m")
        self.spliced = re.compile(rf"{self.word}x([0-9]+)s")
        self.anywhere = re.compile(rf"- {self.word}x([0-9]+)s|{self.word}x([0-9]+)(?:z|m:)")

    def uses(self, name: str) -> bool:
        """Whether the template takes the value of that name."""
        return self.takes_all or name in self.names

    def text(self) -> str:
        """The manifests; TemplateFault for a fault of the template, Invalid for one of a value."""
        self.marked = self._blocks(self._marked_text()).removeprefix("\ufeff")
        documents = [self._document(each) for each in self._read(self.marked)]
        texts: list[str] = []
        size = 0
        for document in documents:
            if document is None:
                continue
            texts.append(manifests.to_yaml(document))
            size += len(texts[-1].encode())
            if size > MAX_BYTES:
                raise TemplateFault(f"the manifests are larger than {MAX_BYTES // 1024} KiB")
        text = "---\n".join(texts)
        self._verify(
            text,
            [document for document in documents if document is not None],
        )
        return text

    def _verify(self, text: str, documents: list[Any]) -> None:
        """The text has to be read as what it was made of."""
        try:
            again = (
                [
                    each.value
                    for each in manifests.read(
                        text,
                        places=True,
                    )
                ]
                if text
                else []
            )
        except Invalid as error:
            raise TemplateFault(f"the manifests cannot be written: {error.message}") from None
        if again != documents:
            raise TemplateFault("the manifests cannot be written as YAML")

    # --- the text with markers --------------------------------------------------------------------
    def _marked_text(self) -> str:
        sandbox = Sandbox(self._emit, self._use_missing, self._path_of)
        template = CompiledTemplate.from_code(
            sandbox,
            self.code,
            {},
            None,
        )
        context = {"values": self.values, **self.values}
        parts: list[str] = []
        length = 0
        try:
            for part in template.root_render_func(template.new_context(context)):
                length += len(part)
                if length > MAX_BYTES:
                    raise TemplateFault(f"the output is larger than {MAX_BYTES // 1024} KiB")
                if len(parts) % 64 == 0:
                    sandbox.check_time()
                parts.append(part)
        except MisplacedValue as fault:
            field = (
                path_text(
                    next(
                        _paths_of(self.values, fault.value),
                        (),
                    )
                )
                or "values"
            )
            raise Invalid(
                f"the value {field} is a list or an object and stands inside a text", field=field
            ) from None
        except TemplateFault as fault:
            raise TemplateFault(
                fault.message,
                fault.line or _line(template, fault),
            ) from None
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            # Its own words could hold a value.
            raise TemplateFault(
                f"an expression fails with {type(error).__name__}",
                _line(
                    template,
                    error,
                ),
            ) from None
        except (RecursionError, MemoryError):
            raise TemplateFault("the template is nested too deeply") from None
        return "".join(parts)

    def _emit(self, value: Any) -> str:
        """The marker that stands for a value in the text."""
        if isinstance(value, MissingValue):
            value.note()
            value = None
        if len(self.pieces) >= MAX_MARKERS:
            raise TemplateFault(f"the template writes more than {MAX_MARKERS} values")
        self._count(value, MAX_BYTES)
        self.pieces.append(value)
        lead = value.lead if isinstance(value, YamlText | IndentedText) else 0
        return f"{' ' * lead}{self.word}x{len(self.pieces) - 1}z"

    def _count(self, value: object, most: int) -> None:
        """Add a value to the size of the output; TemplateFault above `most` characters."""
        self.size += weight_of(value, most)
        if self.size > most:
            raise TemplateFault(f"the output is larger than {MAX_BYTES // 1024} KiB")

    def _use_missing(self, path: str) -> None:
        """Note a value that the template needs; an optional one of the schema is null instead."""
        steps = tuple(path.removeprefix("values.").split("."))
        if path and not template_values.declares(self.schema, steps):
            self.missing[path.removeprefix("values.")] = None

    def _path_of(self, value: object) -> str:
        """Where a list or an object stands in the values, "" when nowhere."""
        if not self.paths:
            self.paths = dict(_containers(self.values))
        return path_text(self.paths.get(id(value), ()))

    def _blocks(self, text: str) -> str:
        """Objects and lists by `toyaml` that have a line for themselves become parts of YAML.

        As in Helm's charts: they add to the object or list that they stand in.
        """

        def form(match: re.Match[str]) -> str:
            piece = self.pieces[int(match[2])]
            value = piece.value if isinstance(piece, YamlText) else None
            if isinstance(value, dict):
                return f"{match[1]}{self.word}x{match[2]}m:"
            if isinstance(piece, YamlText) and value is None:
                # Nothing to add, whether to a list or to an object.
                return ""
            if isinstance(value, list | tuple):
                return f"{match[1]}- {self.word}x{match[2]}s"
            return match[0]

        return self.own_line.sub(form, text)

    def _read(self, text: str) -> Iterator[Parsed]:
        try:
            yield from manifests.read(text, places=True)
        except Invalid as error:
            message = self.marker.sub("{{ … }}", error.message)
            raise TemplateFault(f"what it gives is {message}") from None

    # --- what was read, with values in the place of markers ---------------------------------------
    def _document(self, parsed: Parsed) -> Any:
        if parsed.value is None:
            return None
        texts = set(self._text_markers(parsed.node))
        filled = self._fill(parsed.value, texts, 0)
        if filled is None:
            return None
        try:
            return manifests.as_object(filled)
        except Invalid as error:
            raise TemplateFault(f"what it gives is refused: {error.message}") from None

    def _text_markers(self, root: yaml.Node | None) -> Iterator[int]:
        """Markers that are the whole of a scalar which is a text by its style."""
        pending = [root]
        count = 0
        while pending:
            node = pending.pop()
            count += 1
            if count > MAX_NODES:
                raise TemplateFault("what it gives is too large")
            if isinstance(node, yaml.ScalarNode):
                match = self.marker.fullmatch(node.value)
                if match and self.marked[node.start_mark.index] in TEXT_STYLES:
                    yield int(match[1])
            elif isinstance(node, yaml.SequenceNode):
                pending += node.value
            elif isinstance(node, yaml.MappingNode):
                pending += [each for pair in node.value for each in pair]

    def _fill(self, value: Any, texts: set[int], depth: int) -> Any:
        if isinstance(value, dict):
            return self._fill_object(value, texts, depth)
        if isinstance(value, list):
            elements: list[Any] = []
            for element in value:
                match = self.spliced.fullmatch(element) if isinstance(element, str) else None
                if match:
                    elements += self._typed(int(match[1]))
                else:
                    elements.append(
                        self._fill(
                            element,
                            texts,
                            depth + 1,
                        )
                    )
            return elements
        if not isinstance(value, str):
            return value
        match = self.marker.fullmatch(value)
        if match and int(match[1]) not in texts:
            return self._typed(int(match[1]))
        return self._fill_text(value)

    def _fill_object(
        self,
        value: Object,
        texts: set[int],
        depth: int,
    ) -> Object:
        filled: Object = {}
        for key, member in value.items():
            match = self.merged.fullmatch(key)
            if match:
                number = int(match[1])
                if member is not None:
                    raise TemplateFault("toyaml of an object has more below it")
                added = self._typed(number)
            else:
                name = self._fill_text(key)
                first = self.anywhere.search(key)
                number = int(first[1] or first[2]) if first else -1
                added = {name: self._fill(member, texts, depth + 1)}
            for name, each in added.items():
                if name in filled:
                    # A value must not take the place of what the template says.
                    field = self._field(number)
                    raise Invalid(
                        "a value gives an object a member that it has already", field=field
                    )
                filled[name] = each
        return filled

    def _typed(self, number: int) -> Any:
        """The value behind a marker that stands alone."""
        piece = self.pieces[number]
        value = piece.value if isinstance(piece, YamlText) else piece
        # Aliases of the body repeat a marker that was written once.
        self._count(value, 2 * MAX_BYTES)
        return _copy(value)

    def _fill_text(self, text: str) -> str:
        """The text with its markers replaced by the texts of their values."""

        def replace(match: re.Match[str]) -> str:
            number = int(match[1] or match[2])
            piece = self.pieces[number]
            try:
                added = text_of(piece)
            except TemplateFault:
                field = self._field(number)
                raise Invalid(
                    f"the value {field} is a list or an object and stands inside a text",
                    field=field,
                ) from None
            if isinstance(piece, YamlText | IndentedText):
                line = text.rfind("\n", 0, match.start()) + 1
                column = match.start() - line
                added = added.replace("\n", "\n" + " " * column)
            self._count(added, 2 * MAX_BYTES)
            return added

        return self.anywhere.sub(replace, text)

    def _field(self, number: int) -> str:
        """The path of the value behind a marker, as far as it is known."""
        if number < 0:
            return "values"
        value = self.pieces[number]
        value = value.value if isinstance(value, YamlText) else value
        path = next(_paths_of(self.values, value), ())
        return path_text(path) or "values"


def _copy(value: Any) -> Any:
    """The value without classes and places of ours."""
    if isinstance(value, dict):
        return {text_of(key): _copy(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(element) for element in value]
    if isinstance(value, MissingValue):
        value.note()
        return None
    return str(value) if isinstance(value, str) else value


def _containers(values: Object) -> Iterator[tuple[int, Path]]:
    """Identity and path of each list and object in the values."""
    pending: list[tuple[Any, Path]] = [(values, ())]
    while pending:
        each, path = pending.pop()
        if isinstance(each, dict):
            pending += [(member, (*path, name)) for name, member in each.items()]
        elif isinstance(each, list):
            pending += [(element, (*path, place)) for place, element in enumerate(each)]
        else:
            continue
        yield id(each), path


def _paths_of(values: Object, value: object) -> Iterator[Path]:
    """Paths of the values that are this one: the same list or object, or an equal plain value."""
    is_container = isinstance(value, dict | list)
    pending: list[tuple[Any, Path]] = [(values, ())]
    while pending:
        each, path = pending.pop()
        is_equal = not is_container and type(each) is type(value) and each == value
        if path and (each is value or is_equal):
            yield path
        if isinstance(each, dict):
            pending += [(member, (*path, name)) for name, member in each.items()]
            # The value itself, or a key that was written.
            if not is_container and isinstance(value, str) and value in each:
                yield (*path, value)
        elif isinstance(each, list):
            pending += [(element, (*path, place)) for place, element in enumerate(each)]


def _line(template: CompiledTemplate, error: BaseException) -> int:
    """The line of the template in which the error came up, 0 when unknown."""
    lines = [
        frame.lineno or 0
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<template>"
    ]
    return template.get_corresponding_lineno(lines[-1]) if lines else 0
