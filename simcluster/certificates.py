"""TLS: a certificate authority, from a file if there is one, and a server certificate."""

import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificates:
    """The authority's certificate (PEM) and the server's TLS context."""

    authority: bytes
    context: ssl.SSLContext


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, *, days: int = 365
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A client's clock may be a little behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _make_authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    # Go and OpenSSL find the issuer by this identifier, as its name never changes.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = (
        _certificate("simcluster-ca", "simcluster-ca", key, days=3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return authority, key


def write_private(path: Path, data: bytes) -> None:
    """A whole file or none, for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    # Atomic: a reader sees the old file or the new one.
    partial.replace(path)


def _load_authority(
    path: Path,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority in a file; a new one is written when it is missing or about to expire."""
    try:
        pem = path.read_bytes()
        authority = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
    except (OSError, ValueError):
        pass
    else:
        # A day ahead, so that it does not expire while the simulator runs.
        usable = authority.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1)
        if usable and isinstance(key, ec.EllipticCurvePrivateKey):
            return authority, key
    authority, new_key = _make_authority()
    write_private(path, _pem(new_key) + authority.public_bytes(serialization.Encoding.PEM))
    return authority, new_key


def make(hosts: list[str], authority_file: Path | None = None) -> Certificates:
    """An authority, from its file if one is named, and a certificate of it for the hosts."""
    authority, authority_key = (
        _load_authority(authority_file) if authority_file else _make_authority()
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [_alternative(host) for host in hosts]
    served = (
        _certificate("simcluster", "simcluster-ca", key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = authority.public_bytes(serialization.Encoding.PEM)
    return Certificates(pem, _context(served.public_bytes(serialization.Encoding.PEM), _pem(key)))


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module loads keys from files only.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.touch(mode=0o600)
        path.write_bytes(key + certificate)
        context.load_cert_chain(path)
    return context
