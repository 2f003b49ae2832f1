"""Signing what we send to receivers, as Standard Webhooks 1.0 describes."""

import base64
import hashlib
import hmac
import secrets

KEY_PREFIX = "whsec_"
# What the specification allows for the bytes of a key.
KEY_BYTES = range(24, 65)


def new_key() -> str:
    """A new signing key: `whsec_` and the base64 of 24 random bytes."""
    return KEY_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def is_key(text: str) -> bool:
    """Whether the text is a signing key: `whsec_` and the base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except ValueError:
        return False
    return text.startswith(KEY_PREFIX) and len(key) in KEY_BYTES


def signature(key: str, *, delivery: str, timestamp: int, payload: bytes) -> str:
    """The `webhook-signature` header: HMAC-SHA256 over id, time and body."""
    signed = f"{delivery}.{timestamp}.".encode() + payload
    mac = hmac.new(base64.b64decode(key.removeprefix(KEY_PREFIX)), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def signed_headers(key: str, *, delivery: str, timestamp: int, payload: bytes) -> dict[str, str]:
    """The headers of a delivery; `delivery` is its id, the same in each attempt."""
    return {
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(
            key,
            delivery=delivery,
            timestamp=timestamp,
            payload=payload,
        ),
    }
