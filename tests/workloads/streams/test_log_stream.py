"""Live logs over a WebSocket: every line once, whatever happens to the connection behind."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from clusters.models import Cluster
from core.stream_limits import stopping
from tests.caller import Caller
from tests.scripted_cluster import Scripted
from tests.socket_server import peer

Ticket = Callable[..., dict[str, Any]]


def stamped(first: int, count: int, *, second: int = 0) -> bytes:
    """Lines, three of which always share one time."""
    return b"".join(
        b"2026-01-01T00:00:%02d.%09dZ line %d\n" % (second, number // 3, number)
        for number in range(first, first + count)
    )


def named(first: int, count: int) -> list[str]:
    """What these lines say."""
    return [f"line {number}" for number in range(first, first + count)]


def test_lines_come_in_frames_as_they_are_printed(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app")
    scripted.write("web", "app", stamped(0, 3))
    issued = ticket("pods/web/logs/stream")
    assert set(issued) == {"ws_url", "token", "session", "expires_at"}
    with peer(issued["ws_url"]) as client:
        client.until(lambda peer: len(peer.lines) == 3)
        first = next(frame for frame in client.frames if frame["type"] == "log")
        assert first == {
            "type": "log",
            "seq": 1,
            "timestamp": "2026-01-01T00:00:00.000000000Z",
            "data": {
                "content": "line 0",
                "timestamp": "2026-01-01T00:00:00.000000000Z",
                "source": "web/app",
                "cursor": "2026-01-01T00:00:00.000000000Z~1",
            },
        }
        scripted.write("web", "app", stamped(3, 2))
        client.until(lambda peer: peer.lines == named(0, 5))
        scripted.exit("web", "app")
        scripted.delete_pod("web")
        assert client.end() == 1000
        assert client.states() == ["connected", "eof", "eof"]


def test_a_broken_connection_loses_and_doubles_no_line(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app")
    scripted.write("web", "app", stamped(0, 10))
    with peer(ticket("pods/web/logs/stream")["ws_url"]) as client:
        client.until(lambda peer: len(peer.lines) == 10)
        for round_ in range(3):
            scripted.write("web", "app", stamped(10 + 7 * round_, 7) + b"2026-01-01T00:00:00.00000")
            client.until(lambda peer, count=17 + 7 * round_: len(peer.lines) >= count)
            scripted.cut("web", "app")
            client.until(
                lambda peer, count=round_ + 1: peer.states().count("reconnecting") == count
            )
            scripted.do(
                lambda: setattr(
                    scripted.logs["web", "app", False],
                    "data",
                    scripted.logs["web", "app", False].data[:-25],
                )
            )
        client.until(lambda peer: peer.states().count("connected") == 4)
        scripted.write("web", "app", stamped(31, 1))
        client.until(lambda peer: len(peer.lines) >= 32)
        assert client.lines == named(0, 32)
        assert [frame["seq"] for frame in client.frames if frame["type"] == "log"] == list(
            range(1, 33)
        )


def test_a_cursor_goes_on_where_the_client_stopped(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app", "side")
    scripted.write("web", "app", stamped(0, 10))
    scripted.write("web", "side", stamped(100, 4))
    for cut in (1, 2, 3, 7):
        with peer(ticket("pods/web/logs/stream", follow=False)["ws_url"]) as client:
            client.end()
        cursor = client.frames[cut]["data"]["cursor"]
        with peer(
            ticket("pods/web/logs/stream", follow=False)["ws_url"] + f"&cursor={cursor}"
        ) as client:
            assert client.end() == 1000
            assert client.lines == named(cut, 10 - cut)
    cursors = {
        "web/app": client.frames[-3]["data"]["cursor"],
        "web/side": "2026-01-01T00:00:00.000000033Z~2",
    }
    with peer(
        ticket("pods/web/logs/stream", follow=False, containers="*", cursor=cursors)["ws_url"]
    ) as client:
        assert client.end() == 1000
        assert client.lines == ["line 102", "line 103"]


def test_a_restarted_container_gives_the_rest_of_its_first_life_first(
    scripted: Scripted, ticket: Ticket
) -> None:
    scripted.add_pod("web", "app")
    scripted.write("web", "app", stamped(0, 3))
    with peer(ticket("pods/web/logs/stream")["ws_url"]) as client:
        client.until(lambda peer: len(peer.lines) == 3)
        scripted.cut("web", "app")
        scripted.write("web", "app", stamped(3, 4))
        scripted.exit("web", "app", restarts=True, code=1)
        scripted.write("web", "app", stamped(7, 2, second=1))
        client.until(lambda peer: len(peer.lines) >= 9)
        assert client.lines == named(0, 9)
        assert "container_restarted" in client.states()


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed (0)"), (3, "Error (3)")])
def test_a_container_that_exits_for_good_ends_the_stream(
    scripted: Scripted, ticket: Ticket, code: int, reason: str
) -> None:
    scripted.add_pod("job", "app", policy="Never")
    scripted.write("job", "app", stamped(0, 2) + b"2026-01-01T00:00:09.000000000Z no line break")
    with peer(ticket("pods/job/logs/stream")["ws_url"]) as client:
        client.until(lambda peer: len(peer.lines) == 2)
        scripted.exit("job", "app", code=code)
        assert client.end() == 1000
    assert client.lines[-1] == "no line break"
    assert [
        frame.get("reason")
        for frame in client.frames
        if frame["type"] == "status" and frame["state"] == "eof"
    ] == [reason, None]


def test_a_pod_deleted_in_mid_stream_ends_it(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app")
    with peer(ticket("pods/web/logs/stream")["ws_url"]) as client:
        scripted.write("web", "app", stamped(0, 2))
        client.until(lambda peer: len(peer.lines) == 2)
        scripted.delete_pod("web")
        assert client.end() == 1000
    assert client.frames[-2]["reason"] == "pod_deleted"


def test_a_cluster_that_stays_away_closes_with_4010(
    scripted: Scripted, ticket: Ticket, settings: Any
) -> None:
    settings.STREAM_GIVE_UP_SECONDS = 1.0
    scripted.add_pod("web", "app")
    with peer(ticket("pods/web/logs/stream")["ws_url"]) as client:
        scripted.write("web", "app", stamped(0, 1))
        client.until(lambda peer: len(peer.lines) == 1)
        scripted.vanish()
        assert client.end() == 4010
    assert "reconnecting" in client.states()
    error = client.frames[-1]
    assert (error["type"], error["code"]) == ("error", 1006)


def test_binary_output_is_shown_as_text(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app")
    scripted.write(
        "web",
        "app",
        b"2026-01-01T00:00:00.000000001Z \x00\xff\xfe\x1b[31m\r\n2026-01-01T00:00:00.000000002Z \xe4\xbd\xa0\n",
    )
    scripted.write("web", "app", b"2026-01-01T00:00:00.000000003Z " + b"x" * 200_000 + b"\n")
    with peer(ticket("pods/web/logs/stream", follow=False)["ws_url"], max_size=None) as client:
        assert client.end() == 1000
    assert client.lines[:2] == ["\x00\ufffd\ufffd\x1b[31m", "你"]
    assert "".join(client.lines[2:]) == "x" * 200_000


LONG_LINES = [
    "中" * 60_000,
    "a" + "😀" * 60_000,
    # Wherever it is cut, what comes next looks like a stamp.
    "2026-01-01T00:00:00.000000007Z " * 9_000,
    "中间\r进度 50%\r进度 100%\u2028同一行\u0085\x0b完",
]


def test_long_lines_keep_their_characters_and_only_their_beginnings_bear_stamps(
    scripted: Scripted, ticket: Ticket
) -> None:
    scripted.add_pod("web", "app")
    for number, line in enumerate(LONG_LINES):
        stamp = f"2026-01-01T00:00:0{number}.000000001Z"
        scripted.write("web", "app", f"{stamp} {line}\n".encode())
    with peer(ticket("pods/web/logs/stream", follow=False)["ws_url"], max_size=None) as client:
        assert client.end() == 1000
    lines: dict[str, str] = {}
    for frame in client.frames:
        if frame["type"] == "log":
            stamp = frame["data"]["timestamp"]
            lines[stamp] = lines.get(stamp, "") + frame["data"]["content"]
    assert list(lines.values()) == LONG_LINES


def test_a_limit_in_bytes_cuts_no_character(
    scripted: Scripted, registered: Cluster, caller: Caller
) -> None:
    scripted.add_pod("web", "app")
    scripted.write("web", "app", "a中\n".encode())
    query = {"cluster_id": registered.pk, "namespace": "default", "container": "app"}
    for limit, text in ((1, "a"), (2, "a"), (3, "a"), (4, "a中"), (5, "a中\n")):
        answer = caller.data("GET", "pods/web/logs", limit_bytes=limit, **query)
        assert answer["logs"] == text


def test_a_log_that_breaks_off_inside_a_character_shows_so(
    scripted: Scripted, registered: Cluster, caller: Caller, ticket: Ticket
) -> None:
    """As a container does that was killed while it printed."""
    scripted.add_pod("web", "app")
    scripted.write("web", "app", b"2026-01-01T00:00:00.000000001Z a\xe4\xb8")
    scripted.exit("web", "app")
    query = {"cluster_id": registered.pk, "namespace": "default", "container": "app"}
    assert caller.data("GET", "pods/web/logs", **query)["logs"].endswith("Z a\ufffd")
    with peer(ticket("pods/web/logs/stream", follow=False)["ws_url"]) as client:
        client.end()
    contents = [frame["data"]["content"] for frame in client.frames if frame["type"] == "log"]
    assert contents == ["a\ufffd"]


def test_a_silent_log_says_that_the_server_stops(
    scripted: Scripted, registered: Cluster, caller: Caller
) -> None:
    scripted.add_pod("web", "app")
    scripted.write("web", "app", b"2026-01-01T00:00:00.000000001Z hello\n")
    query = {"cluster_id": registered.pk, "namespace": "default", "container": "app"}
    answer = caller.client.get(
        "/api/v1/kubernetes/pods/web/logs",
        query_params={**query, "follow": "true"},
        headers={"Accept": "text/event-stream"},
    )
    events = iter(answer.streaming_content)
    while b"hello" not in next(events):
        pass
    stopping.set()
    try:
        last = list(events)[-1]
    finally:
        stopping.clear()
    assert last == b'event: close\ndata: {"reason":"the server is stopping"}\n\n'


def test_lines_followed_over_http_are_whole(
    scripted: Scripted, registered: Cluster, caller: Caller
) -> None:
    scripted.add_pod("web", "app")
    lines = [f"2026-01-01T00:00:00.000000001Z {line}" for line in LONG_LINES]
    scripted.write("web", "app", "".join(f"{line}\n" for line in lines).encode())
    scripted.write("web", "app", b"2026-01-01T00:00:01Z " + "中".encode() * 500_000)
    scripted.exit("web", "app")
    query = {"cluster_id": registered.pk, "namespace": "default", "container": "app"}
    stream = caller.client.get(
        "/api/v1/kubernetes/pods/web/logs",
        query_params={**query, "follow": "true", "timestamps": "true"},
        headers={"Accept": "text/event-stream"},
    )
    events = b"".join(stream.streaming_content).split(b"\n\n")
    entries = [json.loads(event.partition(b"data: ")[2]) for event in events if b"log\n" in event]
    assert [entry["content"] for entry in entries[: len(LONG_LINES)]] == LONG_LINES
    longest = entries[len(LONG_LINES) :]
    assert "".join(entry["content"] for entry in longest) == "中" * 500_000
    assert {entry["timestamp"] for entry in longest} == {"2026-01-01T00:00:01Z"}


def test_many_pods_of_a_selector_and_those_that_come_later(
    scripted: Scripted, ticket: Ticket
) -> None:
    for name in ("a", "b"):
        scripted.add_pod(name, "app", "side", labels={"app": "web"})
        scripted.write(name, "app", b"2026-01-01T00:00:00.000000001Z from %s\n" % name.encode())
    scripted.add_pod("other", "app", labels={"app": "db"})
    scripted.write("other", "app", b"2026-01-01T00:00:00.000000001Z from other\n")
    with peer(ticket("pods/logs/stream", labelSelector="app=web")["ws_url"]) as client:
        client.until(lambda peer: len(peer.lines) == 2)
        scripted.add_pod("late", "app", labels={"app": "web"})
        scripted.write("late", "app", b"2026-01-01T00:00:00.000000001Z from late\n")
        client.until(lambda peer: len(peer.lines) == 3)
        assert sorted(client.lines) == ["from a", "from b", "from late"]
        sources = {frame["data"]["source"] for frame in client.frames if frame["type"] == "log"}
        assert sources == {"a/app", "b/app", "late/app"}


def test_only_wanted_lines_pass_and_the_wish_may_change(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app")
    scripted.write(
        "web",
        "app",
        b"2026-01-01T00:00:00.000000001Z GET /a\n2026-01-01T00:00:00.000000002Z POST /b\n",
    )
    with peer(
        ticket("pods/web/logs/stream", include="^(GET|POST) ", exclude="/b", timestamps=True)[
            "ws_url"
        ]
    ) as client:
        client.until(lambda peer: peer.lines)
        client.send(type="filter", data={"include": "DELETE"})
        client.send(type="ping")
        client.until(lambda peer: peer.types().count("pong") == 1)
        scripted.write(
            "web",
            "app",
            b"2026-01-01T00:00:00.000000003Z GET /c\n2026-01-01T00:00:00.000000004Z DELETE /d\n",
        )
        client.until(lambda peer: len(peer.lines) == 2)
    assert client.lines == [
        "2026-01-01T00:00:00.000000001Z GET /a",
        "2026-01-01T00:00:00.000000004Z DELETE /d",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"include": "(?=x)"},
        {"cursor": "yesterday"},
        {"tail_lines": -1},
        {"containers": "nope"},
        {"containers": {"a": 1}},
        {"since_seconds": 5, "since_time": "2026-01-01T00:00:00Z"},
        {"follow": "perhaps"},
        {"namespace": None},
    ],
)
def test_a_bad_option_is_refused_before_a_ticket_is_made(
    scripted: Scripted, ticket: Ticket, options: dict[str, Any]
) -> None:
    scripted.add_pod("web", "app")
    with pytest.raises(AssertionError, match=r"'code': 1001"):
        ticket("pods/web/logs/stream", **options)


def test_tickets_are_small_and_few(scripted: Scripted, ticket: Ticket, settings: Any) -> None:
    scripted.add_pod("web", "app")
    for options in ({"include": "a" * 9000}, {"containers": ["app"] * 9000}):
        with pytest.raises(AssertionError, match=r"'code': 1001"):
            ticket("pods/web/logs/stream", **options)
    with pytest.raises(AssertionError, match=r"'code': 1001"):
        ticket("watch/stream", cluster_id=None, namespace=None, kinds="a," * 700_000)
    settings.TICKETS_PER_USER = 3
    issued = [ticket("pods/web/logs/stream") for _ in range(3)]
    with pytest.raises(AssertionError, match="tickets are unspent"):
        ticket("pods/web/logs/stream")
    with peer(issued[0]["ws_url"]) as client:
        client.until(lambda peer: "connected" in peer.states())
    # A spent ticket makes room for another.
    ticket("pods/web/logs/stream")


def test_a_client_that_stops_reading_costs_bounded_memory_and_is_told_what_it_missed(
    scripted: Scripted, ticket: Ticket, settings: Any
) -> None:
    settings.LOG_BUFFER_BYTES, settings.LOG_STALL_SECONDS = 64 * 1024, 0.3
    scripted.add_pod("web", "app")
    total = 80_000
    scripted.write("web", "app", stamped(0, total))
    with peer(ticket("pods/web/logs/stream")["ws_url"], max_queue=1) as client:
        client.until(lambda peer: peer.states() == ["connected"])
        scripted.exit("web", "app")
        time.sleep(3)
        scripted.delete_pod("web")
        assert client.end(60) == 1000
    missed = sum(frame["count"] for frame in client.frames if frame["type"] == "dropped")
    assert missed > 0
    assert missed + len(client.lines) == total
    assert client.lines[-1] == f"line {total - 1}"


def test_a_paused_client_misses_nothing(scripted: Scripted, ticket: Ticket, settings: Any) -> None:
    settings.LOG_BUFFER_BYTES, settings.LOG_STALL_SECONDS = 16 * 1024, 6.0
    scripted.add_pod("web", "app")
    with peer(ticket("pods/web/logs/stream")["ws_url"]) as client:
        client.send(type="pause")
        client.send(type="ping")
        client.until(lambda peer: peer.types().count("pong") == 1)
        scripted.write("web", "app", stamped(0, 2000))
        time.sleep(6.5)
        client.send(type="ping")
        client.until(lambda peer: peer.types().count("pong") == 2)
        assert client.lines == [], "a pause is no stall, however long it takes"
        client.send(type="resume")
        client.until(lambda peer: len(peer.lines) == 2000)
    assert client.lines == named(0, 2000)


def test_frames_can_come_in_batches(scripted: Scripted, ticket: Ticket) -> None:
    scripted.add_pod("web", "app")
    scripted.write("web", "app", stamped(0, 100))
    with peer(ticket("pods/web/logs/stream", follow=False, batch=True)["ws_url"]) as client:
        assert client.end() == 1000
    batches = [frame["frames"] for frame in client.frames if frame["type"] == "batch"]
    assert [
        line["data"]["content"] for batch in batches for line in batch if line["type"] == "log"
    ] == named(0, 100)
    assert len(batches) < 10
