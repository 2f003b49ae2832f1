"""Label and field selectors as conditions on stored documents.

Selectors that are not plain are for the API server to judge.
"""

import json
import re
from collections.abc import Iterable, Mapping
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
# Of other kinds: plural.group -> field -> (path, what an absent one is equal to).
_FIELDS: Mapping[str, Mapping[str, tuple[tuple[str, ...], str]]] = {
    "namespaces": {"status.phase": (("status", "phase"), "")},
    "nodes": {"spec.unschedulable": (("spec", "unschedulable"), "false")},
    "secrets": {"type": (("type",), "")},
    "services": {
        "spec.clusterIP": (("spec", "clusterIP"), ""),
        "spec.type": (("spec", "type"), ""),
    },
    "replicasets.apps": {"status.replicas": (("status", "replicas"), "0")},
    "replicationcontrollers": {"status.replicas": (("status", "replicas"), "0")},
    "jobs.batch": {"status.successful": (("status", "succeeded"), "0")},
    "certificatesigningrequests.certificates.k8s.io": {
        "spec.signerName": (("spec", "signerName"), "")
    },
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


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One term of a label selector.

    `operator` is one of in, notin, exists, absent; `=` and `!=` are in and notin of one value.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The term as it stands in a selector."""
        match self.operator:
            case "exists":
                return self.key
            case "absent":
                return f"!{self.key}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.operator == 'in' else '!='}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(self.values)})"

    def matches(self, value: str | None) -> bool:
        """Whether a label of the key with that value fulfils it; None is no such label."""
        match self.operator:
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case "in":
                return value in self.values
        return value not in self.values


def parse_labels(text: str) -> tuple[LabelRequirement, ...] | None:
    """The terms of a label selector; None for one that the store does not understand."""
    terms: list[LabelRequirement] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        # "in" and "notin" by themselves are keys, or an expression that is not complete.
        if match is None or match["present"] in ("in", "notin"):
            return None
        terms.append(_requirement(match))
        position = match.end()
    return None if text.rstrip().endswith(",") else tuple(terms)


def _requirement(match: "re.Match[str]") -> LabelRequirement:
    if match["absent"]:
        return LabelRequirement(match["absent_key"], "absent")
    if match["present"]:
        return LabelRequirement(match["present"], "exists")
    if match["set_key"]:
        values = tuple(value.strip() for value in match["values"].split(","))
        return LabelRequirement(match["set_key"], match["set_op"], values)
    operator = "notin" if match["op"] == "!=" else "in"
    return LabelRequirement(match["key"], operator, (match["value"],))


def labels(text: str) -> LabelSelection | None:
    """The conditions of a label selector; None when the store cannot judge it."""
    terms = parse_labels(text)
    return None if terms is None else label_selection(terms)


def label_selection(terms: Iterable[LabelRequirement]) -> LabelSelection:
    """The conditions of the terms of a label selector."""
    terms = tuple(terms)
    certain = [
        (term.key, term.values[0])
        for term in terms
        if term.operator == "in" and len(term.values) == 1
    ]
    return LabelSelection(tuple(_label_clause(term) for term in terms), tuple(certain))


_LABEL = sql.SQL("(r.data #>> ARRAY['metadata', 'labels', %s])")


def _label_clause(term: LabelRequirement) -> Clause:
    match term.operator:
        case "absent":
            return Clause(sql.SQL("{} IS NULL").format(_LABEL), (term.key,))
        case "exists":
            return Clause(sql.SQL("{} IS NOT NULL").format(_LABEL), (term.key,))
    if len(term.values) == 1:
        operator = sql.SQL("=" if term.operator == "in" else "IS DISTINCT FROM")
        text = sql.SQL("{} {} %s").format(_LABEL, operator)
        return Clause(text, (term.key, term.values[0]))
    is_in = sql.SQL("coalesce({} = ANY (%s), false)").format(_LABEL)
    # As in Kubernetes, notin and != select objects without the label, too.
    text = is_in if term.operator == "in" else sql.SQL("NOT {}").format(is_in)
    return Clause(text, (term.key, list(term.values)))


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
    qualified = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    if path in _FIELDS.get(qualified, {}):
        where, absent = _FIELDS[qualified][path]
        return _path_clause(where, absent, operator, value)
    if kind != KINDS["pods"] or path not in _POD_FIELDS:
        return None
    # The columns have indexes, but neither empty values nor long ones.
    is_in_column = path in _COLUMNS and value and len(value.encode()) <= STORED_BYTES
    if is_in_column and not is_not:
        column = sql.Identifier("r", _COLUMNS[path])
        return Clause(sql.SQL("{} = %s").format(column), (value,))
    return _path_clause(_POD_FIELDS[path], "", operator, value)


def _path_clause(
    path: tuple[str, ...], absent: str, operator: sql.Composable, value: str
) -> Clause:
    condition = sql.SQL("coalesce(r.data #>> %s::text[], %s) {} %s").format(operator)
    return Clause(condition, (list(path), absent, value))


def containment(root: str, certain: tuple[tuple[str, str], ...]) -> str:
    """The JSON that an indexed document contains when its object has these labels.

    `root` is the key in the index.
    """
    return json.dumps({root: {"metadata": {"labels": dict(certain)}}})
