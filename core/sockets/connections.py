"""What a process with sockets shares: database threads, the Redis pool, and quotas of streams."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import ParamSpec, TypeVar

import redis
import redis.asyncio
from django.conf import settings
from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 4
REDIS_CONNECTIONS = 8


class DatabaseThreads:
    """Threads for what uses the ORM: each has a connection to the database of its own."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns, called in one of the threads."""

        def call() -> T:
            # Django does this around requests only; a connection that the server closed would be
            # used again.
            close_old_connections()
            try:
                return function(*args, **kwargs)
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Close the connections of all threads, at the end of the process."""
        loop = asyncio.get_running_loop()
        # Without the barrier one thread could run several of the calls, and another one none.
        barrier = threading.Barrier(self._size, timeout=5)
        calls = [
            loop.run_in_executor(self._threads, _close_database, barrier) for _ in range(self._size)
        ]
        await asyncio.gather(*calls)


_threads = DatabaseThreads(THREADS, "database")


async def in_database_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that uses the ORM outside of the event loop, and return what it returns."""
    return await _threads.run(function, *args, **kwargs)


@lru_cache(maxsize=1)
def async_redis() -> "redis.asyncio.Redis":
    """The few connections to Redis of this process's event loop.

    The pool blocks: when hundreds of clients come at once, they wait for each other up to 30
    seconds.
    """
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        max_connections=REDIS_CONNECTIONS,
        timeout=30,
        socket_connect_timeout=5,
        socket_timeout=10,
    )
    return redis.asyncio.Redis(connection_pool=pool)


def _close_database(barrier: threading.Barrier) -> None:
    """Close this thread's connections, and wait until every other thread has closed its own."""
    connections.close_all()
    with suppress(threading.BrokenBarrierError):
        barrier.wait()


async def close_database() -> None:
    """Close the connections to the database."""
    await _threads.close()


async def close() -> None:
    """Close every connection, at the end of the process."""
    await close_database()
    await async_redis().aclose()
