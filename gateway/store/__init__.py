"""The gateway's answers out of the store: a cluster as it was, and the fleet."""

from gateway.store.answers import respond
from gateway.store.database import close

__all__ = ["close", "respond"]
