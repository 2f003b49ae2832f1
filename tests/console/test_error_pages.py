"""Pages about errors outside every view: in the console's look, in the viewer's language."""

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.translation import override

from console import page
from kubegale import urls

BROWSER = {"Accept": "text/html,*/*"}


def is_page(response: HttpResponse, sentence: str) -> bool:
    """Whether the answer is a page of the console that says so and shows no trace."""
    text = response.content.decode()
    has_look = "console/console.css" in text and text.count("<h1") == 1
    return has_look and sentence in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("en", "KubeGale itself failed."), ("zh-hans", "KubeGale 自身出现故障。")],
)
def test_a_fault_has_a_page_without_the_database(language: str, sentence: str) -> None:
    # No mark of this test opens the database: a statement would fail it.
    request = RequestFactory().get("/x", headers=BROWSER)
    with override(language):
        response = urls.server_error(request)
    assert response.status_code == 500
    assert is_page(response, sentence)
    assert f'lang="{language}"' in response.content.decode()


def test_programs_get_a_sentence() -> None:
    response = urls.server_error(RequestFactory().get("/x"))
    assert (response.status_code, response.content) == (500, b"internal server error\n")


@pytest.mark.django_db
def test_refusals_before_every_view_have_a_page() -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.get("/", headers={**BROWSER, "Host": "elsewhere.example"})
    assert response.status_code == 400
    assert is_page(response, "The request cannot be read.")
    response = client.post("/signin", {"username": "ada"}, headers=BROWSER)
    assert response.status_code == 403
    assert is_page(response, "The form is out of date.")
    assert client.get("/no/such/page", headers=BROWSER).status_code == 404
    client.force_login(User.objects.create_user("vera"))
    response = client.get("/admin/login/", headers=BROWSER)
    assert response.status_code == 403
    assert is_page(response, "You may not open this page.")


def test_the_page_has_a_policy() -> None:
    request: HttpRequest = RequestFactory().get("/")
    policy = page.render_failure(request, 400, "x")["Content-Security-Policy"]
    assert "unsafe" not in policy
