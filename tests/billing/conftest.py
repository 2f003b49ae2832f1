"""Fixtures of the orders' tests."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command


@pytest.fixture(autouse=True)
def fresh_counts() -> None:
    """Nothing is remembered of earlier tests: throttles, regions, images."""
    cache.clear()


@pytest.fixture
def command(db: None) -> Callable[..., Any]:
    """Runs a management command and reads the JSON that it prints."""

    def run(name: str, *arguments: str) -> Any:
        out = StringIO()
        call_command(name, *arguments, stdout=out)
        text = out.getvalue()
        return json.loads(text) if text.startswith("{") else text

    return run
