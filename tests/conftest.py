"""Fixtures shared by all tests."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import override_settings
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from access.tokens import create_api_token
from clusters import registry
from clusters.models import Cluster
from core import row_cache
from simcluster.testing import RunningCluster, running_cluster
from storage_api.services import change_signal
from tests.caller import Caller
from tests.socket_server import socket_server
from tests.vkube import label_nodes


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly that the walks through the console did not happen."""
    reasons = {
        str(report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    }
    for reason in sorted(reason for reason in reasons if "NO BROWSER" in reason):
        terminalreporter.write_sep("!", reason.removeprefix("Skipped: "), red=True, bold=True)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """The test database, for every test that asks: the plug-in's own makes none when no chosen test is marked as using it."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases=["default"])
    yield
    # A database that somebody listens to cannot be dropped.
    row_cache.stop()
    # A connection of its own would keep the database from being dropped.
    change_signal.signal.close()
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """A hash that is as good as any for throw-away passwords: the real one takes longer than most tests."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True)
def free_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """No event loop counts as running in a test without a browser.

    Playwright's stays in this thread from the first test with a browser to the end of the run.
    """
    loop = asyncio._get_running_loop()
    if loop is None or "browser" in request.fixturenames:
        yield
        return
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


@pytest.fixture(scope="session")
def apiserver_process() -> Iterator[RunningCluster]:
    """One simulated Kubernetes API server for the whole run; tests take `apiserver`."""
    # Tests leave their pods behind.
    with running_cluster(pods_per_node=2000) as server:
        yield server


@pytest.fixture(scope="session")
def socket_port() -> Iterator[int]:
    """The port of the WebSocket server: one for the run, as its connections to Redis belong to one event loop."""
    with socket_server() as port:
        yield port


@pytest.fixture
def apiserver(apiserver_process: RunningCluster) -> RunningCluster:
    """The simulated Kubernetes API server, with no recorded requests yet.

    `.url`, `.kubeconfig` (dict), `.kubeconfig_yaml`, `.requests` (recorded: method, path, query, headers, body), `.store`.
    Objects of earlier tests may still be there: work in a namespace of your own.
    """
    apiserver_process.requests.clear()
    return apiserver_process


@pytest.fixture
def admin(db: None) -> Caller:
    """An administrator's script: calls the JSON routes with an API token."""
    user = get_user_model().objects.create_superuser("admin", "admin@example.com", None)
    return Caller(create_api_token(user, "tests")[1])


@pytest.fixture
def cluster(db: None, apiserver: RunningCluster) -> Cluster:
    """The simulated API server, registered."""
    return registry.register(
        name="simulated", kubeconfig_text=apiserver.kubeconfig_yaml, default=True
    )


@pytest.fixture
def vkube(apiserver: Any, cluster: Cluster, settings: Any) -> Iterator[Any]:
    """The simulated API server with the regions ausrine and giltine; orders run in a namespace of their own."""
    settings.VKUBE_NAMESPACE = "vkube"
    settings.VKUBE_REGION_CACHE_SECONDS = 0
    cache.clear()
    label_nodes(apiserver, ["ausrine", "giltine"])
    yield apiserver
    apiserver.faults.clear()
    label_nodes(apiserver, [])
