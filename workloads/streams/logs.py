"""The log socket: the lines of one or many containers, in frames (KubeGale beyond 4.1)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from django.conf import settings

from clusters import stream_clients
from clusters.kinds import KINDS
from clusters.manifests import Object
from clusters.streams import StreamClient
from core.errors import DomainError, Invalid, TooManyRequests
from core.sockets import handshake, quota
from core.sockets.handshake import KeepAlive
from core.sockets.protocol import Closing, Socket, first_of, now
from core.sockets.send_buffer import SendBuffer
from core.sockets.tickets import Ticket
from workloads.objects.log_lines import (
    LogCursor,
    LogLine,
    line_filter,
    parse_cursor,
)
from workloads.streams.containers import (
    LogContainer,
    container_status,
    select_containers,
)
from workloads.streams.log_follower import (
    LogFollower,
    LogRequest,
    log_frame,
)
from workloads.streams.pod_watch import follow_pods

PODS = KINDS["pods"]
FLUSH_SECONDS = 10


def parse_cursors(text: str) -> Mapping[str, LogCursor]:
    """Where to continue, by source (`pod/container`); Invalid for anything else.

    A bare cursor counts for every source and stands under "".
    """
    if not text:
        return {}
    if not text.startswith("{"):
        return {"": parse_cursor(text)}
    try:
        cursors = orjson.loads(text)
    except orjson.JSONDecodeError:
        cursors = None
    is_mapping = isinstance(cursors, dict)
    if not is_mapping or not all(isinstance(value, str) for value in cursors.values()):
        raise Invalid(
            "cursor must be one that a log frame carried, or an object of them by source",
            field="cursor",
        )
    return {source: parse_cursor(value) for source, value in cursors.items()}


async def serve_logs(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/logs/{session}: a ticket opens it; ends with `eof` when every log has ended."""
    await socket.accept()
    token, first = await handshake.read_token(socket)
    ticket = await handshake.redeem(socket, token, "logs", arguments["session"])
    # A client that comes back continues where it was, with the same ticket's options.
    cursor = socket.query.get("cursor") or first.get("cursor") or ticket.options.get("cursor") or ""
    if not isinstance(cursor, str):
        cursor = orjson.dumps(cursor).decode()
    socket_client = handshake.client_of_ticket(
        ticket, quota_kind="logs", limit=settings.LOG_STREAMS_PER_USER
    )
    async with handshake.hold_quota(socket_client):
        stream = LogStream(socket, ticket, parse_cursors(cursor))
        keep_alive = KeepAlive()
        async with stream_clients.stream_client(ticket.cluster, ticket.user) as client:
            try:
                await first_of(
                    stream.read(client),
                    stream.send(),
                    stream.listen(keep_alive),
                    stream.renew_slots(),
                    socket_client.watch(stream.outbox.notify, keep_alive),
                )
            finally:
                await stream.release_slots()


class LogStream:
    """One client's logs: followers put lines into the outbox, one task sends them."""

    def __init__(
        self,
        socket: Socket,
        ticket: Ticket,
        cursors: Mapping[str, LogCursor],
    ) -> None:
        options = ticket.options
        self._socket = socket
        self._ticket = ticket
        self._cursors = cursors
        self._names = list(options.get("containers") or [])
        self._filter = line_filter(
            str(options.get("include") or ""),
            str(options.get("exclude") or ""),
        )
        self._timestamps = bool(options.get("timestamps"))
        self._batched = bool(options.get("batch"))
        self._log_request = LogRequest(
            options.get("query") or {},
            bool(options.get("follow", True)),
        )
        # (pod uid, container name) of every container that was followed.
        self._attached: set[tuple[str, str]] = set()
        self._slots: set[str] = set()
        self.outbox = SendBuffer(settings.LOG_BUFFER_BYTES, settings.LOG_STALL_SECONDS)

    # --- reading --------------------------------------------------------------
    async def read(self, client: StreamClient) -> None:
        """Follow every container until all have ended, then report that."""
        selector = self._ticket.options.get("selector")
        self.outbox.notify(
            {
                "type": "status",
                "state": "connected",
                "session": self._ticket.session,
                "timestamp": now(),
            }
        )
        try:
            async with asyncio.TaskGroup() as followers:
                async for pod in self._pods(client):
                    for container in self._new_containers(pod, every=selector is not None):
                        if await self._acquire_slot(container):
                            followers.create_task(self._follow(client, container))
        except ExceptionGroup as group:
            # The first error is the cause; the others are its consequences.
            raise group.exceptions[0] from None
        await self.outbox.put({"type": "status", "state": "eof", "timestamp": now()}, 0)
        self.outbox.finish()
        # The sender ends the stream when the outbox is empty; this is for a client that stalls.
        await asyncio.sleep(FLUSH_SECONDS)

    async def _follow(self, client: StreamClient, container: LogContainer) -> None:
        """One container's log; releases its slot at the end."""
        try:
            await self._follower(client, container).run()
        finally:
            slot = self._slot_name(container)
            self._slots.discard(slot)
            await quota.release_slots(quota.LOG_SOURCES, self._ticket.user, [slot])

    def _slot_name(self, container: LogContainer) -> str:
        return f"{self._ticket.mark}/{container.uid}/{container.name}"

    async def _acquire_slot(self, container: LogContainer) -> bool:
        """Whether the user may follow one more log, over all their streams.

        TooManyRequests when this stream, of one named pod, would then have no log at all.
        """
        slot = self._slot_name(container)
        try:
            await quota.acquire_slot(
                quota.LOG_SOURCES,
                self._ticket.user,
                slot,
                settings.LOG_SOURCES_PER_USER,
            )
        except TooManyRequests:
            if not self._slots and self._ticket.options.get("selector") is None:
                raise
            self._report_limit([container])
            return False
        self._slots.add(slot)
        return True

    async def renew_slots(self) -> None:
        """Renew the slots of all logs that are followed: they expire when their process dies."""
        while True:
            await asyncio.sleep(settings.STREAM_PING_SECONDS)
            await quota.renew_slots(
                quota.LOG_SOURCES,
                self._ticket.user,
                self._slots,
            )

    async def release_slots(self) -> None:
        """Release all slots."""
        await quota.release_slots(quota.LOG_SOURCES, self._ticket.user, self._slots)

    def _report_limit(self, left_out: list[LogContainer]) -> None:
        names = ", ".join(container.source for container in left_out)
        self.outbox.notify(
            {
                "type": "status",
                "state": "limited",
                "reason": f"too many sources; left out: {names}",
                "timestamp": now(),
            }
        )

    def _pods(self, client: StreamClient) -> AsyncIterator[Object]:
        """The ticket's pod, or the pods of its selector as they come and go."""
        selector = self._ticket.options.get("selector")
        if selector is None:
            return self._read_named_pod(client)
        return self._follow_selected_pods(client, str(selector))

    async def _read_named_pod(self, client: StreamClient) -> AsyncIterator[Object]:
        path = PODS.path(namespace=self._ticket.namespace, name=self._ticket.name)
        yield await client.json("GET", path)

    async def _follow_selected_pods(
        self, client: StreamClient, selector: str
    ) -> AsyncIterator[Object]:
        async for pods in follow_pods(client, self._ticket.namespace, selector):
            for pod in pods:
                yield pod
            if not self._log_request.follow:
                return

    def _new_containers(self, pod: Object, *, every: bool) -> list[LogContainer]:
        """Containers of the pod that are not followed yet, as far as the stream may have more.

        Of a selector's pods (`every`) only containers that have started: they come again.
        """
        names = select_containers(pod, self._names, every=every)
        new = []
        for container in [container_status(pod, name) for name in names]:
            is_attached = (
                container.uid,
                container.name,
            ) in self._attached
            is_too_early = every and container.state == "waiting"
            if not is_attached and not is_too_early:
                new.append(container)
        free = settings.LOG_SOURCES_PER_STREAM - len(self._attached)
        if len(new) > free:
            self._report_limit(new[free:])
        # Those left out too, so that they are reported once.
        self._attached |= {(container.uid, container.name) for container in new}
        return new[: max(free, 0)]

    def _follower(self, client: StreamClient, container: LogContainer) -> LogFollower:
        cursor = self._cursors.get(container.source, self._cursors.get(""))
        return LogFollower(
            client,
            self._ticket.namespace,
            container,
            self._log_request,
            cursor=cursor,
            emit=self._emit,
            notify=self._notify,
        )

    async def _emit(self, follower: LogFollower, line: LogLine) -> None:
        if self._filter.passes(line.text):
            frame = log_frame(line, follower.source, timestamps=self._timestamps)
            # 200: what the frame adds to the line, roughly.
            await self.outbox.put(frame, len(line.text) + 200)

    async def _notify(self, state: str, source: str, reason: str) -> None:
        frame = {
            "type": "status",
            "state": state,
            "source": source,
            "reason": reason,
            "timestamp": now(),
        }
        await self.outbox.put(frame, 0)

    # --- the client -----------------------------------------------------------
    async def send(self) -> None:
        """Send until all was read and sent."""
        await self.outbox.drain(self._socket, batched=self._batched)

    async def listen(self, keep_alive: KeepAlive) -> None:
        """Handle the client's frames until it leaves."""
        while True:
            message = await self._socket.receive()
            keep_alive.note_frame()
            try:
                self._handle(handshake.parse_frame(message), keep_alive)
            except DomainError as error:
                self.outbox.notify(self._socket.error_frame(error))

    def _handle(self, frame: Mapping[str, Any], keep_alive: KeepAlive) -> None:
        """Act on one frame of the client; Invalid for an unknown one."""
        match frame.get("type"):
            case "pause":
                self.outbox.pause()
            case "resume":
                self.outbox.resume()
            case "filter":
                self._set_filter(frame)
            case "ack" if isinstance(frame.get("seq"), int):
                self.outbox.acknowledge(frame["seq"])
            case "pong":
                keep_alive.note_pong()
            case "ping":
                self.outbox.notify({"type": "pong", "timestamp": now()})
            case "close":
                raise Closing(1000, "closed by the client")
            case _:
                raise Invalid(
                    "the frame's type must be pause, resume, filter, ack, ping, pong or close"
                )

    def _set_filter(self, frame: Mapping[str, Any]) -> None:
        # Both {"type":"filter","include":…} and {"type":"filter","data":{"include":…}} are used.
        data = frame.get("data")
        patterns = data if isinstance(data, dict) else frame
        self._filter = line_filter(
            str(patterns.get("include") or ""),
            str(patterns.get("exclude") or ""),
        )
