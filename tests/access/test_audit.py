"""The audit trail: what is kept, what is not, and that it stays."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from access import audit, grants, redaction
from access.models import AuditEntry
from access.policy import Role
from access.tokens import create_api_token
from tests.caller import Caller

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-Passphrase-7"


def entries(**wanted: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(**wanted))


def person(name: str, role: Role) -> Caller:
    user = User.objects.create_user(name, password=PASSWORD)
    grants.give(user=user, role=role)
    return Caller(create_api_token(user, f"{name}'s script")[1])


def test_a_refused_write_says_who_what_where_from_and_why(admin: Caller) -> None:
    viewer = person("vera", Role.VIEWER)
    response = viewer.raw("DELETE", "pods/web", cluster_id="7", namespace="shop")
    (line,) = entries(verb="delete")
    assert (line.username, line.kind, line.namespace, line.name, line.cluster) == (
        "vera",
        "pods",
        "shop",
        "web",
        "7",
    )
    assert (line.result, line.reason, line.dialect, line.address) == (
        "denied",
        "forbidden",
        "kubegale",
        "127.0.0.1",
    )
    assert line.request_id == response["X-Request-Id"]
    assert line.token.startswith("vera's script (kgt_")


def test_a_write_that_fails_is_failed_and_reads_leave_nothing(admin: Caller) -> None:
    admin("DELETE", "pods/web", cluster_id="7", namespace="shop")
    admin("GET", "pods", cluster_id="7")
    admin("GET", "clusters")
    (line,) = entries()
    assert (line.verb, line.result, line.reason) == ("delete", "failed", "cluster_not_found")


def test_signing_in_is_kept_without_what_was_typed_by_mistake() -> None:
    cache.clear()
    User.objects.create_user("vera", password=PASSWORD)
    Caller()("POST", "/api/v1/auth/login", {"username": "vera", "password": PASSWORD})
    Caller()("POST", "/api/v1/auth/login", {"username": "vera", "password": "wrong-and-secret"})
    Caller()("POST", "/api/v1/auth/login", {"username": "oops-my-Passphrase", "password": "vera"})
    assert [(line.username, line.verb, line.result) for line in reversed(entries())] == [
        ("vera", "login", "success"),
        ("vera", "login", "denied"),
        ("", "login", "denied"),
    ]
    assert "oops" not in json.dumps([audit.represent(line) for line in entries()])


def test_nobody_changes_or_deletes_a_line_before_its_time(admin: Caller) -> None:
    admin("DELETE", "pods/web", cluster_id="7", namespace="shop")
    for change in (
        lambda: AuditEntry.objects.update(username="x"),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert audit.expire(days=1) == 0
    assert audit.expire(days=0) == 0
    assert len(entries()) == 1


def test_retention_deletes_what_is_old_and_nothing_else() -> None:
    audit.append([AuditEntry(dialect="d", verb="v", result="success") for _ in range(3)])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE access_auditentry DISABLE TRIGGER access_audit_append_only")
        cursor.execute(
            "UPDATE access_auditentry SET at = %s WHERE id = (SELECT min(id) FROM access_auditentry)",
            [timezone.now() - timedelta(days=9)],
        )
        cursor.execute("ALTER TABLE access_auditentry ENABLE TRIGGER access_audit_append_only")
    assert audit.expire(days=7) == 1
    assert len(entries()) == 2


# --- reading it -----------------------------------------------------------------------------------------------------
@pytest.fixture
def lines() -> None:
    """Ten lines of two people."""
    place = {
        "dialect": "kubegale",
        "kind": "pods",
        "namespace": "shop",
        "cluster": "prod",
        "cluster_pk": 3,
    }
    for n in range(10):
        what = (
            {"username": "ann", "verb": "delete"}
            if n % 2
            else {"username": "bob", "verb": "create"}
        )
        audit.append(
            [AuditEntry(**place, **what, name=f"web-{n}", result="success" if n < 5 else "failed")]
        )


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ({}, 10),
        ({"user": "ann"}, 5),
        ({"verb": "create", "result": "failed"}, 2),
        ({"name": "web-3"}, 1),
        ({"cluster": "prod"}, 10),
        ({"cluster": "3", "kind": "pods", "namespace": "shop"}, 10),
        ({"cluster": "other"}, 0),
        ({"since": "2020-01-01T00:00:00Z"}, 10),
        ({"until": "1577836800"}, 0),
        ({"user": "' OR 1=1 --"}, 0),
    ],
)
def test_filters_narrow_the_list_and_the_total(
    admin: Caller, lines: None, query: dict[str, str], total: int
) -> None:
    assert admin.data("GET", "audit", **query)["total"] == total


@pytest.mark.parametrize(
    "query",
    [{"since": "yesterday"}, {"result": "maybe"}, {"cursor": "x"}, {"page": "0"}, {"user": "\x00"}],
)
def test_a_filter_that_makes_no_sense_is_refused(admin: Caller, query: dict[str, str]) -> None:
    assert admin.code("GET", "audit", **query) == 1001


def test_a_cursor_walks_every_line_once_while_more_are_added(admin: Caller, lines: None) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"pageSize": 3}
    while True:
        page = admin.data("GET", "audit", **query)
        seen += [item["name"] for item in page["items"]]
        audit.append([AuditEntry(dialect="d", verb="v", result="success", name="later")])
        if not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [f"web-{n}" for n in reversed(range(10))]


def test_the_export_is_one_json_object_a_line(admin: Caller, lines: None) -> None:
    response = admin.raw("GET", "audit/export", user="ann")
    assert response["Content-Type"] == "application/x-ndjson"
    found = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    assert [line["name"] for line in found] == ["web-9", "web-7", "web-5", "web-3", "web-1"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_read_it(role: Role) -> None:
    caller = person("otto", role)
    assert caller.code("GET", "audit") == 1005
    assert caller.code("GET", "audit/export") == 1005


# --- redaction ------------------------------------------------------------------------------------------------------
def changes(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    raw = [None if side is None else json.dumps(side).encode() for side in (before, after)]
    return {line["path"]: (line.get("before"), line.get("after")) for line in redaction.diff(*raw)}


def test_a_diff_names_what_changed() -> None:
    before = {
        "metadata": {"name": "web", "resourceVersion": "1"},
        "spec": {"replicas": 1, "template": {"image": "a"}},
        "status": {"x": 1},
    }
    after = {
        "metadata": {"name": "web", "resourceVersion": "2"},
        "spec": {"replicas": 3, "template": {"image": "a"}},
        "status": {"x": 2},
    }
    assert changes(before, after) == {"spec.replicas": (1, 3)}


@pytest.mark.parametrize(
    "object_",
    [
        {"kind": "Secret", "data": {"password": "MARKER"}, "stringData": {"x": "MARKER"}},
        {
            "kind": "ConfigMap",
            "data": {"app.ini": "password=MARKER"},
            "binaryData": {"k": "MARKER"},
        },
        {
            "metadata": {
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "MARKER"}
            }
        },
        {
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "env": [{"name": "PLAIN", "value": "MARKER"}],
                        "args": ["--x=MARKER"],
                        "command": ["MARKER"],
                    }
                ]
            }
        },
        {"spec": {"token": "MARKER", "apiKey": "MARKER", "password": "MARKER"}},
        {"spec": {"url": "https://user:MARKER@host/x"}},
        {"webhooks": [{"clientConfig": {"caBundle": "MARKER"}}]},
    ],
)
def test_a_diff_never_shows_what_could_be_a_secret(object_: dict[str, Any]) -> None:
    shown = json.dumps(redaction.diff(None, json.dumps(object_).encode()))
    assert "MARKER" not in shown
    assert "***" in shown


def test_a_large_diff_is_cut_and_says_so() -> None:
    lines = redaction.diff(None, json.dumps({"spec": {f"f{n}": n for n in range(100)}}).encode())
    assert len(lines) == redaction.LIMIT + 1
    assert lines[-1]["after"] == "40 more"
