"""Connection pools that look at whom they are really connected to before anything is sent."""

import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from clusters.addresses import allowed
from kubegale.errors import ClusterUnavailable


def _check_peer(sock: socket.socket, policy: str) -> None:
    """Refuse the address that a name really led to, before anything is sent (no window for DNS rebinding)."""
    peer = str(sock.getpeername()[0])
    if not allowed(peer, policy):
        sock.close()
        raise ClusterUnavailable(
            "the address that the name leads to is not allowed", reason="address_refused"
        )


def pool_classes(policy: str) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Connection pools whose every new connection checks its peer."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            _check_peer(sock, policy)
            return sock

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            _check_peer(sock, policy)
            return sock

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
