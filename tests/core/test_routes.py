"""What holds for every route: credentials, slashes, request ids, unknown addresses."""

import gzip
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.storeserver import running_store

pytestmark = pytest.mark.django_db

# Everything that answers without credentials, and why.
PUBLIC = {
    "favicon": "the icon of every page, the sign-in page's too",
    "healthz": "a probe has no credentials",
    "readyz": "a probe has no credentials",
    "metrics": "scraped by Prometheus, from networks that are allowed",
    "schema": "the documentation of the API",
    "docs": "the documentation of the API",
    "k8sservice-test": "public by its document",
    "walm-liveniess": "public by its document",
    "walm-liveness": "public by its document",
    "walm-livez": "public by its document",
    "walm-readiness": "public by its document",
    "vkube-regions": "public by its document",
    "vkube-images": "public by its document",
    "vkube-checkports": "public by its document",
    "console-signin": "where sessions come from",
    "console-signout": "leads to the sign-in page",
    "console-preferences": "theme and language are chosen before signing in",
    "login": "where credentials come from",
    "refresh": "its body is the credential",
}
METHODS = ("get", "post", "put", "patch", "delete")


def routes(
    patterns: list[URLPattern | URLResolver] | None = None, prefix: str = ""
) -> Iterator[tuple[str, URLPattern]]:
    """(address with sample arguments, pattern) of every route but the admin's."""
    for pattern in patterns or get_resolver().url_patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if not address.startswith("admin/"):
                yield from routes(pattern.url_patterns, address)
        elif not address.startswith("admin/"):
            yield "/" + re.sub(r"<[^>]+>", "1", address).replace("^.*$", "no-such-route"), pattern


def test_no_route_answers_without_credentials_but_the_public_few() -> None:
    client, walked = Client(), 0
    for address, pattern in routes():
        if pattern.name in PUBLIC or (pattern.name or "").endswith("-unknown"):
            continue
        for method in METHODS:
            answer = getattr(client, method)(address)
            if (pattern.name or "").startswith("console-"):
                assert answer.status_code in {401, 405} or answer.headers.get(
                    "Location", ""
                ).startswith("/signin?"), f"{method} {address}"
            else:
                assert answer.status_code == 401, f"{method} {address} answers {answer.status_code}"
            walked += 1
    assert walked > 300


def test_the_public_list_has_no_stale_entries() -> None:
    assert set(PUBLIC) <= {pattern.name for _, pattern in routes()}


def test_unknown_routes_and_methods_speak_the_dialect() -> None:
    response = Client().get("/api/v1/kubernetes/no/such/thing")
    assert (response.status_code, response.json()["code"]) == (404, 1004)
    response = Client().patch("/api/v1/auth/login")
    assert (response.status_code, response.json()["code"]) == (405, 1001)
    assert Client().get("/api/elsewhere").json()["code"] == 1004


@pytest.mark.parametrize(
    "path",
    ["/api/v1/kubernetes/clusters", "/api/v1/kubernetes/pods/x", "/healthz", "/api/v1/auth/me"],
)
def test_a_trailing_slash_changes_nothing(path: str) -> None:
    assert Client().get(path).status_code == Client().get(path + "/").status_code


def test_every_answer_carries_a_request_id() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", Client().get("/healthz")["X-Request-Id"])
    assert Client().get("/nope", headers={"X-Request-Id": "trace-1"})["X-Request-Id"] == "trace-1"
    assert (
        Client().get("/nope", headers={"X-Request-Id": "a b<script>"})["X-Request-Id"]
        != "a b<script>"
    )


def test_ready_names_database_and_broker() -> None:
    assert Client().get("/readyz").json() == {
        "status": "ok",
        "checks": {"database": "ok", "broker": "ok"},
    }


def test_metrics_count_requests_by_route() -> None:
    Client().get("/healthz")
    text = Client().get("/metrics").content.decode()
    assert 'kubegale_http_requests_total{method="GET",route="healthz",status="200"}' in text


@pytest.mark.django_db(transaction=True)
def test_metrics_and_statistics_are_those_of_all_processes_together() -> None:
    database = connection.settings_dict["NAME"]
    with running_store(database, WEB_CONCURRENCY="2", OPEN_DIALECTS="walm") as server:

        def read(path: str) -> str:
            with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=20) as answer:
                return str(answer.read().decode())

        for _ in range(20):
            read("/healthz")
        pattern = r'requests_total{method="GET",route="healthz",status="200"} (\d+)'
        counted = {re.findall(pattern, read("/metrics"))[0] for _ in range(8)}
        statistics = [json.loads(read("/stats")) for _ in range(8)]
    assert len(counted) == 1
    assert int(counted.pop()) >= 20
    totals = [report["total_status_code_count"]["200"] for report in statistics]
    assert totals == list(range(totals[0], totals[0] + 8))
    assert totals[0] >= 28


def test_made_up_methods_are_counted_together() -> None:
    client = Client()
    for number in range(5):
        client.generic(f"MADEUP{number}", "/healthz")
    text = client.get("/metrics").content.decode()
    assert 'method="other"' in text
    assert "MADEUP" not in text


def test_metrics_are_for_trusted_networks_or_a_token(settings: Any) -> None:
    client = Client(REMOTE_ADDR="203.0.113.7")
    assert client.get("/metrics").status_code == 403
    # A proxy that is none of ours speaks for somebody else.
    assert Client(HTTP_X_FORWARDED_FOR="203.0.113.7").get("/metrics").status_code == 403
    settings.METRICS_TOKEN = "scraper-of-the-night"
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 403
    answer = client.get("/metrics", HTTP_AUTHORIZATION="Bearer scraper-of-the-night")
    assert answer.status_code == 200
    settings.METRICS_NETWORKS = ["203.0.113.0/24"]
    assert client.get("/metrics").status_code == 200
    assert Client().get("/metrics").status_code == 403


def test_the_schema_is_made_once_compressed_and_told_by_its_tag() -> None:
    client = Client()
    first = client.get("/api/schema?format=json")
    document = json.loads(first.content)
    assert document["openapi"].startswith("3.")
    squeezed = client.get("/api/schema?format=json", HTTP_ACCEPT_ENCODING="gzip, br")
    assert squeezed["Content-Encoding"] == "gzip"
    assert gzip.decompress(squeezed.content) == first.content
    refusing = client.get("/api/schema?format=json", HTTP_ACCEPT_ENCODING="identity, gzip;q=0")
    assert refusing.content == first.content
    known = client.get("/api/schema?format=json", HTTP_IF_NONE_MATCH=first["ETag"])
    assert (known.status_code, known.content) == (304, b"")
    assert client.get("/api/schema").content.startswith(b"openapi: 3.")
    started = time.process_time()
    for _ in range(50):
        client.get("/api/schema?format=json")
    assert (time.process_time() - started) / 50 < 0.05


def test_the_schema_is_valid_and_holds_every_dialect_route() -> None:
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.validation import validate_schema

    schema = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)
    described = {re.sub(r"{[^}]+}", "1", path) for path in schema["paths"]}
    spoken = {
        address
        for address, pattern in routes()
        if hasattr(pattern.callback, "cls")
        and hasattr(pattern.callback.cls, "dialect")
        and pattern.callback.cls.is_offered(**getattr(pattern.callback, "initkwargs", {}))
    }
    missing = {address for address in spoken if "no-such-route" not in address} - described
    assert not missing
    bare = [
        f"{method} {path}"
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if operation["summary"] == method
    ]
    assert not bare, f"routes without a description: {bare[:5]}"
