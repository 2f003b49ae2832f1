"""The Walm document: its examples byte for byte, every success and error body, its guards. Tenants have their own file."""

import base64
import json
import uuid
from typing import Any

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from access.tokens import create_api_token
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from kubegale.walm_stats import go_duration
from tests.caller import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def opened(settings: Any) -> None:
    """The document's own curl lines: no credentials."""
    settings.OPEN_DIALECTS = frozenset({"walm"})


@pytest.fixture
def space(apiserver: Any, cluster: Cluster) -> str:
    """A namespace of this test's own."""
    name = f"walm-{uuid.uuid4().hex[:8]}"
    registry.client(cluster).create(KINDS["namespaces"], {"metadata": {"name": name}})
    return name


def call(method: str, path: str, body: Any = None, **options: Any) -> Any:
    """The Django response; a body becomes JSON, bytes go as they are."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
    return Client().generic(method, path, data, content_type="application/json", **options)


def read(path: str) -> Any:
    """The JSON of a good answer."""
    response = call("GET", f"/api/v1/{path}")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json"), (
        response.content
    )
    return response.json()


def failure(method: str, path: str, body: Any = None, *, status: int = 500, **options: Any) -> str:
    """The text of an error, whose body has this form and no other."""
    response = call(method, f"/api/v1/{path}", body, **options)
    assert response.status_code == status, response.content
    found: dict[str, Any] = response.json()
    assert list(found) == ["errCode", "errMessage"]
    assert found["errCode"] == -1
    return str(found["errMessage"])


def empty(response: HttpResponseBase) -> None:
    """A write's answer: 200 and nothing."""
    assert response.status_code == 200, response.content  # type: ignore[attr-defined]
    assert response.content == b""  # type: ignore[attr-defined]
    assert response["Content-Length"] == "0"


# --- pods -----------------------------------------------------------------------------------------------------------
def pod(space: str, name: str, uid: str, **status: Any) -> dict[str, Any]:
    """A pod that no kubelet touches."""
    meta = {"name": name, "namespace": space, "uid": uid}
    return {
        "metadata": meta,
        "spec": {"nodeName": "nowhere", "containers": [{"name": "app", "image": "x"}]},
        "status": status,
    }


def event(space: str, name: str, pod_uid: str, **members: Any) -> dict[str, Any]:
    """An event about the pod `web`."""
    involved = {"kind": "Pod", "name": "web", "namespace": space, "uid": pod_uid}
    return {"metadata": {"name": name, "namespace": space}, "involvedObject": involved, **members}


def test_events_of_a_pod_in_the_documents_words(apiserver: Any, space: str) -> None:
    # The document's times, eighty years on: Kubernetes forgets old events.
    apiserver.load("pods", [pod(space, "web", "uid-1")])
    old = {
        "source": {"component": "default-scheduler"},
        "firstTimestamp": "2099-07-05T04:17:59Z",
        "lastTimestamp": "2099-07-07T19:58:04Z",
    }
    text = "pod has unbound immediate PersistentVolumeClaims (repeated 3 times)"
    modern = {
        "eventTime": "2099-07-08T01:02:03.456789Z",
        "reportingComponent": "kubelet",
        "series": {"count": 7, "lastObservedTime": "2099-07-09T01:02:03.4Z"},
    }
    apiserver.load(
        "events",
        [
            event(space, "b", "uid-1", type="Normal", reason="Pulled", message="pulled", **modern),
            event(
                space,
                "a",
                "uid-1",
                type="Warning",
                reason="FailedScheduling",
                message=text,
                count=2548,
                **old,
            ),
            event(
                space,
                "c",
                "uid-1",
                source={"component": "kubelet", "host": "node1"},
                lastTimestamp="2099-07-07T19:58:05Z",
                firstTimestamp=None,
            ),
            event(
                space,
                "d",
                "another-uid",
                type="Normal",
                reason="Old",
                message="of an earlier pod of the name",
                **old,
            ),
        ],
    )
    raw = call("GET", f"/api/v1/pod/{space}/name/web/events").content
    first = (
        '{"events":[{"type":"Warning","reason":"FailedScheduling","message":"'
        + text
        + '","from":"default-scheduler","count":2548,'
        '"firstTimestamp":"2099-07-05T04:17:59Z","lastTimestamp":"2099-07-07T19:58:04Z"},'
    )
    assert raw.decode()[: len(first)] == first
    assert json.loads(raw)["events"][1:] == [
        {
            "type": "",
            "reason": "",
            "message": "",
            "from": "kubelet, node1",
            "count": 1,
            "firstTimestamp": "",
            "lastTimestamp": "2099-07-07T19:58:05Z",
        },
        {
            "type": "Normal",
            "reason": "Pulled",
            "message": "pulled",
            "from": "kubelet",
            "count": 7,
            "firstTimestamp": "2099-07-08T01:02:03Z",
            "lastTimestamp": "2099-07-09T01:02:03Z",
        },
    ]


def test_a_pod_without_events_has_an_empty_list_and_a_missing_pod_none(
    apiserver: Any, space: str
) -> None:
    apiserver.load("pods", [pod(space, "quiet", "uid-q")])
    assert call("GET", f"/api/v1/pod/{space}/name/quiet/events").content == b'{"events":[]}'
    assert (
        failure("GET", f"pod/{space}/name/no/events")
        == 'failed to get pod events no: pod "no" not found'
    )


def test_logs_are_one_json_string(apiserver: Any, cluster: Cluster, space: str) -> None:
    spec = {
        "containers": [
            {"name": "one", "image": "busybox", "command": ["echo", 'say "hi"']},
            {"name": "two", "image": "nginx"},
        ],
        "restartPolicy": "Never",
    }
    registry.client(cluster).create(
        KINDS["pods"], {"metadata": {"name": "talk"}, "spec": spec}, namespace=space
    )
    apiserver.wait(
        lambda: b"hi" in call("GET", f"/api/v1/pod/{space}/name/talk/logs?container=one").content,
        seconds=20,
    )
    assert (
        call("GET", f"/api/v1/pod/{space}/name/talk/logs?container=one&tail=1").content
        == b'"say \\"hi\\"\\n"'
    )
    assert (
        call("GET", f"/api/v1/pod/{space}/name/talk/logs?container=one&tail=0").json()
        == 'say "hi"\n'
    )
    unnamed = failure("GET", f"pod/{space}/name/talk/logs")
    assert unnamed.startswith(
        "failed to get pod logs talk: a container name must be specified for pod talk"
    )
    assert failure("GET", f"pod/{space}/name/talk/logs?container=three").startswith(
        "failed to get pod logs talk: container three is not valid for pod talk"
    )
    assert (
        failure("GET", f"pod/{space}/name/no/logs")
        == 'failed to get pod logs no: pods "no" not found'
    )


@pytest.mark.parametrize("name", ["tail", "tailLines"])
@pytest.mark.parametrize("value", ["x", "-5", "1.5", "0x10", " 1"])
def test_a_bad_tail_is_refused_in_gos_words(space: str, name: str, value: str) -> None:
    text = failure(
        "GET", f"pod/{space}/name/web/logs", QUERY_STRING=f"{name}={value.replace(' ', '%20')}"
    )
    assert (
        text
        == f'query param tail is not valid : strconv.ParseInt: parsing "{value}": invalid syntax'
    )


def test_restart_deletes_the_pod_and_nothing_else(apiserver: Any, space: str) -> None:
    apiserver.load("pods", [pod(space, "web", "uid-1"), pod(space, "other", "uid-2")])
    empty(call("POST", f"/api/v1/pod/{space}/name/web/restart"))
    request = next(one for one in apiserver.requests if one.method == "DELETE")
    assert (request.path, bytes(request.body or b"")) == (
        f"/api/v1/namespaces/{space}/pods/web",
        b"",
    )
    assert apiserver.get("pods", "other", space) is not None
    assert (
        failure("POST", f"pod/{space}/name/no/restart")
        == 'failed to restart pod no: pods "no" not found'
    )


# --- claims ---------------------------------------------------------------------------------------------------------
def claim(
    space: str, name: str, labels: dict[str, str] | None = None, *, bound: bool = True
) -> dict[str, Any]:
    """The document's claim, or one that waits."""
    asked = {"resources": {"requests": {"storage": "8Gi"}}}
    spec = {
        **asked,
        "storageClassName": "hostpath",
        "volumeName": name,
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
    }
    status = {"phase": "Bound", "capacity": {"storage": "8Gi"}} if bound else {"phase": "Pending"}
    return {
        "metadata": {"name": name, "namespace": space, **({"labels": labels} if labels else {})},
        "spec": spec if bound else asked,
        "status": status,
    }


REDIS = {"app": "redis", "release": "walm-redis", "role": "master"}


def test_a_claim_as_in_the_document(apiserver: Any, space: str) -> None:
    apiserver.load(
        "persistentvolumeclaims", [claim(space, "redis-data-walm-redis-master-0", REDIS)]
    )
    expected = (
        '{"name":"redis-data-walm-redis-master-0","namespace":"SPACE","kind":"PersistentVolumeClaim",'
        '"state":{"status":"Bound","reason":"","message":""},"labels":{"app":"redis","release":"walm-redis","role":"master"},'
        '"storageClass":"hostpath","volumeName":"redis-data-walm-redis-master-0","capacity":"8Gi","accessModes":["ReadWriteOnce"],'
        '"volumeMode":"Filesystem"}'
    ).replace("SPACE", space)
    assert (
        call("GET", f"/api/v1/pvc/{space}/name/redis-data-walm-redis-master-0").content.decode()
        == expected
    )
    assert (
        call("GET", f"/api/v1/pvc/{space}").content.decode() == f'{{"num":1,"items":[{expected}]}}'
    )
    assert failure("GET", f"pvc/{space}/name/no", status=404) == "pvc no is not found"


def test_a_claim_with_nothing_set_prints_gos_empty_values(apiserver: Any, space: str) -> None:
    apiserver.load("persistentvolumeclaims", [claim(space, "bare", bound=False)])
    found = read(f"pvc/{space}/name/bare")
    assert {
        key: found[key]
        for key in ("labels", "storageClass", "volumeName", "capacity", "accessModes", "volumeMode")
    } == {
        "labels": None,
        "storageClass": "",
        "volumeName": "",
        "capacity": "",
        "accessModes": None,
        "volumeMode": "",
    }


def test_claims_are_selected_by_either_spelling(apiserver: Any, space: str) -> None:
    apiserver.load(
        "persistentvolumeclaims", [claim(space, "a", {"app": "a"}), claim(space, "b", {"app": "b"})]
    )
    for name in ("labelselector", "labelSelector"):
        assert [item["name"] for item in read(f"pvc/{space}?{name}=app=a")["items"]] == ["a"]
    assert read(f"pvc/{space}?labelselector=app=none") == {"num": 0, "items": []}
    assert failure("GET", f"pvc/{space}?labelselector=a%20in%20(").startswith(
        "failed to get pvcs: "
    )


def test_claims_of_a_statefulset_are_kept(apiserver: Any, space: str) -> None:
    apiserver.load(
        "persistentvolumeclaims",
        [
            claim(space, "free", {"app": "redis", "role": "free"}),
            claim(space, "used", REDIS),
            claim(space, "bare"),
        ],
    )
    for name in ("sts", "sts-2"):
        meta = {"name": name, "labels": {**REDIS, "more": "labels"}}
        template = {
            "metadata": {"labels": REDIS},
            "spec": {"containers": [{"name": "c", "image": "redis"}]},
        }
        spec = {
            "serviceName": "s",
            "replicas": 0,
            "selector": {"matchLabels": REDIS},
            "template": template,
        }
        registry.client(registry.default()).create(
            KINDS["statefulsets"], {"metadata": meta, "spec": spec}, namespace=space
        )
    refused = f"pvc {space}/used can not be deleted, it is still used by statefulsets [{space}/sts {space}/sts-2]"
    assert failure("DELETE", f"pvc/{space}/name/used") == f"failed to delete pvc : {refused}"
    assert (
        failure("DELETE", f"pvc/{space}?labelselector=app=redis")
        == f"failed to delete pvcs: {refused}"
    )
    assert {item["name"] for item in read(f"pvc/{space}")["items"]} == {"free", "used", "bare"}, (
        "guards come first"
    )
    empty(call("DELETE", f"/api/v1/pvc/{space}?labelselector=role=free"))
    empty(call("DELETE", f"/api/v1/pvc/{space}/name/bare"))
    empty(call("DELETE", f"/api/v1/pvc/{space}/name/bare"))
    empty(call("DELETE", f"/api/v1/pvc/{space}?labelselector=role=free"))
    apiserver.wait(lambda: {item["name"] for item in read(f"pvc/{space}")["items"]} == {"used"})


def test_without_a_selector_nothing_is_deleted(apiserver: Any, space: str, settings: Any) -> None:
    apiserver.load("persistentvolumeclaims", [claim(space, "a")])
    for query in ("", "?labelselector=", "?labelselector=%20"):
        assert (
            failure("DELETE", f"pvc/{space}{query}")
            == "failed to delete pvcs: labelselector must not be empty"
        )
    assert read(f"pvc/{space}")["num"] == 1
    settings.WALM_ALLOW_EMPTY_SELECTOR = True
    empty(call("DELETE", f"/api/v1/pvc/{space}"))
    apiserver.wait(lambda: read(f"pvc/{space}")["num"] == 0)


# --- secrets --------------------------------------------------------------------------------------------------------
def encoded(**values: str) -> dict[str, str]:
    """Values as requests carry them."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def test_a_secret_goes_in_as_base64_and_comes_out_as_text(space: str) -> None:
    empty(
        call(
            "POST",
            f"/api/v1/secret/{space}",
            {"name": "s", "type": "", "data": encoded(user="me", password="pä$$")},
        )
    )
    expected = (
        f'{{"name":"s","namespace":"{space}","kind":"Secret","state":{{"status":"Ready","reason":"","message":""}},'
        '"data":{"password":"pä$$","user":"me"},"type":"Opaque"}'
    )
    raw = call("GET", f"/api/v1/secret/{space}/name/s").content.decode()
    assert json.loads(raw) == json.loads(expected)
    assert list(json.loads(raw)) == list(json.loads(expected))
    assert [item["data"] for item in read(f"secret/{space}")["items"] if item["name"] == "s"] == [
        {"password": "pä$$", "user": "me"}
    ]
    again = failure("POST", f"secret/{space}", {"name": "s", "data": {}})
    assert again == 'failed to create secret : secrets "s" already exists'
    back = {**json.loads(raw), "data": encoded(user="you")}
    empty(call("PUT", f"/api/v1/secret/{space}", back))
    assert read(f"secret/{space}/name/s")["data"] == {"user": "you"}
    assert "namespace" in failure("PUT", f"secret/{space}", {**back, "namespace": "elsewhere"})


def test_a_secret_without_data_has_an_empty_map_and_bytes_that_are_no_text_are_replaced(
    cluster: Cluster, space: str
) -> None:
    empty(call("POST", f"/api/v1/secret/{space}", {"name": "none"}))
    assert read(f"secret/{space}/name/none")["data"] == {}
    empty(
        call(
            "POST",
            f"/api/v1/secret/{space}",
            {"name": "binary", "data": {"k": base64.b64encode(b"a\xff").decode()}},
        )
    )
    assert read(f"secret/{space}/name/binary")["data"] == {"k": "a\ufffd"}


def test_an_update_replaces_the_data_and_keeps_labels(
    apiserver: Any, cluster: Cluster, space: str
) -> None:
    body = {
        "metadata": {"name": "s", "labels": {"keep": "me"}, "annotations": {"and": "me"}},
        "data": encoded(old="1", both="1"),
    }
    registry.client(cluster).create(KINDS["secrets"], body, namespace=space)
    empty(call("PUT", f"/api/v1/secret/{space}", {"name": "s", "data": encoded(both="2", new="3")}))
    found = apiserver.get("secrets", "s", space)
    assert found["data"] == encoded(both="2", new="3")
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]) == (
        {"keep": "me"},
        {"and": "me"},
    )
    assert (
        failure("PUT", f"secret/{space}", {"name": "no", "data": {}})
        == 'failed to update secret : secrets "no" not found'
    )
    assert failure(
        "PUT", f"secret/{space}", {"name": "s", "type": "kubernetes.io/tls", "data": {}}
    ).startswith("failed to update secret : ")
    assert apiserver.get("secrets", "s", space)["data"] == encoded(both="2", new="3")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("!", 0),
        ("YQ=", 3),
        ("YQ", 0),
        ("YWJj=", 4),
        ("YW Jj", 2),
        ("YQ==YQ==", 4),
        ("YWJ", 0),
        ("Y", 0),
        ("YWJjZ", 4),
        ("YQ=a", 2),
    ],
)
def test_what_is_no_base64_is_refused_where_gos_decoder_stops(
    space: str, value: str, place: int
) -> None:
    for method, verb in (("POST", "create"), ("PUT", "update")):
        text = failure(method, f"secret/{space}", {"name": "s", "data": {"k": value}})
        assert text == f"failed to {verb} secret : illegal base64 data at input byte {place}"
    assert failure("GET", f"secret/{space}/name/s", status=404) == f"secret {space}/s is not found"


def test_line_breaks_inside_base64_are_fine(space: str) -> None:
    empty(call("POST", f"/api/v1/secret/{space}", {"name": "s", "data": {"k": "aGVs\r\nbG8=\n"}}))
    assert read(f"secret/{space}/name/s")["data"] == {"k": "hello"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_that_cannot_be_read(space: str, method: str) -> None:
    assert failure(method, f"secret/{space}") == "failed to read request body: EOF"
    for junk in (b"{", b"[]", b'{"name":5}', b'{"name":"a","data":[]}', b"\xff"):
        assert failure(method, f"secret/{space}", junk).startswith("failed to read request body: ")


def test_a_secret_is_deleted_by_either_address_and_never_all(apiserver: Any, space: str) -> None:
    for name in ("a", "b", "c", "d"):
        empty(call("POST", f"/api/v1/secret/{space}", {"name": name, "data": {}}))
    empty(call("DELETE", f"/api/v1/secret/{space}/name/a"))
    empty(call("DELETE", f"/api/v1/secret/{space}/name/a"))
    empty(call("DELETE", f"/api/v1/secret/{space}?name=b"))
    empty(call("DELETE", f"/api/v1/secret/{space}", {"name": "c"}))
    for body in (None, {}, {"name": ""}, {"name": ["d"]}):
        assert (
            failure("DELETE", f"secret/{space}", body)
            == "failed to delete secret : name is required"
        )
    assert apiserver.get("secrets", "d", space) is not None
    assert [apiserver.get("secrets", name, space) for name in ("a", "b", "c")] == [None] * 3


def test_values_are_masked_for_those_who_may_not_see_them(
    settings: Any, admin: Caller, cluster: Cluster, space: str, django_user_model: Any
) -> None:
    from access.models import Grant

    empty(call("POST", f"/api/v1/secret/{space}", {"name": "s", "data": encoded(k="hidden")}))
    settings.OPEN_DIALECTS = frozenset()
    user = django_user_model.objects.create_user("looker", "l@example.com", "not-used-here-1")
    Grant.objects.create(user=user, role="viewer", cluster=cluster)
    looker = Caller(create_api_token(user, "t")[1])
    for path in (f"/api/v1/secret/{space}/name/s", f"/api/v1/secret/{space}"):
        answer = looker.raw("GET", path)
        assert (
            answer.status_code,
            b"hidden" in answer.content,
            b'"k":"***"' in answer.content,
        ) == (200, False, True)
    assert admin.raw("GET", f"/api/v1/secret/{space}/name/s").json()["data"] == {"k": "hidden"}
    refused = looker.raw("POST", f"/api/v1/secret/{space}", {"name": "t", "data": {}})
    assert (refused.status_code, refused.json()["errCode"]) == (403, -1)


# --- storage classes ------------------------------------------------------------------------------------------------
def test_storage_classes(apiserver: Any, cluster: Cluster) -> None:
    name = f"fast-{uuid.uuid4().hex[:6]}"
    extra = {
        "provisioner": "example.com/disk",
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
    registry.client(cluster).create(KINDS["storageclasses"], {"metadata": {"name": name}, **extra})
    expected = (
        f'{{"name":"{name}","namespace":"","kind":"StorageClass","state":{{"status":"Ready","reason":"","message":""}},'
        '"provisioner":"example.com/disk","reclaimPolicy":"Retain","allowVolumeExpansion":true,"volumeBindingMode":"WaitForFirstConsumer"}'
    )
    assert call("GET", f"/api/v1/storageclass/{name}").content.decode() == expected
    listing = read("storageclass/")
    assert listing["num"] == len(listing["items"]) >= 1
    assert json.loads(expected) in listing["items"]
    assert failure("GET", "storageclass/no", status=404) == "storageClass no is not found"
    assert failure("POST", "storageclass", status=405) == "405: Method Not Allowed"


# --- health ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/liveniess", "/liveness", "/livez", "/liveniess/"])
def test_alive_is_public(settings: Any, path: str) -> None:
    settings.OPEN_DIALECTS = frozenset()
    assert call("GET", path).content == b'"OK"'


def test_ready_means_that_the_default_cluster_answers(settings: Any, cluster: Cluster) -> None:
    settings.OPEN_DIALECTS = frozenset()
    assert call("GET", "/readiness").content == b'"OK"'
    registry.remove(cluster)
    response = call("GET", "/readiness")
    assert (response.status_code, response.json()) == (
        500,
        {"errCode": -1, "errMessage": "failed to connect to kubernetes: no cluster is registered"},
    )


def test_statistics_are_real_and_need_a_token(settings: Any, admin: Caller) -> None:
    settings.OPEN_DIALECTS = frozenset()
    refused = call("GET", "/stats")
    assert (refused.status_code, refused.json()["errCode"]) == (401, -1)
    first, second = admin.raw("GET", "/stats").json(), admin.raw("GET", "/stats").json()
    assert list(second) == [
        "pid",
        "hostname",
        "uptime",
        "uptime_sec",
        "time",
        "unixtime",
        "status_code_count",
        "total_status_code_count",
        "count",
        "total_count",
        "total_response_time",
        "total_response_time_sec",
        "total_response_size",
        "average_response_size",
        "average_response_time",
        "average_response_time_sec",
        "total_metrics_counts",
        "average_metrics_timers",
    ]
    assert (
        second["total_status_code_count"]["200"]
        == first["total_status_code_count"].get("200", 0) + 1
    )
    assert second["total_status_code_count"]["401"] >= 1
    assert second["total_response_size"] > first["total_response_size"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (3723.4, "1h2m3.4s"),
        (0.0152, "15.2ms"),
        (60, "1m0s"),
        (2e-7, "200ns"),
        (1.5e-5, "15µs"),
        (5, "5s"),
    ],
)
def test_durations_read_as_in_go(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


# --- access and routes ----------------------------------------------------------------------------------------------
ROUTES = (
    ("GET", "pod/x/name/p/events"),
    ("GET", "pod/x/name/p/logs"),
    ("POST", "pod/x/name/p/restart"),
    ("GET", "pvc/x"),
    ("DELETE", "pvc/x"),
    ("GET", "pvc/x/name/c"),
    ("DELETE", "pvc/x/name/c"),
    ("GET", "secret/x"),
    ("POST", "secret/x"),
    ("PUT", "secret/x"),
    ("DELETE", "secret/x"),
    ("GET", "secret/x/name/s"),
    ("DELETE", "secret/x/name/s"),
    ("GET", "storageclass"),
    ("GET", "storageclass/s"),
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_closed_every_route_asks_for_a_token_and_for_the_right(
    settings: Any, apiserver: Any, cluster: Cluster, django_user_model: Any, method: str, path: str
) -> None:
    settings.OPEN_DIALECTS = frozenset()
    apiserver.requests.clear()
    failure(method, path, status=401)
    nobody = django_user_model.objects.create_user("nobody", "n@example.com", "not-used-here-1")
    answer = Caller(create_api_token(nobody, "t")[1]).raw(method, f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["errCode"]) == (403, -1)
    assert apiserver.requests == []


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_unknown_cluster_is_500(cluster: Cluster, method: str, path: str) -> None:
    writes = path == "secret/x" and method in {"POST", "PUT"}
    body = {"name": "s", "data": {}} if writes else None
    selector = {("DELETE", "pvc/x"): "labelselector=a", ("DELETE", "secret/x"): "name=s"}.get(
        (method, path), ""
    )
    query = f"cluster=unknown&{selector}"
    assert "cluster 'unknown' does not exist" in failure(method, path, body, QUERY_STRING=query)
    response = call(
        method,
        f"/api/v1/{path}",
        body,
        headers={"X-Cluster": "unknown"},
        QUERY_STRING=selector,
    )
    assert response.status_code == 500


@pytest.mark.parametrize(
    "path", ["pod/x", "pod/x/name/p", "pvc/", "pvc/x/name", "secret/x/y/z", "storageclass/a/b"]
)
def test_unknown_addresses_are_404_in_the_documents_form(path: str) -> None:
    assert failure("GET", path, status=404) in {"404: Page Not Found", "no such route"}


def test_the_wrong_method_is_405() -> None:
    assert failure("PATCH", "secret/x", status=405) == "405: Method Not Allowed"
    assert failure("GET", "pod/x/name/p/restart", status=405) == "405: Method Not Allowed"
