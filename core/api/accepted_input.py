"""Checking that a call says only what its route reads.

`OperationSchema` (the OpenAPI declarations) lists the parameters and members of a route. A call
that changes something is refused for any member beyond them, since what is not understood may
have been meant to limit it. A read ignores unknown parameters (contract), but refuses those that
were plainly meant to select: a declared name misspelt, or a filter that other lists have.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from rest_framework.request import Request

from core.api.parsing import raw_body
from core.api.schema import OperationSchema
from core.errors import DomainError, UnclearInput

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Conditions of HTTP that no route keeps: a caller who states one relies on it.
CONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
# Bodies without content, for routes that take none.
EMPTY_BODIES = frozenset({b"", b"{}", b"[]", b"null", b'""'})
# Parameters that select in one list or another, folded. A list that does not read one of them would
# return everything.
FILTERS = frozenset(
    [
        "at",
        "before",
        "cluster",
        "clusterid",
        "clusters",
        "fieldselector",
        "filter",
        "keyword",
        "kind",
        "kinds",
        "label",
        "labels",
        "labelselector",
        "name",
        "names",
        "namespace",
        "namespaces",
        "node",
        "nodename",
        "ns",
        "owner",
        "phase",
        "query",
        "region",
        "requestedby",
        "resourcename",
        "resourcetype",
        "search",
        "selector",
        "service",
        "since",
        "state",
        "status",
        "troubled",
        "uid",
        "until",
        "user",
        "username",
    ]
)
PAGING = frozenset({"page", "pagesize"})
# KubeGale's own clients send these with every call, also to lists that have neither clusters nor
# namespaces to select by.
EVERYWHERE = frozenset({"clusterid", "namespace"})
# How alike (0 to 1, by difflib) an unknown name must be to count as a misspelling.
MISSPELLING_RATIO = 0.84


@dataclass(frozen=True)
class AcceptedNames:
    """The names that one operation accepts in its query and in its body.

    `fold` makes two spellings of a name equal. `described` and `dialect` are held as their
    addresses are keys.
    """

    query: frozenset[str]
    body: frozenset[str]
    fold: Callable[[str], str]
    described: OperationSchema
    dialect: Any

    @cached_property
    def folded_query(self) -> frozenset[str]:
        """The names of the query in the spelling that `fold` gives."""
        return frozenset(self.fold(name) for name in self.query)

    @cached_property
    def lists(self) -> frozenset[str]:
        """The folded names of parameters that are lists: each value of theirs counts."""
        parameters = self.described.query
        return frozenset(
            self.fold(parameter.name)
            for parameter in parameters
            if parameter.schema.get("type") == "array"
        )


_names_by_operation: dict[tuple[Any, ...], AcceptedNames] = {}


def check(view: Any, request: Request, described: OperationSchema) -> None:
    """Return when the call says only what its route reads.

    UnclearInput, whose `details["field"]` names the parameter or member, when it says something
    else, or the same value twice and differently.
    """
    # Views, dialects and operations live as long as the process.
    key = (type(view), id(view.dialect), id(described), view.either)
    names = _names_by_operation.get(key)
    if names is None:
        names = _names_by_operation[key] = _accepted_names(view, described)
    if request.method in CHANGING:
        _check_conditions(request)
        _check_change(view, request, described, names)
    else:
        _check_read(request, described, names)


def _accepted_names(view: Any, described: OperationSchema) -> AcceptedNames:
    """The names that a route reads, other spellings included."""
    always = view.dialect.spoken
    query = {parameter.name for parameter in described.query}
    query |= {*described.also_query, *always}
    properties: Mapping[str, Any] = (described.body or {}).get("properties", {})
    body = {*properties, *described.also_body, *always}
    if view.either:
        # Only plain values can stand in a query.
        plain = {name for name, schema in properties.items() if not _is_container(schema)}
        body |= query
        query |= plain
    aliases = view.aliases.items()
    return AcceptedNames(
        query=frozenset(query | {alias for alias, name in aliases if name in query}),
        body=frozenset(body | {alias for alias, name in aliases if name in body}),
        fold=str.lower if view.dialect.folds_names else str,
        described=described,
        dialect=view.dialect,
    )


def _is_container(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") in {"array", "object"} or "oneOf" in schema or not schema


# --- calls that change something ------------------------------------------------------------------
def _check_conditions(request: Request) -> None:
    for name in CONDITIONS:
        if request.headers.get(name):
            raise UnclearInput(
                f"{name} is not supported: give metadata.resourceVersion in the object instead",
                field=name,
            )


def _check_change(
    view: Any,
    request: Request,
    described: OperationSchema,
    names: AcceptedNames,
) -> None:
    _refuse(
        _first_unknown(request.query_params, names.query, names.fold),
        "parameter",
    )
    # Every value of each name, under one spelling.
    values_by_name: dict[str, list[Any]] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        values_by_name.setdefault(_canonical_name(view, names, name), []).extend(values)
    body = _declared_body(view, request, described)
    if body is not None:
        _refuse(_first_unknown(body, names.body, names.fold), "member")
        _refuse(_first_unknown_inside(body, described.body or {}), "member")
        for name, value in body.items():
            # A member can only contradict a parameter where both are read alike.
            if view.either or name in view.aliases or names.fold(name) != name:
                values_by_name.setdefault(_canonical_name(view, names, name), []).append(value)
    _check_agreement(values_by_name)


def _declared_body(
    view: Any, request: Request, described: OperationSchema
) -> Mapping[str, Any] | None:
    """The members of the body that have to be declared.

    None when the body is free, or when the view itself reports what is wrong with it.
    """
    if described.body is not None and not described.body.get("properties"):
        return None
    reads_body = described.body is not None or described.also_body or view.either
    if not reads_body and raw_body(request).strip() in EMPTY_BODIES:
        return None
    try:
        members: Mapping[str, Any] = view.members(request)
    except UnclearInput:
        raise
    except DomainError:
        if reads_body:
            return None
        raise
    # The object itself instead of a member `content`: its members are the cluster's to check.
    is_object = "metadata" in members or "kind" in members
    if described.bare and is_object and "content" not in members:
        return None
    return members


def _first_unknown(
    names: Iterable[str],
    accepted: frozenset[str],
    fold: Callable[[str], str],
) -> str:
    """The first of `names` that is not accepted, or ""."""
    folded = {fold(name) for name in accepted}
    return next((name for name in names if fold(name) not in folded), "")


def _first_unknown_inside(value: Any, schema: Mapping[str, Any]) -> str:
    """The path (`ports[0].nam`) of the first inner member that its schema does not have, or "".

    The outermost members are not checked.
    """
    return next(_unknown_members(value, schema, "", 0), "")


def _unknown_members(value: Any, schema: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
    if isinstance(value, list) and "items" in schema:
        for index, element in enumerate(value):
            yield from _unknown_members(element, schema["items"], f"{path}[{index}]", depth + 1)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if not isinstance(value, dict) or not properties or schema.get("additionalProperties"):
        return
    for name, member in value.items():
        member_path = f"{path}.{name}" if path else name
        if name in properties:
            yield from _unknown_members(member, properties[name], member_path, depth + 1)
        elif depth:
            yield member_path


def _refuse(name: str, what: str) -> None:
    """UnclearInput for a name; nothing for ""."""
    if name:
        raise UnclearInput(f"unknown {what} {name[:100]!r}", field=name[:100])


def _canonical_name(view: Any, names: AcceptedNames, name: str) -> str:
    return names.fold(view.aliases.get(name, name))


def _check_agreement(values_by_name: Mapping[str, list[Any]]) -> None:
    """UnclearInput for a name with two values.

    The check could read one of them and the operation the other.
    """
    for name, values in values_by_name.items():
        texts = {_query_text(value) for value in values if value not in (None, "")}
        if len(texts) > 1:
            raise UnclearInput(f"{name} is given twice with different values", field=name)


def _query_text(value: Any) -> str:
    """A value as it would stand in a query; `dryRun=All` is Kubernetes' word for yes."""
    text = str(value[0] if isinstance(value, list) and len(value) == 1 else value)
    return {"True": "true", "False": "false", "All": "true"}.get(text, text)


# --- reads ----------------------------------------------------------------------------------------
def _check_read(request: Request, described: OperationSchema, names: AcceptedNames) -> None:
    for name in request.query_params:
        short = name[:100]
        if names.fold(name) in names.folded_query:
            values = {value for value in request.query_params.getlist(name) if value}
            if len(values) > 1 and names.fold(name) not in names.lists:
                raise UnclearInput(
                    f"{name} is given twice with different values",
                    field=short,
                )
        elif suggestion := _suggestion(_letters(name), names):
            raise UnclearInput(
                f"unknown parameter {short!r}: did you mean {suggestion}?",
                field=short,
            )
        elif described.paged and _letters(name) in FILTERS - EVERYWHERE:
            raise UnclearInput(
                f"unknown parameter {short!r}: this list has no such filter",
                field=short,
            )


def _letters(name: str) -> str:
    """Letters and digits in lower case: `page_size` and `pageSize` are one name."""
    return "".join(letter for letter in name[:100].lower() if letter.isalnum())


def _suggestion(letters: str, names: AcceptedNames) -> str:
    """The declared name that a misspelt one stands for, or ""."""
    spellings = {_letters(name): name for name in names.query}
    selecting = [name for name in spellings if name not in PAGING]
    close = get_close_matches(letters, selecting, 1, MISSPELLING_RATIO)
    return spellings[close[0]] if close else ""
