"""YAML that is written is read back as it was, by Kubernetes too."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.documents import from_yaml, to_yaml

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


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    assert from_yaml(to_yaml(document)) == document


@pytest.mark.parametrize("text", ["1e3", "0o17", "on", "1:30", "2024-01-01", "0x1f", "1_0"])
def test_text_that_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert to_yaml({"a": text}) in (f"a: '{text}'\n", f'a: "{text}"\n')


def test_texts_of_several_lines_are_blocks() -> None:
    assert to_yaml({"script": "one\ntwo\n"}) == "script: |\n  one\n  two\n"
