"""Users, grants, tokens and the audit trail in the admin."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from access.models import ApiToken, AuditEntry, Grant
from tests.caller import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    """An administrator, signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("root", "root@example.com", "not-used-here-1"))
    return client


@pytest.mark.parametrize(
    "page",
    [
        "auth/user/",
        "auth/user/add/",
        "auth/group/",
        "auth/group/add/",
        "access/grant/",
        "access/grant/add/",
        "access/apitoken/",
        "access/apitoken/add/",
        "access/auditentry/",
        "tenants/tenant/",
        "tenants/quotaplan/",
        "tenants/quotaplan/add/",
    ],
)
def test_every_page_opens(browser: Client, page: str) -> None:
    assert browser.get(f"/admin/{page}").status_code == 200


def test_a_token_is_shown_once_works_and_is_revoked_at_once(browser: Client) -> None:
    root = User.objects.get()
    form = {"user": root.pk, "name": "agent", "scopes": '["read"]', "clusters": "[]"}
    page = browser.post("/admin/access/apitoken/add/", form, follow=True).content.decode()
    raw = re.findall(r"kgt_[\w-]{20,}", page)[0]
    assert Caller(raw).code("GET", "clusters") == 0
    assert Caller(raw).code("POST", "clusters", {"name": "x"}) == 1005
    assert raw not in browser.get("/admin/access/apitoken/").content.decode()
    browser.post(
        "/admin/access/apitoken/",
        {"action": "revoke_now", "_selected_action": ApiToken.objects.get().pk},
    )
    assert Caller(raw).code("GET", "clusters") == 2001
    assert raw not in str(list(AuditEntry.objects.values()))


def test_a_grant_is_given_and_taken_and_both_are_audited(browser: Client) -> None:
    vera = User.objects.create_user("vera")
    browser.post("/admin/access/grant/add/", {"user": vera.pk, "role": "admin", "namespace": ""})
    (grant,) = Grant.objects.all()
    vera.refresh_from_db()
    assert vera.is_superuser
    browser.post(f"/admin/access/grant/{grant.pk}/delete/", {"post": "yes"})
    vera.refresh_from_db()
    assert not vera.is_superuser
    assert [
        (line.verb, line.kind, line.dialect, line.username) for line in AuditEntry.objects.all()
    ] == [
        ("delete", "grants", "admin", "root"),
        ("create", "grants", "admin", "root"),
    ]


def test_the_audit_trail_is_only_shown(browser: Client) -> None:
    entry = AuditEntry.objects.create(dialect="d", verb="delete", result="success")
    assert browser.get(f"/admin/access/auditentry/{entry.pk}/change/").status_code == 200
    assert (
        browser.post(f"/admin/access/auditentry/{entry.pk}/delete/", {"post": "yes"}).status_code
        == 403
    )
    assert browser.get("/admin/access/auditentry/add/").status_code == 403


def test_a_user_page_never_shows_a_password_hash_to_copy(browser: Client) -> None:
    root = User.objects.get()
    assert (
        root.password.split("$")[-1]
        not in browser.get(f"/admin/auth/user/{root.pk}/change/").content.decode()
    )
