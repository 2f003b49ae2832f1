"""Ports of pods, forwarded: over SPDY/3.1, and over WebSocket as SPDY in binary messages."""

import asyncio
import contextlib

from aiohttp import WSMsgType, web

from simcluster import spdy
from simcluster.cluster import Cluster
from simcluster.errors import ApiError, bad_request
from simcluster.requests import Target
from simcluster.resources import Object

PROTOCOL = "portforward.k8s.io"
TUNNELLED = f"SPDY/3.1+{PROTOCOL}"
LARGEST_REQUEST = 64 * 1024


async def answer(cluster: Cluster, request: web.Request, target: Target) -> web.StreamResponse:
    """`.../pods/{name}/portforward`."""
    pod = cluster.registry.read(target.resource, target.namespace, target.name)
    if pod.get("status", {}).get("phase") != "Running":
        phase = pod.get("status", {}).get("phase", "Unknown")
        reason = f"unable to forward port because pod is not running. Current status={phase}"
        raise ApiError(500, "InternalError", reason)
    if spdy.asks_for_spdy(request):
        async with spdy.upgraded(request, PROTOCOL) as connection:
            await _serve(connection, pod)
        return web.Response()
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    if TUNNELLED not in offered:
        raise bad_request("Upgrade request required")
    socket = web.WebSocketResponse(protocols=[TUNNELLED], max_msg_size=0)
    await socket.prepare(request)
    connection = spdy.Connection(socket.send_bytes)
    serving = asyncio.create_task(_serve(connection, pod))
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await connection.feed(message.data)
    connection.end()
    await serving
    return socket


async def _serve(connection: spdy.Connection, pod: Object) -> None:
    """Serve each pair of streams (error and data of one request) until the client leaves."""
    errors: dict[str, spdy.Stream] = {}
    serving: set[asyncio.Task[None]] = set()
    while stream := await connection.opened.get():
        request = stream.headers.get("requestid", "")
        if stream.headers.get("streamtype") == "error":
            errors[request] = stream
            continue
        task = asyncio.create_task(_serve_port(connection, pod, stream, errors.pop(request, None)))
        serving.add(task)
        task.add_done_callback(serving.discard)
    for task in serving:
        task.cancel()


async def _serve_port(
    connection: spdy.Connection,
    pod: Object,
    data: spdy.Stream,
    error: spdy.Stream | None,
) -> None:
    """A web server that answers every request with the pod's name."""
    port = int(data.headers.get("port", "0"))
    with contextlib.suppress(ConnectionError):
        if port not in ports_of(pod):
            refusal = f"an error occurred forwarding {port} -> {port}: connection refused".encode()
            if error is not None:
                await connection.send(error, refusal, is_last=True)
            await connection.send(data, b"", is_last=True)
            return
        request = b""
        while b"\r\n\r\n" not in request and len(request) < LARGEST_REQUEST:
            part = await data.incoming.get()
            if not part:
                break
            request += part
        body = f"{pod['metadata']['name']}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await connection.send(data, head.encode() + body, is_last=True)
        if error is not None:
            await connection.send(error, b"", is_last=True)


def ports_of(pod: Object) -> set[int]:
    """The ports that the containers of a pod name."""
    return {
        int(port["containerPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
    }
