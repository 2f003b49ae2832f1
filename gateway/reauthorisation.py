"""Asking again whether what lasts (watches, followed logs, commands, ports) may go on."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError

from core.errors import ClusterUnavailable, Unauthenticated
from core.sockets.connections import DatabaseThreads
from gateway import rights
from gateway.messages import Caller
from gateway.rights import Need, Refused

log = logging.getLogger(__name__)
Cut = Callable[[], None]


class Reauthoriser:
    """Cuts streams whose caller has lost the credential or a right.

    Streams of one caller that need the same are asked for together, so that a thousand watches cost
    a few questions.
    """

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads
        self._streams: dict[tuple[bytes, Need], set[Cut]] = {}
        self._callers: dict[tuple[bytes, Need], Caller] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def watch(self, caller: Caller, need: Need, cut: Cut) -> Iterator[None]:
        """Ask again for the length of the block; `cut` ends the stream."""
        key = (_digest(caller.credential), need)
        self._streams.setdefault(key, set()).add(cut)
        self._callers.setdefault(key, caller)
        try:
            yield
        finally:
            streams = self._streams[key]
            streams.discard(cut)
            if not streams:
                del self._streams[key]
                del self._callers[key]

    async def run(self) -> None:
        """Ask for every stream each STREAM_REAUTHORISE_SECONDS, for ever."""
        while True:
            await asyncio.sleep(settings.STREAM_REAUTHORISE_SECONDS)
            keys_by_cluster: dict[str, list[tuple[bytes, Need]]] = defaultdict(list)
            for key in self._streams:
                keys_by_cluster[key[1].audited.cluster].append(key)
            # A cluster that hangs while it is asked for a namespace's uid delays no other's.
            for cluster, keys in keys_by_cluster.items():
                if cluster not in self._rounds:
                    self._rounds[cluster] = asyncio.create_task(self._ask(cluster, keys))

    async def _ask(self, cluster: str, keys: Sequence[tuple[bytes, Need]]) -> None:
        try:
            for key in keys:
                caller = self._callers.get(key)
                if caller is not None and not await self._is_allowed(caller, key[1]):
                    for cut in list(self._streams.get(key, ())):
                        cut()
        finally:
            del self._rounds[cluster]

    async def _is_allowed(self, caller: Caller, need: Need) -> bool:
        try:
            await self._threads.run(rights.check, caller.credential, need)
        except (Refused, Unauthenticated):
            return False
        except (ClusterUnavailable, DatabaseError):
            # Who does not answer takes no right away; it is asked again.
            return True
        except Exception:
            log.exception("whether a stream may go on could not be asked")
            return False
        return True


def _digest(credential: Any) -> bytes:
    return orjson.dumps(credential, option=orjson.OPT_SORT_KEYS)
