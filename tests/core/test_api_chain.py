"""The guards that hold for an API although its requests pass by the middleware of pages."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from clusters.models import Cluster
from tests.caller import Caller

PODS = "/api/v1/kubernetes/pods"
TENANTS = "/api/v1/kubernetes/tenants"
BCS = "/bcsstorage/v1/k8s/dynamic/namespace_resources/clusters/c/namespaces/n/Pod/p"
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Language": "en",
    "Vary": "Accept-Language",
}


def signed_in() -> Client:
    """The browser of an administrator with a session, and their CSRF cookie."""
    user = get_user_model().objects.create_superuser("root", "", "x")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    browser.cookies["csrftoken"] = "a" * 32
    return browser


@pytest.mark.django_db
@pytest.mark.parametrize("token", [{}, {"X-CSRFToken": "a" * 32}])
@pytest.mark.parametrize("path", [PODS, TENANTS, BCS])
def test_a_session_cookie_alone_neither_reads_nor_writes_by_an_api(
    path: str, token: dict[str, str]
) -> None:
    browser = signed_in()
    foreign = {"Origin": "https://evil.example", **token}
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET"):
        answer = browser.generic(
            method, path, '{"name": "x"}', content_type="application/json", headers=foreign
        )
        assert b"root" not in answer.content
        body = answer.json()
        assert answer.status_code == 401 or body.get("result") is False or body["code"] != 0


@pytest.mark.django_db
def test_an_address_of_an_api_that_is_no_view_of_it_still_wants_a_csrf_token() -> None:
    for headers in ({}, {"Origin": "https://evil.example", "X-CSRFToken": "a" * 32}):
        answer = browser_with_secret().post("/healthz", headers=headers)
        assert answer.status_code == 403


def browser_with_secret() -> Client:
    """A browser with a CSRF cookie."""
    browser = Client(enforce_csrf_checks=True)
    browser.cookies["csrftoken"] = "a" * 32
    return browser


@pytest.mark.parametrize("path", [PODS, BCS, "/api/nope", "/healthz", "/k8s/deploy", "/mcp"])
def test_every_answer_has_the_headers_that_protect_it(path: str, db: None) -> None:
    answer = Client().get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["X-Request-Id"]


def test_hsts_is_for_https_alone(settings: Any, db: None) -> None:
    settings.SECURE_HSTS_SECONDS = 60
    assert "Strict-Transport-Security" not in Client().get("/healthz").headers
    answer = Client().get("/healthz", secure=True)
    assert answer.headers["Strict-Transport-Security"] == "max-age=60"


def test_hsts_behind_a_proxy_is_for_what_the_proxy_calls_https(settings: Any, db: None) -> None:
    settings.SECURE_HSTS_SECONDS = 60
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    client = Client()
    plain = client.get("/healthz", headers={"X-Forwarded-Proto": "http"}, secure=True)
    assert "Strict-Transport-Security" not in plain.headers
    secure = client.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["Strict-Transport-Security"] == "max-age=60"


def test_a_host_that_is_not_ours_is_refused_however_often_ours_was_asked(
    settings: Any, db: None
) -> None:
    settings.ALLOWED_HOSTS = ["ours.example"]
    client = Client()
    for _ in range(2):
        assert client.get("/healthz", headers={"Host": "ours.example"}).status_code == 200
        refused = client.get("/healthz", headers={"Host": "evil.example"})
        assert refused.status_code == 400
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
    settings.ALLOWED_HOSTS = ["other.example"]
    assert client.get("/healthz", headers={"Host": "ours.example"}).status_code == 400


def test_one_answer_s_language_does_not_stay_for_the_next(db: None) -> None:
    client = Client()
    chinese = client.get("/healthz", headers={"Accept-Language": "zh-CN"})
    assert chinese.headers["Content-Language"] == "zh-hans"
    assert client.get("/healthz").headers["Content-Language"] == "en"


def test_a_page_among_the_apis_keeps_the_secret_of_the_visitor_s_forms(db: None) -> None:
    browser = browser_with_secret()
    answer = browser.get("/api/docs")
    assert answer.cookies["csrftoken"].value == "a" * 32


def test_a_caller_with_a_token_needs_no_csrf_token(admin: Caller, cluster: Cluster) -> None:
    admin.client.handler.enforce_csrf_checks = True
    assert admin("GET", "pods", cluster_id=cluster.pk)["code"] == 0


@pytest.mark.parametrize(
    "path", ["/healthzx", "/healthz/x", "/stats/x", "/metricsx", "/livez;x", "/readyz%20"]
)
def test_a_browser_reads_that_there_is_no_page_beside_an_api(path: str, db: None) -> None:
    answer = Client().get(path, headers={"Accept": "text/html", "Accept-Language": "zh"})
    assert answer.status_code == 404
    assert "此地址没有页面" in answer.content.decode()
    assert Client().get(path).content.startswith(b"no such route")


def test_no_method_makes_the_documents_page_fail(db: None) -> None:
    for method in ("OPTIONS", "TRACE", "POST", "DELETE", "BREW"):
        assert Client().generic(method, "/api/docs").status_code == 405
    assert Client().get("/api/docs").status_code == 200


@pytest.mark.urls("tests.core.faulty_urls")
def test_a_fault_outside_of_our_views_leaves_its_trace_in_the_log(
    caplog: pytest.LogCaptureFixture, db: None
) -> None:
    browser = Client(raise_request_exception=False)
    assert browser.get("/admin/faulty").status_code == 500
    assert browser.get("/missing").status_code == 404
    (entry,) = [line for line in caplog.records if line.name == "django.request"]
    assert entry.exc_info
    assert "the cupboard is bare" in str(entry.exc_info[1])
