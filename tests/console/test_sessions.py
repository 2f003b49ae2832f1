"""Signing in and out of the console, and what a visitor prefers."""

import re

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern

from access.models import AuditEntry
from console.urls import urlpatterns

PASSWORD = "a-long-Passphrase-7"


@pytest.fixture
def grace(db: None) -> User:
    """Somebody with a password."""
    cache.clear()
    return User.objects.create_superuser("grace", "grace@example.com", PASSWORD)


def sign_in(client: Client, password: str = PASSWORD, **more: str) -> object:
    """What the form sends."""
    return client.post("/signin", {"username": "grace", "password": password, **more})


def test_the_right_password_opens_a_session_and_leads_where_one_wanted_to_go(grace: User) -> None:
    client = Client()
    sent = client.get("/operations?state=running")
    assert (sent.status_code, sent["Location"]) == (
        302,
        "/signin?next=%2Foperations%3Fstate%3Drunning",
    )
    answer = sign_in(client, next="/operations?state=running")
    assert answer["Location"] == "/operations?state=running"
    assert client.get("/").status_code == 200
    assert client.get("/signin")["Location"] == "/"
    assert AuditEntry.objects.filter(username="grace", verb="login").count() == 1


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"],
)
def test_signing_in_leads_to_no_other_host(grace: User, elsewhere: str) -> None:
    assert sign_in(Client(), next=elsewhere)["Location"] == "/"


def test_a_wrong_password_says_so_and_too_many_have_to_wait(grace: User) -> None:
    client = Client()
    for _ in range(10):
        answer = sign_in(client, "wrong")
        assert answer.status_code == 401
        assert "Wrong username or password." in answer.content.decode()
        assert "wrong" not in answer.content.decode().replace("Wrong", "")
    answer = sign_in(client)
    assert answer.status_code == 429
    assert client.get("/").status_code == 302


def test_a_session_ends_by_signing_out_a_new_password_or_being_switched_off(grace: User) -> None:
    client, second, third = Client(), Client(), Client()
    for one in (client, second):
        sign_in(one)
    assert client.post("/signout")["Location"] == "/signin"
    assert client.get("/").status_code == 302
    assert second.get("/").status_code == 200
    grace.set_password("another-Passphrase-8")
    grace.save()
    assert second.get("/").status_code == 302
    sign_in(third, "another-Passphrase-8")
    assert third.get("/").status_code == 200
    User.objects.filter(pk=grace.pk).update(is_active=False)
    assert third.get("/").status_code == 302


def test_a_fragment_asked_for_after_the_session_ended_leads_the_whole_page_to_sign_in(
    db: None,
) -> None:
    answer = Client().get(
        "/clusters/1/pods",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/clusters/1/pods?q=a"},
    )
    assert (answer.status_code, answer["HX-Redirect"]) == (
        401,
        "/signin?next=%2Fclusters%2F1%2Fpods%3Fq%3Da",
    )


def test_no_form_is_taken_without_its_token(person: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        address = "/" + re.sub(
            r"<(\w+):\w+>", lambda found: "1" if found[1] == "int" else "x", str(pattern.pattern)
        )
        assert client.post(address).status_code in (403, 405), address


def test_theme_language_and_zone_are_kept_in_cookies(visitor: Client) -> None:
    answer = visitor.post(
        "/preferences",
        {"theme": "dark", "language": "zh-hans", "zone": "Asia/Shanghai", "next": "/search"},
    )
    assert answer["Location"] == "/search"
    page = visitor.get("/search").content.decode()
    assert 'data-theme="dark"' in page
    assert '<html lang="zh-hans"' in page
    visitor.post("/preferences", {"theme": "", "zone": "../../etc/passwd"})
    assert "data-theme" not in visitor.get("/search").content.decode()
    assert visitor.cookies["zone"].value == "Asia/Shanghai"
