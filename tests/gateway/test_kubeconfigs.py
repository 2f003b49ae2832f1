"""Kubeconfigs out of the API, the console and manage.py."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client

from access.models import ApiToken, AuditEntry, Grant
from clusters.models import Cluster
from tests.caller import Caller
from tests.gateway.running import Kubectl, Running, find_kubectls

PASSWORD = "a-long-password-1"


@pytest.fixture
def person(db: None) -> Caller:
    """A viewer of everything who signed in with a password."""
    user = get_user_model().objects.create_user("petra", password=PASSWORD)
    Grant.objects.create(user=user, role="viewer")
    answer = Caller()("POST", "/api/v1/auth/login", {"username": "petra", "password": PASSWORD})
    return Caller(answer["data"]["token"])


def test_a_kubeconfig_works_until_its_token_is_revoked(
    running: Running, simulated: Cluster, person: Caller, tmp_path: Path
) -> None:
    made = person.data(
        "POST",
        f"clusters/{simulated.pk}/kubeconfig",
        {"expires_in": "1h30m", "namespace": "kube-system", "scopes": ["read"]},
    )
    assert set(made) == {"kubeconfig", "token_id", "expires_at"}
    document = yaml.safe_load(made["kubeconfig"])
    cluster = document["clusters"][0]["cluster"]
    assert cluster["server"] == f"{running.url}/kube/simulated"
    assert b"BEGIN CERTIFICATE" in base64.b64decode(cluster["certificate-authority-data"])
    assert document["contexts"][0]["context"]["namespace"] == "kube-system"
    token = document["users"][0]["user"]["token"]
    row = ApiToken.objects.get(pk=made["token_id"])
    assert (row.clusters, row.scopes, row.name) == (["simulated"], ["read"], "kubeconfig simulated")
    entry = AuditEntry.objects.get(kind="tokens", verb="create")
    assert (entry.name, entry.username, entry.result) == (row.name, "petra", "success")
    assert token not in str(entry.details)
    assert person.data("GET", "/api/v1/auth/tokens")["items"][0]["name"] == row.name
    if programs := find_kubectls():
        path = tmp_path / "config"
        path.write_text(made["kubeconfig"])
        kubectl = Kubectl(programs[-1], path)
        assert "kube-root-ca.crt" in kubectl("get", "configmaps")
        person.data("DELETE", f"/api/v1/auth/tokens/{row.pk}")
        assert kubectl.run("get", "configmaps").returncode != 0


def test_the_one_for_all_has_every_visible_cluster_and_the_fleet(
    settings: Any, person: Caller, cluster: Cluster
) -> None:
    settings.GATEWAY_URL = "https://kube.example.com"
    document = yaml.safe_load(person.data("POST", "kubeconfig", {})["kubeconfig"])
    assert [context["name"] for context in document["contexts"]] == ["simulated", "fleet"]
    servers = [entry["cluster"]["server"] for entry in document["clusters"]]
    assert servers[-1] == "https://kube.example.com/kube/fleet"
    # A public name has a certificate that clients know.
    assert "certificate-authority-data" not in document["clusters"][0]["cluster"]


def test_bad_input_is_named_and_a_token_makes_no_token(
    person: Caller, admin: Caller, cluster: Cluster
) -> None:
    path = f"clusters/{cluster.pk}/kubeconfig"
    for body, field in (
        ({"expires_in": "soon"}, "expires_in"),
        ({"expires_in": 5}, "expires_in"),
        ({"expires_in": "0h"}, "expires_in"),
        ({"expires_in": "-1h"}, "expires_in"),
        ({"expires_in": "999999999h"}, "expires_in"),
        ({"namespace": "A B"}, "namespace"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"days": 3}, "days"),
    ):
        answer = person("POST", path, body)
        assert (answer["code"], answer["data"]["field"]) == (1001, field), body
    assert person.code("POST", path, {}, nonsense="1") == 1001
    assert admin.code("POST", path, {}) == 1005
    assert person.code("POST", "clusters/99/kubeconfig", {}) in {1002, 1005}
    assert not ApiToken.objects.filter(user__username="petra").exists()


def test_the_command_prints_the_kubeconfig_alone(settings: Any, cluster: Cluster) -> None:
    settings.GATEWAY_URL = "https://kube.example.com"
    get_user_model().objects.create_superuser("root", "root@example.com", None)
    output = io.StringIO()
    call_command("kubeconfig", "root", "--cluster", "simulated", stdout=output)
    document = yaml.safe_load(output.getvalue())
    assert (document["kind"], document["current-context"]) == ("Config", "simulated")
    for arguments in (["nobody"], ["root", "--cluster", "other"], ["root", "--expires-in", "x"]):
        with pytest.raises(CommandError):
            call_command("kubeconfig", *arguments, stdout=io.StringIO())


def test_the_console_gives_it_as_a_file(settings: Any, person: Caller, cluster: Cluster) -> None:
    settings.GATEWAY_URL = "https://kube.example.com"
    browser = Client()
    assert browser.login(username="petra", password=PASSWORD)
    assert f"/clusters/{cluster.pk}/-/kubeconfig" in browser.get(f"/clusters/{cluster.pk}").text
    answer = browser.post(f"/clusters/{cluster.pk}/-/kubeconfig")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="simulated.kubeconfig"'
    assert yaml.safe_load(answer.content)["kind"] == "Config"
    assert ApiToken.objects.filter(user__username="petra").count() == 1
