"""WebSocket addresses of this app; `kubegale.asgi` serves them."""

from core.api.sockets import Handler
from workloads.streams import runtime, terminal
from workloads.streams.changes import serve_changes
from workloads.streams.logs import serve_logs
from workloads.streams.operations import serve_operation
from workloads.streams.terminal import serve_terminal

ROUTES: dict[str, Handler] = {
    r"/ws/logs/(?P<session>[0-9a-f]{32})": serve_logs,
    r"/ws/terminal/(?P<session>[0-9a-f]{32})": serve_terminal,
    r"/ws/watch/(?P<session>[0-9a-f]{32})": serve_changes,
    r"/ws/operations/(?P<operation>[^/]{1,64})": serve_operation,
}


async def stop() -> None:
    """End shells and give connections back, at the end of the process."""
    await terminal.end_all()
    await runtime.close()
