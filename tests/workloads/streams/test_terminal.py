"""A shell over a WebSocket: a real one, behind a scripted API server."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from redis import Redis

from access.models import ApiToken
from clusters.models import Cluster
from core.sockets import quota
from core.sockets.tickets import public_session_name
from tests.caller import Caller
from tests.scripted_cluster import Scripted
from tests.socket_server import Peer, peer

Ticket = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def web(scripted: Scripted) -> None:
    """A pod to have shells in."""
    scripted.add_pod("web", "app", "side")


def said(text: str) -> Callable[[Peer], bool]:
    """Whether the terminal has printed this."""
    return lambda client: text in client.output


def recording(caller: Caller, cluster: Cluster) -> dict[str, Any]:
    """The last recording there, once it is finished."""

    def finished() -> Any:
        rows = caller.data("GET", "terminal-recordings", cluster_id=cluster.pk)["items"]
        return [row for row in rows if row["finished_at"]]

    deadline = time.monotonic() + 10
    while not finished():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    row: dict[str, Any] = finished()[0]
    return row


def connected(client: Peer) -> dict[str, Any]:
    """The status frame that says so, with the token to come back with."""
    client.until(lambda peer: "connected" in peer.states())
    return next(frame for frame in client.frames if frame.get("state") == "connected")


def test_what_is_typed_reaches_the_shell_and_its_output_comes_back(
    scripted: Scripted, ticket: Ticket
) -> None:
    issued = ticket("pods/web/terminal")
    assert set(issued) == {"terminal_url", "token", "session", "expires_at"}
    with peer(issued["terminal_url"]) as client:
        client.send(type="data", data={"input": "echo one-$((1+1))\n"})
        client.until(said("one-2"))
        client.send(type="resize", data={"cols": 120, "rows": 40})
        client.send(type="stdin", data="echo 你-$((2+3))\n")
        client.until(said("你-5"))
        client.send(Op="stdin", Data="echo old-$((3+3))\n")
        client.until(said("old-6"))
        client.connection.send(b"exit 3\n")
        assert client.end() == 1000
    assert scripted.sizes == [(120, 40)]
    assert client.frames[-1]["type"] == "close"
    assert client.frames[-1]["data"] == {"reason": "exited", "exit_code": 3, "error": "exit code 3"}
    data = [frame for frame in client.frames if frame["type"] == "data"]
    assert [frame["seq"] for frame in data] == list(range(1, len(data) + 1))
    query = next(query for _, path, query in scripted.requests if path.endswith("/exec"))
    assert {name: query[name] for name in ("container", "tty", "stdin", "stdout")} == {
        "container": "app",
        "tty": "true",
        "stdin": "true",
        "stdout": "true",
    }


def test_get_makes_a_ticket_too_and_the_container_may_be_named(
    caller: Caller, registered: Cluster, scripted: Scripted
) -> None:
    where = {"cluster_id": registered.pk, "namespace": "default"}
    assert caller.data("GET", "pods/web/terminal", container="side", **where)["token"]
    assert caller.code("GET", "pods/web/terminal", container="nope", **where) == 1001
    assert caller.code("GET", "pods/nope/terminal", **where) == 1004
    assert caller.code("POST", "pods/web/terminal", {**where, "command": "sh"}) == 1001
    for program in ({"command": ["sh", "a\0b"]}, {"shell": "sh\0"}):
        assert caller.code("POST", "pods/web/terminal", {**where, **program}) == 1001


@pytest.mark.parametrize(
    ("subprotocol", "key", "value"),
    [("kubegale.write", "type", "write"), ("kubegale.stdout", "Op", "stdout")],
)
def test_other_consoles_get_their_own_frames(
    ticket: Ticket, subprotocol: str, key: str, value: str
) -> None:
    with peer(ticket("pods/web/terminal")["terminal_url"], subprotocols=[subprotocol]) as client:
        assert client.connection.subprotocol == subprotocol
        client.send(type="read", data="exit\n")
        while client.read() is not None:
            pass
    assert any(
        frame.get(key) == value and isinstance(frame.get("data", frame.get("Data")), str)
        for frame in client.frames
    )


def test_a_ticket_works_once_and_only_for_its_own_session(ticket: Ticket) -> None:
    first, second = ticket("pods/web/terminal"), ticket("pods/web/terminal")
    with peer(first["terminal_url"].replace(first["session"], second["session"])) as client:
        assert client.end() == 4001
    with peer(first["terminal_url"]) as client:
        assert client.end() == 4001, "shown to another session it is spent"
    with peer(second["terminal_url"]) as client:
        connected(client)
        client.send(type="close")
        assert client.end() == 1000
    with peer(second["terminal_url"]) as client:
        assert client.end() == 4001
        assert client.frames[0]["type"] == "closed"


def test_an_expired_ticket_is_refused(ticket: Ticket, settings: Any) -> None:
    settings.TICKET_SECONDS = 1
    issued = ticket("pods/web/terminal")
    time.sleep(1.2)
    with peer(issued["terminal_url"]) as client:
        assert client.end() == 4001


def test_the_ticket_may_come_in_the_first_frame_and_nonsense_may_not(ticket: Ticket) -> None:
    issued = ticket("pods/web/terminal")
    bare = issued["terminal_url"].partition("?")[0]
    with peer(bare) as client:
        client.send(type="attach", session=issued["session"], token=issued["token"])
        connected(client)
    with peer(bare) as client:
        client.connection.send("hello")
        assert client.end() == 4001
    with peer(ticket("pods/web/terminal")["terminal_url"] + "?token=again") as client:
        connected(client)


def test_pages_of_other_sites_are_refused(ticket: Ticket, settings: Any) -> None:
    for origin in ("https://evil.example", "null", "http://testserver:81"):
        with peer(ticket("pods/web/terminal")["terminal_url"], origin=origin) as client:
            assert client.end() == 4003
    settings.WS_ALLOWED_ORIGINS = ["https://console.example"]
    for origin in ("http://testserver", "https://console.example"):
        with peer(ticket("pods/web/terminal")["terminal_url"], origin=origin) as client:
            connected(client)


def test_a_dropped_client_comes_back_to_what_it_missed(ticket: Ticket) -> None:
    issued = ticket("pods/web/terminal")
    bare = issued["terminal_url"].partition("?")[0]
    with peer(issued["terminal_url"]) as client:
        token = connected(client)["token"]
        client.send(type="data", data={"input": "echo before; sleep 1; echo af''ter\n"})
        client.until(said("before\r\n"))
        last_seq = client.frames[-1]["seq"]
    time.sleep(1.5)
    with peer(bare) as again:
        again.send(type="attach", session=issued["session"], last_seq=last_seq, token=token)
        again.until(said("after"))
        assert "before" not in again.output
        newer = connected(again)["token"]
        with peer(bare) as thief:
            thief.send(type="attach", session=issued["session"], token=token)
            assert thief.end() == 4001, "a token to come back with works once"
        with peer(bare) as third:
            third.send(type="attach", session=issued["session"], last_seq=0, token=newer)
            third.until(said("before"))
            assert again.end() == 4009
            third.send(type="data", data={"input": "exit\n"})
            assert third.end() == 1000


def test_a_client_that_stays_away_loses_its_shell(
    scripted: Scripted, ticket: Ticket, settings: Any
) -> None:
    settings.TERMINAL_HOLD_SECONDS = 0.5
    issued = ticket("pods/web/terminal")
    with peer(issued["terminal_url"]) as client:
        token = connected(client)["token"]
    time.sleep(2)
    with peer(issued["terminal_url"].partition("?")[0]) as again:
        again.send(type="attach", session=issued["session"], token=token)
        assert again.end() == 4001
        assert again.frames[0]["type"] == "closed"


def test_an_idle_shell_is_closed_with_4008(ticket: Ticket, settings: Any) -> None:
    settings.TERMINAL_IDLE_SECONDS = 1.0
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        assert client.end() == 4008


def test_a_pod_that_vanishes_closes_with_4004_and_a_lost_cluster_with_4010(
    scripted: Scripted, ticket: Ticket
) -> None:
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        connected(client)
        client.until(said("$"))
        scripted.close_shells()
        assert client.end() == 4010
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        client.until(said("$"))
        scripted.delete_pod("web")
        assert client.end() == 4004
    scripted.add_pod("web", "app")
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        client.until(said("$"))
        scripted.vanish()
        assert client.end() == 4010


def test_a_shell_that_the_cluster_refuses_says_why(scripted: Scripted, ticket: Ticket) -> None:
    issued = ticket("pods/web/terminal")
    scripted.delete_pod("web")
    with peer(issued["terminal_url"]) as client:
        assert client.end() == 4004
        assert client.frames[-1]["code"] == 1004


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, 'pods "web" is forbidden: User "u" cannot create resource "pods/exec"'),
        (400, "container app is not valid for pod web"),
        (500, "error dialing backend: no preferred addresses found"),
    ],
)
def test_the_api_servers_own_sentence_comes_through(
    scripted: Scripted, ticket: Ticket, status: int, sentence: str
) -> None:
    scripted.refuse_exec = (status, sentence)
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        client.end()
    assert client.frames[-1]["msg"] == sentence, client.frames[-1]
    # Asking again only for the sentence would be a second try.
    assert sum(path.endswith("/exec") for _, path, _ in scripted.requests) == 1


def test_bytes_pass_a_terminal_untouched_both_ways(scripted: Scripted, ticket: Ticket) -> None:
    issued = ticket("pods/web/terminal", command=["/bin/cat"])
    with peer(issued["terminal_url"]) as client:
        for part in (b"\xe4\xbd", b"\xa0", b"\xf0\x9f", b"\x98\x80\n", b"\xff\xfe\n"):
            client.connection.send(part)
        client.until(lambda _: scripted.typed.endswith(b"\xff\xfe\n"))
        client.until(said("你😀"))
        client.send(type="close")
        client.end()
    assert scripted.typed == b"\xe4\xbd\xa0\xf0\x9f\x98\x80\n\xff\xfe\n"


def test_half_a_character_at_the_very_end_is_shown_and_recorded(
    caller: Caller, registered: Cluster, ticket: Ticket
) -> None:
    command = ["/usr/bin/printf", "end:\\344\\275"]
    issued = ticket("pods/web/terminal", command=command, record=True)
    with peer(issued["terminal_url"]) as client:
        client.end()
        assert client.output == "end:\ufffd"
    row = recording(caller, registered)
    answer = caller.raw("GET", f"terminal-recordings/{row['id']}/replay")
    events = b"".join(answer.streaming_content).decode().splitlines()[1:]
    assert "".join(json.loads(event)[2] for event in events) == "end:\ufffd"


def test_credentials_do_not_follow_a_redirect(scripted: Scripted, ticket: Ticket) -> None:
    issued = ticket("pods/web/terminal")
    scripted.redirect = f"{scripted.url}/elsewhere"
    before = len(scripted.requests)
    with peer(issued["terminal_url"]) as client:
        assert client.end() == 4010
    assert [path for _, path, _ in scripted.requests[before:]] == [
        "/api/v1/namespaces/default/pods/web/exec"
    ]


@pytest.mark.parametrize("how", ["token", "user", "right"])
def test_a_caller_who_lost_the_right_is_cut_off(
    caller: Caller, ticket: Ticket, settings: Any, how: str
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.3
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        client.until(said("$"))
        users = get_user_model().objects.filter(username="boss")
        match how:
            case "token":
                ApiToken.objects.update(revoked_at="2026-01-01T00:00:00Z")
            case "user":
                users.update(is_active=False)
            case "right":
                users.update(is_superuser=False)
        assert client.end() == (4003 if how == "right" else 4001)


def test_a_viewer_gets_no_ticket(registered: Cluster, transactional_db: None) -> None:
    from access.tokens import create_api_token

    user = get_user_model().objects.create_user("viewer", "v@example.com", "not-used-here-1")
    stranger = Caller(create_api_token(user, "t")[1])
    for path in ("pods/web/terminal", "nodes/node-1/terminal", "pods/web/logs/stream"):
        assert (
            stranger.code("POST", path, {"cluster_id": registered.pk, "namespace": "default"})
            == 1005
        )


def test_one_user_has_so_many_shells_and_no_more(ticket: Ticket, settings: Any) -> None:
    settings.TERMINALS_PER_USER = 1
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        connected(client)
        with peer(ticket("pods/web/terminal")["terminal_url"]) as second:
            assert second.end() == 4003
        client.send(type="close")
        client.end()
    with peer(ticket("pods/web/terminal")["terminal_url"]) as third:
        connected(third)


def test_a_shell_that_waits_for_its_client_counts_once(ticket: Ticket, settings: Any) -> None:
    settings.TERMINALS_PER_USER = 1
    settings.STREAM_PING_SECONDS = 0.2
    issued = ticket("pods/web/terminal")
    with peer(issued["terminal_url"]) as client:
        token = connected(client)["token"]
    boss = get_user_model().objects.get(username="boss")
    slots = Redis.from_url(settings.REDIS_URL)
    key = quota.quota_key("terminals", boss.pk)
    mark = public_session_name(issued["session"])
    before = slots.zscore(key, mark)
    assert isinstance(before, float)
    # The slot is renewed while nobody is attached, else a parked shell would count no more.
    deadline = time.monotonic() + 20
    while slots.zscore(key, mark) < before + 0.5:
        assert time.monotonic() < deadline, "the slot runs out"
        time.sleep(0.05)
    with peer(ticket("pods/web/terminal")["terminal_url"]) as second:
        assert second.end() == 4003
    with peer(issued["terminal_url"].partition("?")[0]) as again:
        again.send(type="attach", session=issued["session"], token=token)
        connected(again)
        assert slots.zcard(key) == 1


def test_a_guessed_or_foreign_key_leads_to_no_shell_that_waits(
    ticket: Ticket, scripted: Scripted
) -> None:
    mine = ticket("pods/web/terminal")
    other = ticket("pods/web/terminal")
    with peer(mine["terminal_url"]) as client:
        token = connected(client)["token"]
    with peer(other["terminal_url"]) as client:
        foreign = connected(client)["token"]
    bare = mine["terminal_url"].partition("?")[0]
    # The ticket that began it, another session's key, and keys that are none.
    for key in (mine["token"], foreign, "", "0" * 43, token[:-1], token + "x"):
        with peer(bare) as thief:
            thief.send(type="attach", session=mine["session"], token=key)
            assert thief.end() == 4001
            assert thief.output == ""
    with peer(bare) as again:
        again.send(type="attach", session=mine["session"], token=token)
        connected(again)


def test_a_recorded_terminal_can_be_replayed(
    caller: Caller, registered: Cluster, ticket: Ticket
) -> None:
    issued = ticket("pods/web/terminal", record=True)
    with peer(issued["terminal_url"]) as client:
        client.send(type="resize", data={"cols": 100, "rows": 30})
        client.send(
            type="data", data={"input": "stty -echo; echo re''ady; read x; stty echo; echo got\n"}
        )
        client.until(said("ready"))
        client.send(type="data", data={"input": "the-password\n"})
        client.until(said("got\r\n"))
        client.send(type="data", data={"input": "exit\n"})
        client.end()

    row = recording(caller, registered)
    assert caller.data("GET", f"terminal-recordings/{issued['session']}") == row
    assert (row["session"], row["pod"], row["container"], row["username"], row["width"]) == (
        public_session_name(issued["session"]),
        "web",
        "app",
        "boss",
        100,
    )
    answer = caller.raw("GET", f"terminal-recordings/{row['id']}/replay")
    header, *events = b"".join(answer.streaming_content).decode().splitlines()
    assert '"version":2' in header
    assert any('"o"' in event and "got" in event for event in events)
    assert "the-password" not in "".join(events)


def test_a_node_shell_is_a_pod_that_goes_with_it(scripted: Scripted, ticket: Ticket) -> None:
    issued = ticket("nodes/node-1/terminal", namespace=None)
    with peer(issued["terminal_url"]) as client:
        client.send(type="data", data={"input": "echo on-$((5+5))\n"})
        client.until(said("on-10"))
        assert client.states()[-1] == "connected"
        (space, name), pod = next(
            item for item in scripted.pods.items() if item[0][0] == "kube-system"
        )
        spec = pod["spec"]
        assert (spec["nodeName"], spec["hostPID"], spec["automountServiceAccountToken"]) == (
            "node-1",
            True,
            False,
        )
        assert spec["activeDeadlineSeconds"] == 4 * 3600
        client.send(type="data", data={"input": "exit\n"})
        assert client.end() == 1000
    deadline = time.monotonic() + 10
    while (space, name) in scripted.pods:
        assert time.monotonic() < deadline, "the debug pod is still there"
        time.sleep(0.05)


def test_frames_that_are_none_are_answered_and_the_shell_lives(ticket: Ticket) -> None:
    with peer(ticket("pods/web/terminal")["terminal_url"]) as client:
        client.until(said("$"))
        for junk in (
            "[1]",
            "{",
            '{"type":"nonsense"}',
            '{"type":"resize","data":{"cols":0,"rows":1}}',
            '{"type":"data","data":{}}',
        ):
            client.connection.send(junk)
        client.send(type="ping")
        client.until(lambda peer: "pong" in peer.types())
        assert client.types().count("error") == 5
        client.send(type="data", data={"input": "echo fi''ne\n"})
        client.until(said("fine"))


def test_output_floods_do_not_outrun_a_slow_client(ticket: Ticket) -> None:
    with peer(
        ticket("pods/web/terminal", command=["sh", "-c", "seq 1 200000"])["terminal_url"],
        max_queue=1,
    ) as client:
        time.sleep(1)
        assert client.end(60) == 1000
    numbers = client.output.split()
    assert numbers == [str(number) for number in range(1, 200_001)]


def test_unknown_sockets_are_4004(socket_port: int) -> None:
    with peer(f"ws://127.0.0.1:{socket_port}/ws/nope") as client:
        assert client.end() == 4004
