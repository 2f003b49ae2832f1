"""How large a body may be before and after its caller is known, at the API's views and at pages."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from clusters.models import Cluster
from tests.caller import Caller

LARGE = "x" * 70_000
DYNAMIC = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters/c/namespaces/n/Pod/p"


def post(path: str, body: str, content_type: str = "application/json", **headers: str) -> Any:
    """The answer to somebody with these headers."""
    return Client(headers=headers).post(path, body, content_type=content_type)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["login", "refresh"])
def test_public_calls_take_64_kib(path: str) -> None:
    body = json.dumps({"username": LARGE, "password": "x", "refresh_token": LARGE})
    answer = post(f"/api/v1/auth/{path}", body)
    assert answer.json()["msg"] == "the body is larger than 65536 bytes"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/signin", "/admin/login/", "/preferences", "/password"])
def test_pages_take_64_kib_from_somebody_who_has_not_signed_in(path: str) -> None:
    form = "application/x-www-form-urlencoded"
    answer = Client(enforce_csrf_checks=True).post(path, f"a={LARGE}", content_type=form)
    assert answer.status_code == 413


@pytest.mark.django_db
def test_pages_take_more_from_somebody_who_has() -> None:
    user = get_user_model().objects.create_superuser("root", "", "x")
    client = Client()
    client.force_login(user)
    form = {"username": LARGE, "password": "x"}
    assert client.post("/admin/auth/user/add/", form).status_code == 200


@pytest.mark.django_db
def test_documents_are_as_large_as_ever_for_a_known_caller(admin: Caller) -> None:
    body = {"data": {"metadata": {"name": "p"}, "text": LARGE}}
    answer = admin.raw("PUT", DYNAMIC, body)
    assert answer.json()["message"] != "the body is larger than 65536 bytes"
    assert "larger" not in answer.headers.get("X-Storage-Error", "")


@pytest.mark.django_db
def test_an_open_dialect_knows_nobody_and_takes_the_ordinary_size(settings: Any) -> None:
    settings.OPEN_DIALECTS = frozenset({"bcs_storage", "k8s_service"})
    body = json.dumps({"data": {"metadata": {"name": "p"}, "text": LARGE}})
    assert Client().put(DYNAMIC, body, content_type="application/json").json()["result"] is True


@pytest.mark.django_db
def test_a_large_form_of_a_known_caller_is_read(admin: Caller) -> None:
    body = {"msgId": "m1", "namespace": "default", "deploymentName": LARGE, "replicas": 1}
    path = "/v1/k8sservice/updatePodReplicas"
    assert admin.raw("POST", path, body).json()["msgId"] == "m1"


def test_behind_tls_cookies_are_secure_and_browsers_stay(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 31_536_000
    client = Client(headers={"X-Forwarded-Proto": "https"})
    assert client.get("/healthz")["Strict-Transport-Security"] == "max-age=31536000"
    assert not Client().get("/healthz").has_header("Strict-Transport-Security")


@pytest.mark.django_db
def test_the_parameters_of_a_read_may_stand_in_its_body(
    apiserver: Any, admin: Caller, cluster: Cluster
) -> None:
    names = [f"body-{number}" for number in range(3)]
    maps = [{"metadata": {"name": name, "namespace": "default"}} for name in names]
    apiserver.load("configmaps", maps)
    said = {"cluster_id": cluster.pk, "namespace": "default", "keyword": "body-"}
    for more in ({}, {"page": 2, "pageSize": 2}, {"orderby": "-name"}, {"keyword": "body-1"}):
        asked = {**said, **more}
        in_body = admin.data("GET", "configmaps", asked)
        assert in_body == admin.data("GET", "configmaps", **asked)
        assert in_body["items"], more
    first = admin.data("GET", "configmaps", {**said, "keyword": "none"}, keyword="body-0")
    assert first["total"] == 1, "the query goes before the body"
    assert admin.code("GET", "configmaps", {**said, "labelSelectr": "a=b"}) == 1001
    clusters = admin.data("GET", "clusters", {"keyword": "none"})
    assert clusters["total"] == 0
    assert admin.code("GET", "configmaps", {**said, "cluster_id": 0}, cluster_id=cluster.pk) == 1001
