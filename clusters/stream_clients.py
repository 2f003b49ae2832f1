"""One asyncio client for each cluster in a process that serves WebSockets."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.utils.module_loading import import_string

from clusters import registry
from clusters.impersonation import Identity
from clusters.kubeconfig import Access
from clusters.streams import StreamClient
from core.errors import ClusterNotFound, DomainError
from core.sockets.connections import in_database_thread

log = logging.getLogger(__name__)
# Seconds after which a cluster's registration is read again.
FRESH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Registration:
    """What a stream has to know of a registered cluster."""

    access: Access
    impersonate: bool


@dataclass(slots=True, eq=False)
class _SharedClient:
    """A cluster's client, when its registration was read last, and how many streams use it now.

    A retired client belongs to a registration that has changed: its last user closes it.
    """

    registration: _Registration
    client: StreamClient
    read_at: float
    users: int = 0
    retired: bool = False


# The client of each cluster's current registration, by the cluster's id.
_clients: dict[int, _SharedClient] = {}
# Every client that is not closed, the retired ones too.
_open_clients: set[StreamClient] = set()
# asyncio keeps only weak references to tasks: without these they could vanish before they end.
_background_tasks: set[asyncio.Task[None]] = set()


def _read_registration(cluster: int) -> _Registration:
    row = registry.find(cluster)
    return _Registration(registry.read_access(row.kubeconfig), row.impersonate)


def _read_identity(user: int) -> Identity:
    read = cast(Callable[[int], Identity], import_string(settings.IDENTITY_OF_ID))
    return read(user)


@asynccontextmanager
async def stream_client(cluster: int, user: int) -> AsyncIterator[StreamClient]:
    """This process's client for a cluster.

    It names the user (by their id) to clusters with impersonation. ClusterNotFound when the cluster
    was removed. A changed registration is noticed within ten seconds; the client of the one before
    is closed as soon as no stream uses it.
    """
    shared = await _current_client(cluster)
    shared.users += 1
    try:
        if shared.registration.impersonate:
            identity = await in_database_thread(_read_identity, user)
            yield shared.client.acting_as(identity)
        else:
            yield shared.client
    finally:
        shared.users -= 1
        if shared.retired:
            _close_unused(shared)
        elif not shared.users and not _is_fresh(shared):
            # The cluster may have been removed or changed while a long stream lasted.
            _run_in_background(_refresh(cluster))


def _is_fresh(shared: _SharedClient) -> bool:
    seconds = min(FRESH_SECONDS, settings.STREAM_REAUTHORISE_SECONDS)
    return time.monotonic() - shared.read_at < seconds


async def _current_client(cluster: int) -> _SharedClient:
    shared = _clients.get(cluster)
    if shared is not None and _is_fresh(shared):
        return shared
    try:
        registration = await in_database_thread(_read_registration, cluster)
    except ClusterNotFound:
        _retire(cluster)
        raise
    # Another task may have made the client while this one read the registration.
    shared = _clients.get(cluster)
    if shared is None or shared.registration != registration:
        _retire(cluster)
        client = StreamClient(registration.access, registry.client_limits())
        _open_clients.add(client)
        shared = _SharedClient(registration, client, time.monotonic())
        _clients[cluster] = shared
    shared.read_at = time.monotonic()
    return shared


async def _refresh(cluster: int) -> None:
    with suppress(DomainError, DatabaseFailure):
        await _current_client(cluster)


def _retire(cluster: int) -> None:
    shared = _clients.pop(cluster, None)
    if shared is not None:
        shared.retired = True
        _close_unused(shared)


def _close_unused(shared: _SharedClient) -> None:
    if not shared.users and shared.client in _open_clients:
        _open_clients.discard(shared.client)
        _run_in_background(shared.client.close())


def _run_in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _background_tasks.add(task)
    task.add_done_callback(_end_background_task)


def _end_background_task(task: asyncio.Task[None]) -> None:
    _background_tasks.discard(task)
    # Nobody awaits it: an error is asked for here, else asyncio would print a traceback. When the
    # process ends its threads may be gone before the last stream.
    if not task.cancelled() and (error := task.exception()):
        log.warning("a cluster's client was left as it is: %s", type(error).__name__)


async def close() -> None:
    """Close every client, at the end of the process."""
    while _background_tasks:
        await asyncio.gather(*_background_tasks, return_exceptions=True)
    clients = list(_open_clients)
    _clients.clear()
    _open_clients.clear()
    for client in clients:
        await client.close()
