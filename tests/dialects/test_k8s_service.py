"""The K8s-service document, byte for byte: its own examples, and what the contract adds."""

import re
import uuid
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http.response import HttpResponseBase
from django.test import Client

from access.tokens import create_api_token
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from tests.caller import Caller

pytestmark = pytest.mark.django_db
BASE = "/v1/k8sservice"
MISSING = "[ERROR] mandatory parameters missed. "
FAILED = "[ERROR] K8sRestService error, check your request and parameters first, or contact the administrator. "
NOTHING = "Corresponding resource not found,please check your labelname!"
CLOCK = re.compile(rb'"responseTime":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"')


@pytest.fixture(autouse=True)
def opened(settings: Any) -> None:
    """The document's own curl lines: no credentials."""
    settings.OPEN_DIALECTS = frozenset({"k8s_service"})


@pytest.fixture
def space(apiserver: Any, cluster: Cluster) -> str:
    """The document's database: two pods and a service, all with the label app=mysql; a Deployment mariadb."""
    name = f"vss-{uuid.uuid4().hex[:8]}"

    def pod(pod_name: str, ip: str | None, app: str = "mysql") -> dict[str, Any]:
        meta = {"name": pod_name, "namespace": name, "labels": {"app": app}}
        spec = {"nodeName": "nowhere", "containers": [{"name": "db", "image": "mysql"}]}
        return {
            "metadata": meta,
            "spec": spec,
            "status": {"phase": "Running", **({"podIP": ip} if ip else {})},
        }

    def service(
        service_name: str, labels: dict[str, str], selector: dict[str, str], ip: str, port: int
    ) -> dict[str, Any]:
        spec = {
            "clusterIP": ip,
            "selector": selector,
            "ports": [{"port": port, "targetPort": 1, "protocol": "TCP"}, {"port": 9}],
        }
        return {
            "metadata": {"name": service_name, "namespace": name, "labels": labels},
            "spec": spec,
        }

    apiserver.load(
        "pods",
        [
            pod("mysql", "10.244.0.33"),
            pod("mysql2", "10.244.1.25"),
            pod("alone", None, "alone"),
            pod("hidden", "10.0.0.9", "h"),
        ],
    )
    apiserver.load(
        "services",
        [
            service("mysql", {"app": "mysql"}, {"app": "mysql"}, "10.105.227.117", 3306),
            service("headless", {"role": "none"}, {"app": "alone"}, "None", 80),
            service("a-first", {}, {"app": "h"}, "10.0.0.1", 81),
            service("b-second", {}, {"app": "h"}, "10.0.0.2", 82),
            service("lonely", {"app": "lonely"}, {}, "10.0.0.3", 83),
        ],
    )
    template = {
        "metadata": {"labels": {"app": "mysql"}},
        "spec": {"containers": [{"name": "db", "image": "mysql"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "mysql"}}, "template": template}
    registry.client(cluster).create(
        KINDS["deployments"], {"metadata": {"name": "mariadb"}, "spec": spec}, namespace=name
    )
    return name


def body(response: HttpResponseBase, *, status: int = 200) -> bytes:
    """The answer without its clock, which is checked for its form."""
    assert response.status_code == status, response
    assert response["Content-Type"] == "application/json;charset=utf-8"
    raw: bytes = response.content  # type: ignore[attr-defined]
    shown, count = CLOCK.subn(b'"responseTime":"T"', raw)
    assert count == 1
    return shown


def get(path: str, **options: Any) -> bytes:
    """A GET's answer."""
    return body(Client().get(f"{BASE}/{path}", **options))


def form(**fields: str) -> bytes:
    """The answer to the document's form."""
    return body(Client().post(f"{BASE}/updatePodReplicas", fields))


def test_the_greeting_has_no_message_id() -> None:
    assert get("test") == b'{"code":200,"message":"[INFO] oops, you got it.","responseTime":"T"}'


def test_the_greeting_is_public(settings: Any) -> None:
    settings.OPEN_DIALECTS = frozenset()
    assert get("test/").startswith(b'{"code":200,')


def test_pods_and_the_address_of_their_service_as_in_the_document(space: str) -> None:
    assert get(f"getPod?msgId=1641876953&namespace={space}&deploymentname=app=mysql") == (
        b'{"code":200,"message":{"clusterIP":"10.105.227.117","clusterPort":3306,"podList":['
        b'{"podIP":"10.244.0.33","podName":"mysql"},{"podIP":"10.244.1.25","podName":"mysql2"}]},'
        b'"msgId":"1641876953","responseTime":"T"}'
    )
    assert get(f"getPod?msgId=1&nameSpace={space}&deploymentName=app%3Dmysql") == get(
        f"getPod?msgId=1&NAMESPACE={space}&deploymentname=app=mysql"
    )


def test_the_exact_spelling_of_a_parameter_wins(space: str) -> None:
    assert b'"podName":"mysql"' in get(
        f"getPod?msgId=1&namespace=elsewhere&nameSpace={space}&deploymentName=app=mysql"
    )


def test_a_bare_word_is_a_label_first_and_then_a_deployment(space: str) -> None:
    assert b'"podName":"mysql2"' in get(f"getPod?msgId=1&nameSpace={space}&deploymentName=app")
    assert b'"podName":"mysql2"' in get(f"getPod?msgId=1&nameSpace={space}&deploymentName=mariadb")


def test_a_pod_without_an_address_has_no_such_member_and_a_headless_service_says_none(
    space: str,
) -> None:
    assert get(f"getPod?msgId=&nameSpace={space}&deploymentName=app=alone") == (
        b'{"code":201,"message":"[ERROR] mandatory parameters missed. ","msgId":"","responseTime":"T"}'
    )
    assert b'{"clusterIP":"None","clusterPort":80,"podList":[{"podName":"alone"}]}' in get(
        f"getPod?msgId=1&nameSpace={space}&deploymentName=app=alone"
    )


def test_without_a_labelled_service_the_first_that_selects_the_pods_is_meant(space: str) -> None:
    assert b'"clusterIP":"10.0.0.1","clusterPort":81' in get(
        f"getPod?msgId=1&nameSpace={space}&deploymentName=app=h"
    )


def test_a_service_without_pods_has_an_empty_list(space: str) -> None:
    assert b'"clusterPort":83,"podList":[]}' in get(
        f"getPod?msgId=1&nameSpace={space}&deploymentName=app=lonely"
    )


def test_nothing_found_is_201_with_its_own_sentence(space: str) -> None:
    expected = f'{{"code":201,"message":"{NOTHING}","msgId":"1","responseTime":"T"}}'.encode()
    assert get(f"getPod?msgId=1&nameSpace={space}&deploymentName=app=nobody") == expected
    assert get("getPod?msgId=1&nameSpace=no-such-space&deploymentName=nobody") == expected


@pytest.mark.parametrize(
    "query",
    [
        "msgId=1&namespace=x",
        "msgId=1&deploymentName=a=b",
        "msgId=1&nameSpace=&deploymentName=a=b",
        "msgId=1&nameSpace=x&deploymentName=",
    ],
)
def test_a_missing_parameter_is_201(cluster: Cluster, query: str) -> None:
    assert (
        get(f"getPod?{query}")
        == f'{{"code":201,"message":"{MISSING}","msgId":"1","responseTime":"T"}}'.encode()
    )


def test_a_missing_message_id_is_201_and_stays_out() -> None:
    assert (
        get("getPod?nameSpace=x&deploymentName=a=b")
        == f'{{"code":201,"message":"{MISSING}","responseTime":"T"}}'.encode()
    )


def test_what_the_cluster_refuses_is_500(space: str, settings: Any) -> None:
    expected = f'{{"code":500,"message":"{FAILED}","msgId":"1","responseTime":"T"}}'.encode()
    assert get(f"getPod?msgId=1&nameSpace={space}&deploymentName=a in (") == expected
    assert get(f"getPod?msgId=1&nameSpace={space}&deploymentName=a=b&cluster=unknown") == expected
    assert get("getPod?msgId=1&nameSpace=../x&deploymentName=a=b") == expected
    settings.K8SSERVICE_HTTP_STATUS_FROM_CODE = True
    response = Client().get(f"{BASE}/getPod?msgId=1&nameSpace={space}&deploymentName=a in (")
    assert body(response, status=500) == expected


def test_replicas_are_set_as_in_the_document(apiserver: Any, space: str) -> None:
    expected = (
        f'{{"code":200,"message":{{"deploymentName":"mariadb","nameSpace":"{space}","replicas":3}},"msgId":"1641876953","responseTime":"T"}}'
    ).encode()
    fields = {
        "nameSpace": space,
        "deploymentName": "mariadb",
        "replicas": "3",
        "msgId": "1641876953",
    }
    line = "&".join(f"{key}={value}" for key, value in fields.items())
    assert form(**fields) == expected
    assert apiserver.get("deployments.apps", "mariadb", space)["spec"]["replicas"] == 3
    url = f"{BASE}/updatePodReplicas"
    assert (
        body(Client().post(url, line, content_type="application/x-www-form-urlencoded")) == expected
    )
    assert (
        body(
            Client().post(
                url, {**fields, "replicas": 3, "msgId": 1641876953}, content_type="application/json"
            )
        )
        == expected
    )
    assert body(Client().post(url, line, content_type="text/plain")) == expected
    assert body(Client().post(f"{url}?{line}")) == expected
    assert b'"replicas":0}' in form(**{**fields, "replicas": "0"})


@pytest.mark.parametrize("replicas", ["three", "1.5", "", " 3", "99999999999", "0x1"])
def test_replicas_that_are_no_whole_number_are_201(space: str, replicas: str) -> None:
    shown = form(nameSpace=space, deploymentName="mariadb", replicas=replicas, msgId="1")
    assert shown == f'{{"code":201,"message":"{MISSING}","msgId":"1","responseTime":"T"}}'.encode()


def test_replicas_that_cannot_be_are_500_and_change_nothing(apiserver: Any, space: str) -> None:
    expected = f'{{"code":500,"message":"{FAILED}","msgId":"1","responseTime":"T"}}'.encode()
    assert form(nameSpace=space, deploymentName="mariadb", replicas="-1", msgId="1") == expected
    assert form(nameSpace=space, deploymentName="no-such", replicas="1", msgId="1") == expected
    assert apiserver.get("deployments.apps", "mariadb", space)["spec"]["replicas"] == 0


@pytest.mark.parametrize("junk", [b"{not json", b"[1]", b"\xff\xfe=1", b'{"nameSpace":{"a":1}}'])
def test_a_body_that_cannot_be_read_is_201(cluster: Cluster, junk: bytes) -> None:
    response = Client().post(f"{BASE}/updatePodReplicas", junk, content_type="application/json")
    assert MISSING.encode() in body(response)


def test_unknown_routes_and_methods_keep_the_envelope() -> None:
    assert (
        body(Client().get(f"{BASE}/nope"), status=404)
        == f'{{"code":500,"message":"{FAILED}","responseTime":"T"}}'.encode()
    )
    assert (
        body(Client().post(f"{BASE}/getPod?msgId=7"), status=405)
        == f'{{"code":500,"message":"{FAILED}","msgId":"7","responseTime":"T"}}'.encode()
    )


def test_closed_it_asks_for_a_token_and_for_rights(
    settings: Any, admin: Caller, space: str, django_user_model: Any
) -> None:
    settings.OPEN_DIALECTS = frozenset()
    refused = body(
        Client().get(f"{BASE}/getPod?msgId=1&nameSpace={space}&deploymentName=app=mysql"),
        status=401,
    )
    assert refused.startswith(b'{"code":401,"message":"')
    assert b'"msgId":"1"' in refused
    nobody = django_user_model.objects.create_user("nobody", "n@example.com", "not-used-here-1")
    stranger = Caller(create_api_token(nobody, "t")[1])
    answer = stranger.raw(
        "GET", f"{BASE}/getPod", msgId="1", nameSpace=space, deploymentName="app=mysql"
    )
    assert body(answer, status=403).startswith(b'{"code":403,"message":"')
    answer = admin.raw(
        "GET", f"{BASE}/getPod", msgId="1", nameSpace=space, deploymentName="app=mysql"
    )
    assert b'"code":200' in body(answer)


def test_another_cluster_is_chosen_by_query_or_header(space: str, cluster: Cluster) -> None:
    good, bad = {"headers": {"X-Cluster": cluster.name}}, {"headers": {"X-Cluster": "unknown"}}
    where = f"getPod?msgId=1&nameSpace={space}&deploymentName=app=mysql"
    assert b'"code":200' in get(where, **good)
    assert b'"code":500' in get(where, **bad)
    assert b'"code":200' in get(f"{where}&cluster={cluster.pk}")


def test_without_any_cluster_it_is_500() -> None:
    assert FAILED.encode() in get("getPod?msgId=1&nameSpace=x&deploymentName=a=b")


def test_the_clock_is_that_of_the_time_zone(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Shanghai"
    shown = Client().get(f"{BASE}/test").json()["responseTime"]
    there = datetime.now(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None)
    assert abs((there - datetime.strptime(shown, "%Y-%m-%d %H:%M:%S")).total_seconds()) < 60  # noqa: DTZ007  # the document has no zone
