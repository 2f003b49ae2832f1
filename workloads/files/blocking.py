"""Small calls to a container's files from threads of the web server, each with a time limit."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

from django.conf import settings

from clusters import impersonation, registry
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.streams import StreamClient
from workloads.files.containers import Container
from workloads.files.failures import timed_out
from workloads.files.lookup import find_container

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Container], Awaitable[T]]
Beat = Callable[[], None]
# Between two calls of `beat`.
BEAT_SECONDS = 1.0
# Until a cancelled coroutine notices.
STOP_SECONDS = 0.2


class DebugNeeded(Exception):
    """Only a debug container reaches the files: the right for it is to be checked first."""


def _run_to_end(run: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """What the coroutine returns, on an event loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    # A thread has one running loop at most, so this one takes another thread.
    with ThreadPoolExecutor(1, thread_name_prefix="files") as pool:
        return pool.submit(copy_context().run, asyncio.run, run()).result()


def run_with_beats(run: Callable[[], Coroutine[Any, Any, R]], beat: Beat) -> R:
    """What the coroutine returns, run in another thread while this one calls `beat` now and then.

    What `beat` raises cancels the coroutine and is raised.
    """
    stop = threading.Event()

    async def run_until_stopped() -> R:
        task = asyncio.ensure_future(run())
        while not task.done():
            await asyncio.wait({task}, timeout=STOP_SECONDS)
            if stop.is_set():
                task.cancel()
        return await task

    with ThreadPoolExecutor(1, thread_name_prefix="files") as pool:
        future = pool.submit(copy_context().run, asyncio.run, run_until_stopped())
        try:
            while wait({future}, timeout=BEAT_SECONDS).not_done:
                beat()
        finally:
            stop.set()
        return future.result()


def call_container(
    cluster: Cluster,
    pod: Object,
    name: str,
    work: Work[T],
    *,
    may_debug: bool,
    seconds: float | None = None,
    beat: Beat | None = None,
) -> tuple[Container, T]:
    """(container, what the work returns), within `seconds`, FILES_COMMAND_SECONDS without them.

    DebugNeeded, before anything is started, unless `may_debug`. `beat` is called every second while
    the work lasts, in the caller's thread; what it raises ends the work.
    """
    patience = settings.FILES_COMMAND_SECONDS if seconds is None else seconds
    access = registry.read_access(cluster.kubeconfig)
    limits = registry.client_limits()
    identity = impersonation.current() if cluster.impersonate else None

    async def confirm_debug() -> None:
        if not may_debug:
            raise DebugNeeded

    async def run() -> tuple[Container, Any]:
        client = StreamClient(access, limits)
        try:
            acting = client.acting_as(identity) if identity else client
            container = await find_container(acting, pod, name, confirm_debug)
            try:
                async with asyncio.timeout(patience):
                    return container, await work(container)
            except TimeoutError:
                raise timed_out() from None
        finally:
            await client.close()

    return run_with_beats(run, beat) if beat else _run_to_end(run)
