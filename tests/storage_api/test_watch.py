"""The watch over many clusters: in order, resumable, narrowed to what may be seen, and looked at again while it lasts."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from access import grants
from access.models import ApiToken
from access.tokens import create_api_token
from clusters.kinds import KINDS
from clusters.models import Cluster
from storage_api.models import Change, KindSync
from storage_api.services import bulk, change_log, change_signal, sync
from storage_api.services.bulk import WriteRecord
from storage_api.services.change_signal import Interest
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope
from tests.caller import Caller
from tests.storage_api.collecting import eventually
from tests.storage_api.test_multicluster import fill, thing
from tests.storeserver import Store, running_store


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Streams that end after a moment."""
    settings.STORAGE_WATCH_SECONDS = 0.5
    settings.STORAGE_WATCH_POLL = 0.03
    settings.STORAGE_WATCH_STREAMS_PER_CLIENT = 3


@pytest.fixture
def fleet(emptied: None) -> tuple[Cluster, Cluster]:
    """Two clusters with a pod each."""
    return fill("east", [thing("Pod", "a", "shop")]), fill(
        "west", [thing("Pod", "b", "shop"), thing("Secret", "s", "shop", data={"k": "h"})]
    )


def write(cluster: str, kind: str, name: str, namespace: str = "shop", **rest: Any) -> None:
    """Write an object as the collector does; nothing but its name deletes it."""
    _, body = thing(kind, name, namespace, **rest)
    key = Key(cluster, kind, namespace, name)
    bulk.write([WriteRecord(key, orjson.dumps(body) if rest else None)])


class Stream:
    """One answer, read as a browser's EventSource reads it."""

    def __init__(self, caller: Caller, *, last: str = "", **query: Any) -> None:
        headers = {"Last-Event-ID": last} if last else {}
        self.response = caller.client.get(
            "/api/v1/kubernetes/watch", query_params=query, headers=headers
        )
        assert self.response["Content-Type"] == "text/event-stream", self.response.content
        self.last = last

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self.response.streaming_content:
            lines = part.decode().splitlines()
            for line in lines:
                self.last = line[4:] if line.startswith("id: ") else self.last
            yield from (json.loads(line[6:]) for line in lines if line.startswith("data: "))

    def changes(self) -> list[tuple[str, str, str]]:
        """(type, cluster, name) of every change, to the end."""
        return [
            (event["type"], event["cluster_name"], event["name"])
            for event in self
            if "object" in event
        ]


def test_changes_of_all_clusters_come_in_their_order_and_go_on_where_they_were_left(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    write("east", "Pod", "a", status={"phase": "Running"})
    write("west", "Pod", "b")
    whole = Stream(admin, after="0", kinds="pods")
    assert whole.changes() == [
        ("ADDED", "east", "a"),
        ("ADDED", "west", "b"),
        ("MODIFIED", "east", "a"),
        ("DELETED", "west", "b"),
    ]
    events = [event for event in Stream(admin, after="0", kinds="pods") if "object" in event]
    assert events[2]["object"]["status"] == {"phase": "Running"}
    assert (events[2]["cluster_id"], events[2]["kind"], events[2]["plural"]) == (
        fleet[0].pk,
        "Pod",
        "pods",
    )
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    rest = Stream(admin, last=str(events[1]["seq"]), after="0", kinds="pods")
    assert rest.changes() == [("MODIFIED", "east", "a"), ("DELETED", "west", "b")], (
        "Last-Event-ID goes before after"
    )
    write("west", "Pod", "c", status={"phase": "Running"})
    assert Stream(admin, last=whole.last, kinds="pods").changes() == [("ADDED", "west", "c")]


def test_what_could_not_be_seen_is_told_in_its_place(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    KindSync.objects.update(listed_at=timezone.now())
    write("east", "Pod", "a", status={"phase": "Running"})
    for plural in ("pods", "secrets"):
        sync.mark_gap(fleet[0].pk, "east", WatchScope(KINDS[plural]), "7", "9")
    write("east", "Pod", "a", status={"phase": "Failed"})
    events = [event for event in Stream(admin, after="0", clusters="east") if "object" in event]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "GAP", "MODIFIED"], (
        "of Secrets nothing was asked"
    )
    gap = events[2]
    assert (gap["cluster_name"], gap["kind"], gap["name"], gap["object"]) == (
        "east",
        "Pod",
        "",
        None,
    )
    assert Stream(admin, after=str(gap["seq"]), clusters="east").changes() == [
        ("MODIFIED", "east", "a")
    ]
    assert [
        event["type"]
        for event in Stream(admin, after=str(gap["seq"]), kinds="secrets")
        if "object" in event
    ] == ["GAP"]
    assert "GAP" not in {event["type"] for event in Stream(admin, after="0", clusters="west")}


def test_from_now_on_begins_with_a_place(admin: Caller, fleet: tuple[Cluster, Cluster]) -> None:
    stream = iter(Stream(admin))
    first = next(stream)
    assert first["type"] == "BOOKMARK"
    write("east", "Pod", "new", status={"phase": "Pending"})
    assert [event["name"] for event in stream if "object" in event] == ["new"]
    assert Stream(admin, after=str(first["seq"])).changes()[-1] == ("ADDED", "east", "new")


def test_a_watch_is_narrowed(admin: Caller, fleet: tuple[Cluster, Cluster]) -> None:
    write("east", "Node", "n1", "", status={"a": 1})
    write("east", "Pod", "other", "elsewhere", status={"a": 1})
    assert Stream(admin, after="0", clusters="west").changes() == [("ADDED", "west", "b")], (
        "Secrets are asked for by name"
    )
    assert Stream(
        admin, after="0", clusters=str(fleet[0].pk), kinds="nodes,Pod", namespaces="elsewhere"
    ).changes() == [("ADDED", "east", "other")]
    secrets = [event for event in Stream(admin, after="0", kinds="secrets") if "object" in event]
    assert secrets[0]["object"]["data"] == {"k": "***"}
    first = next(iter(Stream(admin, clusters="east,nowhere")))
    assert [problem["cluster_name"] for problem in first["partial_errors"]] == ["nowhere"]
    for wrong in ({"labelSelector": "a in ("}, {"after": "x"}, {"clusters": "\0"}):
        assert admin.code("GET", "watch", **wrong) == 1001
    assert admin.code("GET", "watch", kinds="gadgets") == 1004


def test_what_comes_to_fit_a_selector_is_added_and_what_no_longer_does_is_deleted(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    place = str(next(iter(Stream(admin)))["seq"])
    write("east", "Pod", "p", meta={"labels": {"app": "other"}}, n=1)
    write("east", "Pod", "p", meta={"labels": {"app": "web"}}, n=2)
    write("east", "Pod", "p", meta={"labels": {"app": "web"}}, n=3)
    write("east", "Pod", "p", meta={"labels": {"app": "other"}}, n=4)
    write("east", "Pod", "p", meta={"labels": {"app": "other"}}, n=5)
    write("east", "Pod", "p")
    found = Stream(admin, after=place, labelSelector="app=web").changes()
    assert [change[0] for change in found] == ["ADDED", "MODIFIED", "DELETED"]


def test_what_does_not_fit_is_read_past_without_a_pause(
    admin: Caller, settings: Any, fleet: tuple[Cluster, Cluster]
) -> None:
    settings.STORAGE_WATCH_POLL = 5.0
    bodies = [
        thing("Pod", f"p{number}", "shop", meta={"labels": {"app": "other"}})[1]
        for number in range(450)
    ]
    bodies.append(thing("Pod", "wanted", "shop", meta={"labels": {"app": "web"}})[1])
    for body in bodies:
        bulk.write(
            [WriteRecord(Key("east", "Pod", "shop", body["metadata"]["name"]), orjson.dumps(body))]
        )
    events = iter(Stream(admin, after="0", labelSelector="app=web"))
    began = time.monotonic()
    assert [next(events)["type"], next(events)["name"]] == ["BOOKMARK", "wanted"]
    assert time.monotonic() - began < 4


def test_only_what_was_granted_is_told(fleet: tuple[Cluster, Cluster]) -> None:
    user = get_user_model().objects.create_user("west-viewer")
    grants.give(user=user, role=grants.Role.VIEWER, cluster="west")
    viewer = Caller(create_api_token(user, "t")[1])
    write("west", "Role", "r", rules=[])
    assert Stream(viewer, after="0").changes() == [("ADDED", "west", "b")], "roles are an admin's"
    stranger = Caller(create_api_token(get_user_model().objects.create_user("stranger"), "t")[1])
    assert stranger.code("GET", "watch") == 1005
    assert Caller().raw("GET", "watch").status_code == 401
    Cluster.objects.filter(name="west").update(impersonate=True)
    assert Stream(viewer, after="0").changes() == []


def test_credentials_and_rights_are_looked_at_again(
    settings: Any, fleet: tuple[Cluster, Cluster]
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.1
    settings.STORAGE_WATCH_SECONDS = 20
    user = get_user_model().objects.create_user("viewer")
    grant = grants.give(user=user, role=grants.Role.VIEWER)
    stream = iter(Stream(Caller(create_api_token(user, "t")[1])))
    next(stream)
    grant.delete()
    (last,) = list(stream)
    assert (last["type"], last["code"], last["object"]["code"]) == ("ERROR", 1005, 403)
    grants.give(user=user, role=grants.Role.VIEWER)
    stream = iter(Stream(Caller(create_api_token(user, "t2")[1])))
    next(stream)
    ApiToken.objects.filter(name="t2").update(revoked_at="2026-01-01T00:00:00Z")
    (last,) = list(stream)
    assert (last["code"], last["object"]["code"]) == (2001, 401)


def test_a_gap_is_told_once_with_the_place_to_go_on_from(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    first = Change.objects.filter(cluster_id="east").order_by("seq")[0].seq
    write("east", "Pod", "late", status={"a": 1})
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM storage_change WHERE seq <= %s", [first + 1])
    stream = Stream(admin, last=str(first - 1))
    (told,) = list(stream)
    assert (told["type"], told["object"]["code"], told["object"]["reason"]) == (
        "ERROR",
        410,
        "expired",
    )
    assert "list again" in told["msg"]
    write("east", "Pod", "later", status={"a": 1})
    assert Stream(admin, last=stream.last).changes() == [("ADDED", "east", "later")]
    (ahead,) = list(Stream(admin, after=str(10**12)))
    assert ahead["object"]["code"] == 410


def test_the_place_moves_on_while_nothing_happens_and_streams_are_counted(
    admin: Caller, settings: Any, fleet: tuple[Cluster, Cluster]
) -> None:
    settings.STORAGE_WATCH_HEARTBEAT = 0.1
    stream = Stream(admin, clusters="west")
    events = list(stream)
    assert [event["type"] for event in events][:2] == ["BOOKMARK", "BOOKMARK"]
    assert stream.last == str(events[-1]["seq"])
    open_ones = [Stream(admin) for _ in range(3)]
    refused = admin.raw("GET", "watch")
    assert refused.status_code == 429
    for one in open_ones:
        one.response.close()
    list(Stream(admin))


def test_a_real_server_tells_changes_as_they_happen_and_forgets_who_left(
    fleet: tuple[Cluster, Cluster],
) -> None:
    user = get_user_model().objects.create_superuser("admin", "a@example.com", None)
    headers = {"Authorization": f"Bearer {create_api_token(user, 't')[1]}"}
    limits = {
        "STORAGE_WATCH_STREAMS_PER_CLIENT": "1",
        "STORAGE_WATCH_POLL": "0.05",
        "STORAGE_WATCH_HEARTBEAT": "0.2",
    }
    with running_store(str(connection.settings_dict["NAME"]), **limits) as server:
        session = http.client.HTTPConnection(server.host, server.port, timeout=20)
        session.request("GET", "/api/v1/kubernetes/watch?kinds=pods&clusters=east", headers=headers)
        stream = session.getresponse()
        lines = iter(stream.readline, b"")
        assert json.loads(_data(lines))["type"] == "BOOKMARK"
        write("west", "Pod", "elsewhere", status={"a": 1})
        write("east", "Pod", "now", status={"a": 1})
        told = next(
            event
            for line in iter(lambda: _data(lines), "")
            if (event := json.loads(line))["type"] != "BOOKMARK"
        )
        assert (told["type"], told["name"]) == ("ADDED", "now")
        assert not _opens(server, headers), "one for each caller"
        stream.close()
        session.close()
        eventually(lambda: _opens(server, headers))


def _data(lines: Iterator[bytes]) -> str:
    """The data of the next event."""
    return next(line[6:].decode() for line in lines if line.startswith(b"data: "))


def _opens(server: Store, headers: dict[str, str]) -> bool:
    """Whether there is a place for another stream."""
    session = http.client.HTTPConnection(server.host, server.port, timeout=20)
    try:
        session.request("GET", "/api/v1/kubernetes/watch", headers=headers)
        return session.getresponse().status == 200
    finally:
        session.close()


def test_a_change_is_told_at_once_and_not_when_streams_look_again(
    admin: Caller, settings: Any, fleet: tuple[Cluster, Cluster]
) -> None:
    settings.STORAGE_WATCH_POLL = 60.0
    settings.STORAGE_WATCH_SECONDS = 60.0
    began = time.monotonic()
    events = iter(Stream(admin, clusters="east", kinds="pods"))
    assert next(events)["type"] == "BOOKMARK"
    for number in range(3):
        # Changes of others, and of other kinds, are nothing to wake up for.
        write("west", "Pod", f"other-{number}", status={})
        write("east", "Node", f"other-{number}", "", status={})
        write("east", "Pod", f"p{number}", status={})
        assert next(events)["name"] == f"p{number}"
    assert time.monotonic() - began < 50


def test_a_wait_misses_nothing_that_came_between_looking_and_waiting(
    fleet: tuple[Cluster, Cluster],
) -> None:
    began = time.monotonic()
    pods = Interest(("east",), ("Pod",))
    mark = change_signal.signal.mark()
    write("east", "Pod", "early", status={})
    eventually(lambda: change_signal.signal.place >= change_log.horizon())
    # It was announced before anybody waited.
    change_signal.signal.wait(mark, pods, 60.0)
    mark = change_signal.signal.mark()
    threading.Timer(0.2, connection_closed(write, "east", "Pod", "late", status={})).start()
    change_signal.signal.wait(mark, pods, 60.0)
    assert time.monotonic() - began < 50


def connection_closed(function: Any, *args: Any, **values: Any) -> Any:
    """The call for a thread of its own, which leaves no connection behind."""

    def call() -> None:
        try:
            function(*args, **values)
        finally:
            connection.close()

    return call
