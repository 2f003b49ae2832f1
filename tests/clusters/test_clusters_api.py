"""Registering, showing, changing and forgetting clusters, over the API and the command line."""

import json
import socket
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from access import grants
from access.models import AuditEntry
from access.tokens import create_api_token
from clusters import registry, tasks
from clusters.models import Cluster
from simcluster.testing import running_cluster
from tests.bad_servers import Behaviour, answering, refusing, serving, silent
from tests.caller import Caller

pytestmark = pytest.mark.django_db


def kubeconfig(server: str, **user: Any) -> str:
    """A kubeconfig for an address."""
    return yaml.safe_dump(
        {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": server}}],
            "users": [{"name": "x", "user": user or {"token": "t"}}],
        }
    )


def test_a_cluster_is_registered_by_its_kubeconfig(admin: Caller, apiserver: Any) -> None:
    made = admin.data(
        "POST",
        "clusters",
        {"name": "prod", "description": "生产环境集群", "kubeconfig": apiserver.kubeconfig_yaml},
    )
    assert made["kubeconfig"] == "***"
    assert made["status"] == "active"
    assert made["version"].startswith("v1.")
    assert made["server"].startswith("https://")
    listed = admin.data("GET", "clusters", keyword="生产")
    assert listed["list"] == listed["items"] == [made]
    assert (listed["total"], listed["page"], listed["pageSize"]) == (1, 1, 20)
    assert admin.data("GET", f"clusters/{made['id']}") == made


def test_no_answer_ever_holds_a_credential(admin: Caller, apiserver: Any, cluster: Cluster) -> None:
    token = yaml.safe_load(cluster.kubeconfig)["users"][0]["user"]["token"]
    for path in ("clusters", f"clusters/{cluster.pk}", f"clusters/{cluster.pk}/namespaces"):
        assert token.encode() not in admin.raw("GET", path).content
    response = admin.raw(
        "POST", "clusters", {"name": cluster.name, "kubeconfig": cluster.kubeconfig}
    )
    assert token.encode() not in response.content


def test_the_mask_written_back_means_unchanged(admin: Caller, cluster: Cluster) -> None:
    shown = admin.data("GET", f"clusters/{cluster.pk}")
    changed = admin.data(
        "PUT", f"clusters/{cluster.pk}", {**shown, "description": "new", "labels": {"env": "test"}}
    )
    assert (changed["description"], changed["labels"]) == ("new", {"env": "test"})
    assert Cluster.objects.get(pk=cluster.pk).kubeconfig == cluster.kubeconfig
    assert admin.code("GET", f"clusters/{cluster.pk}/namespaces") == 0


def test_names_are_unique_whatever_their_case(
    admin: Caller, cluster: Cluster, apiserver: Any
) -> None:
    body = {"name": cluster.name.upper(), "kubeconfig": apiserver.kubeconfig_yaml}
    assert admin.code("POST", "clusters", body) == 1001
    other = admin.data("POST", "clusters", {**body, "name": "second"})
    assert admin.code("PUT", f"clusters/{other['id']}", {"name": cluster.name}) == 1001


def test_forgetting_a_cluster_wipes_its_credentials_and_frees_its_name(
    admin: Caller, cluster: Cluster, apiserver: Any
) -> None:
    assert admin.data("DELETE", f"clusters/{cluster.pk}") == {}
    assert admin.code("GET", f"clusters/{cluster.pk}") == 1002
    assert admin.code("GET", "pods", cluster_id=cluster.pk) == 1002
    assert Cluster.objects.get(pk=cluster.pk).kubeconfig == ""
    assert (
        admin.code(
            "POST", "clusters", {"name": cluster.name, "kubeconfig": apiserver.kubeconfig_yaml}
        )
        == 0
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "kubeconfig": ""},
        {"name": "x", "kubeconfig": 5},
        {"name": "x", "kubeconfig": "a: [b"},
        {"name": "x", "kubeconfig": kubeconfig("https://169.254.169.254")},
        {"name": "x", "kubeconfig": kubeconfig("https://10.0.0.1", exec={"command": "id"})},
        {"name": "x", "kubeconfig": kubeconfig("https://10.0.0.1", tokenFile="/etc/passwd")},
        {"name": "", "kubeconfig": "KEEP"},
        {"name": "a/b", "kubeconfig": "KEEP"},
        {"name": "7", "kubeconfig": "KEEP"},
        {"name": "x" * 200, "kubeconfig": "KEEP"},
        {"name": "a\x00b", "kubeconfig": "KEEP"},
        {"name": "x", "labels": [1], "kubeconfig": "KEEP"},
        {"name": "x", "description": {"a": 1}, "kubeconfig": "KEEP"},
    ],
)
def test_what_cannot_be_registered_is_1001_and_nothing_is_saved(
    admin: Caller, apiserver: Any, body: dict[str, Any]
) -> None:
    if body.get("kubeconfig") == "KEEP":
        body = {**body, "kubeconfig": apiserver.kubeconfig_yaml}
    assert admin.code("POST", "clusters", body) == 1001
    assert not Cluster.objects.exists()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (silent, "timeout"),
        (answering("401 Unauthorized", b"{}"), "credential_invalid"),
        (answering("200 OK", b"<html>"), "bad_answer"),
        (answering("404 Not Found", b"404 page not found\n"), "bad_answer"),
        (answering("404 Not Found", b"default backend - 404"), "bad_answer"),
        (answering("404 Not Found", b'{"message": "no Route matched"}'), "bad_answer"),
        (answering("302 Found", b"", "Location: https://login.example/"), "redirect"),
        (answering("200 OK", b'{"gitVersion": null}'), "bad_answer"),
        (answering("200 OK", b'{"gitVersion": ""}'), "bad_answer"),
        (answering("200 OK", b"[]"), "bad_answer"),
        (answering("403 Forbidden", b'{"kind": "Status", "code": 403}'), "forbidden"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_1006_and_nothing_is_saved(
    admin: Caller, settings: Any, behaviour: Any, reason: str
) -> None:
    settings.CLUSTER_ALLOW_INSECURE_TLS, settings.CLUSTER_READ_TIMEOUT = True, 1.0
    with serving(behaviour) as server:
        answer = admin("POST", "clusters", {"name": "x", "kubeconfig": kubeconfig(server)})
    assert (answer["code"], answer["data"]["reason"]) == (1006, reason)
    assert not Cluster.objects.exists()


def guarded(version: int, review: int, message: str) -> Behaviour:
    """An API server that answers /version and reviews of rights with these statuses."""

    def behave(connection: socket.socket) -> None:
        path = connection.recv(65536).split()[1].partition(b"?")[0]
        status = version if path == b"/version" else review
        answer: dict[str, Any] = {"gitVersion": "v1.36.0"}
        if status >= 400:
            answer = {"kind": "Status", "message": message, "code": status}
        body = json.dumps(answer)
        head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body.encode())

    return behave


@pytest.mark.parametrize(
    ("version", "message", "cause"),
    [
        (200, 'User "jane" cannot create resource', "forbidden"),
        (403, 'User "jane" cannot get path "/version"', "forbidden"),
        (403, 'User "system:anonymous" cannot get path "/version"', "credentials"),
        (200, 'User "system:anonymous" cannot create resource', "credentials"),
    ],
)
def test_rights_that_lack_in_the_cluster_are_no_lack_of_rights_here(
    admin: Caller, settings: Any, version: int, message: str, cause: str
) -> None:
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    with serving(guarded(version, 403, message)) as server:
        answer = admin("POST", "clusters", {"name": "x", "kubeconfig": kubeconfig(server)})
    assert (answer["code"], answer["data"]["cause"]) == (1006, cause)


def test_a_cluster_that_keeps_its_version_to_itself_can_be_registered(
    admin: Caller, settings: Any
) -> None:
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    with serving(guarded(403, 201, 'cannot get path "/version"')) as server:
        made = admin.data("POST", "clusters", {"name": "x", "kubeconfig": kubeconfig(server)})
    assert (made["status"], made["version"]) == ("active", "")


def test_a_wrong_token_and_a_wrong_authority_are_named(admin: Caller, apiserver: Any) -> None:
    wrong = yaml.safe_load(apiserver.kubeconfig_yaml)
    wrong["users"][0]["user"]["token"] = "wrong"
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": yaml.safe_dump(wrong)})
    assert (answer["code"], answer["data"]["reason"]) == (1006, "credential_invalid")
    wrong = yaml.safe_load(apiserver.kubeconfig_yaml)
    del wrong["clusters"][0]["cluster"]["certificate-authority-data"]
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": yaml.safe_dump(wrong)})
    assert (answer["code"], answer["data"]["reason"]) == (1006, "tls")


def test_a_cluster_that_stops_answering_is_unreachable_and_says_so_in_time(
    admin: Caller, cluster: Cluster
) -> None:
    started = time.monotonic()
    with refusing() as server:
        cluster.kubeconfig = kubeconfig(server.replace("http:", "https:"))
        cluster.save()
        answer = admin("GET", "pods", cluster_id=cluster.pk)
        assert answer["code"] == 1006
        assert answer["data"]["reason"] in {
            "tcp",
            "timeout",
        }  # some networks drop what others refuse
        assert time.monotonic() - started < 10
        tasks.check_cluster(cluster.pk)
    shown = admin.data("GET", f"clusters/{cluster.pk}")
    assert shown["status"] == "unreachable"
    assert shown["status_reason"]


def test_the_command_registers_and_prints_json(apiserver: Any, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(apiserver.kubeconfig_yaml)
    out = StringIO()
    call_command("register_cluster", "from-file", kubeconfig=str(file), default=True, stdout=out)
    printed = json.loads(out.getvalue())
    assert Cluster.objects.get(pk=printed["id"]).is_default
    assert registry.default().pk == printed["id"]
    assert printed["warnings"] == []
    out = StringIO()
    call_command("register_cluster", "twin", kubeconfig=str(file), stdout=out)
    assert "registered as from-file" in json.loads(out.getvalue())["warnings"][0]


def test_the_command_refuses_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(kubeconfig("https://10.0.0.1", exec={"command": "touch"}))
    with pytest.raises(CommandError, match="exec"):
        call_command("register_cluster", "x", kubeconfig=str(file))
    with pytest.raises(CommandError, match="cannot read"):
        call_command("register_cluster", "x", kubeconfig=str(tmp_path / "absent"))


def test_clusters_follow_their_api_server_to_another_address_and_to_no_other_server(
    cluster: Cluster,
) -> None:
    old = cluster.server
    new = old.replace("127.0.0.1", "localhost")
    with (
        running_cluster(controllers=False, kubelet=False) as stranger,
        pytest.raises(CommandError, match=cluster.name),
    ):
        call_command("move_clusters", old, stranger.url)
    call_command("move_clusters", old, new, dry_run=True, stdout=(out := StringIO()))
    assert "can be moved" in out.getvalue()
    cluster.refresh_from_db()
    assert cluster.server == old
    # What was refused left an entry, what was only checked did not.
    entries = AuditEntry.objects.filter(dialect="command", kind="clusters")
    assert [entry.result for entry in entries] == ["failed"]
    call_command("move_clusters", old, new, stdout=StringIO())
    cluster.refresh_from_db()
    assert cluster.server == new
    entry = entries.latest("pk")
    assert (entry.verb, entry.name, entry.cluster_pk) == ("update", cluster.name, cluster.pk)
    assert (entry.username, entry.result) == ("command line", "success")
    assert entry.details["server"] == {"from": old, "to": new}
    assert registry.client(cluster).access.server == new
    # The server is another one by the uid of kube-system, whatever else fits.
    Cluster.objects.filter(pk=cluster.pk).update(system_uid="0" * 8)
    with pytest.raises(CommandError, match="another cluster answers"):
        call_command("move_clusters", new, old)
    call_command("move_clusters", "https://10.0.0.1", new, stdout=(out := StringIO()))
    assert "no cluster is registered" in out.getvalue()


def test_one_cluster_is_the_default(admin: Caller, cluster: Cluster, apiserver: Any) -> None:
    assert registry.default().pk == cluster.pk
    other = admin.data(
        "POST",
        "clusters",
        {"name": "second", "kubeconfig": apiserver.kubeconfig_yaml, "is_default": True},
    )
    assert registry.default().pk == other["id"]
    assert [row["is_default"] for row in admin.data("GET", "clusters")["items"]] == [False, True]


def test_what_a_strange_server_says_is_stored_as_far_as_it_can_be(
    admin: Caller, settings: Any
) -> None:
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    settings.CLUSTER_READ_TIMEOUT = 10.0
    body = json.dumps({"gitVersion": "v1\0" + "9" * 500, "metadata": {"uid": "a\0" * 90}})
    with serving(answering("200 OK", body.encode())) as server:
        made = admin.data("POST", "clusters", {"name": "x", "kubeconfig": kubeconfig(server)})
    assert made["version"] == "v1" + "9" * 62
    status = {"kind": "Status", "message": "broken \0" * 90, "code": 500}
    with serving(answering("500 Oops", json.dumps(status).encode())) as server:
        Cluster.objects.filter(pk=made["id"]).update(kubeconfig=kubeconfig(server))
        tasks.check_cluster(made["id"])
    shown = admin.data("GET", f"clusters/{made['id']}")
    assert (shown["status"], shown["status_reason"][:7]) == ("unreachable", "broken ")


def several(text: str, *names: str, current: str = "") -> str:
    """The kubeconfig with other contexts, of which only the first leads anywhere."""
    config = yaml.safe_load(text)
    context = config["contexts"][0]["context"]
    config["clusters"].append({"name": "away", "cluster": {"server": "https://10.255.255.1"}})
    config["contexts"] = [{"name": names[0], "context": context}]
    config["contexts"] += [
        {"name": name, "context": {"cluster": "away", "user": context["user"]}}
        for name in names[1:]
    ]
    config["current-context"] = current
    return yaml.safe_dump(config)


def test_of_several_contexts_none_is_taken_silently(admin: Caller, apiserver: Any) -> None:
    text = several(apiserver.kubeconfig_yaml, "生产", "staging", "dev")
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": text})
    assert answer["code"] == 1001
    assert "生产, staging, dev" in answer["msg"]
    assert answer["data"]["contexts"] == ["生产", "staging", "dev"]
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": text, "context": "prod"})
    assert (answer["code"], answer["data"]["contexts"][0]) == (1001, "生产")
    assert not Cluster.objects.exists()
    body = {"name": "x", "kubeconfig": text, "context": "生产"}
    made = admin.data("POST", "clusters", body)
    assert (made["context"], made["contexts"]) == ("生产", ["生产", "staging", "dev"])
    assert admin.code("GET", f"clusters/{made['id']}/namespaces") == 0


def test_the_current_context_and_the_only_one_need_no_choice(admin: Caller, apiserver: Any) -> None:
    current = several(apiserver.kubeconfig_yaml, "prod", "dev", current="prod")
    body = {"name": "x", "kubeconfig": current, "dry_run": True}
    assert admin.data("POST", "clusters", body)["context"] == "prod"
    only = {**body, "kubeconfig": several(apiserver.kubeconfig_yaml, "prod")}
    assert admin.data("POST", "clusters", only)["context"] == "prod"
    missing = several(apiserver.kubeconfig_yaml, "prod", "dev", current="gone")
    assert admin.code("POST", "clusters", {**body, "kubeconfig": missing}) == 1001
    assert admin.code("POST", "clusters", {**body, "context": 5}) == 1001


def test_another_context_can_be_chosen_later(admin: Caller, apiserver: Any, settings: Any) -> None:
    settings.CLUSTER_CONNECT_TIMEOUT = 0.5
    text = several(apiserver.kubeconfig_yaml, "prod", "again", current="prod")
    config = yaml.safe_load(text)
    config["contexts"][1] = {**config["contexts"][0], "name": "again"}
    body = {"name": "x", "kubeconfig": yaml.safe_dump(config)}
    made = admin.data("POST", "clusters", body)
    path = f"clusters/{made['id']}"
    assert admin.data("PUT", path, {"context": "again"})["context"] == "again"
    assert admin.code("PUT", path, {"context": "other"}) == 1001
    shown = admin.data("GET", path)
    assert shown["context"] == "again"
    assert admin.data("PUT", path, shown) == shown
    assert admin.code("GET", f"{path}/namespaces") == 0


def test_the_same_api_server_twice_is_said(admin: Caller, apiserver: Any, cluster: Cluster) -> None:
    assert admin.data("GET", f"clusters/{cluster.pk}")["warnings"] == []
    body = {"name": "again", "kubeconfig": apiserver.kubeconfig_yaml}
    (warning,) = admin.data("POST", "clusters", {**body, "dry_run": True})["warnings"]
    assert f"is registered as {cluster.name}" in warning
    again = admin.data("POST", "clusters", body)
    assert again["warnings"] == [warning]
    listed = {row["id"]: row["warnings"] for row in admin.data("GET", "clusters")["items"]}
    assert "is registered as again" in listed[cluster.pk][0]
    assert admin.data("GET", f"clusters/{cluster.pk}")["warnings"] == listed[cluster.pk]
    user = get_user_model().objects.create_user(username="local")
    grants.give(user=user, role=grants.Role.VIEWER, cluster=cluster.name)
    local = Caller(create_api_token(user, "tests")[1])
    (warning,) = local.data("GET", f"clusters/{cluster.pk}")["warnings"]
    assert "is registered under another name" in warning
    admin.data("DELETE", f"clusters/{again['id']}", confirm="again")
    assert admin.data("GET", f"clusters/{cluster.pk}")["warnings"] == []
