"""The threads in which answers out of the store read the database."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from core.sockets.connections import DatabaseThreads

P = ParamSpec("P")
T = TypeVar("T")
# Long lists hold none of the threads of sockets and of live clusters.
THREADS = 4
_threads = DatabaseThreads(THREADS, "store")


async def in_store_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, called in one of the threads."""
    return await _threads.run(function, *args, **kwargs)


async def close() -> None:
    """Close the connections of the threads, at the end of the process."""
    await _threads.close()
