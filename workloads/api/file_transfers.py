"""Up- and downloads of pods' files: what both share.

Each route checks rights and input as any other; the bytes then pass on the event loop
(`core.sockets.exchanges`), so that no thread of the web server is held.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from clusters import stream_clients
from clusters.manifests import Object
from core.api import audit
from core.api.attributes import AccessAttributes
from core.api.auth import authorise
from core.errors import DomainError, Internal, Rejected
from core.sockets.connections import in_database_thread
from core.sockets.exchanges import ON_EVENT_LOOP, ClientLeft, Exchange, TransferResponse
from workloads.api.files import FileView
from workloads.files.containers import Container
from workloads.files.lookup import find_container
from workloads.files.slots import transfer_slot

TAR_GZ = "tar.gz"
TAR = "tar"
FORMATS = (TAR_GZ, TAR)
Work = Callable[[Exchange, Container], Awaitable[Any]]


class TransferView(FileView):
    """A route whose bytes pass on the event loop."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """A transfer is audited and answered once it is done."""
        if isinstance(response, TransferResponse):
            return response
        return super().finalize_response(request, response, *args, **kwargs)

    def transfer(
        self,
        request: Request,
        act: AccessAttributes,
        pod: Object,
        container: str,
        work: Work,
    ) -> TransferResponse:
        """The response that leads to the event loop, where `work` does the rest.

        Rejected on the plain web server, which the front never asks for this.
        """
        if not getattr(request._request, ON_EVENT_LOOP, False):
            raise Rejected(
                "up- and downloads are answered by the event-driven server: "
                "ask at the address of the front, or at the WebSocket port",
                reason="WrongServer",
            )
        return TransferResponse(_Transfer(self, request, act, pod, container, work))

    def render(self, request: Request, result: Any) -> Response:
        """The rendered answer to the transfer: data, or the error that it ended with."""
        if isinstance(result, Exception):
            result = self.handle_exception(result)
        response: Response = super().finalize_response(request, result)
        response.render()
        return response


@dataclass(slots=True)
class _Transfer:
    """What happens on the event loop, as a function of the exchange."""

    view: TransferView
    request: Request
    act: AccessAttributes
    pod: Object
    container: str
    work: Work

    async def __call__(self, exchange: Exchange) -> None:
        result: Any = None
        try:
            result = await self._run(exchange)
        except ClientLeft:
            self.view.note(self.request, self.act, cancelled=True)
        except asyncio.CancelledError:
            self.view.note(self.request, self.act, cancelled=True)
            await asyncio.shield(self._report(None))
            raise
        except Exception as error:
            result = error
        if exchange.started or result is None:
            # An answer that ends early breaks the connection: uvicorn has not seen its end.
            await self._report(result if isinstance(result, Exception) else None)
            return
        response = await in_database_thread(self.view.render, self.request, result)
        await exchange.answer(response.status_code, dict(response.items()), response.content)

    async def _run(self, exchange: Exchange) -> Any:
        user = int(self.request.user.pk or 0)
        cluster = int(self.act.cluster)

        async def confirm_debug() -> None:
            debug = replace(self.act, verb="debug")
            await in_database_thread(authorise, self.view, self.request, debug)
            # The transfer ends when this right is lost, too.
            exchange.include_new_rights()

        async with transfer_slot(user), stream_clients.stream_client(cluster, user) as client:
            container = await find_container(client, self.pod, self.container, confirm_debug)
            self.view.note(self.request, self.act, container=container.name, via=container.via)
            return await self.work(exchange, container)

    async def _report(self, error: Exception | None) -> None:
        failure = error if isinstance(error, DomainError) or error is None else Internal("failed")
        await in_database_thread(audit.report, self.request, self.view.dialect.name, failure)
