"""The terminal socket: a shell in a container (KubeGale beyond, note 4).

A shell outlives a broken connection by TERMINAL_HOLD_SECONDS.
"""

import asyncio
import codecs
import hmac
import logging
import secrets
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from django.conf import settings

from clusters import stream_clients
from clusters.kinds import KINDS
from clusters.streams import (
    ERROR_CHANNEL,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    Channels,
)
from core.errors import DomainError, Forbidden, Unauthenticated
from core.sockets import handshake, quota
from core.sockets.handshake import KeepAlive, SocketClient
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
from workloads.streams.terminal_protocol import (
    ClientInput,
    OutputRing,
)

log = logging.getLogger(__name__)
PODS = KINDS["pods"]
# How much may be typed before the shell is there.
TYPED_BYTES = 64 * 1024
# How long the pod is asked for when the connection to its shell broke off.
POD_CHECK_SECONDS = 5
# Every shell of this process by its session's id.
SESSIONS: dict[str, "TerminalSession"] = {}


async def serve_terminal(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/terminal/{session}.

    A ticket opens a session, and the token that the session sent last leads back to it.
    """
    offered = [name for name in socket.subprotocols if name in terminal_protocol.SUBPROTOCOLS]
    subprotocol = offered[0] if offered else None
    await socket.accept(subprotocol)
    style = socket.query.get("frames", "data")
    if subprotocol:
        style = terminal_protocol.SUBPROTOCOLS[subprotocol]
    token, first = await handshake.read_token(socket)
    session = await _find_session(socket, token, arguments["session"])
    await session.attach(socket, style, _last_seq(socket, first))


def _last_seq(socket: Socket, first: Mapping[str, Any]) -> int:
    """The number of the last piece of output that the client has; 0 for none."""
    value = first.get("last_seq", socket.query.get("last_seq", 0))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return 0


async def _find_session(socket: Socket, token: str, session_id: str) -> "TerminalSession":
    """The session that the token is for: one that waits for its client, or a new one."""
    waiting = SESSIONS.get(session_id)
    if waiting and waiting.is_led_to_by(token):
        waiting.check_socket(socket)
        waiting.spend_token()
        # The rights may have changed while no client was attached.
        await waiting.recheck()
        return waiting
    try:
        ticket = await handshake.redeem(socket, token, "terminal", session_id)
    except Unauthenticated:
        reason = "the session has ended or the ticket is invalid"
        with suppress(Disconnected):
            await socket.send(
                {
                    "type": "closed",
                    "reason": reason,
                    "timestamp": now(),
                }
            )
        raise
    if ticket.claimed or waiting:
        raise Forbidden("only the latest token of a session leads back to its shell")
    socket_client = handshake.client_of_ticket(
        ticket, quota_kind="terminals", limit=settings.TERMINALS_PER_USER
    )
    await quota.acquire_slot(
        socket_client.quota_kind, socket_client.user, socket_client.session, socket_client.limit
    )
    session = TerminalSession(ticket, socket_client)
    SESSIONS[session_id] = session
    session.start()
    return session


class TerminalSession:
    """One shell: a pump reads its output into a ring, and at most one socket shows it."""

    def __init__(self, ticket: Ticket, socket_client: SocketClient) -> None:
        self.host = ticket.host
        self._ticket = ticket
        self._socket_client = socket_client
        self._ring = OutputRing()
        # Frames other than output that wait for the socket.
        self._notices = deque[dict[str, Any]]()
        # Set when there is something to send, and when the socket has read enough to go on.
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._channels: Channels | None = None
        self._announced = False
        self._typed = deque[bytes]()
        self._size: tuple[int, int] | None = None
        self._socket: Socket | None = None
        self._sent = 0
        self._token = ""
        self._active_at = time.monotonic()
        self._detached_at = self._active_at
        self._recorder = Recorder.for_ticket(ticket)
        self._ended: Closing | DomainError | None = None
        self._close_frame: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None

    # --- the shell ------------------------------------------------------------
    def start(self) -> None:
        """Start the shell."""
        # asyncio holds tasks weakly: without the attribute it could be collected.
        self._task = asyncio.create_task(self._run())

    async def end(self, closing: Closing) -> None:
        """End the shell, whether or not a socket is attached."""
        self._ended = self._ended or closing
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """The shell from beginning to end; what ended it is stored for the socket."""
        try:
            # No shell without its recording: it begins first, and the shell ends when it fails.
            await self._recorder.start()
            async with open_shell(self._ticket, self._announce_start) as channels:
                await self._connect(channels)
                await first_of(
                    self._pump(channels),
                    self._watch(),
                    self._recorder.failure(),
                )
        except (Closing, DomainError) as ending:
            self._ended = self._ended or ending
        except Exception:
            log.exception("terminal failed")
        finally:
            self._ended = self._ended or Closing(1011, "the terminal failed")
            if SESSIONS.get(self._ticket.session) is self:
                del SESSIONS[self._ticket.session]
            self._has_news.set()
            await self._recorder.finish()
            await quota.release_slot(
                self._socket_client.quota_kind,
                self._socket_client.user,
                self._socket_client.session,
            )

    async def _connect(self, channels: Channels) -> None:
        """The shell has started: send it its size, and what was typed meanwhile."""
        if self._size:
            await self._resize(*self._size, channels=channels)
        while self._typed:
            await channels.send(STDIN, self._typed.popleft())
        self._channels = channels
        if self._announced and not self._drop_announcement() and self._socket:
            self._notify(self._connected_frame())

    def _announce_start(self, state: str) -> None:
        """Tell the client that the shell takes a moment; a `connected` follows once it is there."""
        self._announced = True
        self._notify({"type": "status", "state": state, "timestamp": now()})

    def _drop_announcement(self) -> bool:
        """Drop announcements that were not sent yet; whether there were any."""
        unsent = [notice for notice in self._notices if notice.get("state") == STARTING]
        for notice in unsent:
            self._notices.remove(notice)
        return bool(unsent)

    def _connected_frame(self) -> dict[str, Any]:
        return {
            "type": "status",
            "state": "connected",
            "session": self._ticket.session,
            "token": self._token,
            "seq": self._ring.last,
            "timestamp": now(),
        }

    async def _pump(self, channels: Channels) -> None:
        """Read the shell's output until it ends; raises the Closing that says how."""
        # One decoder for each channel: bytes of the other may come between two halves of a
        # character.
        decoders = {
            channel: codecs.getincrementaldecoder("utf-8")(errors="replace")
            for channel in (STDOUT, STDERR)
        }
        try:
            while (message := await channels.receive()) is not None:
                channel, data = message
                if channel == ERROR_CHANNEL:
                    raise self._outcome(data)
                if channel in decoders and (text := decoders[channel].decode(data)):
                    await self._show(text)
            raise await self._connection_error()
        finally:
            for decoder in decoders.values():
                if text := decoder.decode(b"", final=True):
                    self._store_output(text)

    def _store_output(self, text: str) -> None:
        """Store output for the socket and the recording."""
        self._active_at = time.monotonic()
        self._ring.append(text)
        self._recorder.output(text)
        self._has_news.set()

    async def _show(self, text: str) -> None:
        """Store output; a socket that does not read stops the shell, as a real terminal would."""
        self._store_output(text)
        limit = terminal_protocol.RING_BYTES // 2
        while self._socket and self._ring.bytes_after(self._sent) > limit:
            self._has_room.clear()
            await self._has_room.wait()

    def _outcome(self, data: bytes) -> Closing:
        """How the command ended, out of the Status on the error channel."""
        try:
            status = orjson.loads(data)
        except orjson.JSONDecodeError:
            status = {
                "status": "Failure",
                "message": data.decode(errors="replace"),
            }
        code = _exit_code(status)
        reason = "failed" if code is None else "exited"
        message = "" if code == 0 else str(status.get("message") or "")[:500]
        self._close_frame = {
            "type": "close",
            "data": {
                "reason": reason,
                "exit_code": code,
                "error": message,
            },
            "timestamp": now(),
        }
        return Closing(1000, reason if code is None else f"{reason} ({code})")

    async def _connection_error(self) -> Closing:
        """Why the connection to the shell broke off."""
        if self._ticket.options.get("node"):
            return Closing(
                CLUSTER_LOST,
                "the connection to the node's shell was lost",
            )
        path = PODS.path(namespace=self._ticket.namespace, name=self._ticket.name)
        try:
            async with (
                asyncio.timeout(POD_CHECK_SECONDS),
                stream_clients.stream_client(self._ticket.cluster, self._ticket.user) as client,
            ):
                pod = await client.json("GET", path)
        except TimeoutError:
            return Closing(CLUSTER_LOST, "cluster_lost")
        except DomainError as error:
            if error.code == "not_found":
                return Closing(NOT_FOUND, "pod_deleted")
            return Closing(CLUSTER_LOST, "cluster_lost")
        if pod["metadata"].get("deletionTimestamp"):
            return Closing(NOT_FOUND, "pod_deleted")
        return Closing(CLUSTER_LOST, "the connection to the container was lost")

    async def _watch(self) -> None:
        """End a shell that is idle, whose client does not return, or may no longer return."""
        checked_at = time.monotonic()
        renewed_at = checked_at
        pause = min(
            1.0,
            settings.TERMINAL_HOLD_SECONDS / 4,
            settings.TERMINAL_IDLE_SECONDS / 4,
        )
        while True:
            await asyncio.sleep(pause)
            moment = time.monotonic()
            if moment - self._active_at > settings.TERMINAL_IDLE_SECONDS:
                raise Closing(IDLE, "idle")
            # While a socket is attached, its own watch checks the rights and renews the slot.
            if self._socket is not None:
                continue
            if moment - self._detached_at > settings.TERMINAL_HOLD_SECONDS:
                raise Closing(1000, "the client did not come back")
            if moment - checked_at >= settings.STREAM_REAUTHORISE_SECONDS:
                checked_at = moment
                await self._socket_client.recheck()
            if moment - renewed_at >= settings.STREAM_PING_SECONDS:
                renewed_at = moment
                await self._socket_client.renew_slot()

    # --- the socket -----------------------------------------------------------
    def is_led_to_by(self, token: str) -> bool:
        """Whether this is the token that leads back to the session."""
        return bool(self._token) and hmac.compare_digest(self._token.encode(), token.encode())

    def check_socket(self, socket: Socket) -> None:
        """Forbidden when another site's page, or another browser, opened the socket."""
        handshake.check_origin(socket, self.host)
        handshake.check_browser(socket, self.host, self._socket_client.credential)

    def spend_token(self) -> None:
        """The token has led back, and does not again."""
        self._token = ""

    async def recheck(self) -> None:
        """Unauthenticated or Forbidden, and the end of the shell, when the user may not have it."""
        try:
            await self._socket_client.recheck()
        except (Forbidden, Unauthenticated) as error:
            await self._end_refused(error)
            raise

    async def _end_refused(self, error: Forbidden | Unauthenticated) -> None:
        code = FORBIDDEN if isinstance(error, Forbidden) else UNAUTHENTICATED
        await self.end(Closing(code, error.message))

    async def attach(self, socket: Socket, style: str, last_seq: int) -> None:
        """Show the session on this socket: output after `last_seq`, then all that comes.

        An earlier socket is closed.
        """
        if self._socket:
            await self._socket.close(REPLACED, "session replaced")
        self._socket = socket
        self._sent = min(last_seq, self._ring.last)
        self._token = secrets.token_urlsafe(32)
        # Before other notices: the client learns its token first.
        self._notices.appendleft(self._connected_frame())
        if dropped := self._ring.dropped_after(self._sent):
            self._notices.append({"type": "dropped", "count": dropped})
        self._has_news.set()
        self._has_room.set()
        keep_alive = KeepAlive()
        try:
            await first_of(
                self._send(socket, style),
                self._listen(socket, keep_alive),
                self._socket_client.watch(self._notify, keep_alive),
            )
        except (Forbidden, Unauthenticated) as error:
            await self._end_refused(error)
            raise
        finally:
            # Unless another socket has taken over.
            if self._socket is socket:
                self._socket = None
                self._detached_at = time.monotonic()
                self._has_room.set()

    def _notify(self, frame: dict[str, Any]) -> None:
        self._notices.append(frame)
        self._has_news.set()

    async def _send(self, socket: Socket, style: str) -> None:
        """Send notices and output until the shell has ended or another socket has taken over."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            if socket is not self._socket:
                # The news was for the socket that has taken over: wake its sender.
                self._has_news.set()
                raise Closing(REPLACED, "session replaced")
            # Read before sending: what the shell printed before its end is sent first.
            ended = self._ended
            while self._notices:
                await socket.send(self._notices.popleft())
            for seq, text in self._ring.pieces_after(self._sent):
                await socket.send(terminal_protocol.output_frame(style, seq, text))
                self._sent = seq
                self._has_room.set()
            if ended:
                if self._close_frame:
                    await socket.send(self._close_frame)
                raise ended

    async def _listen(self, socket: Socket, keep_alive: KeepAlive) -> None:
        """Handle the client's frames until it leaves; errors are reported to it."""
        while True:
            message = await socket.receive()
            keep_alive.note_frame()
            try:
                client_input = _parse_message(message)
            except DomainError as error:
                self._notify(socket.error_frame(error))
                continue
            await self._handle(client_input, keep_alive)

    async def _handle(self, client_input: ClientInput, keep_alive: KeepAlive) -> None:
        match client_input.kind:
            case "stdin":
                self._active_at = time.monotonic()
                await self._type(client_input.data)
            case "resize":
                cols = client_input.cols
                rows = client_input.rows
                self._size = (cols, rows)
                self._recorder.resize(cols, rows)
                await self._resize(cols, rows, channels=self._channels)
            case "ping":
                self._notify({"type": "pong", "timestamp": now()})
            case "pong":
                keep_alive.note_pong()
            case "close":
                closing = Closing(1000, "closed by the client")
                await self.end(closing)
                raise closing

    async def _type(self, data: bytes) -> None:
        """Send input to the shell, or store it until the shell has started."""
        if self._channels:
            await self._channels.send(STDIN, data)
        elif sum(map(len, self._typed)) + len(data) <= TYPED_BYTES:
            self._typed.append(data)

    async def _resize(self, cols: int, rows: int, *, channels: Channels | None) -> None:
        if channels:
            await channels.send(RESIZE, orjson.dumps({"Width": cols, "Height": rows}))


def _exit_code(status: Mapping[str, Any]) -> int | None:
    """The command's exit code out of a Kubernetes Status; None when it did not run to its end."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            text = str(cause.get("message"))
            return int(text) if text.isdigit() else None
    return None


def _parse_message(message: str | bytes) -> ClientInput:
    if isinstance(message, bytes):
        return terminal_protocol.parse_binary(message)
    return terminal_protocol.parse_frame(handshake.parse_frame(message))


async def end_all() -> None:
    """End every shell of this process, before it stops."""
    closing = Closing(1001, "restart")
    await asyncio.gather(*(session.end(closing) for session in list(SESSIONS.values())))
