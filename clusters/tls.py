"""TLS towards API servers, as Go's client has it."""

import os
import re
import ssl
import tempfile

from clusters.kubeconfig import Access
from core.errors import Invalid

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n.*?-----END \1-----", re.DOTALL)
# The last one: the certificate is for another kind of key.
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_ENCRYPTED = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")


def pem_blocks(text: str, label: str) -> list[str]:
    """The PEM blocks of a text whose label ends with `label`, e.g. `PRIVATE KEY`.

    What stands between the blocks, such as openssl's dump of a certificate, is left out.
    """
    return [block.group() for block in _BLOCK.finditer(text) if block.group(1).endswith(label)]


def make_context(access: Access) -> ssl.SSLContext:
    """TLS that trusts the kubeconfig's authority, with its client certificate.

    Invalid when a certificate or key cannot be used.
    """
    context = _trust(access.ca) if access.ca else ssl.create_default_context()
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate and access.key:
        _add_client_certificate(context, access.certificate, access.key)
    return context


def _trust(authority: str) -> ssl.SSLContext:
    """A context that trusts these certificates only: roots, intermediates or the server's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Go ends a chain at any certificate that it trusts; OpenSSL by default at a self-signed one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    loaded = 0
    for block in pem_blocks(authority, "CERTIFICATE"):
        try:
            context.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(block))
        except (ssl.SSLError, ValueError):
            # Go skips a certificate that it cannot read, too.
            continue
        loaded += 1
    if not loaded:
        raise Invalid(
            "kubeconfig: a certificate cannot be used"
            " (certificate-authority-data holds no certificate in PEM)"
        )
    return context


def _add_client_certificate(
    context: ssl.SSLContext,
    certificate: str,
    key: str,
) -> None:
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
    blocks = pem_blocks(certificate, "CERTIFICATE")
    if not blocks:
        raise Invalid("kubeconfig: client-certificate-data holds no certificate in PEM")
    return blocks


def _chain_fault(error: Exception) -> str:
    reason = str(getattr(error, "reason", None) or "")
    if reason in _MISMATCHES:
        return "client-key-data does not belong to client-certificate-data"
    return reason or "client-certificate-data or client-key-data cannot be read"


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a client certificate and its key.

    The ssl module reads files only: on Linux this is one in memory, so that the key never touches a
    disk, elsewhere a temporary one.
    """
    path = ""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, pem)
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(path or f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)
        if path:
            os.unlink(path)
