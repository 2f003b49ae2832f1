"""People with grants, and places for them."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters.models import Cluster
from tests.caller import Caller

PASSWORD = "a-long-Passphrase-7"
Person = Callable[..., Caller]


@pytest.fixture
def person(db: None) -> Person:
    """Makes a user with one grant and gives their script: person("operator", cluster=…, namespace=…)."""

    def make(
        role: str,
        *,
        cluster: Cluster | None = None,
        namespace: str = "",
        name: str = "",
        **token: Any,
    ) -> Caller:
        user, _ = User.objects.get_or_create(username=name or f"{role}-{uuid.uuid4().hex[:6]}")
        grants.give(
            user=user,
            role=Role(role),
            cluster=str(cluster.pk) if cluster else "",
            namespace=namespace,
        )
        return Caller(create_api_token(user, "script", **token)[1])

    return make


@pytest.fixture
def space(admin: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    return new_space(admin, cluster)


def new_space(admin: Caller, cluster: Cluster) -> str:
    """A namespace nobody has used."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin.data(
        "POST", "namespaces", {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
    )
    return name
