"""The store behind a real web server, and a client of it as watchers are: raw JSON over HTTP."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import psycopg2
from django.db import connections

from launcher.ports import free_port
from tests.tuning import tuned

PREFIX = "/bcsapi/v4/storage"


def encoded(conditions: object) -> str:
    """An `extra` parameter."""
    return base64.b64encode(json.dumps(conditions, ensure_ascii=False).encode()).decode()


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Store:
    """A client of one running server."""

    host: str
    port: int
    prefix: str = PREFIX
    # Of the server: its workers are its children.
    pid: int = 0

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """One call; `path` is under the prefix and goes out as it is written."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            data = (
                body
                if isinstance(body, bytes)
                else body.encode()
                if isinstance(body, str)
                else b""
                if body is None
                else json.dumps(body).encode()
            )
            address = (
                self.prefix
                + path
                + (
                    ("&" if "?" in path else "?") + urlencode(query, quote_via=quote)
                    if query
                    else ""
                )
            )
            connection.request(method, address, data or None, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The envelope of an answer that must have HTTP status 200."""
        answer = self.raw(method, path, body, **query)
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == "application/json"
        return answer.json

    def data(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The data of an answer that must be a success."""
        envelope = self(method, path, body, **query)
        assert (envelope["result"], envelope["code"]) == (True, 0), envelope
        return envelope["data"]

    def names(self, path: str, **query: Any) -> list[str]:
        """The resource names of a list, in its order."""
        return [item["resourceName"] for item in self.data("GET", path, **query)]


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not come up")


@contextmanager
def database() -> Iterator[Any]:
    """A cursor of a session of our own on the run's database, committing each statement."""
    settings = connections["default"].settings_dict
    session = psycopg2.connect(
        dbname=settings["NAME"],
        user=settings["USER"],
        password=settings["PASSWORD"] or None,
        host=settings["HOST"],
        port=settings["PORT"],
        application_name="tests",
    )
    session.autocommit = True
    try:
        with session.cursor() as cursor:
            yield cursor
    finally:
        session.close()


@contextmanager
def running_store(database: str, **environment: str) -> Iterator[Store]:
    """A gunicorn over the named database of the run's server; settings by environment."""
    port = free_port()
    address = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}").geturl()
    given = {
        "DATABASE_URL": address,
        "OPEN_DIALECTS": "bcs",
        "KUBEGALE_BIND": "127.0.0.1",
        "KUBEGALE_PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "kubegale.settings",
    }
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        "python:kubegale.gunicorn",
        "kubegale.wsgi",
    ]
    process = subprocess.Popen(
        command, env=tuned({**os.environ, **given, **environment}), start_new_session=True
    )
    try:
        _wait(port, process)
        yield Store("127.0.0.1", port, pid=process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
