"""Who may come in at /mcp, and with what."""

import json
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from tests.agents.conftest import Agent

JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest.fixture
def door(agent: Agent) -> httpx.Client:
    """HTTP without the official client, with the administrator's token."""
    headers = {**JSON, "Authorization": f"Bearer {agent.token}"}
    with httpx.Client(base_url=agent.url, headers=headers, timeout=20) as client:
        yield client  # type: ignore[misc]


def refusal(response: httpx.Response) -> str:
    """The message of a refusal, which is JSON-RPC's."""
    body: dict[str, Any] = response.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", None)
    return str(body["error"]["message"])


def test_without_a_token_there_is_nothing(door: httpx.Client) -> None:
    del door.headers["Authorization"]
    for header in ({}, {"Authorization": "Bearer kgt_unknown"}, {"Authorization": "Basic eDp5"}):
        response = door.post("", json=LIST, headers=header)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert refusal(response)


def test_pages_of_other_sites_and_other_hosts_are_refused(
    door: httpx.Client, settings: Any
) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert door.post("", json=LIST, headers=headers).status_code == 403
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    assert door.post("", json=LIST, headers={"Host": "evil.example"}).status_code == 400
    own = str(door.base_url).removesuffix("/mcp/")
    assert door.post("", json=LIST, headers={"Origin": own}).status_code == 200
    settings.WS_ALLOWED_ORIGINS = ["https://console.example"]
    allowed = {"Origin": "https://console.example"}
    assert door.post("", json=LIST, headers=allowed).status_code == 200


def test_only_whole_small_json_is_read(door: httpx.Client, settings: Any) -> None:
    settings.AGENT_BODY_BYTES = 2000
    assert door.post("", content=b" " * 2001).status_code == 413

    def parts() -> Any:
        for _ in range(30):
            yield b" " * 100

    assert door.post("", content=parts()).status_code == 413
    assert door.post("", content=b"{bad").status_code == 400
    assert door.post("", content=json.dumps(LIST), headers={"Content-Type": "text/plain"}).is_error
    for method in ("GET", "DELETE", "PUT"):
        assert door.request(method, "").status_code == 405
    # With and without the slash at its end, like every address.
    for address in ("", str(door.base_url).rstrip("/")):
        answer = door.post(address, json=LIST).json()
        assert answer["result"]["tools"]


def test_a_session_speaks_like_a_token(agent: Agent, boss: User, script: Any) -> None:
    boss.set_password("a-long-Passphrase-7")
    boss.save()
    signed_in = script.data(
        "POST",
        "/api/v1/auth/login",
        {"username": "boss", "password": "a-long-Passphrase-7"},
    )
    agent.token = signed_in["token"]
    assert "list_clusters" in agent.tools()


def test_a_person_may_not_hold_all_threads(door: httpx.Client, settings: Any) -> None:
    settings.AGENT_CALLS_PER_USER = 0
    response = door.post("", json=LIST)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "1"
