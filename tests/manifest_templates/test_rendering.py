"""What templates render: values stay values, and nothing in a template runs long or gets out."""

import contextlib
import string
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.manifests import read
from core.errors import Invalid
from manifest_templates import semver
from manifest_templates.rendering import Rendering, render_body
from manifest_templates.values import check_schema, check_values, with_defaults, without_secrets

BODY = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ name }}
  labels:
    app: shop
    {{ labels | toyaml | indent(4) }}
  annotations: {{ labels }}
data:
  quoted: "{{ name }}"
  single: 'a {{ name }} b'
  joined: pre-{{ name }}-post
  filter: {{ name | quote }}
  said: he said {{ name | quote }}
  block: |
    first
    {{ name | indent(4) }}
    last
  folded: >-
    {{ name }}
  flow: {a: {{ name }}, b: [{{ name }}, x]}
{% for key, value in labels.items() %}
  {{ key }}: {{ value }}
{% endfor %}
---
apiVersion: v1
kind: Second
value: {{ name }} # {{ name }}
"""


def documents(rendering: Rendering) -> list[Any]:
    """The manifests as another reader of YAML has them."""
    return [each.value for each in read(rendering.text)]


def refusal(body: str, values: dict[str, Any], schema: dict[str, Any] | None = None) -> Invalid:
    with pytest.raises(Invalid) as caught:
        render_body(body, schema or {}, values)
    return caught.value


# Texts that YAML or Jinja2 would read as something else, and what surrounds them.
HOSTILE = st.one_of(
    st.sampled_from(
        [
            "a\n---\nkind: Evil",
            "x: y",
            "# comment",
            "'",
            '"',
            "\\",
            "&anchor",
            "*alias",
            "!!int 3",
            "{{ 7 * 7 }}",
            "{% for %}",
            "{# #}",
            "\u0085",
            "\u2028\u2029",
            "|",
            ">",
            "- a",
            "? b",
            "%TAG",
            "@",
            "`",
            "<<",
            "...",
            "---",
            "true",
            "1",
            "null",
            "~",
            "1e3",
            "0x10",
            "2001-01-01",
            "",
            " ",
            "\t",
            "\n",
            "  lead",
            "trail  ",
            "a\r\nb",
            "a" * 3000,
            "\ufeff",
            "}}",
            "]",
            ",",
        ]
    ),
    st.text(alphabet=string.printable + "\u0085\u2028\u2029é😀", max_size=40),
    st.lists(st.sampled_from(["\n", "  ", "a: b", "---", "#", "'", '"', "{{", "*x", "- "])).map(
        "".join
    ),
)


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_whatever_a_value_holds_it_stays_where_the_template_has_it(name: str) -> None:
    rendering = render_body(BODY, {}, {"name": name, "labels": {"tier": name}})
    first, second = documents(rendering)
    assert second == {"apiVersion": "v1", "kind": "Second", "value": name}
    assert first["metadata"] == {
        "name": name,
        "labels": {"app": "shop", "tier": name},
        "annotations": {"tier": name},
    }
    data = first["data"]
    assert data["quoted"] == data["filter"] == data["folded"] == data["tier"] == name
    assert data["single"] == f"a {name} b"
    assert data["joined"] == f"pre-{name}-post"
    assert data["said"].startswith('he said "')
    assert data["flow"] == {"a": name, "b": [name, "x"]}
    # The text of a block stands in its lines; blanks at their ends are the value's.
    block = data["block"]
    assert block == f"first\n{name}\nlast\n"
    assert len(data) == 9
    # Another reader of YAML sees the same structure.
    if name.isprintable():
        assert [each["kind"] for each in yaml.safe_load_all(rendering.text)] == [
            "ConfigMap",
            "Second",
        ]


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), HOSTILE),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(HOSTILE, inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_values_that_stand_alone_keep_their_type(value: Any) -> None:
    body = "one: {{ v }}\ntwo: {{ v | toyaml }}\nthree:\n- {{ v }}\n"
    (document,) = documents(render_body(body, {}, {"v": value}))
    assert document == {"one": value, "two": value, "three": [value]}


def test_a_value_cannot_take_the_place_of_a_member() -> None:
    body = "kind: Pod\nlabels:\n  app: shop\n  {{ labels | toyaml | indent(2) }}\n{{ key }}: 1\n"
    error = refusal(body, {"labels": {"app": "other"}, "key": "x"})
    assert error.details["field"] == "labels"
    error = refusal(body, {"labels": {}, "key": "kind"})
    assert error.details["field"] == "key"


def test_a_list_inside_a_text_is_refused_by_its_path() -> None:
    error = refusal("a: x-{{ image.tags }}\n", {"image": {"tags": ["1"]}})
    assert error.details["field"] == "image.tags"
    error = refusal("a: {{ image.tags | quote }}\n", {"image": {"tags": ["1"]}})
    assert error.details["field"] == "image.tags"


def test_filters_and_control_flow_see_the_values() -> None:
    body = """\
{% if ingress.enabled %}
host: {{ ingress.host | default("example.org") | upper }}
{% endif %}
{% for port in ports %}
port-{{ loop.index }}: {{ port + 1 }}
{% endfor %}
inline: {% if ingress.enabled %}yes it is{% endif %}
nested:
  {% if ingress.enabled %}deep: 1{% endif %}
secret: {{ password | b64encode }}
all: {{ values.ports | length }}
config: |
  server:
    {{ options | toyaml | indent(4) }}
args:
  - run
  {{ args | toyaml | indent(2) }}
"""
    values = {
        "ingress": {"enabled": True},
        "ports": [80, 443],
        "password": "ß",
        "options": {"a": {"b": 1}, "c": [1]},
        "args": ["-v", "3"],
    }
    rendering = render_body(body, {}, values)
    assert documents(rendering) == [
        {
            "host": "EXAMPLE.ORG",
            "port-1": 81,
            "port-2": 444,
            "inline": "yes it is",
            "nested": {"deep": 1},
            "secret": "w58=",
            "all": 2,
            "config": "server:\n  a:\n    b: 1\n  c:\n  - 1\n",
            "args": ["run", "-v", "3"],
        }
    ]
    assert (rendering.missing, rendering.unused) == ([], [])


def test_indent_can_indent_the_first_line_too() -> None:
    body = """\
metadata:
  labels:
{{ labels | toyaml | indent(4, true) }}
args:
{{ args | toyaml | indent(2, first=true) }}
file: |
{{ file | indent(2, true) }}
"""
    values = {"labels": {"a": "1"}, "args": ["-v"], "file": "x: y\n---\nz"}
    assert documents(render_body(body, {}, values)) == [
        {"metadata": {"labels": {"a": "1"}}, "args": ["-v"], "file": "x: y\n---\nz\n"}
    ]


def test_what_is_missing_and_what_is_unused_is_named() -> None:
    schema = {
        "type": "object",
        "required": ["name", "image"],
        "properties": {
            "name": {"type": "string"},
            "image": {
                "type": "object",
                "required": ["tag"],
                "properties": {"tag": {"type": "string"}, "pull": {"default": "Always"}},
            },
            "note": {"type": "string"},
        },
    }
    body = "name: {{ name }}\nimage: {{ image.tag }}\nnote: {{ note }}\nmore: {{ more * 2 }}\n"
    rendering = render_body(body, schema, {"image": {"teg": "1"}, "extra": 1})
    assert rendering.missing == ["name", "image.tag", "more"]
    assert sorted(rendering.unused) == ["extra", "image.teg"]
    assert documents(rendering)[0]["note"] is None
    with pytest.raises(Invalid) as caught:
        check_values(schema, {"name": "x", "image": {}})
    assert caught.value.details["field"] == "image.tag"


ATTACKS = {
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "loops": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "repeat": "a: {{ 'a' * 10**9 }}",
    "indent": "a: {{ x | indent(10**9) }}",
    "doubling texts": "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 60 + "x: {{ a }}",
    "doubling lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "x: {{ a | toyaml }}",
    "joining": "a: {{ range(19999) | join('x') | replace('x', big) }}",
    "output": "{% for i in range(19000) %}{{ big }}{% endfor %}",
    "data": "{% for i in range(19000) %}" + "x" * 900 + "{% endfor %}",
    "power": "a: {{ 9**9**9**9 }}",
    "format": "a: {{ '%1000000000d' % 5 }}",
    "depth": "a: {{ " + "[" * 3000 + "]" * 3000 + " }}",
    "length": "a: {{ 1" + "+1" * 100_000 + " }}",
    "compile": "{{ a }}" * 30_000,
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{new}: &{new} [{','.join('*' + old for _ in range(9))}]\n"
        for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
    ),
    "aliases of a value": "a: &a {{ range(19000) }}\nb: [" + ", ".join(["*a"] * 5000) + "]",
    "a text over and over": "{% for i in range(19000) %}k{{ i }}: {{ [big] }}\n{% endfor %}",
    "quoting": "{% if x" + " | quote" * 22 + " | length %}{% endif %}a: 1",
    "encoding": "{% if x" + " | b64encode" * 60 + " | length %}{% endif %}a: 1",
    "class": "a: {{ ''.__class__ }}",
    "item": "a: {{ ''['__class__'] }}",
    "str.format": "a: {{ '{0.__class__}'.format(x) }}",
    "attr": "a: {{ x | attr('__class__') }}",
    "private": "a: {{ values._x }}",
    "namespace": "{% set n = namespace(a=1) %}",
    "macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "extends": "{% extends 'x' %}",
    "self": "a: {{ self }}",
    "globals": "a: {{ cycler.__init__.__globals__ }}",
    "call": "a: {{ x() }}",
    "method": "a: {{ x.upper() }}",
    "loop object": "{% for i in [1] %}a: {{ loop.cycle(1) }}{% endfor %}",
    "filter block": "{% filter upper %}x{% endfilter %}",
    "recursive": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "test": "a: {{ x is callable }}",
    "syntax": "a: {{ x",
    "yaml": "a: [",
    "scalar": "just text",
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_hostile_templates_are_refused_and_end_soon(name: str) -> None:
    begun = time.thread_time()
    error = refusal(ATTACKS[name], {"x": "aaa", "big": "b" * 100_000})
    assert error.details["field"] == "body"
    # Processor time, so that a busy machine does not count.
    assert time.thread_time() - begun < 5


def test_errors_hold_no_values() -> None:
    schema = {
        "properties": {
            "password": {"type": "string", "minLength": 20, "writeOnly": True},
            "count": {"type": "integer"},
        }
    }
    for values in ({"password": "hunter2"}, {"count": "hunter2"}):
        error = refusal("a: 1", values, schema)
        assert "hunter2" not in error.message
        assert error.details["field"] in values
    assert "hunter2" not in refusal("a: {{ p + 1 }}", {"p": "hunter2"}).message


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "https://example.org/schema.json"}}},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"properties": {"a": {"$dynamicRef": "#x"}}},
        {"properties": {"a": {"type": "text"}}},
        {"properties": {"a": {"pattern": "(?=look)"}}},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": {"a": {"type": "integer", "default": "x"}}},
        {"properties": {"a": {"writeOnly": True, "default": "x"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$id": "https://example.org/x"},
        {"type": "array"},
        {"properties": []},
        {"properties": {str(n): {"type": "string", "title": "x" * 100} for n in range(3000)}},
        [],
        "x",
    ],
)
def test_schemas_that_cannot_be_used_are_refused(schema: Any) -> None:
    with pytest.raises(Invalid) as caught:
        check_schema(schema)
    assert caught.value.details["field"] == "schema"


def test_checking_values_takes_linear_time() -> None:
    doubling = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)}
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"properties": {"x": {"pattern": "^(a+)+$"}}}, "a" * 50_000 + "b"),
        ({"properties": {"x": {"uniqueItems": True}}}, [{"n": n} for n in range(20_000)]),
        (
            {
                "$defs": {**doubling, "a30": {"type": "integer"}},
                "properties": {"x": {"$ref": "#/$defs/a0"}},
            },
            1,
        ),
        ({"properties": {"x": {"$ref": "#/$defs/s"}}, "$defs": {"s": {"$ref": "#/$defs/s"}}}, 1),
    ]
    for schema, value in cases:
        begun = time.thread_time()
        with contextlib.suppress(Invalid):
            check_values(check_schema(schema), {"x": value})
        assert time.thread_time() - begun < 4


def test_defaults_go_into_objects_and_lists() -> None:
    schema = {
        "properties": {
            "image": {
                "properties": {"tag": {"default": "1"}, "pull": {"$ref": "#/$defs/pull"}},
            },
            "ports": {"items": {"properties": {"protocol": {"default": "TCP"}}}},
            "host": {"required": ["name"], "properties": {"port": {"default": 80}}},
            "again": {"$ref": "#"},
        },
        "$defs": {"pull": {"enum": ["Always", "Never"], "default": "Always"}},
    }
    assert with_defaults(schema, {"ports": [{}, {"protocol": "UDP"}]}) == {
        "image": {"tag": "1", "pull": "Always"},
        "ports": [{"protocol": "TCP"}, {"protocol": "UDP"}],
    }


def test_write_only_values_are_masked_wherever_they_stand() -> None:
    schema = {
        "$defs": {"secret": {"writeOnly": True, "type": "string"}},
        "properties": {
            "password": {"$ref": "#/$defs/secret"},
            "users": {"items": {"properties": {"key": {"allOf": [{"$ref": "#/$defs/secret"}]}}}},
            "env": {"additionalProperties": {"$ref": "#/$defs/secret"}},
            "either": {"anyOf": [{"$ref": "#/$defs/secret"}, {"type": "object"}]},
        },
    }
    values = {
        "password": "s",
        "users": [{"key": "s", "name": "ada"}],
        "env": {"A": "s"},
        "either": "s",
        "plain": 1,
    }
    assert without_secrets(schema, values) == {
        "password": "***",
        "users": [{"key": "***", "name": "ada"}],
        "env": {"A": "***"},
        "either": "***",
        "plain": 1,
    }
    assert values["password"] == "s"


def test_versions_sort_as_semver_says() -> None:
    ordered = [
        "0.9.9",
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-alpha-b",
        "1.0.0-rc.1",
        "1.0.0",
        "1.2.0",
        "1.10.0",
        "10.0.0",
    ]
    assert sorted(set(ordered), key=semver.precedence) == ordered
    for text in (
        "1",
        "1.0",
        "01.0.0",
        "v1.0.0",
        "1.0.0-",
        "1.0.0-01",
        "1.0.0 ",
        "",
        None,
        1,
        "1" * 99,
    ):
        with pytest.raises(Invalid):
            semver.precedence(text)
