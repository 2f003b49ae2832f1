"""A socket server, a scripted cluster and their user."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters import registry
from clusters.models import Cluster
from tests.caller import Caller
from tests.scripted_cluster import Scripted, scripted_cluster


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """An API server that does what the test says."""
    with scripted_cluster() as server:
        yield server


@pytest.fixture
def registered(
    transactional_db: None, settings: Any, socket_port: int, scripted: Scripted
) -> Cluster:
    """The scripted cluster, registered; sockets are where the server listens."""
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    settings.WS_BASE_URL = f"ws://127.0.0.1:{socket_port}"
    settings.STREAM_GIVE_UP_SECONDS = 8.0
    return registry.register(name="scripted", kubeconfig_text=scripted.kubeconfig)


@pytest.fixture
def caller(transactional_db: None) -> Caller:
    """An administrator's script."""
    user = get_user_model().objects.create_superuser("boss", "boss@example.com", "not-used-here-1")
    return Caller(create_api_token(user, "tests")[1])


@pytest.fixture
def ticket(caller: Caller, registered: Cluster) -> Callable[..., dict[str, Any]]:
    """Asks for a ticket: `ticket("pods/web/logs/stream", tail_lines=5)`."""

    def ask(path: str, **options: Any) -> dict[str, Any]:
        body = {"cluster_id": registered.pk, "namespace": "default", **options}
        answer: dict[str, Any] = caller.data(
            "POST", path, {key: value for key, value in body.items() if value is not None}
        )
        return answer

    return ask
