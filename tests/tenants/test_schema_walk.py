"""The operations of the OpenAPI document, called as schemathesis thinks them up, with a viewer's and an operator's token.

No 5xx but those that a document calls its own, no answer outside the schema, no right exceeded. The registered cluster does not answer,
so whatever is let through changes nothing. Bounded in time: each run takes as many operations as fit, always in the same order.
"""

import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import response_schema_conformance

from clusters.models import Cluster
from storage_api.models import Resource
from tenants import grants
from tenants.models import Grant, QuotaPlan, Tenant
from tenants.policy import Role
from tenants.tokens import create_api_token
from tests.tenants.test_rights import KUBECONFIG

pytestmark = pytest.mark.django_db
SECONDS = 20.0
# These give their database connection back while they wait, and the test's transaction lives in it.
WAITING = re.compile(r"/(dynamic|metric)/watch/|/watch$|/batch$")
FEWEST = 15
# Where the document itself answers failures with HTTP 500, or a dead cluster with 502 and more.
OWN_FAILURES = (
    "/api/v1/pod",
    "/api/v1/pvc",
    "/api/v1/secret",
    "/api/v1/storageclass",
    "/api/v1/tenant",
    "/readiness",
    "/k8s/",
    "/api/v1/k8s/",
)


def everything() -> dict[str, list[Any]]:
    """What nobody but an admin may change."""
    tables = (
        Cluster.objects.values("id", "name", "deleted_at"),
        Grant.objects.values(),
        Tenant.objects.values(),
        QuotaPlan.objects.values(),
    )
    return {
        str(index): list(rows)
        for index, rows in enumerate((*tables, Resource.objects.values("id")))
    }


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """Requests here run inside the test's transaction, so they must not close its connection."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_no_call_of_the_schema_breaks_anything(role: Role, settings: Any) -> None:
    settings.CLUSTER_CONNECT_TIMEOUT, settings.CLUSTER_CIRCUIT_SECONDS = 0.3, 3600.0
    Cluster.objects.create(
        name="prod",
        kubeconfig=KUBECONFIG,
        server="https://127.0.0.1:1",
        status="active",
        is_default=True,
    )
    user = User.objects.create_user("caller")
    grants.give(user=user, role=role)
    token = create_api_token(user, "schemathesis")[1]
    schema = schemathesis.openapi.from_wsgi(
        "/api/schema",
        get_wsgi_application(),
        headers={"Accept": "application/vnd.oai.openapi+json"},
    )
    operations = [
        found.ok() for found in schema.get_all_operations() if not WAITING.search(found.ok().path)
    ]
    random.Random(7).shuffle(operations)
    before, until, walked = everything(), time.monotonic() + SECONDS, 0
    for operation in operations:
        if time.monotonic() > until and walked >= FEWEST:
            break
        walk(operation, token)
        walked += 1
    assert walked >= FEWEST
    assert everything() == before


def walk(operation: Any, token: str) -> None:
    """A few calls of one operation, allowed and not."""

    @settings(
        max_examples=3,
        phases=[Phase.generate],
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        path = str(case.formatted_path)
        assert response.status_code < 500 or path.startswith(OWN_FAILURES), (
            f"{case.method} {path}: {response.status_code} {response.text[:300]}"
        )
        case.validate_response(response, checks=[response_schema_conformance])

    call()
