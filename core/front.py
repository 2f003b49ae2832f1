"""What the front (package `edge`) says about a request, and who may say it."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
# The front's headers: the client's address, the size of a body that it left unread, and what it
# refuses the request for (a status and a sentence).
PEER_HEADER = "HTTP_X_KUBEGALE_PEER"
LENGTH_HEADER = "HTTP_X_KUBEGALE_LENGTH"
REFUSED_HEADER = "HTTP_X_KUBEGALE_REFUSED"
# In a request's META: that the front is there, that it left a body unread for its size, and what it
# refuses the request for.
BEHIND_FRONT = "kubegale.behind_front"
BODY_LEFT = "kubegale.body_left"
REFUSAL = "kubegale.refusal"


def behind_front(application: Application, environ: Mapping[str, str]) -> Application:
    """The WSGI application as the front calls it.

    The front's headers count only on the unix socket (KUBEGALE_WEB_SOCKET), where a peer has no
    address of its own; elsewhere they are dropped.
    """
    on_socket = bool(environ.get("KUBEGALE_WEB_SOCKET"))
    proxies = environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"

    def call(request: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Dropped in any case: a client could send them too.
        peer = request.pop(PEER_HEADER, "")
        length = request.pop(LENGTH_HEADER, "")
        refused = request.pop(REFUSED_HEADER, "")
        if on_socket and not request.get("REMOTE_ADDR"):
            request[BEHIND_FRONT] = True
            request["REMOTE_ADDR"] = peer
            if not _is_listed(peer, proxies):
                # The web server believes X-Forwarded-Proto of every request over its unix socket.
                request["wsgi.url_scheme"] = "http"
            if length:
                request[BODY_LEFT] = True
                request["CONTENT_LENGTH"] = length
            if refused:
                request[REFUSAL] = refused
        return application(request, start_response)

    return call


def _is_listed(address: str, words: str) -> bool:
    """Whether the address is in a comma list of addresses and networks; `*` is all of them."""
    entries = [word.strip() for word in words.split(",") if word.strip()]
    if "*" in entries or address in entries:
        return True
    try:
        parsed = ipaddress.ip_address(address)
        return any(parsed in ipaddress.ip_network(entry, strict=False) for entry in entries)
    except ValueError:
        return False
