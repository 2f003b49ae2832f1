"""TLS towards API servers as Go's client has it, for both doors; and until when a kubeconfig's credentials hold."""

import base64
import binascii
import os
import re
import ssl
import tempfile
from datetime import UTC, datetime

import orjson
from cryptography import x509

from clusters.kubeconfig import Access
from core.errors import Invalid

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n.*?-----END \1-----", re.DOTALL)
# The last one: the certificate is for another kind of key.
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_ENCRYPTED = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")


def pem_blocks(text: str, label: str) -> list[str]:
    """The PEM blocks of a text whose label ends so; people keep comments and whole dumps between them."""
    return [block.group() for block in _BLOCK.finditer(text) if block.group(1).endswith(label)]


def make_context(access: Access) -> ssl.SSLContext:
    """TLS that trusts the kubeconfig's authority; the client key never touches a disk. Invalid when a certificate is unusable."""
    context = _trusting(access.ca) if access.ca else ssl.create_default_context()
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate and access.key:
        _add_client_certificate(context, access.certificate, access.key)
    return context


def _trusting(authority: str) -> ssl.SSLContext:
    """A context whose only trust anchors are these certificates, be they a root, an intermediate or the server's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Go ends a chain at any certificate it was given; OpenSSL wants a self-signed one unless told otherwise.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    loaded = 0
    for block in pem_blocks(authority, "CERTIFICATE"):
        try:
            context.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(block))
        except (ssl.SSLError, ValueError):
            continue  # Go passes over a certificate that it cannot read, too
        loaded += 1
    if not loaded:
        raise Invalid(
            "kubeconfig: a certificate cannot be used"
            " (certificate-authority-data holds no certificate in PEM)"
        )
    return context


def _add_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    keys = pem_blocks(key, "PRIVATE KEY")
    if not keys:
        raise Invalid("kubeconfig: client-key-data holds no private key in PEM")
    if any(mark in keys[0] for mark in _ENCRYPTED):
        raise Invalid("kubeconfig: client-key-data is encrypted; give the key without a passphrase")
    pem = "\n".join([*_client_chain(certificate), keys[0], ""])
    try:
        _load_chain(context, pem.encode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"kubeconfig: a certificate cannot be used ({_chain_fault(error)})") from None


def _client_chain(certificate: str) -> list[str]:
    if blocks := pem_blocks(certificate, "CERTIFICATE"):
        return blocks
    raise Invalid("kubeconfig: client-certificate-data holds no certificate in PEM")


def _chain_fault(error: Exception) -> str:
    reason = str(getattr(error, "reason", None) or "")
    if reason in _MISMATCHES:
        return "client-key-data does not belong to client-certificate-data"
    return reason or "client-certificate-data or client-key-data cannot be read"


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """The ssl module takes files only: on Linux one in memory, elsewhere one that is gone before this returns."""
    path = ""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(path or f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)
        if path:
            os.unlink(path)


def expiry(access: Access) -> datetime | None:
    """When the first of the credentials runs out (the client certificate, a token that says so); None when none says."""
    certificate = _client_certificate(access.certificate)
    moments = [
        certificate.not_valid_after_utc if certificate else None,
        _token_moment(access.token, "exp"),
    ]
    return min((moment for moment in moments if moment), default=None)


def beginning(access: Access) -> datetime | None:
    """From when on all of the credentials hold (the client certificate, a token that says so); None when none says."""
    certificate = _client_certificate(access.certificate)
    moments = [
        certificate.not_valid_before_utc if certificate else None,
        _token_moment(access.token, "nbf"),
    ]
    return max((moment for moment in moments if moment), default=None)


def _client_certificate(text: str | None) -> x509.Certificate | None:
    blocks = pem_blocks(text, "CERTIFICATE") if text else []
    if not blocks:
        return None
    try:
        return x509.load_pem_x509_certificate(blocks[0].encode("ascii"))
    except ValueError:
        return None


def _token_moment(token: str | None, claim: str) -> datetime | None:
    """A service account's token is a JWT that tells its times; nothing is concluded from one that does not."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(int(claims[claim]), UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
