"""Label and field selectors as conditions on stored documents.

Selectors that are not plain are for the API server to judge.
"""

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
    rf"|(?P<set_key>{_KEY})\s+(?P<set_op>in|notin)\s*"
    rf"\(\s*(?P<values>{_NAME}(?:\s*,\s*{_NAME})*)\s*\)"
    rf"|(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|(?P<present>{_KEY}))\s*(?:,|\Z)"
)
_FIELD = re.compile(r"(?P<path>[A-Za-z.]+)(?P<op>==|=|!=)(?P<value>[^,\\=!\s]*)(?:,|\Z)")

# What the API server selects pods by. Only texts: to it an absent one and an empty one are equal.
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
class LabelSelection:
    """What a label selector selects: conditions on the row called r.

    `labels` are those that every selected object has, for the index on documents.
    """

    clauses: tuple[Clause, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def labels(text: str) -> LabelSelection | None:
    """The conditions of a label selector; None when the store cannot judge it."""
    clauses: list[Clause] = []
    certain: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        # "in" and "notin" by themselves are keys, or an expression that is not complete.
        if match is None or match["present"] in ("in", "notin"):
            return None
        clauses.append(_label_clause(match))
        if match["key"] and match["op"] != "!=":
            certain.append((match["key"], match["value"]))
        position = match.end()
    if text.rstrip().endswith(","):
        return None
    return LabelSelection(tuple(clauses), tuple(certain))


_LABEL = sql.SQL("(r.data #>> ARRAY['metadata', 'labels', %s])")


def _label_clause(match: "re.Match[str]") -> Clause:
    if match["absent"]:
        return Clause(sql.SQL("{} IS NULL").format(_LABEL), (match["absent_key"],))
    if match["present"]:
        return Clause(sql.SQL("{} IS NOT NULL").format(_LABEL), (match["present"],))
    if match["set_key"]:
        values = [value.strip() for value in match["values"].split(",")]
        is_in = sql.SQL("coalesce({} = ANY (%s), false)").format(_LABEL)
        # As in Kubernetes, notin and != select objects without the label, too.
        text = is_in if match["set_op"] == "in" else sql.SQL("NOT {}").format(is_in)
        return Clause(text, (match["set_key"], values))
    operator = sql.SQL("IS DISTINCT FROM" if match["op"] == "!=" else "=")
    text = sql.SQL("{} {} %s").format(_LABEL, operator)
    return Clause(text, (match["key"], match["value"]))


def fields(text: str, kind: Kind) -> tuple[Clause, ...] | None:
    """The conditions of a field selector; None when the store cannot judge it."""
    clauses: list[Clause] = []
    position = 0
    while position < len(text):
        match = _FIELD.match(text, position)
        if match is None:
            return None
        clause = _field_clause(
            match["path"],
            match["op"] == "!=",
            match["value"],
            kind,
        )
        if clause is None:
            return None
        clauses.append(clause)
        position = match.end()
    return None if text.rstrip().endswith(",") else tuple(clauses)


def _field_clause(
    path: str,
    is_not: bool,
    value: str,
    kind: Kind,
) -> Clause | None:
    operator = sql.SQL("<>" if is_not else "=")
    if path == "metadata.name":
        return Clause(sql.SQL("r.resource_name {} %s").format(operator), (value,))
    if path == "metadata.namespace" and kind.namespaced:
        return Clause(sql.SQL("r.namespace {} %s").format(operator), (value,))
    if kind != KINDS["pods"] or path not in _POD_FIELDS:
        return None
    # The columns have indexes, but neither empty values nor long ones.
    is_in_column = path in _COLUMNS and value and len(value.encode()) <= STORED_BYTES
    if is_in_column and not is_not:
        column = sql.Identifier("r", _COLUMNS[path])
        return Clause(sql.SQL("{} = %s").format(column), (value,))
    condition = sql.SQL("coalesce(r.data #>> %s::text[], '') {} %s").format(operator)
    return Clause(condition, (list(_POD_FIELDS[path]), value))


def containment(root: str, certain: tuple[tuple[str, str], ...]) -> str:
    """The JSON that an indexed document contains when its object has these labels.

    `root` is the key in the index.
    """
    return json.dumps({root: {"metadata": {"labels": dict(certain)}}})
