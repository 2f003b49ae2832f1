"""How many streams a user has, over all processes: counted in Redis."""

import time
from collections.abc import Collection, Iterable
from contextlib import suppress

import redis
import redis.asyncio
from django.conf import settings

from core.errors import Internal, TooManyRequests
from core.sockets import tickets
from core.sockets.connections import async_redis

# A process that dies leaves its slots for so many seconds.
SLOT_SECONDS = 90


# The kind of slot that every followed log of a user takes, over sockets and over HTTP.
LOG_SOURCES = "log-sources"


def quota_key(kind: str, user: object) -> str:
    """The key in Redis of a user's streams: a sorted set, session -> when its slot expires."""
    return f"kubegale:streams:{kind}:{user}"


async def acquire_slot(kind: str, user: int, session: str, limit: int) -> None:
    """Count a stream in, or renew its slot, for SLOT_SECONDS.

    TooManyRequests above the limit, Internal when Redis does not answer.
    """
    key = quota_key(kind, user)
    now = time.time()
    try:
        async with async_redis().pipeline() as pipe:
            pipe.zremrangebyscore(key, "-inf", now)
            pipe.zadd(key, {session: now + SLOT_SECONDS})
            pipe.zcard(key)
            pipe.expire(key, 2 * SLOT_SECONDS)
            _, added, count, _ = await pipe.execute()
        # A stream that renews its slot adds none, and stays when the limit was lowered meanwhile.
        if added and count > limit:
            await async_redis().zrem(key, session)
            raise TooManyRequests(f"you have {limit} streams of this kind open")
    except redis.RedisError as error:
        raise Internal("the store of streams does not answer") from error


def acquire_slot_blocking(kind: str, user: int, session: str, limit: int) -> None:
    """`acquire_slot` for code that may block: a followed log over HTTP."""
    key = quota_key(kind, user)
    now = time.time()
    try:
        with tickets.blocking_redis(settings.REDIS_URL).pipeline() as pipe:
            pipe.zremrangebyscore(key, "-inf", now)
            pipe.zadd(key, {session: now + SLOT_SECONDS})
            pipe.zcard(key)
            pipe.expire(key, 2 * SLOT_SECONDS)
            _, added, count, _ = pipe.execute()
        if added and count > limit:
            release_slot_blocking(kind, user, session)
            raise TooManyRequests(f"you have {limit} streams of this kind open")
    except redis.RedisError as error:
        raise Internal("the store of streams does not answer") from error


def release_slot_blocking(kind: str, user: int, session: str) -> None:
    """Count a stream out, for code that may block. Without Redis the slot expires by itself."""
    with suppress(redis.RedisError):
        tickets.blocking_redis(settings.REDIS_URL).zrem(quota_key(kind, user), session)


async def renew_slots(kind: str, user: int, sessions: Iterable[str]) -> None:
    """Hold many slots for another SLOT_SECONDS; Internal when Redis does not answer."""
    expires = time.time() + SLOT_SECONDS
    slots = dict.fromkeys(sessions, expires)
    if not slots:
        return
    key = quota_key(kind, user)
    try:
        await async_redis().zadd(key, slots)
        await async_redis().expire(key, 2 * SLOT_SECONDS)
    except redis.RedisError as error:
        raise Internal("the store of streams does not answer") from error


async def release_slots(kind: str, user: int, sessions: Collection[str]) -> None:
    """Count many streams out. Without Redis the slots expire by themselves."""
    if not sessions:
        return
    with suppress(redis.RedisError):
        await async_redis().zrem(quota_key(kind, user), *sessions)


async def release_slot(kind: str, user: int, session: str) -> None:
    """Count a stream out."""
    await release_slots(kind, user, [session])
