"""The gateway's answers out of the store: a cluster as it was, and the fleet."""

from gateway.store.answers import respond
from gateway.store.database import close, in_store_thread

__all__ = ["close", "in_store_thread", "respond"]
