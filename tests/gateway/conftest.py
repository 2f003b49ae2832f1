"""The gateway, the simulated cluster behind it, and kubectls of several people."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters import registry, stream_clients
from clusters.models import Cluster
from core.sockets import connections
from simcluster.testing import RunningCluster
from tests.gateway.running import (
    Kubectl,
    RawServer,
    Running,
    find_kubectls,
    raw_server,
    write_kubeconfig,
)

KUBECTLS = find_kubectls()


@pytest.fixture
def running(transactional_db: None, settings: Any, tmp_path: Path) -> Iterator[Running]:
    """The gateway with a certificate of its own."""
    settings.GATEWAY_ADDRESS = "127.0.0.1:0"
    settings.GATEWAY_TLS = True
    settings.GATEWAY_DATA_DIR = str(tmp_path)
    settings.GATEWAY_OWN_CERTIFICATE = True
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    settings.STREAM_REAUTHORISE_SECONDS = 1.0
    running = Running(tmp_path)
    running.do(running.start())
    settings.GATEWAY_URL = running.url
    try:
        yield running
    finally:
        running.do(running.gateway.stop())
        running.do(stream_clients.close())
        running.do(connections.close_database())
        running.loop.call_soon_threadsafe(running.loop.stop)
        running.thread.join(10)
        running.loop.close()


@pytest.fixture
def simulated(transactional_db: None, apiserver: RunningCluster) -> Cluster:
    """The simulated API server, registered."""
    return registry.register(name="simulated", kubeconfig_text=apiserver.kubeconfig_yaml)


@pytest.fixture
def admin_token(transactional_db: None) -> str:
    """An administrator's API token."""
    user = get_user_model().objects.create_superuser("boss", "boss@example.com", None)
    return create_api_token(user, "tests")[1]


@pytest.fixture
def kubectl_of(running: Running, simulated: Cluster, tmp_path: Path) -> Callable[..., Kubectl]:
    """kubectl through the gateway with a token: `kubectl_of(token)`."""
    if not KUBECTLS:
        pytest.skip("kubectl is not installed")

    def make(token: str, program: str = KUBECTLS[-1]) -> Kubectl:
        path = tmp_path / f"{token[-8:]}.kubeconfig"
        return Kubectl(program, write_kubeconfig(path, running, simulated.name, token))

    return make


@pytest.fixture
def kubectl(kubectl_of: Callable[..., Kubectl], admin_token: str) -> Kubectl:
    """An administrator's kubectl, of the newest version that is here."""
    return kubectl_of(admin_token)


@pytest.fixture
def raw() -> Iterator[RawServer]:
    """An API server whose bytes the test writes itself."""
    with raw_server() as server:
        yield server


@pytest.fixture
def raw_cluster(transactional_db: None, settings: Any, raw: RawServer) -> Cluster:
    """The raw server, registered."""
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    return Cluster.objects.create(name="raw", kubeconfig=raw.kubeconfig, server="raw")
