"""How many transfers run at once: in this process, and for each person over all processes."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from django.conf import settings

from core.errors import DomainError, TooManyRequests
from core.sockets import quota

TRANSFERS = "file-transfers"
# Seconds after which a refused caller may try again.
RETRY_SECONDS = 5
_running: set[str] = set()


@asynccontextmanager
async def transfer_slot(user: int) -> AsyncIterator[None]:
    """Count a transfer while the block lasts; TooManyRequests above either limit."""
    if len(_running) >= settings.FILES_TRANSFERS:
        raise TooManyRequests(
            f"{settings.FILES_TRANSFERS} transfers are running: try again later",
            retry_after=RETRY_SECONDS,
        )
    session = uuid.uuid4().hex
    _running.add(session)
    renewing: asyncio.Task[None] | None = None
    try:
        await _acquire(user, session)
        renewing = asyncio.create_task(_renew(user, session))
        yield
    finally:
        _running.discard(session)
        if renewing is not None:
            renewing.cancel()
            # Shielded: the task is cancelled when its client leaves.
            await asyncio.shield(quota.release_slot(TRANSFERS, user, session))


async def _acquire(user: int, session: str) -> None:
    limit = settings.FILES_TRANSFERS_PER_USER
    try:
        await quota.acquire_slot(TRANSFERS, user, session, limit)
    except TooManyRequests:
        raise TooManyRequests(
            f"you have {limit} transfers running: try again later", retry_after=RETRY_SECONDS
        ) from None


async def _renew(user: int, session: str) -> None:
    """Hold the slot: it expires in Redis unless its process renews it."""
    while True:
        await asyncio.sleep(settings.STREAM_PING_SECONDS)
        with suppress(DomainError):
            limit = settings.FILES_TRANSFERS_PER_USER
            await quota.acquire_slot(TRANSFERS, user, session, limit)
