"""Why a connection failed, for urllib3 and aiohttp alike: one word and a sentence.

None of them holds an address or a credential. The words are dns, refused, timeout, timeout_read,
tls, credential_invalid (the server refuses our certificate), bad_answer (no HTTP), and tcp for the
rest.
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
# TLS alerts by which a server refuses our client certificate.
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
# OpenSSL's reasons when the peer does not speak TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
# Errors for an answer that is not HTTP.
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
    """(one word, a sentence) for why a connection failed.

    `timeout` is a time-out while connecting, `timeout_read` one after that.
    """
    word, sentence, _ = describe(error)
    return word, sentence


def describe(error: BaseException) -> tuple[str, str, str]:
    """(one word, a sentence, the fault of TLS) for why a connection failed.

    The fault is "" unless the word is `tls`: expired, not_yet_valid, revoked, unknown_authority,
    name_mismatch, certificate, not_tls or handshake.
    """
    chain = list(_chain(error))
    tls_errors = [part for part in chain if isinstance(part, ssl.SSLError)]
    if tls_errors:
        # aiohttp's own errors are SSLErrors as well, but without OpenSSL's reason.
        with_reason = [part for part in tls_errors if hasattr(part, "reason")]
        return _tls_cause(with_reason[0] if with_reason else tls_errors[-1])
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
    """The error and its causes, breadth first, however the client library wrapped them."""
    visited: set[int] = set()
    queue = [error]
    while queue:
        part = queue.pop(0)
        # Errors may refer to each other.
        if id(part) in visited:
            continue
        visited.add(id(part))
        yield part
        causes = (
            getattr(part, "reason", None),
            getattr(part, "os_error", None),
            getattr(part, "certificate_error", None),
            part.__cause__,
            *part.args,
        )
        queue += [cause for cause in causes if isinstance(cause, BaseException)]


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
        # In TLS 1.3 the server checks our certificate after we have finished the handshake; its
        # alert may be lost when it hangs up.
        return (
            "tls",
            "TLS failed: the server hung up after the handshake;"
            " it may want another client certificate, or one at all",
            "handshake",
        )
    if "HANDSHAKE_FAILURE" in reason:
        # Up to TLS 1.2 this is also the alert for a missing client certificate.
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
    # OpenSSL's message for a wrong name contains the address.
    addition = "" if code in _MISMATCHES else f" ({message})"
    return "tls", f"TLS failed: {sentence}{addition}", fault
