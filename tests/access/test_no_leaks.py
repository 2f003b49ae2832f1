"""Secrets planted everywhere, and everything that leaves the process searched for them."""

import base64
import json
import logging
from io import StringIO
from typing import Any

import pytest
import yaml
from django.conf import settings as configuration
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from redis import Redis

from clusters.models import Cluster
from kubegale.observability import configure_logging
from tests.access.conftest import Person
from tests.caller import Caller

pytestmark = pytest.mark.django_db
PLAIN = "mArKeR-0f7c-value"
IN_BASE64 = base64.b64encode(PLAIN.encode()).decode()
PASSWORD = "mArKeR-0f7c-Passphrase-9"
MARKERS = ("mArKeR-0f7c", IN_BASE64[:16])


@pytest.fixture
def logged() -> Any:
    """Everything that is logged, as it would go to standard error."""
    out, root = StringIO(), logging.getLogger()
    before, level = root.handlers, root.level
    configure_logging({"format": "json", "level": "DEBUG"})
    root.handlers[0].setStream(out)  # type: ignore[attr-defined]
    yield out
    root.handlers, root.level = before, level


def found(text: str) -> list[str]:
    return [marker for marker in MARKERS if marker in text]


def database(*but: str) -> str:
    """Every row of every table as text, but for tables that are named."""
    rows: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table not in but:
                cursor.execute(f'SELECT t::text FROM "{table}" AS t')  # noqa: S608  # names out of the catalogue
                rows += [f"{table}: {row}" for (row,) in cursor.fetchall()]
    return "\n".join(rows)


def broker() -> str:
    """Everything in the broker and cache, keys and values."""
    client = Redis.from_url(configuration.REDIS_URL)
    return "\n".join(f"{key!r} {client.dump(key)!r}" for key in client.scan_iter())


def test_a_planted_secret_shows_up_nowhere_but_where_it_belongs(
    admin: Caller, cluster: Cluster, space: str, apiserver: Any, person: Person, logged: StringIO
) -> None:
    cache.clear()
    said: list[str] = []
    where = {"cluster_id": cluster.pk, "namespace": space}

    def call(caller: Caller, method: str, path: str, body: Any = None, **options: Any) -> None:
        response = caller.raw(method, path, body, **options)
        said.append(
            (
                b"".join(response.streaming_content) if response.streaming else response.content
            ).decode()
        )

    # Secrets of Kubernetes: made, changed, patched, refused, listed; read by somebody who may not see values.
    secret = {
        "metadata": {"name": "planted"},
        "data": {"key": IN_BASE64},
        "stringData": {"more": PLAIN},
    }
    admin.raw("POST", "secrets", {**where, "content": secret})
    admin.raw(
        "PUT",
        "secrets/planted",
        {**where, "content": {**secret, "data": {"key": IN_BASE64, "two": IN_BASE64}}},
    )
    patch = {"content_type": "application/merge-patch+json"}
    admin.raw("PATCH", "secrets/planted", {"data": {"three": IN_BASE64}}, **patch, **where)
    admin.raw(
        "POST",
        f"/api/v1/secret/{space}",
        {"name": "walm", "data": {"key": IN_BASE64}},
        cluster=cluster.pk,
    )
    call(
        admin, "POST", "secrets", {**where, "content": {**secret, "metadata": {"name": "Bad Name"}}}
    )
    call(admin, "POST", "secrets", {**where, "content": {**secret, "data": {"key": PLAIN}}})
    call(admin, "GET", "secrets", **where)
    call(admin, "GET", "resources/core/v1/secrets", **where)
    viewer = person("viewer")
    for path in ("secrets", "secrets/planted", "resources/core/v1/secrets/planted"):
        call(viewer, "GET", path, **where)
    call(viewer, "GET", f"/api/v1/secret/{space}", cluster=cluster.pk)
    # A ConfigMap and a pod that carry one, changed so that a diff is written. Their own objects show it, the trail must not.
    settings = {"metadata": {"name": "app"}, "data": {"app.ini": f"password={PLAIN}"}}
    admin.raw("POST", "configmaps", {**where, "content": settings})
    admin.raw(
        "PUT",
        "configmaps/app",
        {**where, "content": {**settings, "data": {"app.ini": f"password={PLAIN}2"}}},
    )
    container = {
        "name": "c",
        "image": "x",
        "env": [{"name": "PASS", "value": PLAIN}],
        "args": [f"--token={PLAIN}"],
    }
    admin.raw(
        "POST",
        "pods",
        {**where, "content": {"metadata": {"name": "p"}, "spec": {"containers": [container]}}},
    )
    # Credentials of clusters and people: right ones, wrong ones, refused ones.
    config = yaml.safe_load(apiserver.kubeconfig_yaml)
    config["users"][0]["user"]["token"] = PLAIN
    text = yaml.safe_dump(config)
    call(admin, "POST", "clusters", {"name": "planted", "kubeconfig": text})
    call(admin, "PUT", f"clusters/{cluster.pk}", {"kubeconfig": text})
    config["users"][0]["user"]["exec"] = {"command": PLAIN}
    call(admin, "POST", "clusters", {"name": "planted", "kubeconfig": yaml.safe_dump(config)})
    call(admin, "GET", "clusters")
    User.objects.create_user("vera", password=PASSWORD)
    for name, password in (("vera", PASSWORD + "x"), (PASSWORD, "x"), ("vera", "")):
        call(Caller(), "POST", "/api/v1/auth/login", {"username": name, "password": password})
    call(Caller(PLAIN), "GET", "clusters")
    call(Caller(f"kgt_{PLAIN}"), "GET", "clusters")
    pair = Caller().data("POST", "/api/v1/auth/login", {"username": "vera", "password": PASSWORD})
    call(
        Caller(pair["token"]),
        "POST",
        "/api/v1/auth/password",
        {"password": PLAIN, "new_password": PASSWORD},
    )
    made = Caller(pair["token"]).data("POST", "/api/v1/auth/tokens", {"name": "ci"})
    # What is read back of all this.
    call(admin, "GET", "audit", pageSize=100)
    call(admin, "GET", "audit/export")
    call(admin, "GET", "/metrics")
    answers = "\n".join(said)
    assert len(said) > 20
    assert not found(answers), [text[:300] for text in said if found(text)]
    assert not found(logged.getvalue())
    rows = database()
    assert not found(rows), [line[:300] for line in rows.splitlines() if found(line)]
    assert not found(broker())
    for raw in (made["token"], pair["token"], pair["refresh_token"]):
        assert (
            raw
            not in answers
            + logged.getvalue()
            + database("token_blacklist_outstandingtoken")
            + broker()
        )
    trail = json.loads(said[-3])["data"]["items"]
    assert {("update", "configmaps"), ("create", "pods"), ("patch", "secrets")} <= {
        (line["verb"], line["kind"]) for line in trail
    }
