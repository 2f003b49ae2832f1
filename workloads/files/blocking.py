"""Small calls to a container's files from threads of the web server, each with a time limit."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from django.conf import settings

from clusters import impersonation, registry
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.streams import StreamClient
from workloads.files.containers import Container, find_container
from workloads.files.failures import timed_out

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Container], Awaitable[T]]


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


def call_container(
    cluster: Cluster, pod: Object, name: str, work: Work[T], *, may_debug: bool
) -> tuple[Container, T]:
    """(container, what the work returns), within FILES_COMMAND_SECONDS.

    DebugNeeded, before anything is started, unless `may_debug`.
    """
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
                async with asyncio.timeout(settings.FILES_COMMAND_SECONDS):
                    return container, await work(container)
            except TimeoutError:
                raise timed_out() from None
        finally:
            await client.close()

    return _run_to_end(run)
