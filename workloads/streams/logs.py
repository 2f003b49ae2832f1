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
from core.sockets import connections, handshake
from core.sockets.handshake import Pongs
from core.sockets.protocol import Closing, Socket, first_of, now
from core.sockets.send_buffer import Outbox
from core.sockets.tickets import Ticket
from workloads.objects.log_lines import LogCursor, LogLine, line_filter, parse_cursor
from workloads.streams.containers import Container, container_status, select_containers
from workloads.streams.discovery import follow_pods
from workloads.streams.log_follower import LogFollower, LogRequest, log_frame

PODS = KINDS["pods"]
FLUSH_SECONDS = 10


def parse_cursors(text: str) -> Mapping[str, LogCursor]:
    """Where to go on, by source (`pod/container`); a bare cursor is for every source, under "". Invalid for anything else."""
    if not text:
        return {}
    if not text.startswith("{"):
        return {"": parse_cursor(text)}
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Invalid(
            "cursor must be one that a log frame carried, or an object of them by source",
            field="cursor",
        )
    return {source: parse_cursor(value) for source, value in given.items()}


async def serve_logs(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/logs/{session}: a ticket opens it; ends with `eof` when every log has ended."""
    await socket.accept()
    token, first = await handshake.token_of(socket)
    ticket = await handshake.redeem(socket, token, "logs", arguments["session"])
    text = socket.query.get("cursor") or first.get("cursor") or ticket.options.get("cursor") or ""
    guest = handshake.guest_of(ticket, seats="logs", limit=settings.LOG_STREAMS_PER_USER)
    async with handshake.seated(guest):
        stream = LogStream(
            socket,
            ticket,
            parse_cursors(text if isinstance(text, str) else orjson.dumps(text).decode()),
        )
        pongs = Pongs()
        async with stream_clients.stream_client(ticket.cluster, ticket.user) as client:
            try:
                await first_of(
                    stream.read(client),
                    stream.send(),
                    stream.listen(pongs),
                    stream.keep_seats(),
                    guest.watch(stream.outbox.notify, pongs),
                )
            finally:
                await stream.leave_seats()


class LogStream:
    """One client's logs: followers put lines into the outbox, one task sends them."""

    def __init__(self, socket: Socket, ticket: Ticket, cursors: Mapping[str, LogCursor]) -> None:
        options = ticket.options
        self._socket, self._ticket, self._cursors = socket, ticket, cursors
        self._names = list(options.get("containers") or [])
        self._filter = line_filter(
            str(options.get("include") or ""), str(options.get("exclude") or "")
        )
        self._stamped, self._batched = bool(options.get("timestamps")), bool(options.get("batch"))
        self._wanted = LogRequest(options.get("query") or {}, bool(options.get("follow", True)))
        self._attached: set[tuple[str, str]] = set()
        self._seats: set[str] = set()
        self.outbox = Outbox(settings.LOG_BUFFER_BYTES, settings.LOG_STALL_SECONDS)

    # --- reading ----------------------------------------------------------------------------------------------------
    async def read(self, client: StreamClient) -> None:
        """Follow every container until all have ended, then say so."""
        selector = self._ticket.options.get("selector")
        self.outbox.notify(
            {
                "type": "status",
                "state": "connected",
                "session": self._ticket.session,
                "timestamp": now(),
            }
        )
        pods = self._one_pod(client) if selector is None else self._pods(client, str(selector))
        try:
            async with asyncio.TaskGroup() as followers:
                async for pod in pods:
                    for container in self._new(pod, every=selector is not None):
                        if await self._take_seat(container):
                            followers.create_task(self._follow(client, container))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        await self.outbox.put({"type": "status", "state": "eof", "timestamp": now()}, 0)
        self.outbox.finish()
        await asyncio.sleep(FLUSH_SECONDS)

    async def _follow(self, client: StreamClient, container: Container) -> None:
        """One container's log, from a seat of its user's."""
        try:
            await self._follower(client, container).run()
        finally:
            seat = self._seat(container)
            self._seats.discard(seat)
            await connections.leave_seats(connections.LOG_SOURCES, self._ticket.user, [seat])

    def _seat(self, container: Container) -> str:
        return f"{self._ticket.mark}/{container.uid}/{container.name}"

    async def _take_seat(self, container: Container) -> bool:
        """Whether the user may follow one more log, over all their streams; TooManyRequests where this stream then has none at all."""
        seat = self._seat(container)
        try:
            await connections.take_seat(
                connections.LOG_SOURCES, self._ticket.user, seat, settings.LOG_SOURCES_PER_USER
            )
        except TooManyRequests:
            if not self._seats and self._ticket.options.get("selector") is None:
                raise
            self._limit([container])
            return False
        self._seats.add(seat)
        return True

    async def keep_seats(self) -> None:
        """Hold the seats of all logs that are followed."""
        while True:
            await asyncio.sleep(settings.STREAM_PING_SECONDS)
            await connections.renew_seats(connections.LOG_SOURCES, self._ticket.user, self._seats)

    async def leave_seats(self) -> None:
        """Give them back."""
        await connections.leave_seats(connections.LOG_SOURCES, self._ticket.user, self._seats)

    def _limit(self, left_out: list[Container]) -> None:
        names = ", ".join(each.source for each in left_out)
        self.outbox.notify(
            {
                "type": "status",
                "state": "limited",
                "reason": f"too many sources; left out: {names}",
                "timestamp": now(),
            }
        )

    async def _one_pod(self, client: StreamClient) -> AsyncIterator[Object]:
        yield await client.json(
            "GET", PODS.path(namespace=self._ticket.namespace, name=self._ticket.name)
        )

    async def _pods(self, client: StreamClient, selector: str) -> AsyncIterator[Object]:
        async for pods in follow_pods(client, self._ticket.namespace, selector):
            for pod in pods:
                yield pod
            if not self._wanted.follow:
                return

    def _new(self, pod: Object, *, every: bool) -> list[Container]:
        """Containers that have something to read and are not followed yet; of a selector's pods only such that have started."""
        found = [
            container_status(pod, name) for name in select_containers(pod, self._names, every=every)
        ]
        fresh = [
            each
            for each in found
            if (each.uid, each.name) not in self._attached
            and not (every and each.state == "waiting")
        ]
        room = settings.LOG_SOURCES_PER_STREAM - len(self._attached)
        if len(fresh) > room:
            self._limit(fresh[room:])
        self._attached |= {(each.uid, each.name) for each in fresh}
        return fresh[: max(room, 0)]

    def _follower(self, client: StreamClient, container: Container) -> LogFollower:
        cursor = self._cursors.get(container.source, self._cursors.get(""))
        return LogFollower(
            client,
            self._ticket.namespace,
            container,
            self._wanted,
            cursor=cursor,
            emit=self._emit,
            notify=self._notify,
        )

    async def _emit(self, follower: LogFollower, line: LogLine) -> None:
        if self._filter.passes(line.text):
            await self.outbox.put(
                log_frame(line, follower.source, stamped=self._stamped), len(line.text) + 200
            )

    async def _notify(self, state: str, source: str, reason: str) -> None:
        await self.outbox.put(
            {
                "type": "status",
                "state": state,
                "source": source,
                "reason": reason,
                "timestamp": now(),
            },
            0,
        )

    # --- the client -------------------------------------------------------------------------------------------------
    async def send(self) -> None:
        """Send until all was read and sent."""
        await self.outbox.drain(self._socket, batched=self._batched)

    async def listen(self, pongs: Pongs) -> None:
        """Take the client's frames until it goes."""
        while True:
            message = await self._socket.receive()
            pongs.heard()
            try:
                self._obey(handshake.frame_of(message), pongs)
            except DomainError as error:
                self.outbox.notify(self._socket.error_frame(error))

    def _obey(self, frame: Mapping[str, Any], pongs: Pongs) -> None:
        match frame.get("type"):
            case "pause":
                self.outbox.pause()
            case "resume":
                self.outbox.resume()
            case "filter":
                wanted = frame.get("data") if isinstance(frame.get("data"), dict) else frame
                self._filter = line_filter(
                    str((wanted or {}).get("include") or ""),
                    str((wanted or {}).get("exclude") or ""),
                )
            case "ack" if isinstance(frame.get("seq"), int):
                self.outbox.acknowledge(frame["seq"])
            case "pong":
                pongs.answered()
            case "ping":
                self.outbox.notify({"type": "pong", "timestamp": now()})
            case "close":
                raise Closing(1000, "closed by the client")
            case _:
                raise Invalid(
                    "the frame's type must be pause, resume, filter, ack, ping, pong or close"
                )
