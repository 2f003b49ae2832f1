"""Tickets: made over the JSON API by a caller with the right, spent once within a minute by a WebSocket; kept in Redis as hashes."""

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
import redis
import redis.asyncio
from django.conf import settings

from kubegale.errors import Internal, Unauthenticated

PREFIX = "kubegale:ticket:"
TIMEOUT = 3


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


@lru_cache(maxsize=1)
def store(url: str) -> "redis.Redis":
    """The connections to Redis of code that may block."""
    return redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)


def issue(ticket: Ticket) -> Issued:
    """Keep the ticket for TICKET_SECONDS."""
    token, life = secrets.token_urlsafe(32), settings.TICKET_SECONDS
    try:
        store(settings.REDIS_URL).set(_key(token), orjson.dumps(asdict(ticket)), ex=life)
    except redis.RedisError as error:
        raise Internal("the store of tickets does not answer") from error
    return Issued(token, datetime.now(UTC) + timedelta(seconds=life))


async def redeem(kept_in: "redis.asyncio.Redis", token: str, kind: str, session: str) -> Ticket:
    """Spend a ticket; Unauthenticated when it is unknown, expired, used before or for something else."""
    try:
        kept = await kept_in.getdel(_key(token))
    except redis.RedisError as error:
        raise Internal("the store of tickets does not answer") from error
    ticket = Ticket(**orjson.loads(kept)) if kept else None
    if ticket is None or ticket.kind != kind or ticket.session != session:
        raise Unauthenticated("the ticket is unknown, expired or was used before")
    return ticket
