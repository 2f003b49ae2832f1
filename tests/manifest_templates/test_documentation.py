"""Every request of docs/templates.md answers as the page says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifest_templates import built_in
from manifest_templates.models import Template, TemplateVersion
from tests.caller import Caller

pytestmark = pytest.mark.django_db
PAGE = Path(__file__).parents[2] / "docs" / "templates.md"
# A request, its body, and what the answer has to be where the page says so.
EXAMPLE = re.compile(
    r"^`(?P<method>[A-Z]+) (?P<path>/\S+)`\n```json\n(?P<body>.*?)^```\n"
    r"(?:```yaml\n(?P<answer>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


def test_the_requests_of_the_page_run(admin: Caller) -> None:
    text = PAGE.read_text()
    examples = list(EXAMPLE.finditer(text))
    assert len(examples) == text.count("```json") == 6
    latest: dict[str, Any] = {}
    for example in examples:
        path = example["path"].removeprefix("/").replace("{id}", str(latest.get("id")))
        answer = admin.data(example["method"], path, json.loads(example["body"]))
        if "id" in answer:
            latest = answer
        if example["answer"]:
            assert answer == yaml.safe_load(example["answer"]), example[0]


def test_the_page_names_what_there_is(admin: Caller) -> None:
    text = PAGE.read_text()
    built_in.install(Template.objects, TemplateVersion.objects)
    listed = admin.data("GET", "templates", pageSize=100)["items"]
    names = [template["name"] for template in listed if template["built_in"]]
    assert len(names) == 10
    assert not [name for name in names if name not in text]
