"""Agents of several people: the official client over HTTP, against the event-driven server."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import orjson
import pytest
from django.contrib.auth.models import User
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller

T = TypeVar("T")
Member = Callable[..., "Agent"]


@dataclass(frozen=True)
class Outcome:
    """What a tool answered."""

    failed: bool
    body: dict[str, Any]
    size: int

    @property
    def data(self) -> Any:
        """The data of an answer that must be none of a failure."""
        assert not self.failed, self.body
        return self.body["data"]


class Agent:
    """One person's agent."""

    def __init__(self, port: int, token: str) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.token = token

    def run(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """What the work gives that is done with a connected client."""

        async def main() -> T:
            headers = {"Authorization": f"Bearer {self.token}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=30) as http,
                Client(streamable_http_client(self.url, http_client=http)) as client,
            ):
                return await work(client)

        return asyncio.run(main())

    def tools(self) -> dict[str, Any]:
        """The tools that it sees, by name."""

        async def work(client: Client) -> dict[str, Any]:
            return {tool.name: tool for tool in (await client.list_tools()).tools}

        return self.run(work)

    def __call__(self, tool: str, **arguments: Any) -> Outcome:
        """Call one tool."""

        async def work(client: Client) -> Outcome:
            result = await client.call_tool(tool, arguments)
            (content,) = result.content
            # Clients that read text alone get the same.
            assert orjson.loads(content.text) == result.structured_content  # type: ignore[union-attr]
            return Outcome(
                result.is_error,
                result.structured_content,
                len(content.text.encode()),  # type: ignore[union-attr]
            )

        return self.run(work)

    def confirm(self, tool: str, **arguments: Any) -> Outcome:
        """Call an acting tool, and again with the token of its dry run."""
        planned = self(tool, **arguments)
        assert not planned.failed, planned.body
        return self(tool, **arguments, confirm_token=planned.body["confirm_token"])


@pytest.fixture
def boss(transactional_db: None) -> User:
    """An administrator."""
    return User.objects.create_superuser("boss", "boss@example.com", None)


@pytest.fixture
def script(boss: User) -> Caller:
    """The administrator's script: calls the JSON routes."""
    return Caller(create_api_token(boss, "script")[1])


@pytest.fixture
def cluster(boss: User, apiserver: RunningCluster) -> Cluster:
    """The simulated API server under a name that no other test has used."""
    name = f"c-{uuid.uuid4().hex[:8]}"
    return registry.register(name=name, kubeconfig_text=apiserver.kubeconfig_yaml, default=True)


@pytest.fixture
def space(script: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    content = {"metadata": {"name": name}}
    script.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    return name


@pytest.fixture
def put(script: Caller, cluster: Cluster, space: str) -> Callable[..., dict[str, Any]]:
    """Makes an object in the namespace: put("deployments", {…})."""

    def make(plural: str, content: dict[str, Any]) -> dict[str, Any]:
        body = {"cluster_id": cluster.pk, "namespace": space, "content": content}
        made: dict[str, Any] = script.data("POST", plural, body)
        return made

    return make


@pytest.fixture
def agent(boss: User, socket_port: int) -> Agent:
    """The administrator's agent."""
    return Agent(socket_port, create_api_token(boss, "agent")[1])


@pytest.fixture
def member(boss: User, socket_port: int) -> Member:
    """Agents of people with one grant: member("viewer", cluster=…, namespace=…, scopes=[…])."""

    def make(
        role: str, *, cluster: Cluster | None = None, namespace: str = "", **token: Any
    ) -> Agent:
        user = User.objects.create_user(f"{role}-{uuid.uuid4().hex[:6]}")
        grants.give(
            user=user,
            role=Role(role),
            cluster=str(cluster.pk) if cluster else "",
            namespace=namespace,
        )
        return Agent(socket_port, create_api_token(user, "agent", **token)[1])

    return make
