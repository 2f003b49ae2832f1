"""What a call may say: the parameters and members that its route declares, and nothing beside them where it would matter.

`Described` (the OpenAPI declarations) is the list. A call that changes something is refused for whatever it says beyond that, since
what is not understood may have been meant to limit it. A read ignores what nobody knows (contract), but refuses what was plainly meant
to select: a declared name misspelt, or a filter that other lists have.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rest_framework.request import Request

from core.api.parsing import raw_body
from core.api.schema import Described
from core.errors import DomainError, UnclearInput

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Conditions of HTTP that nothing here keeps: a caller who states one relies on it.
CONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
# Bodies that say nothing, for routes that take none.
EMPTY_BODIES = frozenset({b"", b"{}", b"[]", b"null", b'""'})
# Parameters that select in one list or another, folded; a list that does not read one would return everything.
FILTERS = frozenset(
    {
        *("labelselector", "fieldselector", "selector", "labels", "label", "keyword", "search"),
        *("name", "names", "kind", "kinds", "namespace", "namespaces", "ns", "cluster", "clusters"),
        *("clusterid", "node", "nodename", "status", "phase", "state", "user", "username", "uid"),
        *("resourcetype", "resourcename", "owner", "region", "service", "since", "until", "before"),
        *("at", "troubled", "requestedby", "filter", "query"),
    }
)
PAGING = frozenset({"page", "pagesize"})
# Where KubeGale's clients are, which they send with every call: a list without clusters or namespaces has nothing to select by them.
EVERYWHERE = frozenset({"clusterid", "namespace"})
CLOSE = 0.84


@dataclass(frozen=True, slots=True)
class Names:
    """What may stand in the query and in the body of one operation; `fold` makes two spellings of a name equal."""

    query: frozenset[str]
    body: frozenset[str]
    fold: Callable[[str], str]


def check(view: Any, request: Request, described: Described) -> None:
    """UnclearInput, naming it, when the call says what its route does not read, or something twice and differently."""
    names = _names(view, described)
    if request.method in CHANGING:
        _check_conditions(request)
        _check_change(view, request, described, names)
    else:
        _check_read(request, described, names)


def _names(view: Any, described: Described) -> Names:
    """The names that a route reads, other spellings included."""
    spoken = view.dialect.spoken
    query = {query.name for query in described.query} | {*described.also_query, *spoken}
    properties: Mapping[str, Any] = (described.body or {}).get("properties", {})
    body = {*properties, *described.also_body, *spoken}
    if view.either:
        plain = {name for name, schema in properties.items() if not _is_container(schema)}
        body, query = body | query, query | plain
    spellings = view.aliases.items()
    return Names(
        frozenset(query | {other for other, name in spellings if name in query}),
        frozenset(body | {other for other, name in spellings if name in body}),
        str.lower if view.dialect.folds_names else str,
    )


def _is_container(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") in {"array", "object"} or "oneOf" in schema or not schema


# --- calls that change something ------------------------------------------------------------------------------------
def _check_conditions(request: Request) -> None:
    for name in CONDITIONS:
        if request.headers.get(name):
            raise UnclearInput(
                f"{name} is not supported: give metadata.resourceVersion in the object instead",
                field=name,
            )


def _check_change(view: Any, request: Request, described: Described, names: Names) -> None:
    _refuse(_beyond(request.query_params, names.query, names.fold), "parameter")
    said: dict[str, list[Any]] = {}
    for name in request.query_params:
        said.setdefault(_canonical(view, names, name), []).extend(
            request.query_params.getlist(name)
        )
    body = _body(view, request, described)
    if body is not None:
        _refuse(_beyond(body, names.body, names.fold), "member")
        _refuse(_inner(body, described.body or {}), "member")
        for name, value in body.items():
            if view.either or name in view.aliases or names.fold(name) != name:
                said.setdefault(_canonical(view, names, name), []).append(value)
    _check_agreement(said)


def _body(view: Any, request: Request, described: Described) -> Mapping[str, Any] | None:
    """The members of the body that have to be declared; None when the body is free, or the view itself says what is wrong with it."""
    if described.body is not None and not described.body.get("properties"):
        return None
    reads = described.body is not None or described.also_body or view.either
    if not reads and raw_body(request).strip() in EMPTY_BODIES:
        return None
    try:
        members: Mapping[str, Any] = view.members(request)
    except UnclearInput:
        raise
    except DomainError:
        if reads:
            return None
        raise
    bare = described.bare and "content" not in members and {"metadata", "kind"} & set(members)
    return None if bare else members


def _beyond(given: Iterable[str], known: frozenset[str], fold: Callable[[str], str]) -> str:
    """The first name that is not known, or nothing."""
    folded = {fold(name) for name in known}
    return next((name for name in given if fold(name) not in folded), "")


def _inner(value: Any, schema: Mapping[str, Any], path: str = "", depth: int = 0) -> str:
    """The path of the first member inside that its schema does not have, or nothing; the outermost members are not looked at."""
    return next(_unknown(value, schema, path, depth), "")


def _unknown(value: Any, schema: Mapping[str, Any], path: str, depth: int) -> Iterator[str]:
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown(item, schema["items"], f"{path}[{index}]", depth + 1)
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if not isinstance(value, dict) or not properties or schema.get("additionalProperties"):
        return
    for name, inner in value.items():
        where = f"{path}.{name}" if path else name
        if name in properties:
            yield from _unknown(inner, properties[name], where, depth + 1)
        elif depth:
            yield where


def _refuse(name: str, what: str) -> None:
    if name:
        raise UnclearInput(f"unknown {what} {name[:100]!r}", field=name[:100])


def _canonical(view: Any, names: Names, name: str) -> str:
    return names.fold(view.aliases.get(name, name))


def _check_agreement(said: Mapping[str, list[Any]]) -> None:
    """Guards and work may read different ones of two values, so there must be one."""
    for name, values in said.items():
        if len({_text(value) for value in values if value not in (None, "")}) > 1:
            raise UnclearInput(f"{name} is given twice, and differently", field=name)


def _text(value: Any) -> str:
    """A value as it would stand in a query; `dryRun=All` is Kubernetes' word for yes."""
    text = str(value[0] if isinstance(value, list) and len(value) == 1 else value)
    return {"True": "true", "False": "false", "All": "true"}.get(text, text)


# --- reads ----------------------------------------------------------------------------------------------------------
def _check_read(request: Request, described: Described, names: Names) -> None:
    known = {_folded(name): name for name in names.query}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if names.fold(name) in {names.fold(one) for one in names.query}:
            if len({value for value in values if value}) > 1:
                raise UnclearInput(f"{name} is given twice, and differently", field=name[:100])
        elif meant := _meant(_folded(name), known):
            raise UnclearInput(
                f"unknown parameter {name[:100]!r}: did you mean {meant}?", field=name[:100]
            )
        elif described.paged and _folded(name) in FILTERS - EVERYWHERE:
            raise UnclearInput(
                f"unknown parameter {name[:100]!r}: this list has no such filter", field=name[:100]
            )


def _folded(name: str) -> str:
    return "".join(letter for letter in name[:100].lower() if letter.isalnum())


def _meant(folded: str, known: Mapping[str, str]) -> str:
    """The declared name that a misspelt one stands for, or nothing."""
    selecting = [name for name in known if name not in PAGING]
    close = get_close_matches(folded, selecting, 1, CLOSE)
    return known[close[0]] if close else ""
