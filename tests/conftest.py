"""Fixtures shared by all tests."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def apiserver_process() -> Iterator[object]:
    """One simulated Kubernetes API server for the whole run; tests take `apiserver`."""
    running_cluster = pytest.importorskip("simcluster.testing").running_cluster
    with running_cluster() as server:
        yield server


@pytest.fixture
def apiserver(apiserver_process: object) -> object:
    """The simulated Kubernetes API server, with no recorded requests yet.

    `.url`, `.kubeconfig` (dict), `.kubeconfig_yaml`, `.requests` (recorded: method, path, query, headers, body), `.store`.
    Objects of earlier tests may still be there: work in a namespace of your own.
    """
    apiserver_process.requests.clear()  # type: ignore[attr-defined]
    return apiserver_process
