"""A write to the store and its line in the audit trail: both are there, or neither."""

import json
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from access.models import AuditEntry
from storage_api.models import FreeDocument
from tests.caller import Caller

pytestmark = pytest.mark.usefixtures("emptied")
PLACE = "/bcsstorage/v1/k8s/dynamic/namespace_resources/clusters/BCS-1/namespaces/shop"
BREAK = """
CREATE FUNCTION refuse_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'no line is written any more';
END
$$;
CREATE TRIGGER refuse_lines BEFORE INSERT ON access_auditentry
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_lines();
"""
MEND = """
DROP TRIGGER refuse_lines ON access_auditentry;
DROP FUNCTION refuse_lines();
"""


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def stored_documents() -> dict[str, object]:
    """What the store holds, by name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT resource_name, data::text FROM storage_resource")
        return {name: json.loads(text) for name, text in cursor.fetchall()}


def lines() -> list[tuple[str, str, str]]:
    """(user, verb, result) of each line, oldest first."""
    return list(AuditEntry.objects.order_by("id").values_list("username", "verb", "result"))


@pytest.fixture
def broken_trail(emptied: None) -> Iterator[None]:
    """An audit trail that takes no line."""
    run(BREAK)
    yield
    run(MEND)


@pytest.mark.parametrize("path", ["/ConfigMap/kept", "/Pod/kept"])
def test_a_write_and_its_line_are_one_statement(admin: Caller, path: str) -> None:
    admin.raw("PUT", PLACE + path, {"data": {"step": 0}})
    with CaptureQueriesContext(connection) as queries:
        answer = admin.raw("PUT", PLACE + path, {"data": {"step": 1}})
    assert answer.json()["code"] == 0
    # Not who is calling, which the process mostly knows.
    texts = [query["sql"] for query in queries if "EXECUTE" in query["sql"]]
    assert len(texts) == 1, texts
    assert texts[0].count("EXECUTE kubegale_") == 2
    assert "INSERT" not in "".join(query["sql"] for query in queries)
    assert stored_documents() == {"kept": {"step": 1}}
    assert lines() == [("admin", "update", "success")] * 2


@pytest.mark.usefixtures("broken_trail")
def test_without_its_line_a_write_is_neither_done_nor_acknowledged(admin: Caller) -> None:
    answer = admin.raw("PUT", f"{PLACE}/ConfigMap/kept", {"data": {"step": 1}})
    assert answer.json()["code"] != 0
    assert stored_documents() == {}
    assert lines() == []


NARROWED = {"extra": "e30"}
BATCH = "/bcsstorage/v1/k8s/dynamic/clusters/BCS-1/batch"


def line_of(op: str, name: str, **members: object) -> bytes:
    """A line of a batch."""
    key = {"namespace": "shop", "resourceType": "ConfigMap", "resourceName": name}
    return json.dumps({"op": op, **key, **members}).encode()


@pytest.mark.parametrize("path", ["/ConfigMap/web", "/ConfigMap"])
@pytest.mark.parametrize("query", [{}, NARROWED])
def test_a_deletion_and_its_line_are_one_commit(
    admin: Caller, path: str, query: dict[str, str]
) -> None:
    admin.raw("PUT", f"{PLACE}/ConfigMap/web", {"data": {"step": 0}})
    run(BREAK)
    try:
        answer = admin.raw("DELETE", PLACE + path, **query)
        assert answer.json()["code"] != 0
        assert stored_documents() == {"web": {"step": 0}}
    finally:
        run(MEND)
    assert admin.raw("DELETE", PLACE + path, **query).json()["code"] == 0
    assert stored_documents() == {}
    assert lines() == [("admin", "update", "success"), ("admin", "delete", "success")]


def test_a_deletion_by_its_path_is_one_statement(admin: Caller) -> None:
    for _ in range(2):
        admin.raw("PUT", f"{PLACE}/ConfigMap/web", {"data": {"step": 0}})
        with CaptureQueriesContext(connection) as queries:
            admin.raw("DELETE", f"{PLACE}/ConfigMap/web")
    texts = [query["sql"] for query in queries if "EXECUTE" in query["sql"]]
    assert len(texts) == 1, texts
    assert texts[0].count("EXECUTE kubegale_") == 2
    assert stored_documents() == {}


def test_a_batch_and_its_line_are_one_commit(admin: Caller) -> None:
    admin.raw("PUT", f"{PLACE}/ConfigMap/web", {"data": {"step": 0}})
    body = b"\n".join(
        [line_of("put", "new", data={"step": 1}), line_of("delete", "web")],
    )
    run(BREAK)
    try:
        assert admin.raw("POST", BATCH, body).json()["code"] != 0
        assert stored_documents() == {"web": {"step": 0}}
    finally:
        run(MEND)
    assert admin.raw("POST", BATCH, body).json()["data"]["deleted"] == 1
    assert stored_documents() == {"new": {"step": 1}}
    assert lines()[1:] == [("admin", "create", "success")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("dynamic/customresources/Thing", {"name": "web", "step": 1}),
        ("clusters/BCS-1", {"data": {"step": 1}}),
    ],
)
def test_a_free_document_and_its_line_are_one_commit(
    admin: Caller, path: str, body: dict[str, object]
) -> None:
    url = f"/bcsstorage/v1/{path}"
    steps = (("PUT", body, 0, 1), ("DELETE", None, 1, 0))
    for method, sent, before, after in steps:
        run(BREAK)
        try:
            assert admin.raw(method, url, sent).json()["code"] != 0
            assert FreeDocument.objects.count() == before
        finally:
            run(MEND)
        assert admin.raw(method, url, sent).json()["code"] == 0
        assert FreeDocument.objects.count() == after
    assert lines() == [("admin", "update", "success"), ("admin", "delete", "success")]


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_one_document_is_the_same_by_its_path_and_by_a_query(admin: Caller, kind: str) -> None:
    admin.raw("PUT", f"{PLACE}/{kind}/web", {"data": {"kind": kind, "data": {"a": "eA=="}}})
    for wire in ("doc", "go"):
        url = f"{PLACE}/{kind}/web"
        by_path = admin.client.get(url, headers={"X-Bcs-Wire": wire})
        by_query = admin.raw("GET", url, wire=wire)
        assert by_path.content == by_query.content
        assert by_path.json()["code"] == 0
    by_path = admin.raw("GET", f"{PLACE}/{kind}/other")
    by_query = admin.raw("GET", f"{PLACE}/{kind}/other", wire="go")
    assert by_path.content == by_query.content


def test_a_document_that_cannot_be_stored_leaves_a_line_that_says_so(admin: Caller) -> None:
    document = {"data": {"text": "\x00"}}
    answer = admin.raw("PUT", f"{PLACE}/ConfigMap/kept", document)
    assert answer.json()["code"] != 0
    assert stored_documents() == {}
    assert lines() == [("admin", "update", "failed")]
