"""What a process with sockets keeps: one Redis connection pool, a few database threads, one stream client for each cluster."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

import redis
import redis.asyncio
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections
from django.utils.module_loading import import_string

from clusters import kubeconfig, registry
from clusters.impersonation import Identity
from clusters.kubeconfig import Access
from clusters.streams import StreamClient
from core.errors import ClusterNotFound, DomainError, Internal, TooManyRequests
from workloads.streams import tickets

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 4
REDIS_CONNECTIONS = 8
FRESH_SECONDS = 10.0
SEAT_SECONDS = 90
# The kind of seat that every followed log of a user takes, over sockets and over HTTP.
LOG_SOURCES = "log-sources"


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


_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
_clients: dict[int, _Shared] = {}
# Every client that is not closed, the retired ones too, and what goes on by itself to close them.
_open_clients: set[StreamClient] = set()
_endings: set[asyncio.Task[None]] = set()


async def in_database_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what uses the ORM outside of the event loop."""

    def call() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(_threads, call)


@lru_cache(maxsize=1)
def store() -> "redis.asyncio.Redis":
    """The few connections to Redis of this process's event loop; when hundreds of clients come at once they take turns."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        max_connections=REDIS_CONNECTIONS,
        timeout=30,
        socket_connect_timeout=5,
        socket_timeout=10,
    )
    return redis.asyncio.Redis(connection_pool=pool)


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


def _close_database(all_here: threading.Barrier) -> None:
    connections.close_all()
    with suppress(threading.BrokenBarrierError):
        all_here.wait()


async def close() -> None:
    """Give every connection back, at the end of the process."""
    while _endings:
        await asyncio.gather(*_endings, return_exceptions=True)
    loop, barrier = asyncio.get_running_loop(), threading.Barrier(THREADS, timeout=5)
    await asyncio.gather(
        *(loop.run_in_executor(_threads, _close_database, barrier) for _ in range(THREADS))
    )
    clients = list(_open_clients)
    _clients.clear()
    _open_clients.clear()
    for client in clients:
        await client.close()
    await store().aclose()


# --- seats: how many streams a user has, over all processes ---------------------------------------------------------
def seats_key(kind: str, user: object) -> str:
    """Where in Redis the sessions of a user are, each with the time its seat is held until."""
    return f"kubegale:streams:{kind}:{user}"


async def take_seat(kind: str, user: int, session: str, limit: int) -> None:
    """Count a stream in, or renew its seat; TooManyRequests above the limit. A process that dies leaves its seats for 90 seconds."""
    key, moment = seats_key(kind, user), time.time()
    try:
        async with store().pipeline() as pipe:
            pipe.zremrangebyscore(key, "-inf", moment)
            pipe.zadd(key, {session: moment + SEAT_SECONDS})
            pipe.zcard(key)
            pipe.expire(key, 2 * SEAT_SECONDS)
            _, added, taken, _ = await pipe.execute()
        if added and taken > limit:
            await store().zrem(key, session)
            raise TooManyRequests(f"you have {limit} streams of this kind open already")
    except redis.RedisError as error:
        raise Internal("the store of streams does not answer") from error


def hold_seat(kind: str, user: int, session: str, limit: int) -> None:
    """The same for code that may block: a followed log over HTTP."""
    key, moment = seats_key(kind, user), time.time()
    try:
        with tickets.store(settings.REDIS_URL).pipeline() as pipe:
            pipe.zremrangebyscore(key, "-inf", moment)
            pipe.zadd(key, {session: moment + SEAT_SECONDS})
            pipe.zcard(key)
            pipe.expire(key, 2 * SEAT_SECONDS)
            _, added, taken, _ = pipe.execute()
        if added and taken > limit:
            drop_seat(kind, user, session)
            raise TooManyRequests(f"you have {limit} streams of this kind open already")
    except redis.RedisError as error:
        raise Internal("the store of streams does not answer") from error


def drop_seat(kind: str, user: int, session: str) -> None:
    """Count a stream out."""
    with suppress(redis.RedisError):
        tickets.store(settings.REDIS_URL).zrem(seats_key(kind, user), session)


async def renew_seats(kind: str, user: int, sessions: Iterable[str]) -> None:
    """Hold many seats for another while."""
    until = time.time() + SEAT_SECONDS
    if seats := dict.fromkeys(sessions, until):
        try:
            await store().zadd(seats_key(kind, user), seats)
            await store().expire(seats_key(kind, user), 2 * SEAT_SECONDS)
        except redis.RedisError as error:
            raise Internal("the store of streams does not answer") from error


async def leave_seats(kind: str, user: int, sessions: Collection[str]) -> None:
    """Count many streams out."""
    if not sessions:
        return
    try:
        await store().zrem(seats_key(kind, user), *sessions)
    except redis.RedisError:
        return


async def leave_seat(kind: str, user: int, session: str) -> None:
    """Count a stream out."""
    await leave_seats(kind, user, [session])
