"""What a client gets for a request that the front refuses, and how the web server is asked for it.

In the words of the API at the address where the application can say them, else plain JSON, or a
page for a browser.
"""

import re

from edge.outage_pages import asks_for_page, outage_page
from edge.wire import CRLF, END, GATEWAY_PREFIX, Refusal, Request

REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
# What kubectl prints: Kubernetes' object for a refusal.
STATUS = (
    b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
    b'"message":"%s","reason":"BadRequest","code":%d}\n'
)
# The same in the words of the KubeGale API, whose errors all have a code: an internal one.
KUBEGALE_PREFIX = b"/api/v1/kubernetes"
KUBEGALE_FAILURE = b'{"code":5001,"data":{},"msg":"%s"}\n'


def has_dialect(refusal: Refusal) -> bool:
    """Whether the application has words of its own for it; what fails with 5xx may be itself."""
    target = refusal.target
    is_for_application = target.startswith(b"/") and not target.startswith(GATEWAY_PREFIX)
    return is_for_application and refusal.status < 500


def write_question(refusal: Refusal, method: bytes, address: str) -> bytes:
    """The request by which the application is asked for its words to the client at `address`."""
    # Nothing but visible ASCII, which is all that the web server reads.
    path = refusal.target.partition(b"?")[0]
    path = re.sub(rb"[^!-~]", lambda match: b"%%%02X" % match[0][0], path)
    lines = [
        b"%s %s HTTP/1.1" % (method, path),
        b"host: localhost",
        b"content-length: 0",
        b"x-kubegale-peer: %s" % address.encode(),
        b"x-kubegale-refused: %d %s" % (refusal.status, refusal.sentence.encode()),
    ]
    return CRLF.join(lines) + END


def write_answer(refusal: Refusal, method: bytes, request: Request | None) -> bytes:
    """A whole answer in the front's own words, after which the connection ends.

    A head alone for HEAD. `request` is None where it could not be read.
    """
    if request is not None and asks_for_page(request, refusal):
        lines, body = outage_page(request, refusal)
        return _join(refusal.status, lines, body, method)
    sentence = refusal.sentence.encode()
    body = b'{"error":"%s"}\n' % sentence
    if refusal.target.startswith(GATEWAY_PREFIX):
        body = STATUS % (sentence, refusal.status)
    elif refusal.target.startswith(KUBEGALE_PREFIX) and refusal.status >= 500:
        body = KUBEGALE_FAILURE % sentence
    lines = ["Content-Type: application/json"]
    if refusal.status == 503:
        lines.append("Retry-After: 1")
    return _join(refusal.status, lines, body, method)


def _join(status: int, lines: list[str], body: bytes, method: bytes) -> bytes:
    head_lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        "Server: KubeGale",
        *lines,
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    head = "\r\n".join(head_lines).encode() + END
    return head if method == b"HEAD" else head + body
