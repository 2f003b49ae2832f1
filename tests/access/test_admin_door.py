"""The admin site's door and pages: one sign-in for all, and no script out of a page's text."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from access.models import AuditEntry
from tests.access.conftest import PASSWORD
from tests.caller import Caller

pytestmark = pytest.mark.django_db
INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|\son[a-z]+\s*=\s*[\"']")


@pytest.fixture
def root() -> User:
    cache.clear()
    return User.objects.create_superuser("root", "", PASSWORD)


def test_the_admin_site_signs_in_where_failures_are_counted_and_written_down(root: User) -> None:
    client = Client()
    first = client.get("/admin/access/grant/?q=x", follow=True)
    address, status = first.redirect_chain[-1]
    assert (urlsplit(address).path, status) == ("/signin", 302)
    assert parse_qs(urlsplit(address).query)["next"] == ["/admin/access/grant/?q=x"]
    form = {"username": "root", "password": PASSWORD}
    for path in ("/admin/login/", "/admin/login/?next=/admin/"):
        sent = client.post(path, form)
        assert sent.status_code == 302
        assert sent["Location"].startswith("/signin?")
    assert "_auth_user_id" not in client.session
    wrong = {**form, "password": "guess"}
    assert [client.post("/signin", wrong).status_code for _ in range(11)] == [401] * 10 + [429]
    assert AuditEntry.objects.filter(verb="login", username="root").count() == 11
    cache.clear()
    entered = client.post("/signin", {**form, "next": "/admin/access/grant/?q=x"}, follow=True)
    assert entered.redirect_chain == [("/admin/access/grant/?q=x", 302)]
    assert entered.status_code == 200
    assert client.get("/admin/password_change/")["Location"] == "/password"
    assert client.post("/admin/logout/")["Location"] == "/signin"
    assert AuditEntry.objects.filter(verb="logout", username="root").exists()


def test_who_may_not_enter_is_told_so_and_not_sent_to_and_fro() -> None:
    client = Client()
    client.force_login(User.objects.create_user("vera"))
    assert client.get("/admin/", follow=True).status_code == 403
    assert client.get("/admin/login/?next=https://evil.example/").status_code == 403


def test_no_page_of_the_admin_site_runs_a_script_out_of_its_text(root: User) -> None:
    client = Client()
    client.force_login(root)
    # The pages are registered with the first address that is asked for.
    client.get("/admin/")
    paths = ["/admin/", "/admin/auth/user/", f"/admin/auth/user/{root.pk}/change/"]
    paths += [
        f"/admin/{model._meta.app_label}/{model._meta.model_name}/add/"
        for model in admin.site._registry
    ]
    for path in paths:
        page = client.get(path)
        if page.status_code == 403:
            continue
        assert page.status_code == 200, path
        policy = page["Content-Security-Policy"]
        scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert "'self'" in scripts
        assert "unsafe-inline" not in scripts
        assert "default-src 'none'" in policy
        found = INLINE.search(page.content.decode())
        assert found is None, (path, found)
        assert "no-store" in page["Cache-Control"], path


def test_answers_with_tokens_and_values_are_for_nobodys_cache(root: User) -> None:
    caller = Caller()
    form = {"username": "root", "password": PASSWORD}
    signed = caller.raw("POST", "/api/v1/auth/login", form)
    pair = signed.json()["data"]
    caller = Caller(pair["token"])
    answers = [
        signed,
        caller.raw("POST", "/api/v1/auth/refresh", {"refresh_token": pair["refresh_token"]}),
        caller.raw("POST", "/api/v1/auth/tokens", {"name": "t"}),
        caller.raw("GET", "/api/v1/auth/me"),
        caller.raw("GET", "secrets", cluster_id=1),
        caller.raw("GET", "/api/v1/secret/default"),
        caller.raw("POST", "pods/p/terminal", {}, cluster_id=1, namespace="default"),
        Client().get("/k8s/order", headers={"secret": "s"}),
        Client().get("/signin"),
        Client().post("/signin", form),
    ]
    for answer in answers:
        assert "no-store" in answer["Cache-Control"]
