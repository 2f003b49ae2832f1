"""Requests on a page of docs/ that are run as a test, with the answers that the page gives.

A request is a line in backquotes, then its body as JSON, then what the answer has as YAML; both
may be absent. `…` in an answer is anything. The page's cluster 1 and its namespace `shop` are those
of the test, `{id}`, `{deployment_id}` and `{operation_id}` are of the latest answer that had one.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clusters.models import Cluster
from tests.caller import Caller
from tests.turning import finish

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = re.compile(
    r"^`(?P<method>[A-Z]+) (?P<path>/\S+)`\n"
    r"(?:```json\n(?P<body>.*?)^```\n)?"
    r"(?:```(?P<form>yaml|text)\n(?P<answer>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(slots=True)
class Page:
    """A page, and where its requests go."""

    name: str
    cluster: Cluster
    space: str

    def run(self, caller: Caller) -> int:
        """Run the requests one after the other; how many there were."""
        text = (DOCS / self.name).read_text()
        text = re.sub(r"\bshop\b", self.space, text)
        text = re.sub(r'("?cluster_id"?[:=] ?)1\b', rf"\g<1>{self.cluster.pk}", text)
        text = re.sub(r'("clusters": \[)1\b', rf"\g<1>{self.cluster.pk}", text)
        examples = list(EXAMPLE.finditer(text))
        # A block that no request stands above would not be run.
        assert sum(1 for each in examples if each["body"]) == text.count("```json")
        assert sum(1 for each in examples if each["answer"]) == text.count("```yaml") + text.count(
            "```text"
        )
        latest: dict[str, Any] = {}
        for example in examples:
            path = example["path"].removeprefix("/")
            for name in re.findall(r"{(\w+)}", path):
                path = path.replace(f"{{{name}}}", str(latest[name]))
            body = json.loads(example["body"]) if example["body"] else None
            if example["form"] == "text":
                assert caller.raw(example["method"], path).content.decode() == example["answer"]
                continue
            answer = caller.data(example["method"], path, body)
            latest |= {name: answer[name] for name in answer if name.endswith("id")}
            if example["answer"]:
                assert_has(answer, yaml.safe_load(example["answer"]), example[0])
            if answer.get("operation_id") and example["method"] == "POST":
                row = finish(answer["operation_id"])
                assert row.state == "succeeded", row.error
        return len(examples)


def assert_has(answer: Any, expected: Any, where: str) -> None:
    """The answer has all that is expected; lists have no more elements than that."""
    if expected == "…":
        return
    if isinstance(expected, dict):
        assert isinstance(answer, dict), where
        for name, member in expected.items():
            assert name in answer, where
            assert_has(answer[name], member, where)
    elif isinstance(expected, list):
        assert isinstance(answer, list), where
        assert len(answer) == len(expected), (answer, where)
        for element, each in zip(answer, expected, strict=True):
            assert_has(element, each, where)
    else:
        assert answer == expected, f"{answer!r}: {where}"
