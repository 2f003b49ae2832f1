"""Passing a request to its cluster, and the answer back, as bytes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.conf import settings

from access import policy
from clusters.api_errors import unreachable
from clusters.circuit_breaker import api_group
from clusters.raw_connections import RawConnection
from clusters.stream_clients import stream_client
from clusters.streams import StreamClient
from core.errors import ClusterUnavailable, DomainError
from gateway import guards, records, reviews, rights
from gateway.admission import admit
from gateway.answer_bodies import AnswerBody
from gateway.messages import Caller, Request, RequestHead, Response, Target
from gateway.port_pages import PortPage
from gateway.request_info import RequestInfo
from gateway.rights import Need
from gateway.sessions import TOKEN_PROTOCOL, ClientLeft, Session, refusal_of
from gateway.status import forbidden, refusal
from gateway.tunnels import join
from gateway.wire import (
    END,
    HOP_BY_HOP,
    LAST_CHUNK,
    BadMessage,
    WireAnswer,
    WireRequest,
    encode_chunk,
    encode_head,
    parse_answer,
)

if TYPE_CHECKING:
    from gateway.listening import Gateway

P = ParamSpec("P")
T = TypeVar("T")
# Of the client and its hop, or what would make the cluster believe it is somebody else.
NOT_FORWARDED = HOP_BY_HOP | {
    "authorization",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
}
NOT_FORWARDED_PREFIXES = ("impersonate-", "x-remote-", "x-kubegale-", "x-forwarded-", "x-real-")
# A proxied service must not set cookies for our own pages.
NOT_RETURNED = HOP_BY_HOP | {"set-cookie", "content-length"}
# What connections may be upgraded to.
PROTOCOLS = frozenset({"websocket", "spdy/3.1"})
# Parts of an object whose writes answer the object itself.
WRITTEN_SUBRESOURCES = frozenset({"", "ephemeralcontainers", "finalize", "resize", "status"})
# Bytes of an answer that are looked at for the object's uid and version.
MAX_WRITTEN = 1024 * 1024
REPEATABLE = frozenset({"GET", "HEAD"})


@dataclass(slots=True)
class Call:
    """One request on its way. `body` is the body where it was read before, None where it streams.

    `is_unbounded` says that the caller administers the whole cluster. `page` is where a browser has
    opened a port by a link.
    """

    session: Session
    wire: WireRequest
    request: Request
    need: Need
    cluster: int
    request_id: str
    is_unbounded: bool
    page: PortPage | None = None
    body: bytes | None = None
    is_recorded: bool = False


class Forwarding:
    """Answers requests to live clusters."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    async def serve(
        self,
        session: Session,
        wire: WireRequest,
        head: RequestHead,
        info: RequestInfo,
        target: Target,
        proof: str | Mapping[str, Any],
        request_id: str,
        *,
        page: PortPage | None = None,
    ) -> bool:
        """Answer one request; whether the connection may serve another one.

        `proof` is what `admit` takes.
        """
        if wire.upgrade and wire.upgrade not in PROTOCOLS:
            # Through h2c, for one, further requests could pass that nobody has judged.
            answer = refusal(400, f"an upgrade to {wire.upgrade[:40]} is not supported")
            return await session.send(wire, answer, request_id)
        need = rights.need_of(info, target.cluster, upgrades=bool(wire.upgrade))
        threads = self._gateway.threads
        bulkhead = self._gateway.bulkhead
        with bulkhead.waiting(target.cluster) as deciding:
            async with deciding:
                admission = await threads.run(admit, proof, need, is_review=reviews.is_own(info))
            caller = Caller(admission.credential, session.address)
            request = Request(head, info, target, caller)
            if admission.refused is not None:
                await threads.run(records.record_refusal, request, need.audited, request_id)
                answer = forbidden(caller.username, info, admission.refused.reason)
                return await session.send(wire, answer, request_id)
        call = Call(
            session,
            wire,
            request,
            need,
            admission.cluster,
            request_id,
            admission.is_unbounded,
            page,
        )
        async with bulkhead.open_request(request.caller.user):
            own = await self._own_answer(call)
            if own is not None:
                return await session.send(wire, own, request_id)
            return await self._pass_on(call)

    async def _own_answer(self, call: Call) -> Response | None:
        """The answer of the gateway itself, where it has one; None for the cluster's."""
        info = call.request.info
        session = call.session
        if reviews.is_own(info):
            call.body = await session.read_small_body(call.wire, reviews.MAX_BODY)
            return await self._ask_in_turn(call, reviews.respond, call.request, call.body)
        if guards.is_delete(info) and (
            answer := await self._ask_in_turn(
                call, guards.refuse_protected, call.request, call.cluster
            )
        ):
            await self._record(call, answer.status)
            return answer
        if guards.starts_debug_container(info):
            call.body = await session.read_small_body(call.wire, guards.MAX_POD_BODY)
            answer = await self._ask_in_turn(
                call, guards.refuse_debug_images, call.request, call.cluster, call.body
            )
            if answer is not None:
                await self._record(call, answer.status)
            return answer
        if call.is_unbounded or not guards.gives_rights(info):
            return None
        call.body = await session.read_small_body(call.wire, guards.MAX_ROLE_BODY)
        checked = await self._ask_in_turn(
            call, guards.write_role, call.request, call.cluster, call.body
        )
        if isinstance(checked, Response):
            await self._record(call, checked.status)
            return checked
        call.body = checked
        return None

    async def _ask_in_turn(
        self, call: Call, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a function that asks the cluster returns: few of one cluster run at a time.

        So that one that hangs leaves threads for the others.
        """
        with self._gateway.bulkhead.waiting(call.request.target.cluster) as deciding:
            async with deciding:
                return await self._gateway.threads.run(function, *args, **kwargs)

    async def _record(self, call: Call, status: int, written: bytes = b"") -> None:
        """Note what became of the request, before its answer is seen.

        `written`: the object as the cluster has it after a write, where the answer has it.
        """
        if call.is_recorded:
            return
        call.is_recorded = True
        info = call.request.info
        act = call.need.audited
        is_write = info.is_resource and not info.is_read
        if reviews.is_review(info) or not (
            is_write or policy.is_audited(act.verb, act.kind, act.group)
        ):
            return
        await self._gateway.threads.run(
            records.record_answer,
            call.request,
            act,
            status,
            call.request_id,
            written=written,
        )

    async def _record_answer(self, call: Call, answer: WireAnswer, body: AnswerBody) -> None:
        """As `_record`, with the object that was written."""
        written = b""
        try:
            if _has_written_object(call, answer) and body.is_plain_json():
                async with asyncio.timeout(settings.GATEWAY_ANSWER_SECONDS):
                    written = await body.read_short(MAX_WRITTEN)
        finally:
            # The cluster has done it, even when the rest of its answer never comes.
            await self._record(call, answer.status, written)

    async def _pass_on(self, call: Call) -> bool:
        session = call.session
        try:
            async with stream_client(call.cluster, call.request.caller.user) as client:
                return await self._exchange(call, client)
        except DomainError as error:
            answer = refusal_of(error)
            await self._record(call, answer.status)
            return await session.send(call.wire, answer, call.request_id)
        except (ClientLeft, OSError, BadMessage, asyncio.IncompleteReadError):
            # Nobody knows what the cluster has done: the trail and the store are told anyway.
            await self._record(call, 504)
            raise

    async def _exchange(self, call: Call, client: StreamClient) -> bool:
        """Send the request and pass the answer on; ClusterUnavailable when none comes."""
        session = call.session
        with self._gateway.bulkhead.waiting(call.request.target.cluster):
            connection, sending, answer = await self._ask(call, client)
            abort = connection.abort
            session.on_lost.append(abort)
            body = AnswerBody(connection, answer)
            try:
                await self._record_answer(call, answer, body)
            except BaseException:
                abort()
                raise
        try:
            if answer.status == 101 and call.wire.upgrade:
                await self._tunnel(call, connection, answer)
                return False
            keep_alive, is_clean = await self._relay(call, answer, body)
            if sending is not None:
                is_sent = sending.done() and not sending.cancelled() and not sending.exception()
                is_clean = is_clean and is_sent
            if is_clean and answer.reusable:
                client.keep_raw(connection)
            else:
                abort()
        except BaseException:
            abort()
            raise
        finally:
            session.on_lost.remove(abort)
            if sending is not None and not sending.done():
                sending.cancel()
        if not session.body_is_read and call.body is None:
            return False
        return keep_alive

    # --- to the cluster ---------------------------------------------------------------------------
    async def _ask(
        self, call: Call, client: StreamClient
    ) -> tuple[RawConnection, "asyncio.Task[None] | None", WireAnswer]:
        """(connection, task that sends the body, head of the answer)."""
        wire = call.wire
        has_body = bool(call.body) if call.body is not None else wire.length != 0
        is_repeatable = wire.method in REPEATABLE and not has_body and not wire.upgrade
        head = self._head(call, client)
        while True:
            connection, used = await client.raw_connection(fresh=not is_repeatable)
            abort = connection.abort
            call.session.on_lost.append(abort)
            sending: asyncio.Task[None] | None = None
            try:
                connection.writer.write(head)
                if has_body:
                    sending = asyncio.create_task(self._send_body(call, connection))
                answer = await self._read_answer(call, client, connection, sending)
            except BaseException:
                if sending is not None:
                    sending.cancel()
                abort()
                raise
            finally:
                call.session.on_lost.remove(abort)
            if answer is not None:
                return connection, sending, answer
            abort()
            if sending is not None:
                sending.cancel()
            # A kept connection may end just as it is used again; a read is asked once more.
            if not used or call.session.writer.is_closing():
                reason = "the connection was closed before an answer came"
                raise unreachable("tcp", reason, "")

    def _head(self, call: Call, client: StreamClient) -> bytes:
        wire = call.wire
        lines = client.raw_head(wire.method, call.request.head.raw_target)
        headers = call.page.request_headers(wire.headers) if call.page else wire.headers
        lines += [
            f"{name}: {value}".encode("latin-1")
            for name, value in headers
            if name not in NOT_FORWARDED
            and not name.startswith(NOT_FORWARDED_PREFIXES)
            # `Impersonate_User` is the same name for some servers.
            and "_" not in name
            and name not in wire.nominated
            and name != "sec-websocket-protocol"
        ]
        if wire.upgrade:
            upgrade = next(value for name, value in wire.headers if name == "upgrade")
            lines += [b"Connection: Upgrade", f"Upgrade: {upgrade}".encode("latin-1")]
            lines += [
                f"Sec-WebSocket-Protocol: {value}".encode("latin-1")
                for value in _channel_protocols(wire)
            ]
        if call.body is not None:
            lines.append(b"Content-Length: %d" % len(call.body))
        elif wire.length is None:
            lines.append(b"Transfer-Encoding: chunked")
        elif wire.length or wire.method in {"POST", "PUT", "PATCH"}:
            lines.append(b"Content-Length: %d" % wire.length)
        return b"\r\n".join(lines) + END

    async def _send_body(self, call: Call, connection: RawConnection) -> None:
        writer = connection.writer
        if call.body is not None:
            writer.write(call.body)
            await writer.drain()
            return
        is_chunked = call.wire.length is None
        try:
            async for data in call.session.read_body(call.wire):
                writer.write(encode_chunk(data) if is_chunked else data)
                await writer.drain()
        except (BadMessage, ClientLeft):
            # The cluster must not take half a body for a whole one.
            connection.abort()
            raise
        if is_chunked:
            writer.write(LAST_CHUNK)
            await writer.drain()

    async def _read_answer(
        self,
        call: Call,
        client: StreamClient,
        connection: RawConnection,
        sending: "asyncio.Task[None] | None",
    ) -> WireAnswer | None:
        """The head of the answer; None when the cluster closes the connection instead."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        reading = asyncio.ensure_future(self._read_head(call, connection))
        try:
            if sending is not None:
                await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
                # A body may take as long as the client needs; the answer to it may not.
                fault = sending.exception() if sending.done() else None
                if isinstance(fault, BadMessage | ClientLeft):
                    raise fault
            # The head of a followed log comes with its first line.
            follows = call.request.info.subresource == "log" or _is_proxied(call.request.info)
            # A browser gives up on a page that does not begin; one of its pod may ask for many.
            is_patient = follows and call.page is None
            seconds = None if is_patient else settings.GATEWAY_ANSWER_SECONDS
            async with asyncio.timeout(seconds):
                answer = await reading
        except TimeoutError:
            # A slow pod behind its proxy says nothing about the cluster.
            if api_group(call.request.info.path) and not _is_proxied(call.request.info):
                client.circuit.record_timeout(started)
            raise ClusterUnavailable(
                "the cluster did not answer in time", reason="timeout", status=504
            ) from None
        finally:
            reading.cancel()
        if answer is not None:
            client.circuit.record_success()
        return answer

    async def _read_head(self, call: Call, connection: RawConnection) -> WireAnswer | None:
        while True:
            try:
                raw = await connection.reader.readuntil(END)
                answer = parse_answer(raw, call.wire.method)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise _bad_answer() from None
                return None
            except ConnectionError:
                return None
            except (asyncio.LimitOverrunError, BadMessage):
                raise _bad_answer() from None
            if answer.status == 101 and not call.wire.upgrade:
                raise _bad_answer()
            # 100 Continue was answered by us already; others of its kind say nothing final.
            if answer.status >= 200 or answer.status == 101:
                return answer

    # --- to the client ----------------------------------------------------------------------------
    async def _relay(self, call: Call, answer: WireAnswer, body: AnswerBody) -> tuple[bool, bool]:
        """(whether the client's connection, and the cluster's, may be used again)."""
        session = call.session
        wire = call.wire
        writer = session.writer
        parts = body.parts()
        page = call.page
        if page and answer.length != 0 and page.is_rewritten(answer.status, answer.headers):
            # Its length will be another one.
            answer = replace(answer, length=None)
            parts = page.rewrite(parts)
        is_chunked = answer.length in {None, -1} and not wire.is_http_1_0
        has_end = is_chunked or answer.length not in {None, -1}
        body_is_read = session.body_is_read or call.body is not None
        keep_alive = wire.keep_alive and has_end and body_is_read
        keep_alive = keep_alive and not self._gateway.is_stopping
        head = self._answer_head(call, answer, is_chunked=is_chunked, keep_alive=keep_alive)
        writer.write(head)
        if answer.length == 0:
            return keep_alive, True
        if answer.length not in {None, -1}:
            async for data in parts:
                writer.write(data)
                await writer.drain()
            return keep_alive, True
        session.is_streaming = True
        try:
            with self._gateway.reauthoriser.watch(call.request.caller, call.need, session.abort):
                is_clean = False
                async for data in parts:
                    if data:
                        writer.write(encode_chunk(data) if is_chunked else data)
                        await writer.drain()
                is_clean = answer.length is None
        finally:
            session.is_streaming = False
        if is_chunked:
            writer.write(LAST_CHUNK)
        await writer.drain()
        return keep_alive, is_clean

    def _answer_head(
        self, call: Call, answer: WireAnswer, *, is_chunked: bool, keep_alive: bool
    ) -> bytes:
        headers = [
            (name, self._own_location(call, value) if name == "location" else value)
            for name, value in answer.headers
            if name not in NOT_RETURNED
        ]
        if call.page is not None:
            headers = call.page.answer_headers(headers)
        lengths = [pair for pair in answer.headers if pair[0] == "content-length"]
        if is_chunked:
            headers.append(("transfer-encoding", "chunked"))
        elif answer.status not in {204, 304} and lengths:
            # For HEAD it is the length of what GET would answer.
            headers.append(lengths[0])
        headers.append(("x-request-id", call.request_id))
        headers.append(("connection", "keep-alive" if keep_alive else "close"))
        return encode_head(answer.status, answer.reason, headers)

    def _own_location(self, call: Call, location: str) -> str:
        """A path of the cluster as a path of the gateway; other addresses are left out."""
        if call.page is not None:
            return call.page.location(location)
        if location.startswith("/") and not location.startswith("//"):
            raw = call.wire.target.split("/", 3)[2]
            return f"/kube/{raw}{location}"
        return ""

    async def _tunnel(self, call: Call, connection: RawConnection, answer: WireAnswer) -> None:
        """Both directions of an upgraded connection as plain bytes, until one of them ends."""
        session = call.session
        headers = [
            pair
            for pair in answer.headers
            if pair[0] not in NOT_RETURNED or pair[0] in {"connection", "upgrade"}
        ]
        session.writer.write(encode_head(101, answer.reason, headers))
        with self._gateway.reauthoriser.watch(call.request.caller, call.need, session.abort):
            await join(session.reader, session.writer, connection.reader, connection.writer)


def _channel_protocols(wire: WireRequest) -> list[str]:
    """The WebSocket protocols that the client offers, without one that holds a token."""
    lines = []
    for name, value in wire.headers:
        if name == "sec-websocket-protocol":
            words = [word.strip() for word in value.split(",")]
            words = [word for word in words if not word.startswith(TOKEN_PROTOCOL)]
            if words:
                lines.append(", ".join(words))
    return lines


def _has_written_object(call: Call, answer: WireAnswer) -> bool:
    info = call.request.info
    is_write = info.is_resource and not info.is_read and not call.wire.upgrade
    is_own = info.subresource in WRITTEN_SUBRESOURCES
    is_real = not call.request.head.parameter("dryRun")
    return is_write and is_own and is_real and 200 <= answer.status < 300


def _is_proxied(info: RequestInfo) -> bool:
    return info.subresource == "proxy"


def _bad_answer() -> ClusterUnavailable:
    return ClusterUnavailable(
        "what the cluster answers is not HTTP", reason="bad_answer", status=502
    )
