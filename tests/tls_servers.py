"""API servers with certificates of a test's own: chains of authorities, names, days, and clients that must show one."""

import base64
import contextlib
import http.server
import ipaddress
import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certified:
    """A certificate and its key, with those that signed it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: "Certified | None" = None

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, as kubeadm writes it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    @property
    def chain(self) -> bytes:
        """What a server sends: itself and the intermediates, without the root."""
        above = self.issuer.chain if self.issuer and self.issuer.issuer else b""
        return self.pem + above


def certify(
    common: str,
    issuer: Certified | None = None,
    *,
    hosts: tuple[str, ...] = (),
    begins: timedelta = -DAY,
    ends: timedelta = 90 * DAY,
) -> Certified:
    """A certificate: an authority's unless it has hosts or a name that says `client`."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = not hosts and "client" not in common
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    moment = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + begins)
        .not_valid_after(moment + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return Certified(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key, issuer)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass
class Server:
    """A small API server: its address, and (path, Authorization) of each request."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)

    def kubeconfig(self, authority: bytes = b"", *, server: str = "", **more: Any) -> str:
        """A kubeconfig for it; `user` and `cluster` add entries."""
        cluster = {"server": server or self.url, **more.get("cluster", {})}
        if authority:
            cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
        context = more.get("context", "c")
        return yaml.safe_dump(
            {
                "current-context": context,
                "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": more.get("user", {"token": "t"})}],
            }
        )


class _Family(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Handshakes that fail are what the tests are about."""


@contextlib.contextmanager
def tls_server(
    served: Certified,
    *,
    host: str = "127.0.0.1",
    clients: Certified | None = None,
    prefix: str = "",
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Iterator[Server]:
    """An API server that shows this certificate; `clients` is whose certificates callers must show, `prefix` where it lives."""
    server: Server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self._body()
            server.requests.append((self.path, self.headers.get("Authorization", "")))
            status, answer = _answer(self.path.partition("?")[0].removeprefix(prefix), body)
            if not self.path.startswith(prefix):
                status, answer = 404, {}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Listener(_Family):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    listener = Listener((host, 0), Handler)
    listener.socket = _context(served, clients, newest).wrap_socket(
        listener.socket, server_side=True, do_handshake_on_connect=False
    )
    shown = f"[{host}]" if ":" in host else host
    server = Server(f"https://{shown}:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


def _context(
    served: Certified, clients: Certified | None, newest: ssl.TLSVersion
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.write_bytes(served.key_pem + served.chain)
        context.load_cert_chain(path)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem.decode())
    return context


def _answer(path: str, body: bytes) -> tuple[int, Any]:
    match path:
        case "/version":
            return 200, {"gitVersion": "v1.36.0"}
        case "/api/v1/namespaces/kube-system":
            return 200, {"metadata": {"name": "kube-system", "uid": "uid-of-this-server"}}
        case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return 201, json.loads(body)
    return 404, {"kind": "Status", "reason": "NotFound", "message": "not there", "code": 404}
