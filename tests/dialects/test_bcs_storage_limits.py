"""Bad input, big documents, long lists, broken connections: an error of the document or a correct result, and nothing half-written."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.storeserver import PREFIX, Store, database, encoded

FILL = """
INSERT INTO storage_resource (object_id, cluster_id, resource_type, namespace, resource_name, data, create_time, update_time, change_time)
SELECT md5(n::text), %s, 'Pod', 'ns', 'pod-' || n, {data}, now(), now(), now() FROM generate_series(1, {count}) n
"""


def nested(levels: int) -> str:
    """A body of so many levels in all."""
    return '{"data":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{bad",
        b'{"data":1}x',
        b'{"data":NaN}',
        b'{"data":-Infinity}',
        b'{"data":1e400}',
        b'{"data":"\\u0000"}',
        b'{"data":{"a\\u0000":1}}',
        b'{"data":"\\ud800"}',
        b'{"data":"\xff"}',
        b'{"data":"raw\x00nul"}',
        b'\xef\xbb\xbf{"data":1}',
        nested(201).encode(),
        ('{"data":' + '{"a":' * 100_000).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_document_that_cannot_be_kept_changes_nothing(
    store: Store, cid: str, pods: str, body: bytes
) -> None:
    store.data("PUT", f"{pods}/web", {"data": {"kept": True}})
    before = store.data("GET", pods)
    refused = {"result": False, "code": 10003, "message": "Put resource failed.", "data": None}
    assert store("PUT", f"{pods}/web", body) == refused
    assert store("PUT", f"{pods}/new", body) == refused
    assert store("PUT", f"/metric/clusters/{cid}/namespaces/n/t/m", body) == refused
    assert store("PUT", f"/k8s/watch/clusters/{cid}/namespaces/n/t/m", body) == refused
    assert store("PUT", f"/host/{cid}", body) == refused
    assert store("PUT", "/events", body) == refused
    assert store("POST", "/alarms", body) == refused
    assert store.data("GET", pods) == before


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (
            '{"data":{"big":123456789012345678901234567890,"small":0.1}}',
            {"big": 123456789012345678901234567890, "small": 0.1},
        ),
        ('{"data":"\\\\u0000"}', "\\u0000"),
        ('{"data":1,"data":2,"resourceName":"elsewhere"}', 2),
        ("{}", None),
        ('{"data":null}', None),
        (' \n{"data" : [ 1 ] }\t', [1]),
        ('{"data":{"a":1,"a":2}}', {"a": 2}),
        ('{"data":"\\ud83d\\ude00"}', "😀"),
        (nested(200), json.loads(nested(200))["data"]),
    ],
)
def test_unusual_documents_are_kept_exactly(store: Store, pods: str, sent: str, kept: Any) -> None:
    store.data("PUT", f"{pods}/web", sent)
    assert store.data("GET", f"{pods}/web")[0]["data"] == kept
    assert store.data("GET", pods)[0]["data"] == kept


def test_five_megabytes_come_back_whole(store: Store, pods: str) -> None:
    document = {
        "items": [
            {"ip": f"10.0.{n % 256}.{n % 250}", "text": "e" * 60, "n": n} for n in range(50_000)
        ]
    }
    body = json.dumps({"data": document})
    assert len(body) > 5_000_000
    store.data("PUT", f"{pods}/big", body)
    assert store.data("GET", pods)[0]["data"] == document
    assert store.data("GET", pods, field="data.items.n")[0]["data"]["items"][49_999] == {
        "n": 49_999
    }
    assert store.names(pods, extra=encoded({"data.items.n": 49_999})) == ["big"]


def test_a_body_beyond_the_limit_is_413(store: Store, pods: str) -> None:
    answer = store.raw("PUT", f"{pods}/big", b'{"data":"' + b"x" * (16 * 1024 * 1024) + b'"}')
    assert (answer.status, answer.json) == (
        413,
        {"result": False, "code": 10003, "message": "Put resource failed.", "data": None},
    )
    assert store.names(pods) == []


HOSTILE = [
    "'; DROP TABLE storage_resource; --",
    '"',
    "\\",
    "%s",
    "%(a)s",
    "{}",
    "$",
    "$.a",
    "@",
    "?",
    "a' OR '1'='1",
    "😀",
    "．",
    ".",
    "..",
    "",
    "\\u0000",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_sql_and_path_syntax_is_plain_text(store: Store, cid: str, pods: str, text: str) -> None:
    """As a value, as a key, in filters, paths and projections."""
    key = text.replace(".", "．")
    store.data("PUT", f"{pods}/web", {"data": {"k": text, text: {"v": text}}})
    store.data("PUT", f"{pods}/other", {"data": {"k": "x"}})
    assert store.names(pods, extra=encoded({"data.k": text})) == ["web"]
    stored = text.replace("．", ".") == text
    assert store.names(pods, extra=encoded({f"data.{key}.v": text})) == (["web"] if stored else [])
    listed = store.data("GET", pods, field=f"data.{key}.v")
    if stored and "," not in text:
        assert listed[0]["data"] == {text: {"v": text}}
    path = f"/query/k8s/dynamic/clusters/{cid}/pod"
    for parameter in (
        "name",
        "namespace",
        "status",
        "hostIp",
        "startTimeBegin",
        "createTimeEnd",
        "field",
        "resourceName",
    ):
        store.data("GET", path, **{parameter: text})
    assert store.names(pods, **{"data.k": text}) == (["web"] if text else ["web", "other"])
    assert store("GET", pods, **{f"data.{key}": ""})["code"] == (0 if key else 10006)
    assert store("GET", pods, labelSelector=text)["code"] == (10006 if text else 0)
    assert (
        store("GET", "/events", clusterId=text, timeBegin=text, **{"extraInfo.name": text})["code"]
        == 0
    )
    assert len(store.names(pods)) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/n/Pod/a%00b",
        "/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/n/Pod/" + "n" * 2000,
        "/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/" + "n" * 300 + "/Pod/web",
        "/metric/clusters/{cid}/namespaces/n/t%00/m",
        "/host/{cid}%00",
        "/k8s/watch/clusters/{cid}/namespaces/n/" + "t" * 300 + "/m",
    ],
)
def test_names_that_cannot_be_kept_are_refused(store: Store, cid: str, path: str) -> None:
    assert store("PUT", path.format(cid=cid), {"data": {}})["code"] == 10003


@pytest.mark.parametrize(
    "query",
    [
        "name=a%00b",
        "extra=%00",
        "field=a%00",
        "name=%FF%FE",
        "&".join(f"{n}=" for n in range(1200)),
        "field=" + "a." * 500,
        "name=" + "," * 6000,
    ],
)
def test_odd_queries_never_break_a_read(store: Store, cid: str, query: str) -> None:
    answer = store.raw("GET", f"/query/k8s/dynamic/clusters/{cid}/pod?{query}")
    assert answer.status == 200
    assert answer.json["code"] in (0, 10006)


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        "text",
        1,
        {f"k{n}": 1 for n in range(100)},
        {"data." + "a." * 100 + "b": 1},
        {"data.k": "\x00"},
        {"data.\x00": 1},
    ],
)
def test_extra_that_is_no_set_of_conditions_deletes_nothing(
    store: Store, pods: str, conditions: Any
) -> None:
    store.data("PUT", f"{pods}/web", {"data": {}})
    bad = encoded(conditions)
    assert (
        store("GET", pods, extra=bad)["code"],
        store("GET", f"{pods}/web", extra=bad)["code"],
    ) == (10006, 10004)
    assert (
        store("DELETE", pods, extra=bad)["code"],
        store("DELETE", f"{pods}/web", extra=bad)["code"],
    ) == (10005, 10005)
    assert store.names(pods) == ["web"]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({}, 0),
        ({"eventTime": "1509423130", "kind": 5, "type": True, "extraInfo": None, "id": None}, 0),
        ({"eventTime": ""}, 0),
        ({"eventTime": 1.5}, 10003),
        ({"eventTime": True}, 10003),
        ({"eventTime": 10**18}, 10003),
        ({"eventTime": [1]}, 10003),
        ({"kind": {}}, 10003),
        ({"extraInfo": []}, 10003),
        ({"extraInfo": {"name": {}}}, 10003),
        ({"clusterId": "c" * 3000}, 10003),
    ],
)
def test_events_are_forgiving_about_scalars_only(
    store: Store, cid: str, event: dict[str, Any], code: int
) -> None:
    assert store("PUT", "/events", {"clusterId": cid, **event})["code"] == code
    found = store.data("GET", "/events", clusterId=cid)
    assert len(found) == (code == 0)
    if event.get("kind") == 5:
        assert (found[0]["kind"], found[0]["type"], found[0]["eventTime"]) == (
            "5",
            "true",
            "2017-10-31 12:12:10",
        )


# --- The batch door -------------------------------------------------------------------------------------------------


def line(op: str, name: str, data: Any = None, **more: Any) -> str:
    """One line of a batch."""
    return (
        json.dumps(
            {
                "op": op,
                "namespace": "ns",
                "resourceType": "Pod",
                "resourceName": name,
                "data": data,
                **more,
            }
        )
        + "\n"
    )


def test_a_batch_counts_what_it_did(store: Store, cid: str) -> None:
    door, listing = (
        f"/k8s/dynamic/clusters/{cid}/batch",
        f"/k8s/dynamic/all_resources/clusters/{cid}/Pod",
    )
    odd = {"text": 'tab\t back\\slash "quote" \n line \r é\\n', "nested": [{"\\": "\\\\"}]}
    body = (
        line("put", "a", odd)
        + "\n"
        + line("put", "b", 1)
        + line("put", "b", 2)
        + line("delete", "none")
        + line("put", "node", {}, namespace="")
    )
    assert store.data("POST", door, body) == {
        "added": 3,
        "changed": 0,
        "unchanged": 0,
        "stale": 0,
        "deleted": 0,
    }
    assert {item["resourceName"]: item["data"] for item in store.data("GET", listing)} == {
        "a": odd,
        "b": 2,
        "node": {},
    }
    body = (
        line("put", "a", odd)
        + line("put", "b", 3)
        + line("delete", "node", namespace="")
        + line("put", "c")
    )
    assert store.data("POST", door, body) == {
        "added": 1,
        "changed": 1,
        "unchanged": 1,
        "stale": 0,
        "deleted": 1,
    }
    assert store.names(listing) == ["a", "b", "c"]


def test_a_batch_with_one_bad_line_does_nothing(store: Store, cid: str) -> None:
    door, listing = (
        f"/k8s/dynamic/clusters/{cid}/batch",
        f"/k8s/dynamic/all_resources/clusters/{cid}/Pod",
    )
    for bad in (
        "{",
        "[]",
        line("upsert", "b"),
        line("put", ""),
        line("put", "n" * 2000),
        '{"op":"put"}',
        '{"op":"put","resourceType":"P","resourceName":"x","data":"\\u0000"}',
    ):
        assert (
            store("POST", door, line("put", "a", 1) + bad + "\n" + line("put", "c", 1))["code"]
            == 10003
        )
    assert store.names(listing) == []


def test_a_guarded_batch_never_goes_back_in_time(store: Store, cid: str) -> None:
    door, listing = (
        f"/k8s/dynamic/clusters/{cid}/batch?guard=1",
        f"/k8s/dynamic/all_resources/clusters/{cid}/Pod",
    )

    def version(uid: str, number: str) -> dict[str, Any]:
        return {"metadata": {"uid": uid, "resourceVersion": number}}

    def stored() -> list[str]:
        return [
            f"{item['data']['metadata']['uid']}@{item['data']['metadata']['resourceVersion']}"
            for item in store.data("GET", listing)
        ]

    store.data("POST", door, line("put", "a", version("u", "100")))
    assert store.data("POST", door, line("put", "a", version("u", "99")))["stale"] == 1
    assert store.data("POST", door, line("delete", "a", resourceVersion="99"))["deleted"] == 0
    assert stored() == ["u@100"]
    assert store.data("POST", door, line("put", "a", version("u", "1000")))["changed"] == 1
    assert store.data("POST", door, line("put", "a", version("new", "5")))["changed"] == 1
    assert stored() == ["new@5"]
    assert store.data("POST", door, line("delete", "a", resourceVersion="6"))["deleted"] == 1


# --- Long lists -----------------------------------------------------------------------------------------------------


def test_a_long_list_begins_before_its_end_is_read(store: Store, cid: str) -> None:
    """20,000 documents: while the first bytes are read the server's cursor waits; at the end it is gone and nothing was missed."""
    with database() as cursor:
        cursor.execute(
            FILL.format(data="jsonb_build_object('n', n, 'text', repeat('x', 1000))", count=20_000),
            [cid],
        )
    connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
    try:
        connection.request("GET", f"{store.prefix}/k8s/dynamic/all_resources/clusters/{cid}/Pod")
        response = connection.getresponse()
        assert response.headers["Transfer-Encoding"] == "chunked"
        start = response.read(5000)
        assert start.startswith(b'{"result":true,"code":0,"message":"Success","data":[{"_id":')
        assert soon(lambda: waiting_cursors() == 1)
        names = [item["resourceName"] for item in json.loads(start + response.read())["data"]]
    finally:
        connection.close()
    assert names == [f"pod-{n}" for n in range(1, 20_001)]
    assert soon(lambda: waiting_cursors() == 0)


def test_a_reader_that_goes_away_leaves_no_cursor(store: Store, cid: str) -> None:
    with database() as cursor:
        cursor.execute(
            FILL.format(data="jsonb_build_object('text', repeat('x', 100000))", count=300), [cid]
        )
    connection = http.client.HTTPConnection(store.host, store.port, timeout=60)
    connection.request("GET", f"{store.prefix}/k8s/dynamic/all_resources/clusters/{cid}/Pod")
    response = connection.getresponse()
    response.read(1000)
    assert soon(lambda: waiting_cursors() == 1)
    response.close()
    connection.close()
    assert soon(lambda: waiting_cursors() == 0)


def soon(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether the condition comes to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def waiting_cursors() -> int:
    """Transactions of the web server that wait for their reader."""
    with database() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction' AND application_name = 'kubegale'"
        )
        return int(cursor.fetchone()[0])


# --- Many writers, a dying database ---------------------------------------------------------------------------------


def test_writers_on_one_key_leave_one_document_and_every_change(
    store: Store, go_store: Store, cid: str, pods: str
) -> None:
    def write(writer: int) -> None:
        for turn in range(15):
            store.data("PUT", f"{pods}/web", {"data": {"writer": writer, "turn": turn}})

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    (document,) = go_store.data("GET", pods)
    with database() as cursor:
        cursor.execute(
            "SELECT op, object_id, data FROM storage_change WHERE cluster_id = %s ORDER BY seq",
            [cid],
        )
        log = cursor.fetchall()
    assert [row[0] for row in log] == ["add"] + ["change"] * 59
    assert {row[1] for row in log} == {document["_id"]}
    assert log[-1][2] == document["data"]
    for number in range(4):
        turns = [row[2]["turn"] for row in log if row[2]["writer"] == number]
        assert turns == list(range(15))


def test_batches_and_sweeps_over_the_same_keys_do_not_deadlock(store: Store, cid: str) -> None:
    door = f"/k8s/dynamic/clusters/{cid}/batch"
    failures: list[Any] = []

    def batches(number: int) -> None:
        order = range(40) if number % 2 else range(39, -1, -1)
        for turn in range(6):
            answer = store(
                "POST", door, "".join(line("put", f"p{n}", [number, turn]) for n in order)
            )
            failures.extend([answer] if answer["code"] else [])

    def sweeps() -> None:
        for _ in range(6):
            answer = store("DELETE", f"/k8s/dynamic/all_resources/clusters/{cid}/Pod")
            failures.extend([answer] if answer["code"] else [])

    threads = [threading.Thread(target=batches, args=(number,)) for number in range(3)] + [
        threading.Thread(target=sweeps)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_was_acknowledged_survives_a_dying_database(store: Store, cid: str, pods: str) -> None:
    """Backends are killed while writers write: a write is lost only when its caller was told so, a batch is there whole or not at all."""
    acknowledged: dict[str, Any] = {}
    answered: list[int] = []
    killed = 0
    stop = threading.Event()

    def write(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            name, data = f"w{number}-{turn}", {"turn": turn, "text": "x" * 2000}
            try:
                answer = store.raw("PUT", f"{pods}/{name}", {"data": data})
            except (http.client.HTTPException, OSError):
                continue
            answered.append(answer.status)
            if answer.status == 200 and answer.json["result"]:
                acknowledged[name] = data

    def batch() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            lines = "".join(
                json.dumps(
                    {
                        "op": "put",
                        "namespace": "batch",
                        "resourceType": "Pod",
                        "resourceName": f"b{turn}-{n}",
                        "data": turn,
                    }
                )
                + "\n"
                for n in range(50)
            )
            try:
                answer = store.raw("POST", f"/k8s/dynamic/clusters/{cid}/batch", lines)
            except (http.client.HTTPException, OSError):
                continue
            answered.append(answer.status)
            if answer.status == 200 and answer.json["result"]:
                acknowledged.update({f"b{turn}-{n}": turn for n in range(50)})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)] + [
        threading.Thread(target=batch)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(12):
            time.sleep(0.2)
            killed += kill_backends()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answered) <= {200, 500}
    assert killed > 10
    assert len(acknowledged) > 100
    listing = f"/k8s/dynamic/all_resources/clusters/{cid}/Pod"
    stored = {item["resourceName"]: item["data"] for item in store.data("GET", listing)}
    assert {name: stored.get(name) for name in acknowledged} == acknowledged
    batches = [int(name[1:].partition("-")[0]) for name in stored if name.startswith("b")]
    assert all(batches.count(turn) == 50 for turn in set(batches))
    with database() as cursor:
        cursor.execute("SELECT count(*) FROM storage_change WHERE cluster_id = %s", [cid])
        assert cursor.fetchone()[0] == len(stored)


def kill_backends() -> int:
    """End the web server's sessions that have worked on the store; how many."""
    with database() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'kubegale' AND query LIKE '%storage_%'"
        )
        return len(cursor.fetchall())


# --- Access ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [
        "/events",
        "/k8s/dynamic/all_resources/clusters/c/Pod",
        "/query/k8s/dynamic/clusters/c/pod",
        "/host/1",
    ],
)
def test_without_a_token_nothing_answers(path: str) -> None:
    answer = Client().get(PREFIX + path)
    assert (answer.status_code, answer.json()["result"], answer.json()["data"]) == (
        401,
        False,
        None,
    )
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_token_opens_the_store(admin: Any, cid: str) -> None:
    path = f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/n/Pod"
    assert admin("PUT", f"{path}/web", {"data": {}}) == {
        "result": True,
        "code": 0,
        "message": "Success",
        "data": None,
    }
    assert [item["resourceName"] for item in admin("GET", path)["data"]] == ["web"]
