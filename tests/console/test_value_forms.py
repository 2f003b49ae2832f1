"""Forms out of JSON Schema, and values out of forms."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import QueryDict

from console.api_client import ApiRefusal
from console.editing.value_forms import (
    Field,
    Group,
    build_form,
    field_name,
    hide_texts,
    mask_secrets,
    read_values,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", "password"],
    "properties": {
        "name": {"type": "string", "title": "Name", "pattern": "^[a-z]+$", "maxLength": 20},
        "replicas": {"type": "integer", "default": 2, "minimum": 1, "exclusiveMaximum": 10},
        "ratio": {"type": "number"},
        "pull": {"enum": ["Always", "Never", 1, None], "default": "Always"},
        "debug": {"type": "boolean", "default": False},
        "hosts": {"type": "array", "items": {"type": "string"}, "default": ["a.example"]},
        "ports": {"type": "array", "items": {"$ref": "#/$defs/port"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "page": {"type": "string", "default": "<b>\nhello"},
        "password": {"type": "string", "writeOnly": True},
        "image": {
            "type": "object",
            "required": ["repository"],
            "properties": {
                "repository": {"type": "string", "default": "nginx"},
                "tag": {"type": ["string", "null"]},
            },
        },
        "tls": {
            "type": "object",
            "required": ["secret"],
            "properties": {"secret": {"type": "string"}},
        },
        "odd.key": {"type": "string"},
    },
    "$defs": {"port": {"type": "integer", "minimum": 1}},
}


def post(**values: str) -> QueryDict:
    """What a browser sends; members of groups are written `image__tag`."""
    names = {field_name(tuple(name.split("__"))): value for name, value in values.items()}
    return QueryDict(urlencode(names))


def fields(group: Group) -> dict[str, Field]:
    """Every field by the path that the API gives it."""
    by_place: dict[str, Field] = {}
    for row in group.rows:
        if isinstance(row, Group):
            by_place |= fields(row)
        else:
            by_place[row.place] = row
    return by_place


def test_each_type_gets_its_control_with_default_and_limits() -> None:
    form = fields(build_form(SCHEMA))
    controls = {place: row.control for place, row in form.items()}
    assert controls == {
        "name": "text",
        "replicas": "number",
        "ratio": "number",
        "pull": "select",
        "debug": "checkbox",
        "hosts": "lines",
        "ports": "lines",
        "labels": "yaml",
        "page": "textarea",
        "password": "password",
        "image.repository": "text",
        "image.tag": "text",
        "tls.secret": "text",
        "odd.key": "text",
    }
    assert form["name"].must_be_entered
    assert form["name"].max_length == "20"
    assert not form["image.repository"].must_be_entered
    assert (form["replicas"].text, form["replicas"].minimum, form["replicas"].maximum) == (
        "2",
        "1",
        "9",
    )
    assert [(word, chosen) for _value, word, chosen in form["pull"].options] == [
        ("Always", True),
        ("Never", False),
        ("1", False),
        ("null", False),
    ]
    assert form["hosts"].text == "a.example"
    assert form["page"].text == "<b>\nhello"


def test_what_is_entered_becomes_values_of_the_right_type() -> None:
    values = read_values(
        SCHEMA,
        post(
            name="web",
            replicas="3",
            ratio="0.5",
            pull="1",
            debug="1",
            hosts="a\r\n\r\n b ",
            ports="80\n443",
            labels="a: b\r\nc: 'd'",
            page="x\r\ny",
            password=" s3cret ",
            image__repository="nginx",
            image__tag="1",
        ),
    )
    assert values == {
        "name": "web",
        "replicas": 3,
        "ratio": 0.5,
        "pull": 1,
        "debug": True,
        "hosts": ["a", "b"],
        "ports": [80, 443],
        "labels": {"a": "b", "c": "d"},
        "page": "x\ny",
        "password": " s3cret ",
        "image": {"repository": "nginx", "tag": "1"},
    }


def test_what_is_left_empty_is_absent_unless_a_default_was_emptied() -> None:
    values = read_values(SCHEMA, post(name="", replicas="", page="", hosts="", tls__secret=""))
    assert values == {"debug": False, "page": "", "hosts": []}


@pytest.mark.parametrize(
    ("entered", "field"),
    [
        ({"replicas": "two"}, "replicas"),
        ({"ratio": "nan"}, "ratio"),
        ({"ports": "80\nx"}, "ports"),
        ({"pull": '"Sometimes"'}, "pull"),
        ({"labels": "a: [b"}, "labels"),
        ({"labels": "a: b\n---\nc: d"}, "labels"),
    ],
)
def test_a_text_that_is_no_value_is_refused_at_its_field(
    entered: dict[str, str], field: str
) -> None:
    with pytest.raises(ApiRefusal) as refusal:
        read_values(SCHEMA, post(**entered))
    assert refusal.value.details["field"] == field


def test_secrets_are_never_in_a_form_nor_beside_it() -> None:
    current = {"name": "web", "password": "***"}
    form = fields(build_form(SCHEMA, current, posted=post(password="s3cret-word")))
    assert form["password"].text == ""
    assert form["password"].keeps_secret
    assert not form["password"].must_be_entered
    assert form["name"].text == "web"
    masked, texts = mask_secrets(SCHEMA, {"name": "web", "password": "s3cret-word"}, [])
    assert masked == {"name": "web", "password": "***"}
    assert hide_texts("a: s3cret-word\nb: czNjcmV0LXdvcmQ=", texts) == "a: ***\nb: ***"
    # One that stays as it is stands in the manifests as the mask, too.
    assert mask_secrets(SCHEMA, {}, ["password"])[0] == {"password": "***"}


def test_references_that_go_round_end() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/b"}},
        "$defs": {
            "a": {"$ref": "#/$defs/a"},
            "b": {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}},
        },
    }
    assert "a" in fields(build_form(schema))
    assert read_values(schema, QueryDict("")) == {}


def test_a_template_without_schema_takes_any_values_as_yaml() -> None:
    assert fields(build_form({}))[""].control == "yaml"
    entered = QueryDict(urlencode({field_name(()): "a: 1\nb: [x]"}))
    assert read_values({}, entered) == {"a": 1, "b": ["x"]}
    with pytest.raises(ApiRefusal):
        read_values({}, QueryDict(urlencode({field_name(()): "[a]"})))
