"""Kubeconfigs as people have them, against servers with certificates of all sorts: both doors agree with kubectl."""

import base64
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clusters import kubeconfig
from clusters.client import ClientLimits, ClusterClient
from clusters.models import Cluster
from clusters.streams import StreamClient
from core.errors import ClusterUnavailable
from tests.bad_servers import answering, refusing, serving, silent
from tests.caller import Caller
from tests.event_loops import run_in_thread
from tests.tls_servers import DAY, Certified, Server, certify, tls_server

ROOT = certify("root")
MIDDLE = certify("intermediate", ROOT)
LEAF = certify("server", MIDDLE, hosts=("127.0.0.1", "::1", "apiserver.example"))
LIMITS = ClientLimits(connect=2.0, read=2.0)
GBK = "# 生产环境".encode("gbk")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An API server with a chain of two authorities."""
    with tls_server(LEAF) as running:
        yield running


def access(text: str) -> kubeconfig.Access:
    """What the kubeconfig says."""
    return kubeconfig.access(text, policy="private", allow_insecure=True)


def version_by_stream(text: str) -> str:
    """The version through the door of streams."""

    async def ask() -> str:
        client = StreamClient(access(text), LIMITS)
        try:
            return str((await client.json("GET", "/version"))["gitVersion"])
        finally:
            await client.close()

    return run_in_thread(ask())


def version_by_pool(text: str) -> str:
    """The version through the door of plain requests."""
    return ClusterClient(access(text), LIMITS).version()


DOORS = pytest.mark.parametrize("version", [version_by_pool, version_by_stream])


@DOORS
@pytest.mark.parametrize(
    "authority",
    [
        ROOT.pem,
        MIDDLE.pem,
        LEAF.pem,
        "# наш центр сертификации\n".encode() + MIDDLE.pem,
        GBK + b"\n" + ROOT.pem + b"\xff\xfe a dump\n" + MIDDLE.pem,
        ROOT.pem.replace(b"\n", b"\r\n"),
        b"-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n" + ROOT.pem,
        ROOT.pem + ROOT.pem,
    ],
    ids=["root", "intermediate", "leaf", "utf8", "gbk", "crlf", "one-broken", "twice"],
)
def test_any_certificate_of_the_chain_is_trusted_as_go_does(
    server: Server, version: Any, authority: bytes
) -> None:
    assert version(server.kubeconfig(authority)) == "v1.36.0"


@DOORS
@pytest.mark.parametrize(
    ("served", "authority", "fault", "sentence"),
    [
        (LEAF, certify("another root"), "unknown_authority", "unknown authority"),
        (certify("s", ROOT, hosts=("other.example",)), ROOT, "name_mismatch", "another"),
        # A trusted leaf is trusted for its own name only.
        (certify("s", ROOT, hosts=("10.9.9.9",)), None, "name_mismatch", "another"),
        (certify("s", ROOT, hosts=("127.0.0.1",), ends=-DAY / 2), ROOT, "expired", "expired"),
        (certify("s", ROOT, hosts=("127.0.0.1",), begins=DAY), ROOT, "not_yet_valid", "not valid"),
    ],
    ids=["authority", "name", "leaf-name", "expired", "early"],
)
def test_what_is_wrong_with_a_servers_certificate_is_told(
    version: Any, served: Certified, authority: Certified | None, fault: str, sentence: str
) -> None:
    with tls_server(served) as running, pytest.raises(ClusterUnavailable) as caught:
        version(running.kubeconfig((authority or served).pem))
    assert (caught.value.details["reason"], caught.value.details["tls"]) == ("tls", fault)
    assert sentence in caught.value.message
    assert "127.0.0.1" not in caught.value.message
    assert running.requests == []


@DOORS
def test_other_causes_are_told_apart_too(version: Any) -> None:
    blank = Server("").kubeconfig
    with refusing() as address, pytest.raises(ClusterUnavailable, match="refused") as caught:
        version(blank(server=address))
    assert caught.value.details == {"reason": "tcp", "cause": "refused"}
    with serving(silent) as address, pytest.raises(ClusterUnavailable) as caught:
        version(blank(server=address))
    assert caught.value.details == {"reason": "timeout", "cause": "timeout"}
    with pytest.raises(ClusterUnavailable) as caught:
        version(blank(server="http://no-such-host.invalid"))
    assert caught.value.details["reason"] == "dns"
    with (
        serving(answering("200 OK", b"{}")) as address,
        pytest.raises(ClusterUnavailable) as caught,
    ):
        version(blank(server=address.replace("http:", "https:")))
    assert (caught.value.details["reason"], caught.value.details["tls"]) == ("tls", "not_tls")


@DOORS
def test_a_server_that_refuses_the_client_certificate_says_credentials(version: Any) -> None:
    old = certify("client", ROOT, ends=-DAY / 2)
    # In TLS 1.3 the handshake is over for us before the server looks; its alert may come after it has hung up.
    with tls_server(LEAF, clients=ROOT, newest=ssl.TLSVersion.TLSv1_2) as running:
        text = running.kubeconfig(ROOT.pem, user=client_entry(old))
        with pytest.raises(ClusterUnavailable, match="expired") as caught:
            version(text)
    assert caught.value.details["cause"] == "credentials"


def client_entry(client: Certified, *, dump: str = "Bag Attributes: Ünïcode\n") -> dict[str, str]:
    """A user that signs in with a certificate, between the comments that openssl leaves there."""
    return {
        "client-certificate-data": base64.b64encode(dump.encode() + client.pem).decode(),
        "client-key-data": base64.b64encode(dump.encode() + client.key_pem).decode(),
    }


@DOORS
@pytest.mark.parametrize("tail", ["", "/", "//", "/k8s//clusters/c-x1/", "//k8s/clusters/./c-x1//"])
def test_paths_before_the_api_are_cleaned(version: Any, tail: str) -> None:
    prefix = "/k8s/clusters/c-x1" if "k8s" in tail else ""
    with tls_server(LEAF, prefix=prefix) as running:
        assert version(running.kubeconfig(ROOT.pem, server=running.url + tail)) == "v1.36.0"
    assert [path for path, _ in running.requests] == [f"{prefix}/version"]


@DOORS
def test_a_server_that_signed_its_own_certificate_is_trusted_by_it(version: Any) -> None:
    own = certify("own", hosts=("127.0.0.1",))
    with tls_server(own) as running:
        assert version(running.kubeconfig(own.pem)) == "v1.36.0"


@DOORS
@pytest.mark.parametrize("zone", ["", "%25lo", "%lo"])
def test_the_ipv6_loopback_is_as_good_as_the_other(version: Any, zone: str) -> None:
    with tls_server(LEAF, host="::1") as running:
        address = running.url.replace("::1", f"::1{zone}")
        assert version(running.kubeconfig(ROOT.pem, server=address)) == "v1.36.0"


@DOORS
def test_passwords_go_out_as_utf8(server: Server, version: Any) -> None:
    server.requests.clear()
    version(server.kubeconfig(ROOT.pem, user={"username": "zoë", "password": "пароль"}))
    pair = base64.b64encode("zoë:пароль".encode()).decode()
    assert server.requests == [("/version", f"Basic {pair}")]


@DOORS
def test_a_server_name_of_tls_replaces_the_address(server: Server, version: Any) -> None:
    text = server.kubeconfig(ROOT.pem, cluster={"tls-server-name": "apiserver.example"})
    assert version(text) == "v1.36.0"
    with pytest.raises(ClusterUnavailable) as caught:
        version(server.kubeconfig(ROOT.pem, cluster={"tls-server-name": "other.example"}))
    assert caught.value.details["tls"] == "name_mismatch"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "more",
    [
        {"cluster": {"tls-server-name": "a" * 300}},
        {"cluster": {"tls-server-name": "a..b"}},
        {"cluster": {"tls-server-name": ".a"}},
        {"cluster": {"tls-server-name": "a b"}},
        {"cluster": {"tls-server-name": "ж" * 80}},
        {"server": "https://" + "a" * 300},
        {"server": "https://a..b:6443"},
        {"server": "https://a b:6443"},
        {"server": "https://[::1"},
        {"server": "HTTP://10.0.0.1"},
        {"server": "10.0.0.1:6443"},
        {"server": "https://10.0.0.1/" + "a" * 600},
        {"context": "a\0b"},
        {"authority": b"PEM"},
        {"user": {"client-certificate-data": client_entry(LEAF)["client-certificate-data"]}},
        {"user": {"client-key-data": client_entry(LEAF)["client-key-data"], "token": "t"}},
        {
            "user": {
                "client-certificate-data": client_entry(LEAF)["client-certificate-data"],
                "client-key-data": client_entry(MIDDLE)["client-key-data"],
            }
        },
        {"user": dict.fromkeys(client_entry(LEAF), base64.b64encode(b"none").decode())},
        {"user": {"token": "t", "username": "u", "password": "p"}},
        {"cluster": {"insecure-skip-tls-verify": "false"}},
    ],
)
def test_what_no_client_could_use_is_1001(admin: Caller, server: Server, more: Any) -> None:
    server.requests.clear()
    text = server.kubeconfig(**{"authority": ROOT.pem, **more})
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": text})
    assert (answer["code"], answer["msg"][:10]) == (1001, "kubeconfig"), answer
    assert server.requests == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda config: config["clusters"].append(config["clusters"][0]), "two clusters are named"),
        (lambda config: config["users"].append(config["users"][0]), "two users are named 'u'"),
        (lambda config: config.update(kind="Pod", apiVersion="v1"), "kind and apiVersion must be"),
        (lambda config: config["contexts"][0]["context"].pop("cluster"), "'c' names no cluster"),
        (lambda config: config["contexts"][0]["context"].update(cluster="q"), "no cluster named"),
        (lambda config: config["clusters"][0]["cluster"].pop("server"), "'c' has no server"),
        (lambda config: config["contexts"][0]["context"].update(namespace=7), "namespace must be"),
        (lambda config: config.clear(), "it has no contexts"),
        (
            lambda config: config["clusters"][0]["cluster"].update(server="https://u:geheim@a:1"),
            "server must not hold credentials",
        ),
    ],
)
def test_a_kubeconfig_that_kubectl_would_not_take_is_refused_in_its_own_words(
    admin: Caller, server: Server, change: Any, sentence: str
) -> None:
    server.requests.clear()
    config = yaml.safe_load(server.kubeconfig(ROOT.pem))
    change(config)
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": yaml.safe_dump(config)})
    assert (answer["code"], answer["msg"][:11]) == (1001, "kubeconfig:")
    assert sentence in answer["msg"]
    assert "geheim" not in str(answer)
    assert server.requests == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" \n", "kubeconfig: it is empty"),
        ("[]", "kubeconfig: lines of the form 'key: value' are needed"),
        ("a: [", "kubeconfig: not valid YAML"),
        ('{"a":', "kubeconfig: the text is not valid JSON"),
    ],
)
def test_a_text_that_is_no_kubeconfig_is_said_to_be_that(
    admin: Caller, text: str, sentence: str
) -> None:
    answer = admin("POST", "clusters", {"name": "x", "kubeconfig": text})
    assert (answer["code"], answer["msg"][: len(sentence)]) == (1001, sentence)


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_an_encrypted_or_foreign_client_key_is_said_to_be_that(
    admin: Caller, server: Server, form: str
) -> None:
    entry = client_entry(certify("client", ROOT))
    locked = certify("client", ROOT).key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.BestAvailableEncryption(b"secret"),
    )
    foreign = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption(),
    )
    for key, sentence in ((locked, "is encrypted"), (foreign, "does not belong to")):
        user = {**entry, "client-key-data": base64.b64encode(key).decode()}
        body = {"name": "x", "kubeconfig": server.kubeconfig(ROOT.pem, user=user)}
        answer = admin("POST", "clusters", body)
        assert (answer["code"], f"client-key-data {sentence}" in answer["msg"]) == (1001, True)


@pytest.mark.django_db
def test_half_a_character_is_1001(admin: Caller, server: Server) -> None:
    text = server.kubeconfig(ROOT.pem, user={"username": "a", "password": "\ud800"})
    assert admin.code("POST", "clusters", {"name": "x", "kubeconfig": text}) == 1001


@pytest.mark.django_db
def test_the_expiry_of_a_client_certificate_is_read_and_warned_of(
    admin: Caller, server: Server
) -> None:
    for days, warned in ((90, 0), (12, 1)):
        entry = client_entry(certify("client", ROOT, ends=timedelta(days=days)))
        body = {"name": f"days-{days}", "kubeconfig": server.kubeconfig(ROOT.pem, user=entry)}
        shown = admin.data("POST", "clusters", {**body, "dry_run": True})
        assert shown["credentials_expire_at"].startswith("20")
        assert len([text for text in shown["warnings"] if "credentials expire" in text]) == warned


@pytest.mark.django_db
def test_a_token_that_tells_its_end_is_read_too(admin: Caller, server: Server) -> None:
    claims = base64.urlsafe_b64encode(b'{"exp": 2000000000}').decode().rstrip("=")
    text = server.kubeconfig(ROOT.pem, user={"token": f"e30.{claims}.c2ln"})
    shown = admin.data("POST", "clusters", {"name": "x", "kubeconfig": text, "dry_run": True})
    assert shown["credentials_expire_at"] == "2033-05-18T03:33:20Z"


@pytest.mark.django_db
def test_expired_credentials_are_said_to_be_that(admin: Caller) -> None:
    old = client_entry(certify("client", ROOT, ends=-DAY / 2))
    with tls_server(LEAF, clients=ROOT) as running:
        text = running.kubeconfig(ROOT.pem, user=old)
        answer = admin("POST", "clusters", {"name": "x", "kubeconfig": text})
    assert (answer["code"], answer["data"]["reason"]) == (1006, "credential_invalid")
    assert "credentials expired on 20" in answer["msg"]
    assert not Cluster.objects.exists()


@pytest.mark.django_db
def test_credentials_that_do_not_hold_yet_are_said_to_be_that(admin: Caller) -> None:
    early = client_entry(certify("client", ROOT, begins=DAY))
    with tls_server(LEAF, clients=ROOT, newest=ssl.TLSVersion.TLSv1_2) as running:
        text = running.kubeconfig(ROOT.pem, user=early)
        answer = admin("POST", "clusters", {"name": "x", "kubeconfig": text})
    assert (answer["code"], answer["data"]["reason"]) == (1006, "credential_invalid")
    assert "credentials are valid from 20" in answer["msg"]


@DOORS
def test_a_server_that_wants_a_certificate_which_the_kubeconfig_lacks_is_told(version: Any) -> None:
    with (
        tls_server(LEAF, clients=ROOT, newest=ssl.TLSVersion.TLSv1_2) as running,
        pytest.raises(ClusterUnavailable, match="may ask for a client certificate") as caught,
    ):
        version(running.kubeconfig(ROOT.pem))
    assert (caught.value.details["cause"], caught.value.details["tls"]) == ("tls", "handshake")


@DOORS
@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
    ],
    ids=["ssh", "status", "gzip", "head"],
)
def test_what_does_not_speak_http_is_a_bad_answer(version: Any, greeting: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(greeting)

    with serving(behave) as address, pytest.raises(ClusterUnavailable) as caught:
        version(Server("").kubeconfig(server=address))
    assert caught.value.details["cause"] == "bad_answer"
