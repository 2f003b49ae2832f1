"""An answer on its way to a client that may read slowly: the server behind is free at once."""

import asyncio

from edge.connections import Connection
from edge.limits import Limits
from edge.spool import Share, Spool


class ClientGone(Exception):
    """The client has left, or has not read for too long."""


class Outlet:
    """The way of one answer to its client.

    It writes directly while the client keeps up. From the first time that it does not, all of the
    answer passes through a spool, so that its order stays.
    """

    def __init__(self, client: Connection, limits: Limits, share: Share) -> None:
        self._client = client
        self._stall = limits.stall_seconds
        self._share = share
        self._spool = Spool(share, limits.spool_memory, limits.answer_spool)
        self._pump: asyncio.Task[None] | None = None
        self._filled = asyncio.Event()
        self._moved = asyncio.Event()
        self._complete = False
        self._failed = False

    async def put(self, data: bytes) -> None:
        """Send or spool the bytes; waits only while the spool is full. ClientGone."""
        if self._pump is None and not self._client.blocked:
            self._client.write(data)
            if self._client.is_lost:
                raise ClientGone
            return
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        while not self._failed and not self._spool.put(data):
            if self._share.is_short_of(len(data)):
                # Else the answers that it leaves unread would hold the threads of the server.
                self._client.abort()
                raise ClientGone
            if not self._spool.waiting:
                # Other answers have used up the budget: this one goes without a spool.
                await self._write_directly(data)
                return
            self._moved.clear()
            await self._moved.wait()
        if self._failed:
            raise ClientGone
        self._filled.set()

    async def finish(self) -> None:
        """Wait until all of it is with the client's own connection. ClientGone."""
        if self._pump is not None:
            self._complete = True
            self._filled.set()
            await self._pump
        if self._failed or self._client.is_lost:
            raise ClientGone

    def close(self) -> None:
        """Drop what waits."""
        if self._pump is not None:
            self._pump.cancel()
        self._spool.close()

    async def _write_directly(self, data: bytes) -> None:
        try:
            if not await self._client.writable(self._deadline()):
                raise ClientGone
        except TimeoutError:
            raise ClientGone from None
        self._client.write(data)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._stall

    async def _run(self) -> None:
        """Move the spool to the client until all of it is written."""
        try:
            while await self._client.writable(self._deadline()):
                if data := self._spool.take():
                    self._client.write(data)
                    self._moved.set()
                    # Also a client that reads fast takes a part in each turn of the loop.
                    await asyncio.sleep(0)
                elif self._complete:
                    return
                else:
                    self._filled.clear()
                    await self._filled.wait()
            self._failed = True
        except (TimeoutError, OSError):
            self._failed = True
            self._client.abort()
        finally:
            self._moved.set()
