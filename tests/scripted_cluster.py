"""An API server that does what a test tells it to: logs that break at a given byte, shells, pods that vanish."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from aiohttp import WSMsgType, web

Object = dict[str, Any]


class Log:
    """What one run of a container printed, and who reads it; changed from the test's thread through `Scripted.do`."""

    def __init__(self) -> None:
        self.data = b""
        self.over = False
        self.changed = asyncio.Condition()
        self.cuts = 0

    def lines_since(self, since: str) -> bytes:
        """The lines from a second on."""
        return b"".join(
            line for line in self.data.splitlines(keepends=True) if line[:19].decode() >= since[:19]
        )


class Scripted:
    """The server's state; every change goes through `do`, which runs in the server's own thread."""

    def __init__(self) -> None:
        self.pods: dict[tuple[str, str], Object] = {}
        self.logs: dict[tuple[str, str, bool], Log] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.impersonated: list[tuple[str, str, str, list[str]]] = []
        self.watchers: list[asyncio.Queue[Object]] = []
        self.refuse: web.Response | None = None
        self.refuse_exec: tuple[int, str] | None = None
        self.typed = b""
        self.shells: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.redirect = ""
        self.mute = False
        self.loop = asyncio.new_event_loop()
        self.url = ""
        self._runner: web.AppRunner | None = None
        self.sockets: list[web.WebSocketResponse] = []

    # --- from the test's thread ---------------------------------------------------------------------------------
    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run in the server's thread; coroutines too."""

        async def call() -> Any:
            found = function(*arguments)
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    @property
    def kubeconfig(self) -> str:
        """How to reach it."""
        return yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": "the-cluster-token"}}],
            }
        )

    def add_pod(
        self,
        name: str,
        *containers: str,
        labels: dict[str, str] | None = None,
        space: str = "default",
        policy: str = "Always",
    ) -> None:
        """A running pod."""
        statuses = [
            {"name": each, "restartCount": 0, "state": {"running": {}}} for each in containers
        ]
        meta = {
            "name": name,
            "namespace": space,
            "uid": f"{name}-{len(self.requests)}",
            "labels": labels or {},
            "resourceVersion": "1",
        }
        spec = {"restartPolicy": policy, "containers": [{"name": each} for each in containers]}
        pod = {
            "metadata": meta,
            "spec": spec,
            "status": {"phase": "Running", "containerStatuses": statuses},
        }
        self.do(self._add, pod, containers)

    def _add(self, pod: Object, containers: tuple[str, ...]) -> None:
        meta = pod["metadata"]
        self.pods[meta["namespace"], meta["name"]] = pod
        for each in containers:
            self.logs[meta["name"], each, False] = Log()
        for watcher in self.watchers:
            watcher.put_nowait({"type": "ADDED", "object": pod})

    def write(self, pod: str, container: str, data: bytes) -> None:
        """The container prints."""
        self.do(self._write, self.logs[pod, container, False], data)

    async def _write(self, log: Log, data: bytes) -> None:
        log.data += data
        async with log.changed:
            log.changed.notify_all()

    def cut(self, pod: str, container: str) -> None:
        """Break the connections that follow this log, in the middle of whatever was sent."""
        self.do(self._cut, self.logs[pod, container, False])

    async def _cut(self, log: Log) -> None:
        log.cuts += 1
        async with log.changed:
            log.changed.notify_all()

    def exit(self, pod: str, container: str, *, restarts: bool = False, code: int = 0) -> None:
        """The container ends; the pod starts it again when told to."""
        self.do(self._exit, pod, container, restarts, code)

    async def _exit(self, pod: str, container: str, restarts: bool, code: int) -> None:
        log = self.logs[pod, container, False]
        log.over = True
        status = next(
            each
            for each in self.pods["default", pod]["status"]["containerStatuses"]
            if each["name"] == container
        )
        status["state"] = {
            "terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        }
        if restarts:
            self.logs[pod, container, True], self.logs[pod, container, False] = log, Log()
            status["restartCount"] += 1
            status["state"] = {"running": {}}
        async with log.changed:
            log.changed.notify_all()

    def delete_pod(self, pod: str) -> None:
        """The pod goes, and its logs and shells with it."""
        self.do(self._delete, pod)

    async def _delete(self, pod: str) -> None:
        del self.pods["default", pod]
        for (name, _, _), log in self.logs.items():
            if name == pod:
                log.over = True
                async with log.changed:
                    log.changed.notify_all()
        for socket in self.sockets:
            await socket.close()

    def close_shells(self) -> None:
        """Break every exec connection without a word."""

        async def close() -> None:
            for socket in self.sockets:
                await socket.close()

        self.do(close)

    def vanish(self) -> None:
        """The API server goes: connections break, new ones are refused."""

        async def stop() -> None:
            for log in self.logs.values():
                log.cuts += 1
                async with log.changed:
                    log.changed.notify_all()
            for socket in self.sockets:
                await socket.close()
            assert self._runner
            for site in list(self._runner.sites):
                await site.stop()

        self.do(stop)

    # --- the server ---------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Listen on loopback."""
        app = web.Application(middlewares=[self._record])
        pods = "/api/v1/namespaces/{space}/pods"
        app.add_routes(
            [
                web.get("/version", self._fixed),
                web.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", self._fixed),
                web.get("/api/v1/nodes/{name}", self._fixed),
                web.get("/api/v1/namespaces/{space}", self._fixed),
                web.get(pods, self._list),
                web.post(pods, self._create),
                web.get(pods + "/{name}", self._pod),
                web.delete(pods + "/{name}", self._remove),
                web.get(pods + "/{name}/log", self._log),
                web.get(pods + "/{name}/exec", self._exec),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]

    async def stop(self) -> None:
        """Stop listening, end the shells."""
        assert self._runner
        for pid in self.shells:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._runner.cleanup()

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        user = request.headers.get("Impersonate-User", "")
        groups = request.headers.getall("Impersonate-Group", [])
        self.impersonated.append((request.method, request.path, user, groups))
        if self.redirect:
            raise web.HTTPFound(self.redirect)
        if request.headers.get("Authorization") != "Bearer the-cluster-token":
            return _status(401, "Unauthorized")
        if self.refuse is not None and request.path.startswith("/api/v1/namespaces/"):
            return _status(self.refuse.status, "refused")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _fixed(self, request: web.Request) -> web.StreamResponse:
        """What every cluster says."""
        return _json(
            {"gitVersion": "v1.36.0", "metadata": {"name": "fixed"}, "status": {"allowed": True}}
        )

    def _find(self, request: web.Request) -> Object | None:
        return self.pods.get((request.match_info["space"], request.match_info["name"]))

    async def _pod(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        return (
            _json(pod)
            if (pod := self._find(request))
            else _status(404, f'pods "{name}" not found', "NotFound")
        )

    async def _create(self, request: web.Request) -> web.StreamResponse:
        pod = await request.json()
        pod["metadata"]["uid"] = "made"
        pod["status"] = {"phase": "Running"}
        self.pods[request.match_info["space"], pod["metadata"]["name"]] = pod
        return _json(pod, 201)

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        gone = self.pods.pop((request.match_info["space"], request.match_info["name"]), None)
        return _json(gone) if gone else _status(404, "not found", "NotFound")

    async def _list(self, request: web.Request) -> web.StreamResponse:
        wanted = dict(
            pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair
        )
        found = [
            pod
            for pod in self.pods.values()
            if wanted.items() <= (pod["metadata"].get("labels") or {}).items()
        ]
        if request.query.get("watch") != "true":
            return _json({"metadata": {"resourceVersion": "1"}, "items": found})
        response = web.StreamResponse()
        await response.prepare(request)
        events: asyncio.Queue[Object] = asyncio.Queue()
        self.watchers.append(events)
        while True:
            await response.write(json.dumps(await events.get()).encode() + b"\n")

    async def _log(self, request: web.Request) -> web.StreamResponse:
        name, container = request.match_info["name"], request.query["container"]
        log = self.logs.get((name, container, request.query.get("previous") == "true"))
        if self._find(request) is None or log is None:
            return _status(404, f'pods "{name}" not found', "NotFound")
        while self.mute:
            await asyncio.sleep(0.05)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        cuts, since = log.cuts, request.query.get("sinceTime", "")
        sent = len(log.data) - len(log.lines_since(since)) if since else 0
        if "tailLines" in request.query:
            count = int(request.query["tailLines"])
            kept = log.data.splitlines(keepends=True)
            sent = len(log.data) - len(b"".join(kept[len(kept) - count :]))
        limit = int(request.query.get("limitBytes", 1 << 30))
        while True:
            await response.write(log.data[sent:][:limit])
            sent = len(log.data)
            if log.over or request.query.get("follow") != "true":
                return response
            async with log.changed:
                if len(log.data) == sent and log.cuts == cuts and not log.over:
                    await log.changed.wait()
            if log.cuts != cuts:
                request.transport.abort()  # type: ignore[union-attr]
                return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        """A real shell on a real terminal of this machine."""
        if self._find(request) is None:
            return _status(404, "pods not found", "NotFound")
        if self.refuse_exec:
            return _status(*self.refuse_exec)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        self.sockets.append(socket)
        command = request.query.getall("command")
        argv = ["/bin/sh"] if "/bin/sh" in command or "chroot" in command else command
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.clear()
            os.environ.update(PATH="/usr/bin:/bin", PS1="$ ", TERM="dumb")
            os.execvp(argv[0], argv)  # noqa: S606  # the test's own command
        self.shells.append(pid)
        output = asyncio.create_task(self._output(socket, terminal, pid))
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data[0] == 0:
                    self.typed += message.data[1:]
                    os.write(terminal, message.data[1:])
                elif message.type is WSMsgType.BINARY and message.data[0] == 4:
                    size = json.loads(message.data[1:])
                    self.sizes.append((size["Width"], size["Height"]))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await output
            os.close(terminal)
        return socket

    async def _output(self, socket: web.WebSocketResponse, terminal: int, pid: int) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            while data := await self.loop.run_in_executor(None, os.read, terminal, 4096):
                await socket.send_bytes(b"\x01" + data)
        _, status = await self.loop.run_in_executor(None, os.waitpid, pid, 0)
        if socket.closed:
            return
        code = os.waitstatus_to_exitcode(status)
        cause = {
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
            "message": f"exit code {code}",
            "reason": "NonZeroExitCode",
        }
        body = {"status": "Failure", **cause} if code else {"status": "Success"}
        await socket.send_bytes(b"\x03" + json.dumps(body).encode())
        await socket.close()


def _json(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _status(status: int, message: str, reason: str = "") -> web.Response:
    return _json(
        {
            "kind": "Status",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": status,
        },
        status,
    )


@contextlib.contextmanager
def scripted_cluster() -> Iterator[Scripted]:
    """Run one in a thread of its own."""
    server = Scripted()
    ready = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(server.loop)
        server.loop.run_until_complete(server.start())
        ready.set()
        server.loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        server.do(server.stop)
        server.loop.call_soon_threadsafe(server.loop.stop)
        thread.join(10)
