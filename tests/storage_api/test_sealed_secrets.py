"""Values of Secrets in the store: sealed at rest whatever door wrote them, given back with the right `secrets`, masked without."""

import base64
import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from psycopg2 import sql

from access import grants
from access.tokens import create_api_token
from core.crypto import rotate_all
from storage_api.models import Change, Resource
from storage_api.services.protection import reprotect
from tests.caller import Caller
from tests.storeserver import encoded

PREFIX = "/bcsapi/v4/storage"
TABLES = (
    *("storage_resource", "storage_change", "storage_base", "storage_watch_node"),
    *("storage_metric", "storage_event", "storage_alarm", "storage_host"),
)
WORD = "aHVudGVyMi1tYXJrZXI="
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "s",
        "namespace": "ns",
        "uid": "u-1",
        "labels": {"app": "shop"},
        "annotations": {
            "note": "plain",
            "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"password":"'
            + WORD
            + '"}}',
        },
        "managedFields": [{"manager": WORD}],
    },
    "type": "Opaque",
    "data": {"password": WORD, "user": WORD},
    "stringData": {"plain": "hunter2-marker"},
}
TYPES = [
    *("Secret", "secret", "secrets", "Secrets", "SECRET", "sEcReTs", "Secret.v1", "v1.Secret"),
    *("SecretList", "secret_list", "ＳＥＣＲＥＴ", "corev1.Secret", "k8s-secrets", "SecretV1"),
]
ODD: list[Any] = [
    WORD,
    [WORD, {"data": WORD}],
    {"data": WORD},
    {"data": [WORD], "kind": "ConfigMap"},
    {"whatever": {"deep": WORD}, "metadata": WORD, "kind": {"x": WORD}},
    {"kind": "secret", "apiVersion": "v4", "datas": {"key": {"content": WORD}}},
    {"data": {"apiVersion": "v1", "kind": "Secret", "data": {"k": WORD}}},
    {"kind": "List", "items": [SECRET]},
    {"data": {"big": 123456789012345678901234567890, "k": WORD, "n": None, "f": 1.50}},
]
ELSEWHERE: list[Any] = [
    SECRET,
    {"kind": "List", "apiVersion": "v1", "items": [{"kind": "Pod"}, SECRET]},
    {"kind": "SecretList", "items": [{"metadata": {"name": "s"}, "data": {"k": WORD}}]},
    {"spec": {"template": {"nested": [[SECRET]]}}},
    {"kind": " secret ", "metadata": {}, "stringData": {"k": WORD}},
    {
        "apiVersion": "example.com/v1",
        "kind": "Secret",
        "data": {"k": WORD},
        "status": {"phase": "x"},
    },
]


@pytest.fixture
def viewer(db: None) -> Caller:
    """Somebody who may read everything, values of Secrets excepted."""
    user = get_user_model().objects.create_user("store-viewer")
    grants.give(user=user, role=grants.Role.VIEWER)
    return Caller(create_api_token(user, "t")[1])


@pytest.fixture
def agent(db: None) -> Caller:
    """A watcher: its token reads and writes the store, and nothing else."""
    user = get_user_model().objects.create_user("store-agent")
    grants.give(user=user, role=grants.Role.ADMIN)
    return Caller(create_api_token(user, "t", scopes=["storage:read", "storage:write"])[1])


def at_rest() -> str:
    """Everything that the store's tables hold, as text."""
    with connection.cursor() as cursor:
        parts = []
        for table in TABLES:
            cursor.execute(
                sql.SQL("SELECT coalesce(string_agg(t::text, ' '), '') FROM {} t").format(
                    sql.Identifier(table)
                )
            )
            parts.append(cursor.fetchone()[0])
    return " ".join(parts)


def hidden(text: str) -> bool:
    """Whether none of the markers can be read in a text, encoded or plain."""
    words = (WORD, "hunter2-marker", base64.b64decode(WORD).decode())
    return not any(word in text for word in words)


def path_of(resource_type: str, name: str = "s", cid: str = "sealed-1") -> str:
    """The address of one document."""
    place = f"clusters/{cid}/namespaces/ns/{resource_type}/{name}"
    return f"{PREFIX}/k8s/dynamic/namespace_resources/{place}"


def put(caller: Caller, path: str, data: Any) -> None:
    """Write one document."""
    answer = caller("PUT", path, json.dumps({"data": data}))
    assert answer["code"] == 0, answer


def text_of(caller: Caller, path: str, **query: str) -> str:
    """An answer's whole body."""
    answer = caller.raw("GET", path, **query)
    assert answer.status_code == 200, answer.content
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(body.decode())


@pytest.mark.django_db
@pytest.mark.parametrize("resource_type", TYPES)
def test_an_agents_secret_is_sealed_and_comes_back_with_the_right(
    admin: Caller, agent: Caller, viewer: Caller, resource_type: str
) -> None:
    path = path_of(resource_type)
    put(agent, path, SECRET)
    assert hidden(at_rest())
    assert admin("GET", path)["data"][0]["data"] == SECRET
    kept = Resource.objects.get(cluster_id="sealed-1").data
    assert (kept["metadata"]["uid"], kept["metadata"]["labels"]) == ("u-1", {"app": "shop"})
    for caller in (viewer, agent):
        seen = caller("GET", path)["data"][0]["data"]
        assert seen["data"] == {"password": "***", "user": "***"}
        assert seen["stringData"] == {"plain": "***"}
        assert (seen["type"], seen["metadata"]["annotations"]["note"]) == ("Opaque", "plain")
        for address in (path, path.removesuffix("/s")):
            assert hidden(text_of(caller, address))
            assert hidden(text_of(caller, address, field="data.data.password,data.stringData"))
    listing = path.removesuffix("/s")
    assert admin("GET", listing, field="data.data.password")["data"][0]["data"] == {
        "data": {"password": WORD}
    }
    put(agent, path, SECRET)
    assert Change.objects.filter(cluster_id="sealed-1").count() == 1, "nothing had changed"
    put(agent, path, {**SECRET, "data": {"password": "bmV3", "user": WORD}})
    first, second = Change.objects.filter(cluster_id="sealed-1").order_by("seq")
    assert first.data["data"]["password"] != second.data["data"]["password"]
    assert first.data["data"]["user"] == second.data["data"]["user"]


@pytest.mark.usefixtures("emptied")
def test_a_tokens_scope_secrets_shows_values_and_feeds_mask_without(
    admin: Caller, agent: Caller
) -> None:
    put(admin, path_of("Secret"), SECRET)
    owner = get_user_model().objects.get(username="store-agent")
    for scopes, sees in (
        (["storage:read"], False),
        (["storage:read", "secrets"], True),
        (["read", "storage:read", "storage:write"], False),
    ):
        caller = Caller(create_api_token(owner, "t", scopes=scopes)[1])
        assert (WORD in text_of(caller, path_of("Secret"))) is sees
        feed = caller.raw(
            "POST",
            f"{PREFIX}/dynamic/watch/sealed-1/Secret",
            {"since": "0", "timeout": 10**8},
        )
        lines = b"".join(feed.streaming_content).decode()
        assert '"type":1' in lines
        assert hidden(lines) is not sees


@pytest.mark.django_db
@pytest.mark.parametrize("data", ODD, ids=range(len(ODD)))
def test_what_is_no_secret_under_that_type_is_sealed_too(
    admin: Caller, viewer: Caller, data: Any
) -> None:
    path = path_of("Secret")
    put(admin, path, data)
    assert hidden(at_rest())
    assert admin("GET", path)["data"][0]["data"] == data
    assert hidden(text_of(viewer, path))


@pytest.mark.django_db
@pytest.mark.parametrize("resource_type", ["ConfigMap", "Pod", "List", "Secret.example.com", "foo"])
@pytest.mark.parametrize("data", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_a_secret_is_found_under_any_type(
    admin: Caller, viewer: Caller, resource_type: str, data: Any
) -> None:
    path = path_of(resource_type)
    put(admin, path, data)
    assert hidden(at_rest())
    assert admin("GET", path)["data"][0]["data"] == data
    assert hidden(text_of(viewer, path))


@pytest.mark.django_db
def test_escapes_hide_no_secret(admin: Caller, viewer: Caller) -> None:
    escaped = json.dumps({"data": SECRET}).replace('"Secret"', '"\\u0053ecret"')
    assert admin("PUT", path_of("Pod"), escaped)["code"] == 0
    keyed = json.dumps({"data": SECRET}).replace('"kind"', '"\\u006bind"')
    assert admin("PUT", path_of("Pod", "t"), keyed)["code"] == 0
    assert hidden(at_rest())
    assert admin("GET", path_of("Pod"))["data"][0]["data"] == SECRET
    assert hidden(text_of(viewer, path_of("Pod")))


@pytest.mark.django_db
def test_references_to_secrets_stay_as_they_are(admin: Caller) -> None:
    pod = {
        "kind": "Pod",
        "metadata": {"ownerReferences": [{"kind": "Secret", "name": "s", "uid": "u-9"}]},
        "spec": {"volumes": [{"secret": {"secretName": "s"}}]},
    }
    put(admin, path_of("Pod"), pod)
    row = Resource.objects.get(cluster_id="sealed-1")
    assert (row.data, row.owner_uid) == (pod, "u-9")


DOORS: list[tuple[str, str, Any]] = [
    ("PUT", "/k8s/dynamic/cluster_resources/clusters/{cid}/Secret/s", {"data": SECRET}),
    (
        "PUT",
        "/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/n/secret/s",
        {"data": SECRET},
    ),
    ("PUT", "/k8s/watch/clusters/{cid}/namespaces/n/secrets/s", {"data": SECRET}),
    ("PUT", "/k8s/watch/clusters/{cid}/namespaces/n/thing/s", {"data": {"x": [SECRET]}}),
    ("PUT", "/metric/clusters/{cid}/namespaces/n/t/s", {"data": SECRET}),
    ("PUT", "/host/10.1.2.3", {"clusterId": "{cid}", "data": SECRET}),
    ("PUT", "/events", {"clusterId": "{cid}", "data": SECRET}),
    ("POST", "/alarms", {"clusterId": "{cid}", "data": {"old": SECRET}}),
    (
        "POST",
        "/k8s/dynamic/clusters/{cid}/batch",
        {"op": "put", "resourceType": "secrets", "resourceName": "s", "data": SECRET},
    ),
]
READS = [
    *(
        "/k8s/dynamic/all_resources/clusters/{cid}/Secret",
        "/query/k8s/dynamic/clusters/{cid}/secret",
    ),
    *("/mesos/dynamic/all_resources/clusters/{cid}/secret", "/metric/clusters/{cid}"),
    *("/k8s/dynamic/cluster_resources/clusters/{cid}/secrets/s", "/host/clusters/{cid}"),
    *("/k8s/watch/clusters/{cid}/namespaces/n/secrets", "/host/10.1.2.3"),
    *("/k8s/watch/clusters/{cid}/namespaces/n/secrets/s", "/events?clusterId={cid}"),
    *("/k8s/watch/clusters/{cid}/namespaces/n/thing/s", "/alarms?clusterId={cid}"),
    "/metric/clusters/{cid}/namespaces/n/t/s",
]


@pytest.mark.django_db
def test_every_door_seals_and_every_read_masks(admin: Caller, viewer: Caller) -> None:
    for number, (method, path, body) in enumerate(DOORS):
        cid = f"door-{number}"
        sent = json.dumps(body).replace("{cid}", cid)
        assert admin(method, PREFIX + path.replace("{cid}", cid), sent)["code"] == 0, path
        assert hidden(at_rest()), path
        told = 0
        for read in READS:
            address = PREFIX + read.replace("{cid}", cid)
            answer = admin.raw("GET", address)
            told += WORD in answer.content.decode()
            assert hidden(text_of(viewer, address)), read
        assert told, path


@pytest.mark.django_db
def test_equal_values_at_two_places_differ_at_rest(admin: Caller) -> None:
    for cid, resource_type, name in (
        *(("c-1", "Secret", "a"), ("c-1", "Secret", "b"), ("c-2", "Secret", "a")),
        *(("c-1", "secrets", "a"), ("c-1", "ConfigMap", "a")),
    ):
        put(admin, path_of(resource_type, name, cid), SECRET)
    tokens = [token for row in Resource.objects.all() for token in row.data["data"].values()]
    assert len(tokens) == len(set(tokens)) == 10


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    [
        {"extra": encoded({"data.data.password": WORD})},
        {"extra": encoded({"data.data": SECRET["data"]})},
        {"extra": encoded({"data": SECRET})},
        {"extra": encoded({"data.stringData.plain": "hunter2-marker"})},
        {"data.data.password": WORD},
        {"data.stringData.plain": "hunter2-marker"},
        {"data.metadata.managedFields.manager": WORD},
    ],
)
def test_nobody_tests_a_value_by_filtering(
    admin: Caller, viewer: Caller, query: dict[str, str]
) -> None:
    path = path_of("Secret")
    put(admin, path, SECRET)
    listing = path.removesuffix("/s")
    for caller in (viewer, admin):
        assert caller("GET", listing, **query)["data"] == []
        assert caller("GET", path, **query)["code"] == 10004
        typed = f"{PREFIX}/query/k8s/dynamic/clusters/sealed-1/secret"
        assert caller("GET", typed, **query)["data"] == []
    assert admin("DELETE", listing, **query)["code"] == 0
    assert len(admin("GET", listing, labelSelector="app=shop")["data"]) == 1


@pytest.mark.django_db
def test_a_text_that_looks_sealed_is_somebodys_own(admin: Caller, viewer: Caller) -> None:
    put(admin, path_of("Secret"), SECRET)
    token = Resource.objects.get(cluster_id="sealed-1").data["data"]["password"]
    forged = {"a": token, "b": "kubegale-sealed:AAAA", "c": {"kubegale-sealed:AAAA": 1}}
    put(admin, path_of("Pod", "forged"), forged)
    assert admin("GET", path_of("Pod", "forged"))["data"][0]["data"] == forged
    assert hidden(text_of(viewer, path_of("Pod", "forged")))


@pytest.mark.django_db
def test_old_rows_are_sealed_and_keys_rotate(
    admin: Caller, viewer: Caller, settings: Any, admin_client: Client
) -> None:
    put(admin, path_of("Secret"), {})
    put(admin, path_of("Pod", "p"), {"kind": "Pod"})
    with connection.cursor() as cursor:
        for table in ("storage_resource", "storage_change"):
            update = sql.SQL("UPDATE {} SET data = %s::jsonb WHERE cluster_id = 'sealed-1'")
            cursor.execute(update.format(sql.Identifier(table)), [json.dumps(SECRET)])
    assert not hidden(at_rest())
    assert reprotect() == 4
    assert reprotect() == 0
    assert hidden(at_rest())
    old, new = settings.FIELD_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEYS = [new, old]
    assert admin("GET", path_of("Secret"))["data"][0]["data"] == SECRET
    assert rotate_all() >= 4
    settings.FIELD_ENCRYPTION_KEYS = [new]
    assert admin("GET", path_of("Secret"))["data"][0]["data"] == SECRET
    assert hidden(text_of(viewer, path_of("Secret")))
    row = Change.objects.filter(cluster_id="sealed-1").first()
    assert row is not None
    page = admin_client.get(reverse("admin:storage_api_change_change", args=[row.pk]))
    assert hidden(page.content.decode())
    assert "***" in page.content.decode()
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    before = at_rest()
    with pytest.raises(ValueError, match="no key"):
        reprotect()
    assert at_rest() == before


ACCESS_TYPES = [
    *(
        "RoleBinding",
        "rolebindings",
        "RoleBindings",
        "ROLE_BINDING",
        "Role",
        "roles",
        "ClusterRole",
    ),
    *("clusterrolebindings", "ServiceAccount", "RoleBinding.authorization.openshift.io"),
    "Policy.authorization.example.com",
    *(
        "v1.RoleBinding",
        "core.v1.ServiceAccount",
        "ProjectRoleTemplateBinding.management.cattle.io",
    ),
    *("Policy.iam.example.com", "RoleAssignment.example.com"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("resource_type", ACCESS_TYPES)
def test_access_kinds_are_no_viewers_whatever_their_spelling(
    admin: Caller, agent: Caller, viewer: Caller, resource_type: str
) -> None:
    path = path_of(resource_type)
    put(agent, path, {"subjects": [{"name": "root"}]})
    for caller in (admin, agent):
        assert caller("GET", path)["data"][0]["data"] == {"subjects": [{"name": "root"}]}
    listing = path.removesuffix("/s")
    for address in (
        *(path, listing, f"{PREFIX}/k8s/dynamic/all_resources/clusters/sealed-1/{resource_type}"),
        f"{PREFIX}/dynamic/watch/sealed-1/{resource_type}",
    ):
        assert viewer.raw("GET", address).status_code == 403
    put(admin, path_of("Pod"), {})
    assert viewer.raw("GET", path_of("Pod")).status_code == 200
