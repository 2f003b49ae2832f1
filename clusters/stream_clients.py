"""One asyncio client for each cluster in a process with sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.db import DatabaseError
from django.utils.module_loading import import_string

from clusters import kubeconfig, registry
from clusters.impersonation import Identity
from clusters.kubeconfig import Access
from clusters.streams import StreamClient
from core.errors import ClusterNotFound, DomainError
from core.sockets.connections import in_database_thread

FRESH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Registered:
    """What a stream has to know of a cluster."""

    access: Access
    impersonate: bool


@dataclass(slots=True, eq=False)
class _Shared:
    """A cluster's client, with the moment when its registration was looked at last, and how many use it now."""

    registered: _Registered
    client: StreamClient
    looked_at: float
    users: int = 0
    retired: bool = False


_clients: dict[int, _Shared] = {}


# Every client that is not closed, the retired ones too, and what goes on by itself to close them.
_open_clients: set[StreamClient] = set()


_endings: set[asyncio.Task[None]] = set()


def _look_up(cluster: int) -> _Registered:
    row = registry.find(cluster)
    access = kubeconfig.access(
        row.kubeconfig,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        allow_insecure=settings.CLUSTER_ALLOW_INSECURE_TLS,
    )
    return _Registered(access, row.impersonate)


def _identity_of(user: int) -> Identity:
    found = cast(Callable[[int], Identity], import_string(settings.IDENTITY_OF_ID))
    return found(user)


@asynccontextmanager
async def stream_client(cluster: int, user: int) -> AsyncIterator[StreamClient]:
    """This process's client for a cluster, acting for a user (their id) where the cluster is asked in its callers' names.

    ClusterNotFound when the cluster is gone. A changed registration is noticed within ten seconds; the client of the one before is closed
    as soon as it has no user any more.
    """
    shared = await _current_client(cluster)
    shared.users += 1
    try:
        if shared.registered.impersonate:
            yield shared.client.acting_as(await in_database_thread(_identity_of, user))
        else:
            yield shared.client
    finally:
        shared.users -= 1
        if shared.retired:
            _close_unused(shared)
        elif not shared.users and not _is_fresh(shared):
            # It may have lasted longer than its registration.
            _in_background(_look_again(cluster))


def _is_fresh(shared: _Shared) -> bool:
    seconds = min(FRESH_SECONDS, settings.STREAM_REAUTHORISE_SECONDS)
    return time.monotonic() - shared.looked_at < seconds


async def _current_client(cluster: int) -> _Shared:
    shared = _clients.get(cluster)
    if shared is not None and _is_fresh(shared):
        return shared
    try:
        registered = await in_database_thread(_look_up, cluster)
    except ClusterNotFound:
        _retire(cluster)
        raise
    shared = _clients.get(cluster)
    if shared is None or shared.registered != registered:
        _retire(cluster)
        client = StreamClient(registered.access, registry.limits())
        _open_clients.add(client)
        shared = _clients[cluster] = _Shared(registered, client, time.monotonic())
    shared.looked_at = time.monotonic()
    return shared


async def _look_again(cluster: int) -> None:
    with suppress(DomainError, DatabaseError):
        await _current_client(cluster)


def _retire(cluster: int) -> None:
    if shared := _clients.pop(cluster, None):
        shared.retired = True
        _close_unused(shared)


def _close_unused(shared: _Shared) -> None:
    if not shared.users and shared.client in _open_clients:
        _open_clients.discard(shared.client)
        _in_background(shared.client.close())


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _endings.add(task)
    task.add_done_callback(_endings.discard)


async def close() -> None:
    """Close every client, at the end of the process."""
    while _endings:
        await asyncio.gather(*_endings, return_exceptions=True)
    clients = list(_open_clients)
    _clients.clear()
    _open_clients.clear()
    for client in clients:
        await client.close()
