"""Faults on purpose: delays, cuts, refusals and garbage on chosen requests, by a seed."""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simcluster.resources import Object

ACTIONS = ("delay", "cut", "status", "garbage", "compact", "hang", "cut-stream")


@dataclass
class Rule:
    """One rule of a faults file.

    Which requests it meets:

    - `path`: regular expression over path and query; `method`
    - `probability`: 0 to 1
    - `after`: requests that are let through first
    - `times`: how often it strikes; 0 for always

    What happens, `action`:

    - `delay`: for `seconds`
    - `cut`: close without an answer
    - `cut-stream`: close after `bytes` of the answer; of a watch or a followed log, after `seconds`
    - `status`: answer `code` (429, 500, 410, ...) with `retry_after`
    - `garbage`: 200 with a body that is no JSON, or `body`
    - `compact`: forget history, so that old resourceVersions are Expired, then answer
    - `hang`: never answer
    """

    path: str = ".*"
    method: str = ""
    action: str = "delay"
    probability: float = 1.0
    after: int = 0
    times: int = 0
    seconds: float = 1.0
    code: int = 500
    retry_after: int = 1
    bytes: int = 200
    body: str = "<html><body>502 Bad Gateway</body></html>"

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(
                f"unknown fault action {self.action!r}: it is one of {', '.join(ACTIONS)}"
            )
        self.seen = 0
        self.struck = 0
        self._pattern = re.compile(self.path)

    def strikes(self, method: str, path: str, dice: random.Random) -> bool:
        """Whether the rule hits this request."""
        if (self.method and self.method.upper() != method) or not self._pattern.search(path):
            return False
        self.seen += 1
        if (
            self.seen <= self.after
            or (self.times and self.struck >= self.times)
            or dice.random() >= self.probability
        ):
            return False
        self.struck += 1
        return True


class Faults:
    """The rules in force; the first that strikes decides."""

    def __init__(self, document: Object) -> None:
        self._dice = random.Random(document.get("seed", 0))
        self.rules = [Rule(**rule) for rule in document.get("rules") or ()]

    def add(self, **rule: Any) -> Rule:
        """Put a rule in force; its fields are those of `Rule`."""
        added = Rule(**rule)
        self.rules.append(added)
        return added

    def clear(self) -> None:
        """Take all rules out of force."""
        self.rules.clear()

    def strike(self, method: str, path: str) -> Rule | None:
        """The rule that hits this request, or None."""
        return next(
            (rule for rule in self.rules if rule.strikes(method, path, self._dice)),
            None,
        )


def load(path: Path) -> Object:
    """Read a faults file: YAML (or JSON) with `seed` and `rules`; ValueError when it is none."""
    document = yaml.safe_load(path.read_text())
    if not isinstance(document, dict):
        raise ValueError(f"{path}: a faults file is a mapping with `seed` and `rules`")
    Faults(document)
    return document
