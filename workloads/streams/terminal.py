"""The terminal socket: a shell in a container, which outlives a broken connection by a minute (KubeGale beyond, note 4)."""

import asyncio
import codecs
import hmac
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import orjson
from django.conf import settings

from clusters import stream_clients
from clusters.kinds import KINDS
from clusters.streams import OUTCOME, RESIZE, STDERR, STDIN, STDOUT, Channels
from core.errors import DomainError, Forbidden, Unauthenticated
from core.sockets import connections, handshake
from core.sockets.handshake import Guest, Pongs
from core.sockets.protocol import (
    CLUSTER_LOST,
    FORBIDDEN,
    IDLE,
    NOT_FOUND,
    REPLACED,
    UNAUTHENTICATED,
    Closing,
    Disconnected,
    Socket,
    first_of,
    now,
)
from core.sockets.tickets import Ticket
from workloads.streams import terminal_protocol
from workloads.streams.exec import STARTING, open_shell
from workloads.streams.recorder import Recorder
from workloads.streams.terminal_protocol import ClientInput, OutputRing

log = logging.getLogger(__name__)
PODS = KINDS["pods"]
TYPED_BYTES = 64 * 1024
LOST_SECONDS = 5
Opener = Callable[[Callable[[str], None]], AbstractAsyncContextManager[Channels]]
SESSIONS: dict[str, "TerminalSession"] = {}


async def serve_terminal(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/terminal/{session}: a ticket opens a session, and the token that it gave last comes back to it."""
    wanted = [name for name in socket.subprotocols if name in terminal_protocol.SUBPROTOCOLS]
    await socket.accept(wanted[0] if wanted else None)
    style = (
        terminal_protocol.SUBPROTOCOLS[wanted[0]] if wanted else socket.query.get("frames", "data")
    )
    token, first = await handshake.token_of(socket)
    session = await _session(socket, token, arguments["session"])
    await session.attach(socket, style, _last_seq(socket, first))


def _last_seq(socket: Socket, first: Mapping[str, Any]) -> int:
    given = first.get("last_seq", socket.query.get("last_seq", 0))
    return (
        int(given)
        if isinstance(given, int)
        or (isinstance(given, str) and given.isascii() and given.isdigit())
        else 0
    )


async def _session(socket: Socket, token: str, identity: str) -> "TerminalSession":
    """The session that the token is for: one that waits for its client, or a new one."""
    waiting = SESSIONS.get(identity)
    if waiting and waiting.claim(token):
        handshake.check_origin(socket, waiting.host)
        await waiting.recheck()
        return waiting
    try:
        ticket = await handshake.redeem(socket, token, "terminal", identity)
    except Unauthenticated:
        with suppress(Disconnected):
            await socket.send(
                {
                    "type": "closed",
                    "reason": "the session is over or the ticket is not good",
                    "timestamp": now(),
                }
            )
        raise
    if ticket.claimed or waiting:
        raise Forbidden("only the token that a session gave last brings its shell back")
    guest = handshake.guest_of(ticket, seats="terminals", limit=settings.TERMINALS_PER_USER)
    await connections.take_seat(guest.seats, guest.user, guest.session, guest.limit)
    SESSIONS[identity] = session = TerminalSession(ticket, guest)
    session.start()
    return session


class TerminalSession:
    """One shell: a pump that reads its output into a ring, and at most one socket that shows it."""

    def __init__(self, ticket: Ticket, guest: Guest) -> None:
        self.host = ticket.host
        self._ticket, self._guest = ticket, guest
        self._ring, self._notices = OutputRing(), deque[dict[str, Any]]()
        self._news, self._read_on = asyncio.Event(), asyncio.Event()
        self._channels: Channels | None = None
        self._announced = False
        self._typed = deque[bytes]()
        self._size: tuple[int, int] | None = None
        self._socket: Socket | None = None
        self._sent = 0
        self._token = ""
        self._active = self._detached = time.monotonic()
        self._recorder = Recorder.of(ticket)
        self._ended: Closing | DomainError | None = None
        self._farewell: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None

    # --- the shell --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin; the task is kept so that it is not collected."""
        self._task = asyncio.create_task(self._run())

    async def end(self, closing: Closing) -> None:
        """End the shell, whoever is attached."""
        self._ended = self._ended or closing
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """The shell from beginning to end; what ended it is kept for the socket."""
        try:
            # No shell without its recording: it begins first, and a shell ends when it can no longer be written.
            await self._recorder.start()
            async with open_shell(self._ticket, self._starting) as channels:
                await self._ready(channels)
                await first_of(self._pump(channels), self._watch(), self._recorder.failure())
        except (Closing, DomainError) as ending:
            self._ended = self._ended or ending
        except Exception:
            log.exception("terminal failed")
        finally:
            self._ended = self._ended or Closing(1011, "the terminal failed")
            if SESSIONS.get(self._ticket.session) is self:
                del SESSIONS[self._ticket.session]
            self._news.set()
            await self._recorder.finish()
            await connections.leave_seat(self._guest.seats, self._guest.user, self._guest.session)

    async def _ready(self, channels: Channels) -> None:
        """The shell is there: it gets its size, and what was typed while it was not."""
        if self._size:
            await self._resize(*self._size, channels=channels)
        while self._typed:
            await channels.send(STDIN, self._typed.popleft())
        self._channels = channels
        if self._announced and not self._forget_announcement() and self._socket:
            self._notify(self._connected())

    def _starting(self, state: str) -> None:
        """Say that it takes a moment; whoever heard that hears `connected` again once the shell is there."""
        self._announced = True
        self._notify({"type": "status", "state": state, "timestamp": now()})

    def _forget_announcement(self) -> bool:
        """Take back what nobody has heard yet; whether there was anything."""
        unheard = [notice for notice in self._notices if notice.get("state") == STARTING]
        for notice in unheard:
            self._notices.remove(notice)
        return bool(unheard)

    def _connected(self) -> dict[str, Any]:
        place = {"session": self._ticket.session, "token": self._token, "seq": self._ring.last}
        return {"type": "status", "state": "connected", **place, "timestamp": now()}

    async def _pump(self, channels: Channels) -> None:
        # Each has its own, for what comes between two halves of a character may be the other's.
        decoders = {
            channel: codecs.getincrementaldecoder("utf-8")(errors="replace")
            for channel in (STDOUT, STDERR)
        }
        try:
            while (message := await channels.receive()) is not None:
                channel, data = message
                if channel == OUTCOME:
                    raise self._outcome(data)
                if channel in decoders and (text := decoders[channel].decode(data)):
                    await self._show(text)
            raise await self._lost()
        finally:
            for decoder in decoders.values():
                if text := decoder.decode(b"", final=True):
                    self._keep_output(text)

    def _keep_output(self, text: str) -> None:
        """For the socket and for the recording."""
        self._active = time.monotonic()
        self._ring.append(text)
        self._recorder.output(text)
        self._news.set()

    async def _show(self, text: str) -> None:
        """Keep output; a socket that does not read stops the shell, as a real terminal would."""
        self._keep_output(text)
        while self._socket and self._ring.ahead(self._sent) > terminal_protocol.RING_BYTES // 2:
            self._read_on.clear()
            await self._read_on.wait()

    def _outcome(self, data: bytes) -> Closing:
        """How the command ended, out of the Status on the error channel."""
        try:
            status = orjson.loads(data)
        except orjson.JSONDecodeError:
            status = {"status": "Failure", "message": data.decode(errors="replace")}
        causes = (status.get("details") or {}).get("causes") or []
        codes = [cause.get("message") for cause in causes if cause.get("reason") == "ExitCode"]
        code = (
            0
            if status.get("status") == "Success"
            else int(codes[0])
            if codes and str(codes[0]).isdigit()
            else None
        )
        reason = "exited" if code is not None else "failed"
        message = "" if code == 0 else str(status.get("message") or "")[:500]
        self._farewell = {
            "type": "close",
            "data": {"reason": reason, "exit_code": code, "error": message},
            "timestamp": now(),
        }
        return Closing(1000, f"{reason}{'' if code is None else f' ({code})'}")

    async def _lost(self) -> Closing:
        """Why the connection to the shell broke off."""
        if self._ticket.options.get("node"):
            return Closing(CLUSTER_LOST, "the connection to the node's shell was lost")
        try:
            async with (
                asyncio.timeout(LOST_SECONDS),
                stream_clients.stream_client(self._ticket.cluster, self._ticket.user) as client,
            ):
                pod = await client.json(
                    "GET", PODS.path(namespace=self._ticket.namespace, name=self._ticket.name)
                )
        except TimeoutError:
            return Closing(CLUSTER_LOST, "cluster_lost")
        except DomainError as error:
            return (
                Closing(NOT_FOUND, "pod_deleted")
                if error.code == "not_found"
                else Closing(CLUSTER_LOST, "cluster_lost")
            )
        going = pod["metadata"].get("deletionTimestamp")
        return (
            Closing(NOT_FOUND, "pod_deleted")
            if going
            else Closing(CLUSTER_LOST, "the connection to the container was lost")
        )

    async def _watch(self) -> None:
        """End a shell that nobody uses, whose client does not come back, or may no longer come back."""
        checked = time.monotonic()
        pause = min(1.0, settings.TERMINAL_HOLD_SECONDS / 4, settings.TERMINAL_IDLE_SECONDS / 4)
        while True:
            await asyncio.sleep(pause)
            moment = time.monotonic()
            if moment - self._active > settings.TERMINAL_IDLE_SECONDS:
                raise Closing(IDLE, "idle")
            if self._socket is None and moment - self._detached > settings.TERMINAL_HOLD_SECONDS:
                raise Closing(1000, "the client did not come back")
            # While a socket is attached, its own watch looks at the rights.
            if self._socket is None and moment - checked >= settings.STREAM_REAUTHORISE_SECONDS:
                checked = moment
                await self._guest.recheck()

    # --- the socket -------------------------------------------------------------------------------------------------
    def claim(self, token: str) -> bool:
        """Whether this is the token to come back with; it works once."""
        good = bool(self._token) and hmac.compare_digest(self._token.encode(), token.encode())
        self._token = "" if good else self._token
        return good

    async def recheck(self) -> None:
        """Unauthenticated or Forbidden, and the end of the shell, when its user may no longer have it."""
        try:
            await self._guest.recheck()
        except (Forbidden, Unauthenticated) as error:
            await self._refuse(error)
            raise

    async def _refuse(self, error: Forbidden | Unauthenticated) -> None:
        code = FORBIDDEN if isinstance(error, Forbidden) else UNAUTHENTICATED
        await self.end(Closing(code, error.message))

    async def attach(self, socket: Socket, style: str, last_seq: int) -> None:
        """Show the session on this socket: what it missed, then all that comes. An earlier socket is closed."""
        if self._socket:
            await self._socket.close(REPLACED, "session replaced")
        self._socket, self._sent, self._token = (
            socket,
            min(last_seq, self._ring.last),
            secrets.token_urlsafe(32),
        )
        self._notices.appendleft(self._connected())
        if lost := self._ring.lost_after(self._sent):
            self._notices.append({"type": "dropped", "count": lost})
        self._news.set()
        self._read_on.set()
        pongs = Pongs()
        try:
            await first_of(
                self._send(socket, style),
                self._listen(socket, pongs),
                self._guest.watch(self._notify, pongs),
            )
        except (Forbidden, Unauthenticated) as error:
            await self._refuse(error)
            raise
        finally:
            if self._socket is socket:
                self._socket, self._detached = None, time.monotonic()
                self._read_on.set()

    def _notify(self, frame: dict[str, Any]) -> None:
        self._notices.append(frame)
        self._news.set()

    async def _send(self, socket: Socket, style: str) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if socket is not self._socket:
                self._news.set()  # was meant for the socket that came instead
                raise Closing(REPLACED, "session replaced")
            ended = self._ended
            while self._notices:
                await socket.send(self._notices.popleft())
            for seq, text in self._ring.after(self._sent):
                await socket.send(terminal_protocol.output_frame(style, seq, text))
                self._sent = seq
                self._read_on.set()
            if ended:
                if self._farewell:
                    await socket.send(self._farewell)
                raise ended

    async def _listen(self, socket: Socket, pongs: Pongs) -> None:
        while True:
            message = await socket.receive()
            pongs.heard()
            try:
                given = (
                    terminal_protocol.parse_binary(message)
                    if isinstance(message, bytes)
                    else terminal_protocol.parse_frame(handshake.frame_of(message))
                )
            except DomainError as error:
                self._notify(socket.error_frame(error))
                continue
            await self._obey(given, pongs)

    async def _obey(self, given: ClientInput, pongs: Pongs) -> None:
        match given.kind:
            case "stdin":
                self._active = time.monotonic()
                await self._type(given.data)
            case "resize":
                self._size = (given.cols, given.rows)
                self._recorder.resize(given.cols, given.rows)
                await self._resize(given.cols, given.rows, channels=self._channels)
            case "ping":
                self._notify({"type": "pong", "timestamp": now()})
            case "pong":
                pongs.answered()
            case "close":
                closing = Closing(1000, "closed by the client")
                await self.end(closing)
                raise closing

    async def _type(self, data: bytes) -> None:
        """To the shell, or kept until there is one."""
        if self._channels:
            await self._channels.send(STDIN, data)
        elif sum(map(len, self._typed)) + len(data) <= TYPED_BYTES:
            self._typed.append(data)

    async def _resize(self, cols: int, rows: int, *, channels: Channels | None) -> None:
        if channels:
            await channels.send(RESIZE, orjson.dumps({"Width": cols, "Height": rows}))


async def end_all() -> None:
    """End every shell, at the end of the process."""
    await asyncio.gather(
        *(session.end(Closing(1001, "restart")) for session in list(SESSIONS.values()))
    )
