"""Label and field selectors as conditions on stored documents. What is unusual is left to the cluster itself."""

import json
import re
from dataclasses import dataclass

from psycopg2 import sql

from clusters.kinds import KINDS, Kind
from storage_api.query.conditions import Clause

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
_KEY = rf"(?:{_PREFIX}/)?{_NAME}"
_VALUE = rf"(?:{_NAME})?"
_REQUIREMENT = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<absent_key>{_KEY})"
    rf"|(?P<set_key>{_KEY})\s+(?P<set_op>in|notin)\s*\(\s*(?P<values>{_NAME}(?:\s*,\s*{_NAME})*)\s*\)"
    rf"|(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|(?P<present>{_KEY}))\s*(?:,|\Z)"
)
_FIELD = re.compile(r"(?P<path>[A-Za-z.]+)(?P<op>==|=|!=)(?P<value>[^,\\=!\s]*)(?:,|\Z)")

# What the API server selects pods by; texts only, as an absent one and an empty one are the same to it.
_POD_FIELDS = {
    "spec.nodeName": ("spec", "nodeName"),
    "spec.restartPolicy": ("spec", "restartPolicy"),
    "spec.schedulerName": ("spec", "schedulerName"),
    "spec.serviceAccountName": ("spec", "serviceAccountName"),
    "status.phase": ("status", "phase"),
    "status.podIP": ("status", "podIP"),
    "status.nominatedNodeName": ("status", "nominatedNodeName"),
}
_COLUMNS = {"spec.nodeName": "node_name", "status.phase": "status", "status.podIP": "pod_ip"}
STORED_BYTES = 256


@dataclass(frozen=True, slots=True)
class Selected:
    """Conditions on the row called r, and the labels that every selected object has (for the index on documents)."""

    clauses: tuple[Clause, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def labels(text: str) -> Selected | None:
    """The conditions of a label selector; None for one that is not plainly understood."""
    clauses: list[Clause] = []
    certain: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        found = _REQUIREMENT.match(text, place)
        if found is None or found["present"] in ("in", "notin"):
            return None
        clauses.append(_label(found))
        if found["key"] and found["op"] != "!=":
            certain.append((found["key"], found["value"]))
        place = found.end()
    return None if text.rstrip().endswith(",") else Selected(tuple(clauses), tuple(certain))


_HELD = sql.SQL("(r.data #>> ARRAY['metadata', 'labels', %s])")


def _label(found: "re.Match[str]") -> Clause:
    if found["absent"]:
        return Clause(sql.SQL("{} IS NULL").format(_HELD), (found["absent_key"],))
    if found["present"]:
        return Clause(sql.SQL("{} IS NOT NULL").format(_HELD), (found["present"],))
    if found["set_key"]:
        values = [value.strip() for value in found["values"].split(",")]
        chosen = sql.SQL("coalesce({} = ANY (%s), false)").format(_HELD)
        if found["set_op"] == "in":
            return Clause(chosen, (found["set_key"], values))
        return Clause(sql.SQL("NOT {}").format(chosen), (found["set_key"], values))
    operator = "IS DISTINCT FROM" if found["op"] == "!=" else "="
    return Clause(
        sql.SQL("{} {} %s").format(_HELD, sql.SQL(operator)), (found["key"], found["value"])
    )


def fields(text: str, kind: Kind) -> tuple[Clause, ...] | None:
    """The conditions of a field selector; None for one that is not plainly understood."""
    clauses: list[Clause] = []
    place = 0
    while place < len(text):
        found = _FIELD.match(text, place)
        clause = found and _field(found["path"], found["op"] == "!=", found["value"], kind)
        if found is None or clause is None:
            return None
        clauses.append(clause)
        place = found.end()
    return None if text.rstrip().endswith(",") else tuple(clauses)


def _field(path: str, is_not: bool, value: str, kind: Kind) -> Clause | None:
    operator = sql.SQL("<>" if is_not else "=")
    if path == "metadata.name":
        return Clause(sql.SQL("r.resource_name {} %s").format(operator), (value,))
    if path == "metadata.namespace" and kind.namespaced:
        return Clause(sql.SQL("r.namespace {} %s").format(operator), (value,))
    if kind != KINDS["pods"] or path not in _POD_FIELDS:
        return None
    if not is_not and value and path in _COLUMNS and len(value.encode()) <= STORED_BYTES:
        return Clause(sql.SQL("{} = %s").format(sql.Identifier("r", _COLUMNS[path])), (value,))
    return Clause(
        sql.SQL("coalesce(r.data #>> %s::text[], '') {} %s").format(operator),
        (list(_POD_FIELDS[path]), value),
    )


def containment(root: str, certain: tuple[tuple[str, str], ...]) -> str:
    """The JSON that the indexed document contains when an object has these labels; `root` as in the index."""
    return json.dumps({root: {"metadata": {"labels": dict(certain)}}})
