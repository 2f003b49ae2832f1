"""Checks of when certificates end. Of a Secret nothing but the certificate is looked at."""

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime, timedelta

import orjson
from cryptography import x509

from automation.inspection.catalogue import Severity
from automation.inspection.facts import Facts, mapping
from automation.inspection.hits import Hit
from clusters.manifests import Object
from core.times import rfc3339
from storage_api.protection import SEALED, unseal_all

TLS = "kubernetes.io/tls"
# So close to the end it is too late to plan a renewal.
URGENT = timedelta(days=7)


def check_secret(secret: Object, facts: Facts) -> Iterator[Hit]:
    """The first certificate of a TLS Secret."""
    if secret.get("type") != TLS:
        return
    end = _certificate_end(mapping(secret, "data").get("tls.crt"))
    if end is not None:
        yield from check_end("certificate-expires", end, facts)


def check_end(
    check: str,
    end: datetime,
    facts: Facts,
) -> Iterator[Hit]:
    """A finding of the check when something ends within the threshold."""
    left = end - facts.now
    if left > timedelta(days=facts.thresholds.certificate_days):
        return
    severity = Severity.CRITICAL if left <= URGENT else None
    if left <= timedelta(0):
        yield Hit(check, f"ended at {rfc3339(end)}", severity)
    else:
        yield Hit(
            check,
            f"ends at {rfc3339(end)}, in {left.days} days",
            severity,
        )


def _certificate_end(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        # Out of the store the value is sealed.
        text = value
        if value.startswith(SEALED):
            text = orjson.loads(unseal_all(orjson.dumps(value)))
        return x509.load_pem_x509_certificate(b64decode(text)).not_valid_after_utc
    except (ValueError, TypeError):
        # No certificate, or one that nobody can read: that is not what is checked here.
        return None
