"""What a process with sockets keeps: one Redis connection pool, a few database threads."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import ParamSpec, TypeVar

import redis
import redis.asyncio
from django.conf import settings
from django.db import close_old_connections, connections

from core.errors import Internal, TooManyRequests
from core.sockets import tickets

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 4
REDIS_CONNECTIONS = 8
SEAT_SECONDS = 90
# The kind of seat that every followed log of a user takes, over sockets and over HTTP.
LOG_SOURCES = "log-sources"


_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")


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


def _close_database(all_here: threading.Barrier) -> None:
    connections.close_all()
    with suppress(threading.BrokenBarrierError):
        all_here.wait()


async def close() -> None:
    """Give every connection back, at the end of the process."""
    loop, barrier = asyncio.get_running_loop(), threading.Barrier(THREADS, timeout=5)
    await asyncio.gather(
        *(loop.run_in_executor(_threads, _close_database, barrier) for _ in range(THREADS))
    )
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
