"""A proxy between a collector and an API server that does to their talk what bad networks, bad proxies and bad days do."""

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Iterator

import aiohttp
from aiohttp import web

from simcluster import certificates, kubeconfig
from simcluster.testing import RunningCluster

STATUS = b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"too old","code":410}'
GONE = b'{"type":"ERROR","object":' + STATUS + b"}\n"
ANSWERS = ("server_error", "too_many", "garbage", "cut", "gone", "stall")
FRAMES = ("drop", "twice", "swap", "garbage", "half", "gone", "stall")


class BadNetwork:
    """Forwards requests; while `bad`, the seeded dice decide which answers and which watch events come through how."""

    def __init__(self, server: RunningCluster) -> None:
        self.server = server
        self.bad = False
        self.struck: dict[str, int] = {}
        # Versions of events that were swallowed, and nobody on the other side can know.
        self.swallowed: set[int] = set()
        self._dice = random.Random(0)
        self._session: aiohttp.ClientSession | None = None
        self.kubeconfig_yaml = ""

    def worsen(self, seed: int) -> None:
        """Faults from here on, the same for the same seed and the same requests."""
        self._dice = random.Random(seed)
        self.bad = True

    def recover(self) -> None:
        """No faults from here on."""
        self.bad = False

    def _fault(self, kinds: tuple[str, ...], chance: float) -> str:
        if not self.bad or self._dice.random() >= chance:
            return ""
        fault = self._dice.choice(kinds)
        self.struck[fault] = self.struck.get(fault, 0) + 1
        return fault

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        assert self._session is not None
        headers = {"Authorization": request.headers.get("Authorization", "")}
        url = f"{self.server.url}{request.path_qs}"
        async with self._session.request(
            request.method, url, headers=headers, data=await request.read(), ssl=False
        ) as answer:
            if "watch" in request.query and answer.status == 200:
                return await self._watch(request, answer)
            return await self._answer(request, answer)

    async def _answer(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        body = await answer.read()
        match self._fault(ANSWERS, 0.25):
            case "server_error":
                return web.Response(status=500, text="upstream failed")
            case "too_many":
                return web.Response(status=429, text="slow down", headers={"Retry-After": "0"})
            case "garbage":
                return web.Response(text="<html>sign in</html>")
            case "gone":
                return web.Response(status=410, body=STATUS, content_type="application/json")
            case "cut":
                return await self._cut(request, body, len(body))
            case "stall":
                await asyncio.sleep(0.3)
        return web.Response(status=answer.status, body=body, content_type=answer.content_type)

    async def _cut(self, request: web.Request, body: bytes, length: int) -> web.StreamResponse:
        partial = web.StreamResponse(
            headers={"Content-Type": "application/json", "Content-Length": str(length)}
        )
        await partial.prepare(request)
        await partial.write(body[: max(1, len(body) // 2)])
        assert request.transport is not None
        request.transport.abort()
        return partial

    async def _watch(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        held = b""
        with contextlib.suppress(ConnectionResetError, aiohttp.ClientError):
            async for line in answer.content:
                fault = self._fault(FRAMES, 0.15)
                if fault in ("garbage", "half", "gone"):
                    await response.write(
                        {"garbage": b'{"type":\n', "half": line[: len(line) // 2], "gone": GONE}[
                            fault
                        ]
                    )
                    break
                if fault == "swap" and not held:
                    held = line
                    continue
                if fault == "stall":
                    await asyncio.sleep(0.3)
                if fault == "drop":
                    self.swallowed.add(
                        int(json.loads(line)["object"]["metadata"]["resourceVersion"])
                    )
                times = {"drop": 0, "twice": 2}.get(fault, 1)
                await response.write(line * times + held)
                held = b""
            await response.write_eof()
        return response

    async def serve(self, ready: threading.Event, ending: asyncio.Event) -> None:
        """Listen until told to end."""
        made = certificates.make(["127.0.0.1"])
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), read_bufsize=2**22
        )
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=made.context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        self.kubeconfig_yaml = kubeconfig.text(
            kubeconfig.make(url, made.authority, self.server.token)
        )
        ready.set()
        await ending.wait()
        await self._session.close()
        await runner.cleanup()


@contextlib.contextmanager
def bad_network(server: RunningCluster) -> Iterator[BadNetwork]:
    """A proxy before a simulated cluster, in a thread of its own; good until told otherwise."""
    network, ready = BadNetwork(server), threading.Event()
    loop, ending = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(network.serve(ready, ending)),
        name="bad network",
        daemon=True,
    )
    thread.start()
    assert ready.wait(20)
    try:
        yield network
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        loop.close()
