"""Label and field selectors: parsing with Kubernetes' own complaints, and matching."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from simcluster.errors import bad_request
from simcluster.resources import Object, Resource
from simcluster.store import Record

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]
RecordTest = Callable[[Record], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|<|>|[^\s,()=!<>]+)")
_NAME = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$")
_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$")
_SYMBOLS = {"==", "!=", "=", "!", ",", "(", ")", "<", ">"}

# Field selectors beyond metadata.name and metadata.namespace, by collection.
SELECTABLE: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "jobs.batch": ("status.successful",),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}


class _Parser:
    """The grammar of label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k`."""

    def __init__(self, text: str) -> None:
        self.words: list[str] = []
        position = 0
        text = text.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            # What no token fits ends the words; the parser reports what is missing.
            if match is None:
                break
            self.words.append(match.group(1))
            position = match.end()
        self.position = 0

    def peek(self) -> str:
        return self.words[self.position] if self.position < len(self.words) else ""

    def take(self) -> str:
        word = self.peek()
        self.position += 1
        return word

    def parse(self) -> list[Requirement]:
        requirements = []
        while self.peek():
            requirements.append(self.requirement())
            word = self.take()
            if word == "":
                break
            if word != ",":
                raise bad_request(
                    f"unable to parse requirement: found '{word}', expected: ',' or 'end of string'"
                )
            if self.peek() in ("", ","):
                raise bad_request(
                    f"unable to parse requirement: found '{self.peek()}', "
                    "expected: identifier after ','"
                )
        return requirements

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            key = self.identifier()
            return lambda labels: key not in labels
        key = self.identifier()
        operator = self.peek()
        # A key alone asks whether the label exists.
        if operator in ("", ","):
            return lambda labels: key in labels
        self.take()
        if operator in ("=", "=="):
            value = self.value()
            return lambda labels: labels.get(key) == value
        if operator == "!=":
            value = self.value()
            # `!=` and notin also select objects without the label.
            return lambda labels: labels.get(key) != value
        if operator in ("in", "notin"):
            values = self.values()
            if operator == "in":
                return lambda labels: labels.get(key) in values
            return lambda labels: labels.get(key) not in values
        if operator in ("<", ">"):
            return _compared(key, operator, self.take())
        raise bad_request(
            f"unable to parse requirement: found '{operator}', "
            "expected: in, notin, =, ==, !=, gt, lt"
        )

    def identifier(self) -> str:
        word = self.take()
        if word in _SYMBOLS or not word:
            raise bad_request(f"unable to parse requirement: found '{word}', expected: identifier")
        check_label_key(word)
        return word

    def value(self) -> str:
        word = self.peek()
        # `a=` selects the empty value.
        if word in ("", ","):
            return ""
        self.take()
        if word in _SYMBOLS:
            raise bad_request(f"unable to parse requirement: found '{word}', expected: identifier")
        if not _VALUE.match(word):
            raise bad_request(
                f'unable to parse requirement: values[0][]: Invalid value: "{word}": '
                "a valid label must be an empty string or consist of alphanumeric characters, "
                "'-', '_' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            )
        return word

    def values(self) -> set[str]:
        word = self.take()
        if word != "(":
            raise bad_request(f"unable to parse requirement: found '{word}', expected: '('")
        values: set[str] = set()
        while True:
            if self.peek() == ")":
                self.take()
                # `in ()` selects the empty value, as Kubernetes reads it.
                return values or {""}
            values.add(self.value())
            word = self.take()
            if word == ")":
                return values
            if word != ",":
                raise bad_request(
                    f"unable to parse requirement: found '{word}', expected: ',', or ')'"
                )


def _compared(key: str, operator: str, value: str) -> Requirement:
    try:
        bound = int(value)
    except ValueError as error:
        raise bad_request(
            "unable to parse requirement: for 'Gt', 'Lt' operators, "
            f"the value must be an integer: {value}"
        ) from error

    def test(labels: Labels) -> bool:
        try:
            # A label that is no number is neither larger nor smaller.
            have = int(labels[key])
        except (KeyError, ValueError):
            return False
        return have > bound if operator == ">" else have < bound

    return test


def check_label_key(key: str) -> None:
    """Refuse a label key that Kubernetes refuses in a selector."""
    name = key.rpartition("/")[2]
    if not _NAME.match(name):
        raise bad_request(
            f'unable to parse requirement: <nil>: Invalid value: "{key}": '
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
            "and end with an alphanumeric character "
            "(e.g. 'MyName',  or 'my.name',  or '123-abc', "
            "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )


def label_test(text: str) -> Callable[[Labels], bool]:
    """A predicate over labels out of the query's `labelSelector`."""
    requirements = _Parser(text).parse()
    return lambda labels: all(test(labels) for test in requirements)


def selector_test(selector: Object | None) -> Callable[[Labels], bool]:
    """A predicate over labels from a `LabelSelector`: None selects nothing, an empty one all."""
    # Kubernetes' convention: nil selects nothing, an empty selector everything.
    if selector is None:
        return lambda labels: False
    pairs = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()

    def test(labels: Labels) -> bool:
        return all(labels.get(key) == value for key, value in pairs.items()) and all(
            expression_test(expression, labels) for expression in expressions
        )

    return test


def expression_test(expression: Object, labels: Labels) -> bool:
    """Whether labels meet one `matchExpressions` entry (also node selector operators Gt and Lt)."""
    key = expression["key"]
    operator = expression["operator"]
    values = expression.get("values") or []
    if operator in ("Gt", "Lt"):
        return _compared(key, ">" if operator == "Gt" else "<", values[0])(labels)
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(operator, False)


def selector_text(selector: Object | None) -> str:
    """A `LabelSelector` object in the query's form, as `Scale` and tables show it."""
    if not selector:
        return "<none>"
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    words = {"In": "in", "NotIn": "notin"}
    for expression in selector.get("matchExpressions") or ():
        if expression["operator"] in words:
            values = ",".join(sorted(expression.get("values") or []))
            parts.append(f"{expression['key']} {words[expression['operator']]} ({values})")
        else:
            parts.append(
                expression["key"] if expression["operator"] == "Exists" else f"!{expression['key']}"
            )
    return ",".join(parts)


def field_test(resource: Resource, text: str) -> RecordTest:
    """A predicate over records from a `fieldSelector`; 400 for a field that the kind lacks."""
    tests: list[RecordTest] = []
    for part in filter(None, (part.strip() for part in re.findall(r"(?:[^\\,]|\\.)+", text))):
        parsed = re.match(r"^([^=!]+)(==|!=|=)(.*)$", part)
        if parsed is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, escaped = parsed.groups()
        value = re.sub(r"\\([\\,=])", r"\1", escaped)
        tests.append(_field(resource, path, equal=operator != "!=", value=value))
    return lambda record: all(test(record) for test in tests)


def _field(resource: Resource, path: str, *, equal: bool, value: str) -> RecordTest:
    if path == "metadata.name":
        return lambda record: (record.name == value) is equal
    if path == "metadata.namespace":
        return lambda record: (record.namespace == value) is equal
    if path not in SELECTABLE.get(resource.storage, ()):
        raise bad_request(f"field label not supported: {path}")
    lookup = {
        "source": "source.component",
        "status.successful": "status.succeeded",
    }.get(path, path)
    if path in ("spec.unschedulable", "spec.hostNetwork"):
        return lambda record: ((record.field(lookup) or "false") == value) is equal
    return lambda record: (record.field(lookup) == value) is equal


def combined(resource: Resource, query: Mapping[str, Any]) -> RecordTest | None:
    """The predicate of the query's label and field selector; None when it has neither."""
    labels = query.get("labelSelector", "")
    fields = query.get("fieldSelector", "")
    if not labels and not fields:
        return None
    by_label = label_test(labels) if labels else None
    by_field = field_test(resource, fields) if fields else None
    return lambda record: (
        (by_label is None or by_label(record.labels)) and (by_field is None or by_field(record))
    )
