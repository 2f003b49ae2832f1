"""WebSocket addresses of this app; `kubegale.asgi` serves them."""

from core.sockets.protocol import Handler
from workloads.streams.logs import serve_logs
from workloads.streams.terminal import serve_terminal

ROUTES: dict[str, Handler] = {
    r"/ws/logs/(?P<session>[0-9a-f]{32})": serve_logs,
    r"/ws/terminal/(?P<session>[0-9a-f]{32})": serve_terminal,
}
