"""A real image registry over HTTP, as small as the Registry HTTP API v2 allows: token flow, HEAD of manifests."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Registry:
    """What it has, how it behaves, and what it was asked."""

    images: set[str] = field(
        default_factory=lambda: {"library/nginx:stable", "library/nginx:latest"}
    )
    private: dict[str, tuple[str, str]] = field(default_factory=dict)
    scheme: str = "Bearer"
    realm: str = ""
    failure: int = 0
    token_failure: int = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def paths(self, prefix: str = "/v2/") -> list[str]:
        """The addresses that were asked for."""
        return [path for _, path, _ in self.requests if path.startswith(prefix)]


class _Handler(BaseHTTPRequestHandler):
    registry: Registry

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self._note()
        registry = self.registry
        if registry.failure:
            return self._answer(registry.failure)
        name, _, tag = self.path.removeprefix("/v2/").partition("/manifests/")
        if registry.scheme == "Basic":
            return self._basic(name, tag)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            realm = registry.realm or f"{registry.url}/token"
            return self._answer(
                401,
                {
                    "WWW-Authenticate": f'Bearer realm="{realm}",service="registry.test",scope="repository:{name}:pull"'
                },
            )
        granted = json.loads(base64.urlsafe_b64decode(token))
        if granted != f"repository:{name}:pull" or name not in {
            image.partition(":")[0] for image in registry.images
        }:
            return self._answer(401)
        return self._answer(200 if f"{name}:{tag}" in registry.images else 404)

    def _basic(self, name: str, tag: str) -> None:
        if self._credentials() != self.registry.private.get(name):
            return self._answer(401, {"WWW-Authenticate": 'Basic realm="registry"'})
        return self._answer(200 if f"{name}:{tag}" in self.registry.images else 404)

    def do_GET(self) -> None:
        self._note()
        if self.registry.token_failure:
            return self._answer(self.registry.token_failure)
        scope = parse_qs(urlsplit(self.path).query)["scope"][0]
        name = scope.split(":")[1]
        if name in self.registry.private and self._credentials() != self.registry.private[name]:
            return self._answer(401)
        return self._answer(
            200,
            body=json.dumps(
                {"token": base64.urlsafe_b64encode(json.dumps(scope).encode()).decode()}
            ).encode(),
        )

    def _credentials(self) -> tuple[str, str] | None:
        given = self.headers.get("Authorization", "")
        if not given.startswith("Basic "):
            return None
        name, _, word = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        return name, word

    def _note(self) -> None:
        self.registry.requests.append((self.command, self.path, dict(self.headers)))

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running_registry() -> Iterator[Registry]:
    """One registry on a free port of loopback."""
    registry = Registry()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": registry})
    )
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
