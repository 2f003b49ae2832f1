"""Tickets: made over the JSON API by a caller with the right, spent once within a minute by a WebSocket; kept in Redis as hashes."""

import hashlib
import secrets
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
import redis
import redis.asyncio
from django.conf import settings

from core.errors import Internal, Invalid, TooManyRequests, Unauthenticated

PREFIX = "kubegale:ticket:"
TIMEOUT = 3
MAX_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket opens: a kind of stream, for one caller, on one target. `host` is where the caller's page came from.

    `session` is the server's. One that the caller named instead is `claimed`, and opens nothing.
    """

    kind: str
    user: int
    credential: Mapping[str, Any]
    host: str
    cluster: int = 0
    namespace: str = ""
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    claimed: bool = False

    @property
    def mark(self) -> str:
        """What the session is called where others can read it: labels, seats and recordings do not give its id away."""
        return mark(self.session)


@dataclass(frozen=True, slots=True)
class Issued:
    """The secret half, shown once, and when it is over."""

    token: str
    expires_at: datetime


def mark(session: str) -> str:
    """A session's name in public: 32 hexadecimal digits of its id's SHA-256."""
    return hashlib.sha256(session.encode()).hexdigest()[:32]


def _key(token: str) -> str:
    return PREFIX + hashlib.sha256(token.encode()).hexdigest()


def _unspent(user: int) -> str:
    return f"{PREFIX}unspent:{user}"


@lru_cache(maxsize=1)
def store(url: str) -> "redis.Redis":
    """The connections to Redis of code that may block."""
    return redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)


def issue(ticket: Ticket) -> Issued:
    """Keep the ticket for TICKET_SECONDS; Invalid when it says too much, TooManyRequests when its user has too many unspent."""
    token, life = secrets.token_urlsafe(32), settings.TICKET_SECONDS
    content = orjson.dumps(asdict(ticket))
    if len(content) > MAX_BYTES:
        raise Invalid(f"the options of a ticket are larger than {MAX_BYTES // 1024} KiB")
    key, unspent, now = _key(token), _unspent(ticket.user), time.time()
    try:
        with store(settings.REDIS_URL).pipeline() as pipe:
            pipe.zremrangebyscore(unspent, 0, now)
            pipe.zadd(unspent, {key: now + life})
            pipe.zcard(unspent)
            pipe.expire(unspent, life)
            count = int(pipe.execute()[2])
            if count > settings.TICKETS_PER_USER:
                pipe.zrem(unspent, key)
            else:
                pipe.set(key, content, ex=life)
            pipe.execute()
    except redis.RedisError as error:
        raise Internal("the store of tickets does not answer") from error
    if count > settings.TICKETS_PER_USER:
        raise TooManyRequests(
            f"{settings.TICKETS_PER_USER} tickets are unspent: use one or wait until they expire"
        )
    return Issued(token, datetime.now(UTC) + timedelta(seconds=life))


async def _forget(kept_in: "redis.asyncio.Redis", user: int, token: str) -> None:
    """Count a spent ticket no longer; where that fails it counts until it would have expired."""
    with suppress(redis.RedisError):
        await kept_in.zrem(_unspent(user), _key(token))


async def redeem(kept_in: "redis.asyncio.Redis", token: str, kind: str, session: str) -> Ticket:
    """Spend a ticket; Unauthenticated when it is unknown, expired, used before or for something else."""
    try:
        kept = await kept_in.getdel(_key(token))
    except redis.RedisError as error:
        raise Internal("the store of tickets does not answer") from error
    ticket = Ticket(**orjson.loads(kept)) if kept else None
    if ticket is not None:
        await _forget(kept_in, ticket.user, token)
    if ticket is None or ticket.kind != kind or ticket.session != session:
        raise Unauthenticated("the ticket is unknown, expired or was used before")
    return ticket
