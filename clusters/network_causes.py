"""Why a connection failed, in one vocabulary for both doors: one word and a sentence, without addresses or credentials.

The words: dns, refused, timeout, tls, credential_invalid (the server refuses our certificate), and tcp for what else breaks.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from http.client import (
    BadStatusLine,
    HTTPException,
    LineTooLong,
    RemoteDisconnected,
    UnknownProtocol,
)

from aiohttp import ClientResponseError
from aiohttp.http_exceptions import HttpProcessingError
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

# OpenSSL's numbers for what is wrong with a server's certificate.
_VERIFICATION = {
    9: ("not_yet_valid", "the server's certificate is not valid yet"),
    10: ("expired", "the server's certificate has expired"),
    23: ("revoked", "the server's certificate was revoked"),
    62: (
        "name_mismatch",
        "the server's certificate is for another name; tls-server-name can tell which",
    ),
    64: (
        "name_mismatch",
        "the server's certificate is for another address; tls-server-name can tell its name",
    ),
    **dict.fromkeys(
        (2, 18, 19, 20, 21),
        (
            "unknown_authority",
            "the server's certificate is signed by an unknown authority;"
            " certificate-authority-data must hold the right one",
        ),
    ),
}
_MISMATCHES = (62, 64)
# What a server says of the certificate that it was shown.
_CLIENT_ALERTS = {
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the server says that the client certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the server says that the client certificate was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the server does not accept the client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server does not accept the client certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the server does not accept the client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not know the client certificate's authority",
    "TLSV1_ALERT_ACCESS_DENIED": "the server does not accept the client certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server asks for a client certificate",
}
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
# What no HTTP server says.
_NO_HTTP = (
    BadStatusLine,
    LineTooLong,
    UnknownProtocol,
    DecodeError,
    ClientResponseError,
    HttpProcessingError,
)
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def network_cause(error: BaseException) -> tuple[str, str]:
    """(one word, a sentence) for what a connection died of; `timeout_read` is a time-out after the connection was made."""
    word, sentence, _ = describe(error)
    return word, sentence


def describe(error: BaseException) -> tuple[str, str, str]:
    """(one word, a sentence, for `tls` which fault of it: expired, not_yet_valid, revoked, unknown_authority, name_mismatch, not_tls)."""
    chain = list(_chain(error))
    # aiohttp's own errors are SSLErrors as well, but without what OpenSSL said.
    faults = [part for part in chain if isinstance(part, ssl.SSLError)]
    if faults:
        return _tls_cause(next((part for part in faults if hasattr(part, "reason")), faults[-1]))
    for part in chain:
        if isinstance(part, socket.gaierror | NameResolutionError):
            return "dns", "its name does not resolve", ""
        if isinstance(part, ConnectionRefusedError):
            return "refused", "connection refused (nothing listens at its address and port)", ""
        if isinstance(part, OSError) and part.errno in _UNREACHABLE:
            return "tcp", "no route to its address", ""
        if _is_no_http(part):
            return "bad_answer", "what answers at its address is no HTTP server", ""
    return *_silence(chain), ""


def _is_no_http(error: BaseException) -> bool:
    if isinstance(error, RemoteDisconnected):
        return False
    # Too many headers have no class of their own.
    return isinstance(error, _NO_HTTP) or type(error) is HTTPException


def _silence(chain: list[BaseException]) -> tuple[str, str]:
    timed_out = any(isinstance(part, TimeoutError | ReadTimeoutError) for part in chain)
    if any(isinstance(part, NewConnectionError) for part in chain):
        connecting = timed_out
    else:
        connecting = any(isinstance(part, ConnectTimeoutError) for part in chain)
    if connecting:
        return "timeout", "no answer to the connection attempt in time"
    if timed_out:
        return "timeout_read", "no answer in time"
    return "tcp", "the connection broke"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, however the client library wrapped it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        causes = (
            getattr(part, "reason", None),
            getattr(part, "os_error", None),
            getattr(part, "certificate_error", None),
            part.__cause__,
            *part.args,
        )
        waiting += [cause for cause in causes if isinstance(cause, BaseException)]


def _tls_cause(error: ssl.SSLError) -> tuple[str, str, str]:
    reason = str(getattr(error, "reason", None) or "")
    if sentence := _CLIENT_ALERTS.get(reason):
        return "credential_invalid", f"TLS failed: {sentence}", ""
    if isinstance(error, ssl.SSLCertVerificationError) and hasattr(error, "verify_code"):
        return _verification_cause(error)
    if reason in _NO_TLS:
        return "tls", "TLS failed: the server does not speak TLS", "not_tls"
    if reason == "UNEXPECTED_EOF_WHILE_READING":
        return "tls", "TLS failed: the server broke the handshake off", "handshake"
    if isinstance(error, ssl.SSLEOFError):
        # In TLS 1.3 the server looks at our certificate when the handshake is over for us; its word on it may get lost.
        return (
            "tls",
            "TLS failed: the server hung up after the handshake;"
            " it may want another client certificate, or one at all",
            "handshake",
        )
    if "HANDSHAKE_FAILURE" in reason:
        # Up to TLS 1.2 this is also what a server says that wants a client certificate.
        return (
            "tls",
            "TLS failed: the server broke the handshake off; it may ask for a client certificate",
            "handshake",
        )
    return "tls", f"TLS failed ({reason or 'the handshake was broken off'})", "handshake"


def _verification_cause(error: ssl.SSLCertVerificationError) -> tuple[str, str, str]:
    code = error.verify_code
    message = error.verify_message
    fault, sentence = _VERIFICATION.get(code, ("certificate", "the server's certificate is bad"))
    # OpenSSL's message for a wrong name holds the address.
    addition = "" if code in _MISMATCHES else f" ({message})"
    return "tls", f"TLS failed: {sentence}{addition}", fault
