"""YAML means what it means to kubectl, is bounded before it is built, and what is written is read back as it was."""

import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusters.manifests import as_object, from_yaml, to_yaml
from core.errors import Invalid
from tests.clusters.yaml_table.generate import TABLE, WRITTEN

TEXTS = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=12),
    st.from_regex(r"[-+]?[0-9oxXeE:._]{1,8}", fullmatch=True),
    st.sampled_from(
        [
            "yes",
            "off",
            "~",
            "null",
            "1e3",
            "0o7",
            "1_000",
            "=",
            "<<",
            "2024-01-01",
            "a\nb\n",
            " a\n",
            "a: b",
            "x\n\ty \n",
        ]
    ),
)
LEAVES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
)
KEYS = st.one_of(TEXTS.filter(bool))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


# On a busy machine examples take long to make, which is nobody's fault.
@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    # Whole floats are integers from there on.
    assert from_yaml(to_yaml(document)) == as_object(document)


@pytest.mark.parametrize("text", ["1e3", "0o17", "on", "1:30", "2024-01-01", "0x1f", "1_0"])
def test_text_that_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert to_yaml({"a": text}) in (f"a: '{text}'\n", f'a: "{text}"\n')


def test_texts_of_several_lines_are_blocks() -> None:
    assert to_yaml({"script": "one\ntwo\n"}) == "script: |\n  one\n  two\n"


# --- as kubectl reads it --------------------------------------------------------------------------
ROWS = json.loads(TABLE.read_text())
# Integers that kubectl would round to a float are refused instead, and more spellings are taken.
TAKEN_TOO = ("%YAML", "%TAG", "\\/")


def test_every_row_of_the_table_means_what_it_means_to_kubectl() -> None:
    wrong, compared = [], 0
    for row in ROWS:
        text = row["text"].replace("{name}", "web")
        try:
            found = {"value": from_yaml(text).get("value")}
        except Invalid as error:
            found = {
                "refused": True,
                "beyond": "64 bits" in error.message or "a key" in error.message,
            }
        wanted = {"value": row["value"]} if "value" in row else {"refused": True}
        if found.get("beyond") and abs(_first_number(wanted)) >= 2**63:
            continue
        if "refused" in wanted and any(mark in text for mark in TAKEN_TOO):
            continue
        compared += 1
        found.pop("beyond", None)
        if found != wanted or str(_sorted(found)) != str(_sorted(wanted)):
            wrong.append((text[-60:], wanted, found))
    assert wrong == []
    assert compared > 550


def _first_number(value: Any) -> float:
    """The largest number in what kubectl answered; the key of a mapping counts."""
    inner = value.get("value")
    inner = next(iter(inner)) if isinstance(inner, dict) and inner else inner
    try:
        return float(inner)
    except (TypeError, ValueError):
        return 0.0


def _sorted(value: Any) -> Any:
    """Keys in order; a whole number that no 64 bits hold is written as a float."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def test_texts_that_we_write_are_texts_to_kubectl() -> None:
    rows = json.loads(WRITTEN.read_text())
    assert len(rows) > 150
    for row in rows:
        # Written today as it was when kubectl read it.
        assert to_yaml({row["value"]: row["value"]}) == row["written"], row
        assert row["read"] == {row["value"]: row["value"]}, row


# --- bounds -------------------------------------------------------------------------------------------
def _nested(head: str, inner: str, levels: int, times: int) -> str:
    """Anchors that each name the one before many times."""
    names = [f"a{number}" for number in range(levels)]
    lines = [f"{names[0]}: &{names[0]} {head}"]
    lines += [
        f"{this}: &{this} " + inner.replace("*", ",".join([f"*{before}"] * times))
        for before, this in pairwise(names)
    ]
    return "\n".join(lines)


BOMBS = {
    "flow mappings": "a: " + "{a: " * 30_000,
    "flow lists": "[" * 500_000,
    "flow lists on lines": "k: " + "[\n" * 100_000,
    "block lists": "- " * 500_000,
    "block mappings": "\n".join(" " * depth + "a:" for depth in range(1000)),
    "questions": "? " * 500_000,
    "a long list": "a: [" + "1," * 520_000 + "1]",
    "a list of six megabytes": "a: [" + "1," * 3_000_000 + "1]",
    "JSON, deep": '{"a":' * 100_000,
    "JSON, wide": '{"a":[' + "1," * 500_000 + "1]}",
    "aliases": _nested("[x]", "[*]", 12, 9),
    "aliases, deep": _nested("[x]", "[*]", 4000, 1),
    "aliases, wide": "a: &a [" + "x," * 9000 + "x]\nb: [" + "*a," * 9000 + "*a]",
    "merges": _nested("{b: c}", "{<<: [*]}", 12, 9),
    "merges, wide": "a: &a {"
    + ",".join(f"k{number}: 1" for number in range(20_000))
    + "}\nb: ["
    + "{<<: *a}," * 20_000
    + "1]",
    "an alias in itself": "a: &a [*a]",
    "documents": "---\n" * 250_000,
    "documents with something in them": "---\na: 1\n" * 90_000,
    "blanks": "a: 1\n" + "\n" * 2**20,
    "comments": "a: 1\n" + "#\n" * 2**19,
    "tags": "%TAG !a! " + "x" * 200_000 + "\n---\na: [" + "!a!y z," * 100_000 + "]",
    "directives": "%TAG !a! x\n" * 50_000 + "---\na: 1",
    "an integer": "a: " + "1" * 900_000,
}
# Run apart, so that a crash or a process that grows is seen.
PROBE = """
import django, json, resource, sys, time
django.setup()
from clusters.manifests import from_yaml
from clusters.manifest_text import documents
from core.errors import Invalid
def reached(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def refused(text):
    try:
        from_yaml(text)
    except Invalid:
        pass
    else:
        return False
    try:
        return any(document.problems for document in documents(text, most=50)) or len(text) > 2**18
    except Invalid:
        return True
answers = {}
for name, text in json.load(sys.stdin).items():
    before, started = reached(), time.process_time()
    said = refused(text)
    answers[name] = [said, time.process_time() - started, (reached() - before) // 1024]
print(json.dumps(answers))
"""


def test_what_would_blow_up_is_refused_before_it_is_built() -> None:
    """In the API and in the console's editor."""
    answer = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(BOMBS),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers = json.loads(answer.stdout)
    assert set(answers) == set(BOMBS)
    assert {name: said for name, said in answers.items() if not said[0]} == {}
    # Twice read, on a machine that has other things to do.
    assert {name: said for name, said in answers.items() if said[1] > 4 or said[2] > 64} == {}


def test_a_document_within_the_bounds_is_read() -> None:
    text = "a: &a {b: [1, 2]}\nc:\n" + "- <<: *a\n" * 5000 + "d: " + "[" * 90 + "]" * 90
    assert len(from_yaml(text)["c"]) == 5000
