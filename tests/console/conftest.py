"""The console as people meet it: a web server, a socket server, a simulated cluster, a person and their browser."""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser

from clusters.kinds import KINDS
from clusters.models import Cluster
from simcluster.registry import WriteOptions
from simcluster.testing import RunningCluster
from tests.console.browser import DESK, MISSING, Walk
from tools import chromium

# Playwright runs an event loop in the thread of the tests, where Django would refuse to ask the database.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the run; without one, tests that need it are skipped."""
    if chromium.executable() is None:
        pytest.skip(MISSING)
    with chromium.open_browser() as browser:
        yield browser


@pytest.fixture
def person(db: None) -> User:
    """Somebody who may do everything."""
    # No password: hashing one takes longer than most tests.
    return get_user_model().objects.create_superuser("ada", "ada@example.com", None)


@pytest.fixture
def visitor(person: User) -> Client:
    """A client with that person's session, for pages without a browser."""
    client = Client()
    client.force_login(person)
    return client


def conditions(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """The conditions of a pod."""
    return list((pod.get("status") or {}).get("conditions") or [])


class Make:
    """Makes objects in a fresh namespace, `space`: make("pods", {...}, running=True) waits until its pods run."""

    def __init__(self, apiserver: RunningCluster, space: str) -> None:
        self._server, self.space = apiserver, space

    def __call__(self, plural: str, content: dict[str, Any], *, running: bool = False) -> None:
        kind = KINDS[plural]
        storage = f"{plural}.{kind.group}" if kind.group else plural
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **content}
        resource = self._server.cluster.table.of_storage(storage)
        place = self.space if kind.namespaced else ""
        self._server.call(
            self._server.cluster.registry.create, resource, place, whole, WriteOptions("tests")
        )
        if running:
            wanted = int((content.get("spec") or {}).get("replicas", 1)) if plural != "pods" else 1
            self._server.wait(
                lambda: len(self.ready(content["metadata"]["name"])) >= wanted, seconds=20
            )

    def ready(self, name: str) -> list[dict[str, Any]]:
        """The Ready pods whose names begin like that."""
        found = [
            pod
            for pod in self._server.list("pods", self.space)
            if pod["metadata"]["name"].startswith(name)
        ]
        return [
            pod
            for pod in found
            if any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod["status"].get("conditions", [])
            )
        ]


@pytest.fixture
def make(apiserver: RunningCluster) -> Make:
    """Makes objects in the simulated cluster, as somebody beside KubeGale would."""
    space = f"t-{uuid.uuid4().hex[:8]}"
    maker = Make(apiserver, space)
    maker("namespaces", {"metadata": {"name": space}})
    return maker


@pytest.fixture
def live_streams(transactional_db: None, settings: Any, socket_port: int) -> None:
    """Sockets for tests without a browser; rights are looked at again every half a second."""
    settings.WS_BASE_URL = f"ws://127.0.0.1:{socket_port}"
    settings.STREAM_REAUTHORISE_SECONDS = 0.5


Walker = Callable[..., Walk]


@pytest.fixture
def walker(
    transactional_db: None,
    live_server: Any,
    settings: Any,
    socket_port: int,
    browser: Browser,
    request: Any,
) -> Iterator[Walker]:
    """Gives a browser to somebody: `walker(user)`, or `walker(None)` for who is not signed in; `size` is the window.

    After the test no page may have reported a fault: no error of a script, nothing that the policy of the pages had to stop.
    """
    settings.WS_BASE_URL = f"ws://127.0.0.1:{socket_port}"
    walks: list[Walk] = []

    def start(user: User | None, *, size: tuple[int, int] = DESK, **options: Any) -> Walk:
        # Chromium takes an animation that was cut short for what it is; tests need not wait for any.
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", **options
        )
        if user:
            client = Client()
            client.force_login(user)
            cookie = client.cookies["sessionid"]
            context.add_cookies(
                [{"name": "sessionid", "value": cookie.value, "url": live_server.url}]
            )
        walks.append(Walk(context, live_server.url, f"{request.node.name}{len(walks) or ''}"))
        return walks[-1]

    yield start
    faults = [fault for walk in walks for fault in walk.faults]
    for walk in walks:
        walk.picture("end")
        walk.context.close()
    wait_for_requests()
    assert not faults, faults


def wait_for_requests() -> None:
    """Wait until the server has answered what closed pages had asked for.

    The database is emptied after the test, which ends in a deadlock while such a request reads it.
    """
    deadline = time.monotonic() + 60
    while any("process_request_thread" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "requests of closed pages go on"
        time.sleep(0.02)


@pytest.fixture
def walk(walker: Walker, transactional_db: None, person: User, cluster: Cluster) -> Walk:
    """The browser of somebody who may do everything, with a simulated cluster registered."""
    return walker(person)
