"""Fixtures of the dialects' tests."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.storeserver import Store, running_store


@pytest.fixture(scope="session")
def store(django_db_setup: None) -> Iterator[Store]:
    """The store behind gunicorn, open, in the document's wire profile. Work in a cluster of your own: what is written stays."""
    with running_store(str(connection.settings_dict["NAME"])) as running:
        yield running


@pytest.fixture(scope="session")
def go_store(django_db_setup: None) -> Iterator[Store]:
    """The same store in the Go server's wire profile."""
    with running_store(str(connection.settings_dict["NAME"]), STORAGE_WIRE_PROFILE="go") as running:
        yield running


@pytest.fixture
def cid() -> str:
    """The id of a cluster that no other test uses."""
    return f"BCS-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def pods(cid: str) -> Any:
    """The path of the test cluster's pods in one namespace."""
    return f"/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/test/Pod"
