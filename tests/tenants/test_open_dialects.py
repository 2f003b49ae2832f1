"""What an opened dialect lets in: callers of its networks, on its clusters, and no page of another origin."""

import itertools
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from django.test import Client

from clusters.models import Cluster
from kubegale.client_cert import parse_rule
from tests.caller import Caller
from tests.tenants.conftest import Person
from tests.tls_servers import certify

pytestmark = pytest.mark.django_db
STORE = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters"
ROW = {"data": {"metadata": {"name": "r"}}}
JSON = "application/json"


@pytest.fixture(autouse=True)
def opened(settings: Any) -> None:
    """As `make run` opens them."""
    settings.OPEN_DIALECTS = frozenset({"walm", "k8s_service", "bcs_storage"})


@pytest.fixture
def other(cluster: Cluster) -> Cluster:
    """A second registered cluster, which is the same one."""
    return Cluster.objects.create(
        name="other", kubeconfig=cluster.kubeconfig, server=cluster.server, status="active"
    )


def row(cluster: str) -> str:
    return f"{STORE}/{cluster}/namespaces/x/ConfigMap/r"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver:8001"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://testserver:port"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "Cross-Site"},
    ],
)
@pytest.mark.parametrize("kind", [JSON, "text/plain", "application/x-www-form-urlencoded"])
def test_no_page_of_another_origin_calls_an_opened_dialect(
    cluster: Cluster, apiserver: Any, headers: dict[str, str], kind: str
) -> None:
    apiserver.requests.clear()
    client = Client(headers=headers)
    secret = '{"name": "planted", "data": {"a": "b"}}'
    walm = client.post("/api/v1/secret/default", secret, content_type=kind)
    assert (walm.status_code, walm.json()["errCode"]) == (403, -1)
    scale = client.post("/v1/k8sservice/updatePodReplicas", "{}", content_type=kind)
    assert scale.status_code == 403
    assert scale.json()["code"] == 403
    for base in (STORE, STORE.replace("/bcsapi/v4/storage", "/bcsstorage/v1")):
        stored = client.put(f"{base}/c/namespaces/x/ConfigMap/r", b"{}", content_type=kind)
        assert stored.status_code == 403
        assert stored.json()["result"] is False
    assert client.get("/api/v1/storageclass").status_code == 403
    assert apiserver.requests == []


def test_pages_of_its_own_origin_and_programs_may(cluster: Cluster) -> None:
    for headers in (
        {},
        {"Origin": "http://testserver"},
        {"Origin": "http://testserver:80", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ):
        assert Client(headers=headers).get("/api/v1/storageclass").status_code == 200
    assert Client(headers={"Origin": "http://evil.example"}).get("/liveniess").status_code == 200


def test_only_the_clusters_named_are_open(
    settings: Any, cluster: Cluster, other: Cluster, apiserver: Any
) -> None:
    settings.OPEN_DIALECTS_CLUSTERS = frozenset({cluster.name})
    client = Client()
    assert client.get("/api/v1/storageclass", {"cluster": cluster.name}).status_code == 200
    apiserver.requests.clear()
    for reference in (other.name, other.name.upper(), str(other.pk)):
        refused = [
            client.get("/api/v1/storageclass", {"cluster": reference}),
            client.get("/api/v1/storageclass", headers={"X-Cluster": reference}),
            client.get("/v1/k8sservice/getPod", {"cluster": reference, "namespace": "x"}),
        ]
        assert {answer.status_code for answer in refused} == {403}
        assert cluster.name in refused[0].json()["errMessage"], "it says what is open"
    assert apiserver.requests == []
    # The store: rows of a registered cluster are its own; a clusterId that is none's stays open.
    assert client.put(row(other.name), ROW, content_type=JSON).status_code == 403
    assert client.get(row(other.name)).status_code == 403
    assert client.get("/bcsapi/v4/storage/events").status_code == 403
    assert client.get("/bcsapi/v4/storage/metric/clusters").status_code == 403
    for name in (cluster.name, "BCS-K8S-00001"):
        assert client.put(row(name), ROW, content_type=JSON).status_code == 200


def test_who_signs_in_has_their_own_rights_where_an_opened_dialect_ends(
    settings: Any, cluster: Cluster, other: Cluster, person: Person
) -> None:
    settings.OPEN_DIALECTS_CLUSTERS = frozenset({cluster.name})
    path = "/api/v1/storageclass"
    insider, outsider = person("viewer", cluster=other), person("viewer", cluster=cluster)
    assert insider.raw("GET", path, cluster=other.name).status_code == 200
    assert outsider.raw("GET", path, cluster=other.name).status_code == 403
    assert outsider.raw("GET", path, cluster=cluster.name).status_code == 200


def test_only_the_networks_named_are_let_in(settings: Any, cluster: Cluster, admin: Caller) -> None:
    settings.OPEN_DIALECTS_NETWORKS = {"walm": ("10.0.0.0/8", "fd00::/8")}
    path = "/api/v1/storageclass"
    for address, status in (
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("fd00::1", 200),
        ("192.0.2.1", 401),
        ("2001:db8::1", 401),
        ("", 401),
    ):
        assert Client(REMOTE_ADDR=address).get(path).status_code == status, address
    spoofed = Client(REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "10.1.2.3"})
    assert spoofed.get(path).status_code == 401
    assert admin.raw("GET", path).status_code == 200


def test_a_proxy_that_is_none_of_ours_brings_nobody_into_a_network(
    settings: Any, cluster: Cluster
) -> None:
    settings.OPEN_DIALECTS_NETWORKS = {"walm": ("10.0.0.0/8",)}
    ingress = Client(REMOTE_ADDR="10.0.0.9", headers={"X-Forwarded-For": "192.0.2.1"})
    assert ingress.get("/api/v1/storageclass").status_code == 401
    settings.TRUSTED_PROXIES = ["10.0.0.9/32"]
    assert ingress.get("/api/v1/storageclass").status_code == 401
    inner = Client(REMOTE_ADDR="10.0.0.9", headers={"X-Forwarded-For": "10.1.1.1"})
    assert inner.get("/api/v1/storageclass").status_code == 200


PROXY, DIRECT = "10.0.0.9", "10.0.0.8"
SHOWN = certify("payments-client", hosts=("payments.example",))
DIGEST = SHOWN.certificate.fingerprint(SHA256()).hex()
BASE64 = "".join(SHOWN.pem.decode().strip().splitlines()[1:-1])


@pytest.mark.parametrize(
    ("form", "rule", "value", "admitted"),
    [
        ("dn", "CN=payments", "CN=payments", True),
        ("dn", "CN=payments", "emailAddress=a@b.example,CN=payments,OU=x,O=Acme,C=FR", True),
        ("dn", "CN=payments+O=Acme", "CN=payments,O=Acme", True),
        ("dn", "CN=Pay%2C Inc.", "CN=Pay\\, Inc.", True),
        ("dn", "CN=\u4f60", "CN=\\E4\\BD\\A0", True),
        ("dn", "CN=\u4f60", "CN=\u4f60".encode().decode("latin-1"), True),
        ("dn", "*", "CN=anything", True),
        ("dn", "*", "", False),
        ("dn", "CN=payments", "CN=payments-evil", False),
        ("dn", "CN=payments", "CN=Payments", False),
        ("dn", "CN=payments", "O=payments", False),
        ("dn", "CN=payments+O=Acme", "CN=payments", False),
        ("dn", "CN=payments", "CN=payments,CN=evil", False),
        ("dn", "CN=payments", "CN=evil,CN=payments", False),
        ("dn", "CN=payments", "O=x\\,CN\\=payments,CN=evil", False),
        ("dn", "CN=payments", "/O=Acme/CN=payments", False),
        ("dn", "CN=payments", "payments", False),
        ("dn", "CN=payments", "CN=payments" + ",OU=x" * 2000, False),
        ("xfcc", "CN=pay,O=A".replace(",", "+"), 'Hash=ab;Subject="CN=pay,O=A";URI=', True),
        ("xfcc", "URI=spiffe://a/ns/b/sa/c", "By=x;URI=spiffe://a/ns/b/sa/c", True),
        ("xfcc", "DNS=a.example", 'hash=ab;DNS=b.example;DNS=A.example;Subject=""', True),
        ("xfcc", f"Hash={DIGEST.upper()}", f'Hash={DIGEST};Subject="title=x"', True),
        ("xfcc", "CN=pay", 'By="a;Subject=\\"CN=pay\\"";Hash=ab', False),
        ("xfcc", "CN=pay", 'Hash=ab;Subject="CN=pay",Hash=cd;Subject="CN=evil"', False),
        ("xfcc", "CN=pay", 'Hash=cd;Subject="CN=evil",Hash=ab;Subject="CN=pay"', False),
        ("xfcc", "CN=pay", 'Subject="CN=pay";Subject="CN=evil"', False),
        ("xfcc", "URI=spiffe://a", "By=spiffe://a;Hash=ab", False),
        ("pem", "CN=payments-client", quote(SHOWN.pem.decode(), safe=""), True),
        ("pem", "CN=payments-client", BASE64, True),
        ("pem", "CN=payments-client", f":{BASE64}:", True),
        ("pem", f"Hash={DIGEST}+DNS=payments.example", f"{BASE64},{BASE64}", True),
        ("pem", "CN=payments-client", BASE64[:-8], False),
        ("pem", "CN=payments-client", "CN=payments-client", False),
        ("pem", "CN=payments", BASE64, False),
    ],
    # The certificate is another one in each process, so that names of tests may not hold it.
    ids=itertools.count(),
)
def test_a_certificate_opens_as_a_trusted_proxy_describes_it(
    settings: Any, cluster: Cluster, form: str, rule: str, value: str, admitted: bool
) -> None:
    settings.TRUSTED_PROXIES = [f"{PROXY}/32"]
    settings.CLIENT_CERT_HEADER = "X-Client-Certificate"
    settings.CLIENT_CERT_FORMAT = form
    settings.OPEN_DIALECTS_CERTIFICATES = {"walm": (("", parse_rule(rule, form)),)}
    path = "/api/v1/storageclass"
    shown = {"X-Client-Certificate": value}
    proxied = Client(REMOTE_ADDR=PROXY, headers=shown)
    assert proxied.get(path).status_code == (200 if admitted else 401)
    assert Client(REMOTE_ADDR=DIRECT, headers=shown).get(path).status_code == 401
    settings.CLIENT_CERT_VERIFIED_HEADER = "X-Client-Verified"
    for verified, good in (("SUCCESS", True), ("0", True), ("NONE", False), ("", False)):
        proxied = Client(REMOTE_ADDR=PROXY, headers={**shown, "X-Client-Verified": verified})
        assert proxied.get(path).status_code == (200 if admitted and good else 401)


def test_every_door_of_a_dialect_asks_for_the_certificate(
    settings: Any, cluster: Cluster, admin: Caller
) -> None:
    """A network may stand beside it, or narrow it."""
    rule = parse_rule("CN=payments", "dn")
    settings.TRUSTED_PROXIES = [f"{PROXY}/32"]
    settings.CLIENT_CERT_HEADER = "X-Client-Certificate"
    settings.OPEN_DIALECTS_CERTIFICATES = dict.fromkeys(
        ("walm", "k8s_service", "bcs_storage"), (("", rule),)
    )
    shown = {"X-Client-Certificate": "CN=payments"}
    for path in (
        "/api/v1/storageclass",
        "/v1/k8sservice/getPod?namespace=x",
        "/bcsapi/v4/storage/events",
        "/bcsstorage/v1/events",
    ):
        assert Client(REMOTE_ADDR=PROXY, headers=shown).get(path).status_code != 401, path
        assert Client(REMOTE_ADDR=PROXY).get(path).status_code == 401, path
        assert Client(REMOTE_ADDR=DIRECT, headers=shown).get(path).status_code == 401, path
    assert admin.raw("GET", "/api/v1/storageclass").status_code == 200
    settings.OPEN_DIALECTS_CERTIFICATES = {"walm": (("10.1.0.0/16", rule),)}
    settings.OPEN_DIALECTS_NETWORKS = {"walm": ("192.0.2.0/24",)}
    for caller, certificate, status in (
        ("10.1.2.3", "CN=payments", 200),
        ("10.2.2.3", "CN=payments", 401),
        ("10.1.2.3", "CN=else", 401),
        ("192.0.2.3", "", 200),
    ):
        headers = {"X-Client-Certificate": certificate, "X-Forwarded-For": caller}
        answer = Client(REMOTE_ADDR=PROXY, headers=headers).get("/api/v1/storageclass")
        assert answer.status_code == status, (caller, certificate)


VALUE = "aGlkZGVuLXZhbHVl"


@pytest.fixture
def shut(cluster: Cluster, space: str, admin: Caller) -> dict[str, str]:
    """Addresses in opened dialects that show a Secret's value, and how they write it."""
    body = {"data": {"kind": "Secret", "data": {"key": VALUE}}}
    stored = f"{STORE}/BCS-K8S-00001/namespaces/x/Secret/r"
    assert Client().put(stored, body, content_type=JSON).status_code == 200
    content = {"metadata": {"name": "pass"}, "data": {"key": VALUE}}
    where = {"cluster_id": cluster.pk, "namespace": space}
    admin.data("POST", "secrets", {**where, "content": content})
    return {
        stored: VALUE,
        f"{STORE.replace('/bcsapi/v4/storage', '/bcsstorage/v1')}/BCS-K8S-00001/namespaces/x/Secret": VALUE,
        f"/api/v1/secret/{space}": "hidden-value",
        f"/api/v1/secret/{space}/name/pass": "hidden-value",
    }


def text_of(answer: Any) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(body.decode())


def test_who_signs_in_to_an_opened_dialect_sees_the_values_that_are_theirs_to_see(
    shut: dict[str, str], person: Person, admin: Caller
) -> None:
    viewer = person("viewer")
    narrow = person("admin", scopes=["read", "storage:read", "storage:write"])
    elsewhere = person("operator", cluster=Cluster.objects.get(), namespace="elsewhere")
    for path, value in shut.items():
        for caller in (viewer, narrow, elsewhere):
            answer = caller.raw("GET", path)
            assert answer.status_code == 200, (path, answer.content)
            assert value not in text_of(answer)
        assert value in text_of(admin.raw("GET", path))
        assert value in text_of(Client().get(path))


def test_who_signs_in_to_an_opened_store_reads_no_rows_about_access_beyond_their_rights(
    person: Person, admin: Caller
) -> None:
    path = f"{STORE}/BCS-K8S-00001/namespaces/x/RoleBinding/r"
    assert Client().put(path, ROW, content_type=JSON).status_code == 200
    assert person("viewer").raw("GET", path).status_code == 403
    assert admin.raw("GET", path).status_code == 200
