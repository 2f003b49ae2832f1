"""Starts the protocol's server with its first request.

The protocol's library takes 20 MB of a process, and many installations have no agents.
"""

import asyncio
import logging

from django.conf import settings
from django.utils.module_loading import import_string

from agents import exchange

log = logging.getLogger(__name__)


class ServerTask:
    """The task that the server begins and ends in, as the protocol's library asks for."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._end = asyncio.Event()
        exchange.start_with(self.start)

    async def start(self) -> None:
        """Return once the server answers, or could not be started; the next call tries again."""
        if self._end.is_set():
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()

    async def close(self) -> None:
        """End the server; it starts no more."""
        self._end.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            # In a thread: loading takes a second or two, in which sockets must be served.
            server = await asyncio.to_thread(import_string, settings.AGENT_SERVER)
            async with server().running():
                self._ready.set()
                await self._end.wait()
        except Exception:
            log.exception("the server of agents could not be started")
        finally:
            self._ready.clear()
