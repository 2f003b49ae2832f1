"""The certificate with which the gateway speaks TLS.

Without one of the deployment's own it makes an authority in the data directory; kubeconfigs carry
that, so that nobody has to skip the check.
"""

import fcntl
import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from core.errors import Invalid

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
# A server's certificate is made anew at a start that finds less than so many days left.
RENEW_DAYS = 60


def server_context() -> ssl.SSLContext:
    """TLS for the gateway's listener; Invalid when there is no certificate that can be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # What passes is HTTP/1.1: an upgrade, and with it kubectl exec, needs that.
    context.set_alpn_protocols(["http/1.1"])
    certificate = settings.GATEWAY_CERTIFICATE_FILE
    key = settings.GATEWAY_KEY_FILE
    if not certificate:
        folder = _folder()
        _ensure(folder)
        certificate = str(folder / "server.crt")
        key = str(folder / "server.key")
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"the gateway's certificate cannot be used: {error}") from None
    return context


def authority() -> str:
    """The authority for kubeconfigs in PEM; "" when clients know the certificate's own already."""
    if settings.GATEWAY_CA_FILE:
        return Path(settings.GATEWAY_CA_FILE).read_text()
    if settings.GATEWAY_CERTIFICATE_FILE or not settings.GATEWAY_OWN_CERTIFICATE:
        return ""
    folder = _folder()
    _ensure(folder)
    return (folder / "ca.crt").read_text()


def _folder() -> Path:
    if not settings.GATEWAY_DATA_DIR:
        raise Invalid("GATEWAY_CERTIFICATE_FILE is not set, and there is no data directory")
    return Path(settings.GATEWAY_DATA_DIR) / "gateway"


def _ensure(folder: Path) -> None:
    """Make authority and certificate where they are missing, for a single process at a time."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ca.crt").exists() or not (folder / "ca.key").exists():
            _make_authority(folder)
        if not _is_usable(folder / "server.crt"):
            _make_server(folder)


def _names() -> list[str]:
    return ["localhost", "127.0.0.1", "::1", *settings.GATEWAY_NAMES]


def _is_usable(path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return left > timedelta(days=RENEW_DAYS) and list(extension.value) == _alternative_names()


def _alternative_names() -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for name in dict.fromkeys(_names()):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    return names


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "KubeGale gateway")])
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.key", _key_bytes(key))
    _write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
    # A certificate of the authority before is none of this one's.
    (folder / "server.crt").unlink(missing_ok=True)


def _make_server(folder: Path) -> None:
    authority_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise Invalid("the key of the gateway's authority is not one of ours")
    issuer = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _names()[-1])])
    certificate = (
        _builder(name, issuer.subject, key.public_key(), SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(_alternative_names()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    _write(folder / "server.key", _key_bytes(key))
    _write(folder / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of clients may be behind ours.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that only we can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
