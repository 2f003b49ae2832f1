"""Starting and stopping: the listener, the certificates, the controllers' loop."""

import asyncio
import contextlib
import gc
import logging
import secrets
from pathlib import Path

from aiohttp import web

from simcluster import certificates, kubeconfig, snapshots
from simcluster.cluster import Cluster, Settings
from simcluster.controllers import Manager
from simcluster.resources import Object
from simcluster.server import Server

_log = logging.getLogger(__name__)


def _load_token(folder: Path | None) -> str:
    """The administrator's token in the folder, a new one at first; "" without a folder."""
    if folder is None:
        return ""
    path = folder / "token"
    try:
        token = path.read_text().strip()
    except OSError:
        token = ""
    if not token:
        token = secrets.token_urlsafe(32)
        certificates.write_private(path, token.encode())
    return token


class Running:
    """A cluster that listens; `async with` starts and stops it."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        folder: Path | None = None,
    ) -> None:
        self.settings = settings
        self.host = host
        self.port = port
        self.folder = folder
        token = token or _load_token(folder)
        path = folder / "objects" if folder is not None else None
        snapshot = snapshots.read_or_set_aside(path) if path is not None else None
        self.cluster = Cluster(settings, token=token)
        self.manager = Manager(self.cluster)
        # Controllers hear of every object from the first one on, as after their first list.
        self.cluster.store.listeners.append(self.manager.changed)
        self.cluster.populate(snapshot)
        self._keeper: snapshots.Keeper | None = None
        self._saving: asyncio.Task[None] | None = None
        if path is not None:
            self._keeper = snapshots.Keeper(
                path,
                self.cluster.store,
                self.cluster.tokens,
                besides=self.cluster.admin_token,
            )
        self.server = Server(self.cluster)
        self.kubeconfig: Object = {}
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"https://{self.host}:{self.port}"

    async def __aenter__(self) -> "Running":
        issued = certificates.make(
            sorted({"localhost", "127.0.0.1", "kubernetes.default.svc", self.host}),
            self.folder / "authority.pem" if self.folder else None,
        )
        self.cluster.authority = issued.authority.decode()
        if self._keeper is not None:
            # Before the first answer: revisions that a crash loses must be below the next start's.
            self._keeper.save()
        self._runner = web.AppRunner(
            self.server.application(),
            access_log=None,
            shutdown_timeout=0.5,
            handler_cancellation=True,
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            self.host,
            self.port,
            ssl_context=issued.context,
            backlog=1024,
        )
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.server.address = f"{self.host}:{self.port}"
        self.kubeconfig = kubeconfig.make(self.url, issued.authority, self.cluster.admin_token)
        self._loop = asyncio.create_task(self.manager.run())
        if self._keeper is not None:
            self._saving = asyncio.create_task(self._keeper.run())
        # Lists make many short-lived objects, which need no collection each.
        gc.set_threshold(50_000, 20, 50)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        # Open watches end first, or the runner would wait for them.
        self.cluster.hub.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._keeper is not None and self._saving is not None:
            self._keeper.stop()
            await self._saving
