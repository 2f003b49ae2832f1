"""Bytes through the gateway, with an API server whose bytes the test writes itself."""

import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from access.models import ApiToken, AuditEntry, Grant
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from clusters.registry import check_name
from core.errors import Invalid
from simcluster.testing import RunningCluster
from tests.gateway.running import RawServer, Running, eventually, new_token

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
PORTFORWARD = "/kube/raw/api/v1/namespaces/d/pods/p/portforward"


async def answer_ok(head: str, reader: Any, writer: Any) -> bool:
    """An empty list, whatever is asked; the body of the request is read first."""
    length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    if length:
        await reader.readexactly(int(length[1]))
    if "transfer-encoding: chunked" in head.lower():
        await reader.readuntil(b"0\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}")
    return False


async def keep_silent(head: str, reader: Any, writer: Any) -> bool:
    """No answer, for as long as the connection lasts."""
    await reader.read()
    return True


def request(token: str, target: str, *more: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A request as bytes."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {token}"]
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1") + body


def read_head(connection: Any) -> bytes:
    """The head of an answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(1)
        assert data, head
        head += data
    return head


@pytest.mark.parametrize("protocol", [b"SPDY/3.1", b"websocket"])
def test_upgraded_connections_pass_both_ways_as_bytes(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str, protocol: bytes
) -> None:
    async def echo(head: str, reader: Any, writer: Any) -> bool:
        writer.write(UPGRADED % protocol)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        return True

    raw.answer = echo
    payload = bytes(range(256)) * 8192
    with running.connect() as connection:
        connection.sendall(
            request(
                admin_token,
                PORTFORWARD,
                "Connection: Upgrade",
                f"Upgrade: {protocol.decode()}",
                "X-Stream-Protocol-Version: portforward.k8s.io",
                "Sec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YQ",
                method="POST" if protocol == b"SPDY/3.1" else "GET",
            )
        )
        assert b"101" in read_head(connection)
        received = b""
        for start in range(0, len(payload), 65536):
            connection.sendall(payload[start : start + 65536])
            while len(received) < start + 65536:
                received += connection.recv(65536)
        assert received == payload
    eventually(lambda: raw.open == 0)
    head = raw.heads[0]
    assert "X-Stream-Protocol-Version: portforward.k8s.io".lower() in head.lower()
    assert "bearer.authorization" not in head
    entry = AuditEntry.objects.get(verb="portforward")
    assert (entry.kind, entry.namespace, entry.name, entry.result) == ("pods", "d", "p", "success")


def test_the_cluster_sees_our_credentials_and_nobody_elses(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    raw.answer = answer_ok
    answer = running.exchange(
        request(
            admin_token,
            "/kube/raw/api/v1/pods?limit=5&labelSelector=a%3Db",
            "Impersonate-User: system:admin",
            "Impersonate-Group: system:masters",
            "Impersonate_User: system:admin",
            "Impersonate-Extra-X: y",
            "X-Remote-User: root",
            "X-Remote-Group: system:masters",
            "X-HTTP-Method-Override: DELETE",
            "X-Forwarded-For: 1.2.3.4",
            "Cookie: sessionid=1",
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "User-Agent: kubectl/v1",
            "Accept: application/json;as=Table",
        )
    )
    assert b"200 OK" in answer
    assert b"set-cookie" not in answer.lower()
    head = raw.heads[0]
    assert head.startswith("GET /api/v1/pods?limit=5&labelSelector=a%3Db HTTP/1.1\r\n")
    assert "Authorization: Bearer cluster-token" in head
    assert admin_token not in head
    for word in ("impersonate", "remote", "override", "forwarded", "cookie", "x-hop"):
        assert word not in head.lower()
    assert "user-agent: kubectl/v1" in head
    assert "accept: application/json;as=Table" in head


def test_our_user_is_named_to_clusters_with_impersonation(
    running: Running, raw: RawServer, raw_cluster: Cluster
) -> None:
    Cluster.objects.filter(pk=raw_cluster.pk).update(impersonate=True)
    raw.answer = answer_ok
    token = new_token("ines", "viewer", cluster=raw_cluster)
    more = ("Connection: close", "Impersonate-User: system:admin")
    assert b"200" in running.exchange(request(token, "/kube/raw/api/v1/pods", *more))
    assert "Impersonate-User: ines" in raw.heads[0]
    assert "system:admin" not in raw.heads[0]


def test_watches_pass_event_by_event_and_are_cut_with_the_right(
    running: Running, raw: RawServer, raw_cluster: Cluster, settings: Any
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.2

    async def watch(head: str, reader: Any, writer: Any) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"6\r\nfirst\n\r\n")
        await reader.read()
        return True

    raw.answer = watch
    token = new_token("wanda", "viewer", cluster=raw_cluster)
    with running.connect() as connection:
        connection.sendall(request(token, "/kube/raw/api/v1/namespaces/d/pods?watch=1"))
        read_head(connection)
        assert connection.recv(64) == b"6\r\nfirst\n\r\n"
        Grant.objects.filter(user__username="wanda").delete()
        with _Ended():
            assert connection.recv(64) == b""
    eventually(lambda: raw.open == 0)


class _Ended:
    """An end of the connection, in whichever way."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, *details: Any) -> bool:
        return kind is not None and issubclass(kind, OSError)


def test_a_port_is_cut_with_its_token(
    running: Running, raw: RawServer, raw_cluster: Cluster, settings: Any, admin_token: str
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.2

    async def hold(head: str, reader: Any, writer: Any) -> bool:
        writer.write(UPGRADED % b"SPDY/3.1")
        await reader.read()
        return True

    raw.answer = hold
    with running.connect() as connection:
        more = ("Connection: Upgrade", "Upgrade: SPDY/3.1")
        connection.sendall(request(admin_token, PORTFORWARD, *more))
        read_head(connection)
        row = ApiToken.objects.get()
        ApiToken.objects.filter(pk=row.pk).update(revoked_at=row.created_at)
        with _Ended():
            assert connection.recv(64) == b""
    eventually(lambda: raw.open == 0)


def test_a_client_that_leaves_ends_its_watch_at_the_cluster(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    async def watch(head: str, reader: Any, writer: Any) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await reader.read()
        return True

    raw.answer = watch
    with running.connect() as connection:
        connection.sendall(request(admin_token, "/kube/raw/api/v1/pods?watch=1"))
        read_head(connection)
        assert raw.open == 1
    eventually(lambda: raw.open == 0)


def test_bodies_pass_in_whichever_framing_and_connections_are_used_again(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    raw.answer = answer_ok
    target = "/kube/raw/api/v1/namespaces/d/configmaps"
    with running.connect() as connection:
        for framing, body in (
            ("Content-Length: 2", b"{}"),
            ("Transfer-Encoding: chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
        ):
            connection.sendall(request(admin_token, target, framing, method="POST", body=body))
            assert b"200 OK" in read_head(connection)
            assert connection.recv(2) == b"{}"
        for _ in range(3):
            connection.sendall(request(admin_token, target))
            assert b"200 OK" in read_head(connection)
            assert connection.recv(2) == b"{}"
    assert len(raw.heads) == 5
    # Reads share one kept connection, writes have one of their own.
    assert raw.open <= 3


def test_a_cluster_that_hangs_holds_no_other(
    running: Running,
    raw: RawServer,
    raw_cluster: Cluster,
    simulated: Cluster,
    settings: Any,
    admin_token: str,
) -> None:
    settings.GATEWAY_WAITING_PER_CLUSTER = 3
    settings.GATEWAY_ANSWER_SECONDS = 3.0
    raw.answer = keep_silent
    waiting = []
    for _ in range(3):
        connection = running.connect()
        connection.sendall(request(admin_token, "/kube/raw/api/v1/pods", "Connection: close"))
        waiting.append(connection)
    eventually(lambda: len(raw.heads) == 3)
    assert running.status("/kube/raw/api/v1/pods", admin_token) == 429
    assert running.status("/kube/simulated/api/v1/pods?limit=1", admin_token) == 200
    for connection in waiting:
        assert b" 504 " in read_head(connection)
        connection.close()


ODD_TARGETS = [
    "/kube/raw/api/v1/namespaces/x/pods/../../../secrets",
    "/kube/raw/api/v1/namespaces/x/pods/%2e%2e/%2e%2e/secrets",
    "/kube/raw//api/v1/pods",
    "//kube/raw/api/v1/pods",
    "/kube/raw/api/v1/namespaces/x%2fsecrets",
    "/kube/raw/api/v1/pods?a=b;c",
    "/kube/raw/api/v1/pods?watch=%zz",
    "/kube/raw%2fapi/v1/pods",
    "/kube//api/v1/pods",
    "/kube",
    "/",
    "/api/v1/pods",
    "http://elsewhere/kube/raw/api/v1/pods",
    "/kube/nowhere/api/v1/pods",
]


def test_odd_addresses_are_refused_and_reach_no_cluster(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    for target in ODD_TARGETS:
        assert 400 <= running.status(target, admin_token) < 500, target
    assert raw.heads == []


AMBIGUOUS = [
    "Content-Length: 3\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Content-Length: 3\r\nContent-Length: 4",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Content-Length: +3",
    "X: a\r\n b",
    "X: " + "a" * 70_000,
    "\r\n".join(f"X-{number}: a" for number in range(200)),
]


def test_ambiguous_or_huge_heads_are_refused(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    for framing in AMBIGUOUS:
        answer = running.exchange(
            request(admin_token, "/kube/raw/api/v1/pods", framing, method="POST", body=b"abc")
        )
        assert answer.split(b" ", 2)[1] in {b"400", b"431"}, framing[:60]
        assert b'"kind":"Status"' in answer
    assert raw.heads == []


def test_a_malformed_chunk_ends_the_request_at_the_cluster(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    raw.answer = answer_ok
    body = b"1\r\na\r\nzz\r\nGET /kube/raw/api/v1/secrets HTTP/1.1\r\n\r\n"
    framing = "Transfer-Encoding: chunked"
    answer = running.exchange(
        request(
            admin_token, "/kube/raw/api/v1/namespaces/d/pods", framing, method="POST", body=body
        )
    )
    assert b"200" not in answer.split(b"\r\n")[0]
    eventually(lambda: raw.open == 0)
    assert len(raw.heads) == 1


def test_a_request_behind_a_chunked_body_is_judged_by_itself(
    running: Running, raw: RawServer, raw_cluster: Cluster
) -> None:
    raw.answer = answer_ok
    token = new_token("vic", "operator", cluster=raw_cluster)
    first = request(
        token,
        "/kube/raw/api/v1/namespaces/d/pods",
        "Transfer-Encoding: chunked",
        method="POST",
        body=b"2\r\n{}\r\n0\r\n\r\n",
    )
    second = request(token, "/kube/raw/api/v1/nodes/n", "Connection: close", method="DELETE")
    running.exchange(first + second)
    assert [head.split(" ")[0] for head in raw.heads] == ["POST"]


def test_a_connection_is_upgraded_to_known_protocols_only(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    more = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA"
    target = "/kube/raw/api/v1/pods?watch=1"
    assert running.status(f"{target}\r\n{more}", admin_token) == 400
    assert raw.heads == []


def test_slow_heads_are_given_up(running: Running, settings: Any) -> None:
    settings.GATEWAY_HEAD_SECONDS = 0.5
    assert b" 408 " in running.exchange(b"GET /kube/raw/ HTTP/1.1\r\nHost: x\r\n")


# Method, path, whether it asks for an upgrade, whether a viewer may.
OF_A_VIEWER = [
    ("GET", "/api/v1/namespaces/d/pods/p/exec", True, False),
    ("POST", "/api/v1/namespaces/d/pods/p/attach", True, False),
    ("GET", "/api/v1/namespaces/d/pods/p/portforward", True, False),
    ("GET", "/api/v1/namespaces/d/pods/p", True, False),
    ("GET", "/api/v1/namespaces/d/services/s/proxy/", False, False),
    ("GET", "/api/v1/nodes/n/proxy/exec", False, False),
    ("GET", "/api/v1/proxy/namespaces/d/pods/p", False, False),
    ("GET", "/metrics", False, False),
    ("GET", "/debug/pprof/heap", False, False),
    ("GET", "/logs/", False, False),
    ("POST", "/version", False, False),
    ("GET", "/api/v1/secrets", False, False),
    ("GET", "/api/v1/watch/secrets", False, False),
    ("GET", "/api/v1/namespaces/d/secrets?watch=1", False, False),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", False, False),
    ("POST", "/api/v1/namespaces/d/serviceaccounts/default/token", False, False),
    ("PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval", False, False),
    ("DELETE", "/api/v1/namespaces/d/pods", False, False),
    ("PATCH", "/api/v1/namespaces/d/pods/p/ephemeralcontainers", False, False),
    ("GET", "/version", False, True),
    ("GET", "/openapi/v2", False, True),
    ("GET", "/apis/apps/v1", False, True),
    ("GET", "/api/v1/pods", False, True),
    ("GET", "/api/v1/namespaces/d/pods?watch=1&watch=0", True, True),
    ("GET", "/api/v1/namespaces/d/pods/p/log", False, True),
]


def test_what_a_viewer_may_reach(running: Running, raw: RawServer, raw_cluster: Cluster) -> None:
    raw.answer = answer_ok
    token = new_token("vera", "viewer", cluster=raw_cluster)
    for method, path, upgrade, allowed in OF_A_VIEWER:
        raw.heads.clear()
        more = "\r\nConnection: Upgrade, close\r\nUpgrade: websocket" if upgrade else ""
        status = running.status(f"/kube/raw{path}{more}", token, method=method)
        assert status == (200 if allowed else 403), path
        assert bool(raw.heads) == allowed, path


def test_protected_objects_are_confirmed(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str
) -> None:
    Cluster.objects.filter(pk=raw_cluster.pk).update(protected=True)
    raw.answer = answer_ok
    path = "/kube/raw/api/v1/namespaces/d/pods/p"
    assert running.status(path, admin_token, method="DELETE") == 403
    assert running.status("/kube/raw/api/v1/namespaces/d/pods", admin_token, method="DELETE") == 403
    assert not raw.heads
    assert running.status(f"{path}\r\nX-Confirm: p", admin_token, method="DELETE") == 200


def test_collections_with_a_protected_object_are_not_deleted(
    running: Running, simulated: Cluster, admin_token: str
) -> None:
    configmap = KINDS["configmaps"]
    client = registry.client(simulated)
    for name, value in (("shut", "true"), ("open", "false")):
        metadata = {
            "name": name,
            "labels": {"guard": name},
            "annotations": {"kubegale.io/protected": value},
        }
        client.create(configmap, {"metadata": metadata}, namespace="default")
    path = "/kube/simulated/api/v1/namespaces/default/configmaps?labelSelector="
    selected = [f"{path}guard%3Dshut", f"{path}guard", f"{path}guard%3Dopen"]
    answers = [running.status(one, admin_token, method="DELETE") for one in selected]
    assert answers == [403, 403, 200]
    assert client.get(configmap, "shut", namespace="default")


def test_what_cannot_be_looked_at_is_not_deleted(
    running: Running, simulated: Cluster, apiserver: RunningCluster, admin_token: str
) -> None:
    configmap = KINDS["configmaps"]
    client = registry.client(simulated)
    client.create(configmap, {"metadata": {"name": "unread"}}, namespace="default")
    path = "/kube/simulated/api/v1/namespaces/default/configmaps/unread"
    for fault in ({"action": "status", "code": 500}, {"action": "garbage", "body": "[]"}):
        apiserver.faults.add(path="configmaps/unread", method="GET", **fault)
        assert running.status(path, admin_token, method="DELETE") >= 500
        apiserver.faults.clear()
    assert client.get(configmap, "unread", namespace="default")
    assert running.status(path, admin_token, method="DELETE") == 200
    assert running.status(path, admin_token, method="DELETE") == 404


def test_nobody_may_call_a_cluster_fleet(transactional_db: None) -> None:
    with pytest.raises(Invalid, match="fleet"):
        check_name("Fleet")


# --- behind the front -----------------------------------------------------------------------------
@pytest.fixture
def front_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the front reaches the gateway; a short path, as sockets need it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gateway"
        monkeypatch.setenv("KUBEGALE_GATEWAY_SOCKET", str(path))
        yield path


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        # What the client wrote itself stands before what the proxy has added.
        (["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
        ([], "127.0.0.1"),
    ],
)
def test_the_audit_trail_has_the_address_that_a_trusted_proxy_names(
    front_socket: Path,
    running: Running,
    raw_cluster: Cluster,
    settings: Any,
    forwarded: list[str],
    address: str,
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]
    token = new_token("vera", "viewer", cluster=raw_cluster)
    lines = [
        "DELETE /kube/raw/api/v1/nodes/n HTTP/1.1",
        "Host: gateway",
        "Connection: close",
        f"Authorization: Bearer {token}",
        "X-KubeGale-Peer: 127.0.0.1",
        *(f"X-Forwarded-For: {hop}" for hop in forwarded),
    ]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(front_socket))
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 403")
    assert AuditEntry.objects.get(username="vera").address == address


@pytest.mark.parametrize("is_chunked", [True, False])
def test_the_audit_trail_names_the_version_that_a_write_has_made(
    running: Running, raw: RawServer, raw_cluster: Cluster, admin_token: str, is_chunked: bool
) -> None:
    metadata = b'"metadata":{"name":"c","uid":"u-1","resourceVersion":"77"}'
    written = b'{"kind":"ConfigMap",%s,"data":{"k":"%s"}}' % (metadata, b"x" * 100_000)

    async def answer_written(head: str, reader: Any, writer: Any) -> bool:
        await reader.readexactly(2)
        lines = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
        if is_chunked:
            half = len(written) // 2
            writer.write(lines + b"Transfer-Encoding: chunked\r\n\r\n")
            for part in (written[:half], written[half:], b""):
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        else:
            writer.write(lines + b"Content-Length: %d\r\n\r\n" % len(written) + written)
        return False

    raw.answer = answer_written
    target = "/kube/raw/api/v1/namespaces/d/configmaps"
    with running.connect() as connection:
        lines = ("Content-Length: 2", "Connection: close")
        connection.sendall(request(admin_token, target, *lines, method="POST", body=b"{}"))
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 201")
    assert b"x" * 40_000 in answer
    assert answer.count(metadata) == 1
    entry = AuditEntry.objects.get(kind="configmaps")
    assert entry.details == {"uid": "u-1", "resource_version": "77"}


def test_debug_containers_have_images_that_may_be_started(
    running: Running, simulated: Cluster, admin_token: str, settings: Any
) -> None:
    settings.DEBUG_IMAGES = ["busybox:*"]
    spec = {"containers": [{"name": "app", "image": "web:1"}]}
    client = registry.client(simulated)
    client.create(
        KINDS["pods"], {"metadata": {"name": "gw-debug"}, "spec": spec}, namespace="default"
    )
    path = "/kube/simulated/api/v1/namespaces/default/pods/gw-debug/ephemeralcontainers"

    def start(image: str, media: str = "application/strategic-merge-patch+json") -> int:
        container = {"name": f"d-{len(image)}", "image": image}
        body = orjson.dumps({"spec": {"ephemeralContainers": [container]}})
        lines = (f"Content-Type: {media}", f"Content-Length: {len(body)}", "Connection: close")
        raw = request(admin_token, path, *lines, method="PATCH", body=body)
        return int(running.exchange(raw).split(b" ", 2)[1])

    assert start("evil.example.com/root:1") == 403
    assert start("busybox:1.37", "application/json-patch+json") == 415
    assert start("busybox:1.37") == 200
    pod = orjson.loads(client.get(KINDS["pods"], "gw-debug", namespace="default"))
    assert [each["image"] for each in pod["spec"]["ephemeralContainers"]] == ["busybox:1.37"]
    entries = AuditEntry.objects.filter(verb="debug").order_by("pk")
    assert [entry.result for entry in entries][-1] == "success"
    assert entries[0].result != "success"


def test_a_shell_beside_a_nodes_terminal_is_one_on_the_node(
    running: Running, raw: RawServer, raw_cluster: Cluster
) -> None:
    raw.answer = answer_ok
    token = new_token("olga", "operator", cluster=raw_cluster, namespace="kube-system")
    pods = "/kube/raw/api/v1/namespaces/kube-system/pods"
    for subresource in ("exec", "attach", "portforward"):
        path = f"{pods}/node-terminal-abc/{subresource}"
        assert running.status(path, token, method="POST") == 403
    assert (
        running.status(f"{pods}/node-terminal-abc/ephemeralcontainers", token, method="PATCH")
        == 403
    )
    assert not [head for head in raw.heads if "/pods/" in head]
    assert running.status(f"{pods}/dns/exec", token, method="POST") == 200
