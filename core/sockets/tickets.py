"""Tickets: what lets a WebSocket in.

A caller with the right gets one over the JSON API. A WebSocket spends it once, within a minute.
Redis keeps it under the digest of its token.
"""

import hashlib
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

from core.errors import (
    Internal,
    Invalid,
    TooManyRequests,
    Unauthenticated,
)
from core.one_time_tokens import OneTimeToken

PREFIX = "kubegale:ticket:"
TOKEN_BYTES = 32
# Seconds for Redis to accept a connection, and to answer.
TIMEOUT = 3
MAX_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket opens: a kind of stream, for one caller, on one target.

    `host` is where the caller's page came from. `session` is the server's id of the stream. One
    that the caller named instead is `claimed`, and opens nothing.
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
        """The session's public name, for labels, quotas and recordings; the id stays secret."""
        return public_session_name(self.session)


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """The token, which is handed out once, and when it expires."""

    token: str
    expires_at: datetime


def public_session_name(session: str) -> str:
    """A session's public name: 32 hexadecimal digits of its id's SHA-256."""
    return hashlib.sha256(session.encode()).hexdigest()[:32]


def _ticket_key(token: OneTimeToken) -> str:
    return PREFIX + token.digest


def _unspent_key(user: int) -> str:
    """The sorted set of a user's unspent tickets: key of the ticket -> when it expires."""
    return f"{PREFIX}unspent:{user}"


@lru_cache(maxsize=1)
def blocking_redis(url: str) -> "redis.Redis":
    """The connections to Redis of code that may block."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
    )


def issue(ticket: Ticket) -> IssuedTicket:
    """Store the ticket for TICKET_SECONDS.

    Invalid when its options are too large, TooManyRequests when its user has TICKETS_PER_USER
    unspent ones, Internal when Redis does not answer.
    """
    content = orjson.dumps(asdict(ticket))
    if len(content) > MAX_BYTES:
        raise Invalid(f"the options of a ticket are larger than {MAX_BYTES // 1024} KiB")
    token = OneTimeToken.generate(size=TOKEN_BYTES)
    try:
        unspent = _store_ticket(_ticket_key(token), content, ticket.user)
    except redis.RedisError as error:
        raise Internal("the store of tickets does not answer") from error
    if unspent > settings.TICKETS_PER_USER:
        raise TooManyRequests(
            f"{settings.TICKETS_PER_USER} tickets are unspent: use one or wait until they expire"
        )
    lifetime = timedelta(seconds=settings.TICKET_SECONDS)
    return IssuedTicket(token.secret, datetime.now(UTC) + lifetime)


def _store_ticket(key: str, content: bytes, user: int) -> int:
    """Write the ticket, unless its user has too many; returns how many are unspent with it."""
    now = time.time()
    unspent_key = _unspent_key(user)
    with blocking_redis(settings.REDIS_URL).pipeline() as pipe:
        pipe.zremrangebyscore(unspent_key, 0, now)
        # Counted before it is written, so that many requests at once cannot pass the limit
        # together.
        pipe.zadd(unspent_key, {key: now + settings.TICKET_SECONDS})
        pipe.zcard(unspent_key)
        pipe.expire(unspent_key, settings.TICKET_SECONDS)
        unspent = int(pipe.execute()[2])
        if unspent > settings.TICKETS_PER_USER:
            pipe.zrem(unspent_key, key)
        else:
            pipe.set(key, content, ex=settings.TICKET_SECONDS)
        pipe.execute()
    return unspent


async def redeem(
    client: "redis.asyncio.Redis",
    token: str,
    kind: str,
    session: str,
) -> Ticket:
    """Spend a ticket and return it.

    Unauthenticated when it is unknown, expired, used before or for another stream; Internal when
    Redis does not answer.
    """
    key = _ticket_key(OneTimeToken(token))
    try:
        # GETDEL is atomic: of two sockets with one ticket only one gets it.
        content = await client.getdel(key)
    except redis.RedisError as error:
        raise Internal("the store of tickets does not answer") from error
    ticket = Ticket(**orjson.loads(content)) if content else None
    if ticket is not None:
        # Where this fails, the ticket counts as unspent until it would have expired.
        with suppress(redis.RedisError):
            await client.zrem(_unspent_key(ticket.user), key)
    if ticket is None or ticket.kind != kind or ticket.session != session:
        raise Unauthenticated("the ticket is unknown, expired or was used before")
    return ticket
