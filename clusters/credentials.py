"""The credentials of a kubeconfig: the HTTP header that they make, and when they are valid."""

import base64
import binascii
from datetime import UTC, datetime

import orjson
from cryptography import x509

from clusters.kubeconfig import Access
from clusters.tls import pem_blocks


def authorization_header(access: Access) -> str:
    """The Authorization header; "" when the credentials are a client certificate or none."""
    if access.token:
        return f"Bearer {access.token}"
    if access.username is None:
        return ""
    # UTF-8, as Go sends it.
    pair = f"{access.username}:{access.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def expiry(access: Access) -> datetime | None:
    """When the first of the credentials (client certificate, token) expires; None when unknown."""
    certificate = _client_certificate(access.certificate)
    moments = [
        certificate.not_valid_after_utc if certificate else None,
        _token_moment(access.token, "exp"),
    ]
    return min((moment for moment in moments if moment), default=None)


def validity_start(access: Access) -> datetime | None:
    """When all of the credentials (client certificate, token) become valid; None when unknown."""
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
    """The time in a claim of a JWT, as service accounts have; None for other tokens."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return None
    try:
        # A JWT leaves out the padding of base64.
        payload = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = orjson.loads(base64.urlsafe_b64decode(payload))
        return datetime.fromtimestamp(int(claims[claim]), UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
