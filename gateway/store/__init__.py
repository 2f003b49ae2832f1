"""The gateway's answers out of the store: a cluster as it was, and the fleet."""

from gateway.messages import Request, Response
from gateway.status import refusal


async def respond(request: Request) -> Response:
    """Answer a request whose target is the fleet or has a time.

    The caller is known; what they may see is asked here, by `access.streams.scopes`. Runs on the
    event loop of the sockets: what reads the database belongs in `in_database_thread`. A chunk of
    an iterator as the body is sent at once; the connection's end cancels the iterator.
    """
    return refusal(404, "this address is not served", info=request.info)
