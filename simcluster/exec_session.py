"""Exec and attach over WebSocket: the v4 and v5 channel protocols."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
from aiohttp import WSMsgType, web

from simcluster import containers, logs, spdy
from simcluster.cluster import Cluster
from simcluster.errors import ApiError, bad_request
from simcluster.objects import is_finished
from simcluster.requests import Target, is_true
from simcluster.resources import Object
from simcluster.shell import Read, Run, Shell, Sleep, Window, Write, make_shell
from simcluster.shell.commands import COMMANDS, MAX_SIDE
from simcluster.shell.hostile import commands_of

# Channels: the first byte of each frame.
STDIN = 0
STDOUT = 1
STDERR = 2
ERROR = 3
RESIZE = 4
CLOSE = 255  # of protocol v5 only
_PROGRAMS = frozenset([*COMMANDS, "sh", "ash"])
# As much as the API server puts into one frame.
MAX_FRAME = 32 * 1024
# A terminal of Linux takes no more in one line, and drops the rest.
MAX_LINE = 4095
# Writes and reads without another side before the command dies of it, and the exit code then.
MAX_VAIN = 100
BROKEN_PIPE = 141
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Terminal:
    """A line discipline: echo, backspace, Ctrl-C, Ctrl-D; newlines become CR LF on the way out."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.line = b""
        self.ended = False
        self.interrupted = False

    def type(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what is typed; returns the echo and the lines that are complete."""
        echo = b""
        ready = b""
        for value in data:
            letter = bytes([value])
            if letter in (b"\r", b"\n"):
                echo += b"\r\n"
                ready += self.line + b"\n"
                self.line = b""
            elif letter in (b"\x7f", b"\x08"):
                if self.line:
                    echo += b"\b \b"
                    self.line = self.line[:-1]
            elif letter == b"\x03":
                echo += b"^C\r\n"
                # The shell reads an empty line and shows its prompt again.
                ready += b"\n"
                self.line = b""
                self.interrupted = True
            elif letter == b"\x04":
                # Ctrl-D ends the input only at the beginning of a line.
                self.ended = self.ended or not self.line
            elif len(self.line) < MAX_LINE:
                echo += letter
                self.line += letter
        return echo if self.window.echo else b"", ready

    def resize(self, message: bytes) -> None:
        """Take a size, as JSON, from the other side; anything else is ignored."""
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
            size = orjson.loads(message)
            sides = (size.get("Height"), size.get("Width"))
            if all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
                self.window.rows, self.window.columns = sides


class Session:
    """One exec: a shell on one side, a WebSocket on the other."""

    def __init__(
        self,
        cluster: Cluster,
        socket: web.WebSocketResponse | spdy.ChannelSocket,
        shell: Shell,
        *,
        channels: set[int],
    ) -> None:
        self.cluster = cluster
        self.socket = socket
        self.shell = shell
        self.channels = channels
        self.terminal = Terminal(shell.window) if shell.window else None
        self.input: asyncio.Queue[bytes] = asyncio.Queue()
        self.interrupt = asyncio.Event()
        self.disconnected = False
        self.exhausted = False

    async def run(self, command: Run) -> int:
        """Drive the command to its end; returns the exit code."""
        reader = asyncio.create_task(self._receive())
        try:
            return await self._drive(command)
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _drive(self, command: Run) -> int:
        """The exit code.

        A client that leaves ends the input; the command goes on until it notices.
        """
        answer: bytes | None = None
        steps = 0
        vain = 0
        while True:
            try:
                effect = command.send(answer)
            except StopIteration as end:
                return int(end.value)
            answer = None
            steps += 1
            # A script that only writes would never give way to other requests.
            if steps % 100 == 0:
                await asyncio.sleep(0)
            if isinstance(effect, Write):
                if not self.disconnected:
                    await self._write(effect)
            elif isinstance(effect, Sleep):
                if self.disconnected or await self._sleep(effect.seconds):
                    return 130
            elif isinstance(effect, Read):
                answer = await self._read()
            if self.disconnected and not answer:
                vain += 1
                if vain > MAX_VAIN:
                    return BROKEN_PIPE

    async def _read(self) -> bytes:
        if STDIN not in self.channels or self.exhausted:
            return b""
        data = await self.input.get()
        self.exhausted = not data
        return data

    async def _write(self, effect: Write) -> None:
        data = effect.data.replace(b"\n", b"\r\n") if self.terminal else effect.data
        channel = STDOUT if self.terminal else effect.stream
        if channel in self.channels:
            for start in range(0, len(data), MAX_FRAME):
                await self.send(channel, data[start : start + MAX_FRAME])

    async def send(self, channel: int, data: bytes) -> None:
        """One frame."""
        with contextlib.suppress(ConnectionError):
            await self.socket.send_bytes(bytes([channel]) + data)

    async def _sleep(self, seconds: float) -> bool:
        self.interrupt.clear()
        try:
            await asyncio.wait_for(
                self.interrupt.wait(),
                None if seconds == float("inf") else self.cluster.clock.real(seconds),
            )
        except TimeoutError:
            return False
        return True

    async def _receive(self) -> None:
        async for message in self.socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            data = message.data.encode() if isinstance(message.data, str) else message.data
            if data:
                await self._take(data[0], data[1:])
        self.disconnected = True
        self.interrupt.set()
        self.input.put_nowait(b"")

    async def _take(self, channel: int, data: bytes) -> None:
        if channel == CLOSE and data[:1] == bytes([STDIN]):
            self.input.put_nowait(b"")
        elif channel == RESIZE and self.terminal:
            self.terminal.resize(data)
        elif channel == STDIN and self.terminal:
            for start in range(0, len(data), MAX_LINE):
                await self._type(self.terminal, data[start : start + MAX_LINE])
        elif channel == STDIN and data:
            self.input.put_nowait(data)

    async def _type(self, terminal: Terminal, data: bytes) -> None:
        echo, ready = terminal.type(data)
        if echo:
            await self.send(STDOUT, echo)
        if terminal.interrupted:
            terminal.interrupted = False
            self.interrupt.set()
        # A terminal hands out one line at a time: the rest is for the next reader.
        for line in ready.splitlines(keepends=True):
            self.input.put_nowait(line)
        if terminal.ended:
            self.input.put_nowait(b"")
        # A paste of a megabyte must not hold up the event loop.
        await asyncio.sleep(0)


def _outcome(code: int) -> Object:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    cause = {"reason": "ExitCode", "message": str(code)}
    message = f"command terminated with non-zero exit code: exit status {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": {"causes": [cause]},
    }


def _missing_program(name: str) -> Object:
    message = (
        "Internal error occurred: error executing command in container: "
        "failed to exec in container: failed to start exec: OCI runtime exec failed: "
        "exec failed: unable to start container process: "
        f'exec: "{name}": executable file not found in $PATH: unknown'
    )
    causes = {"causes": [{"message": message}]}
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": causes,
        "code": 500,
    }


def _running_container(pod: Object, name: str) -> Object:
    container = logs.container_of(pod, name)
    status = pod.get("status", {})
    statuses = [
        *(status.get("containerStatuses") or ()),
        *(status.get("ephemeralContainerStatuses") or ()),
    ]
    for status in statuses:
        if status["name"] == container["name"] and "running" in status["state"]:
            return container
    if is_finished(pod):
        reason = f"cannot exec in a stopped container {container['name']}"
    else:
        reason = f'unable to upgrade connection: container not found ("{container["name"]}")'
    raise ApiError(500, "InternalError", f"Internal error occurred: {reason}")


async def answer(cluster: Cluster, request: web.Request, target: Target) -> web.StreamResponse:
    """`.../pods/{name}/exec` and `.../attach`."""
    query = request.query
    pod = cluster.registry.read(target.resource, target.namespace, target.name)
    _running_container(pod, query.get("container", ""))
    command = query.getall("command", [])
    if target.subresource == "exec" and not command:
        raise bad_request("you must specify at least 1 command for the container")
    flags = {
        channel: is_true(query.get(name))
        for channel, name in (
            (STDIN, "stdin"),
            (STDOUT, "stdout"),
            (STDERR, "stderr"),
        )
    }
    if not any(flags.values()):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    if spdy.asks_for_spdy(request):
        # The streams of the flags, one for the outcome, and one for sizes of a terminal.
        count = sum(flags.values()) + 1 + is_true(query.get("tty"))
        async with spdy.upgraded(request, "v4.channel.k8s.io") as connection:
            streams = spdy.ChannelSocket(connection)
            await streams.open(count)
            await _serve(cluster, request, target, streams)
        return web.Response()
    if "websocket" not in request.headers.get("Upgrade", "").lower():
        raise bad_request("Upgrade request required")
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
    await socket.prepare(request)
    await _serve(cluster, request, target, socket)
    return socket


async def _serve(
    cluster: Cluster,
    request: web.Request,
    target: Target,
    socket: "web.WebSocketResponse | spdy.ChannelSocket",
) -> None:
    """Run the command, or attach, on an open socket; then close it."""
    query = request.query
    pod = cluster.registry.read(target.resource, target.namespace, target.name)
    container = _running_container(pod, query.get("container", ""))
    command = query.getall("command", [])
    env = containers.environment(cluster, pod, container)
    window = None
    if is_true(query.get("tty")):
        window = Window()
        env["TERM"] = "xterm"
    missing = containers.missing_programs(pod, container)
    shell = make_shell(
        containers.files_of(cluster, pod, container),
        env,
        window=window,
        commands=commands_of(containers.traits_of(pod, container), missing or frozenset()),
    )
    session = Session(
        cluster,
        socket,
        shell,
        channels={
            channel
            for channel, name in ((STDIN, "stdin"), (STDOUT, "stdout"), (STDERR, "stderr"))
            if is_true(query.get(name))
        },
    )
    await session.send(STDOUT if STDOUT in session.channels else ERROR, b"")
    if target.subresource == "attach":
        outcome = await _attach(cluster, session, pod, container)
    elif missing is None or command[0].rpartition("/")[2] not in _PROGRAMS - missing:
        outcome = _missing_program(command[0])
    else:
        outcome = _outcome(await session.run(shell.execute(command)))
    await session.send(ERROR, orjson.dumps(outcome))
    await socket.close()


async def _attach(cluster: Cluster, session: Session, pod: Object, container: Object) -> Object:
    reader = asyncio.create_task(session.run(_idle()))
    async for lines in _new_lines(cluster, pod, container, reader):
        await session.send(STDOUT, lines)
    reader.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reader
    return _outcome(0)


def _idle() -> Run:
    yield Sleep(float("inf"))
    return 0


async def _new_lines(
    cluster: Cluster, pod: Object, container: Object, reader: "asyncio.Task[int]"
) -> AsyncIterator[bytes]:
    async for lines in logs.follow(cluster, pod, container):
        if reader.done():
            return
        yield lines
