"""gunicorn's settings, out of the environment; used as `gunicorn --config python:kubegale.gunicorn`."""

import ctypes
import gc
import logging
import os
import shutil
import signal
import tempfile
from types import FrameType
from typing import Any

import gunicorn.http.wsgi
from django.urls import get_resolver
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from core.stream_limits import stopping

# Digits of a body's length: a megabyte and more.
LARGE = 6
# The version of the server is nobody's business.
gunicorn.http.wsgi.SERVER = "KubeGale"


class RootLogger(Logger):  # type: ignore[misc]  # the library has no types
    """gunicorn's own messages in the format of all others; its access log stays off, requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers to the root logger."""
        self.loglevel = logging.WARNING
        self.error_log.setLevel(self.loglevel)
        self.error_log.propagate = True


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_address = os.environ.get("KUBEGALE_BIND") or "0.0.0.0"  # noqa: S104  a server is there to be reached; make run says loopback
# Behind the front it is a unix socket in a folder that only we enter, and clients are who the front
# says.
_socket = os.environ.get("KUBEGALE_WEB_SOCKET") or ""
bind = (
    f"unix:{_socket}"
    if _socket
    else f"{f'[{_address}]' if ':' in _address else _address}:{_number('KUBEGALE_PORT', 8000)}"
)
worker_class = "gthread"
workers = _number("WEB_CONCURRENCY", min(4, _cores()))
threads = _number("WEB_THREADS", 16)
preload_app = True
# Before the application is loaded: where the processes keep their numbers, so that /metrics can add
# them up.
_numbers = ""
if workers > 1 and not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    _numbers = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="kubegale-metrics-")
logger_class = RootLogger
backlog = 512
timeout = 60
graceful_timeout = 30
keepalive = 65
limit_request_line = 8190
limit_request_fields = 110  # the front allows 100 and adds its own
limit_request_field_size = 8190
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  heartbeat files; a slow disk would look like a dead worker


def when_ready(server: Arbiter) -> None:
    """Load the routes before the fork, for the first request is not to wait for them. What was loaded is never garbage:
    keep the collector off it, and its pages shared."""
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Big JSON makes many objects and no cycles: collect far more rarely than Python does by default."""
    gc.set_threshold(50_000, 20, 50)


def post_worker_init(worker: Worker) -> None:
    """Feeds and followed logs end as soon as the process is asked to end; the web server itself would wait for them."""

    def end(number: int, frame: FrameType | None) -> None:
        stopping.set()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, end)


def post_request(worker: Worker, request: Any, environ: dict[str, Any], response: Any) -> None:
    """Give back what a large body took: each thread would keep the most that it has ever held. Elsewhere than on glibc the
    allocator does it by itself."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if len(length) > LARGE and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def on_exit(server: Arbiter) -> None:
    """Take the folder of numbers away, when it was made here."""
    if _numbers:
        shutil.rmtree(_numbers, ignore_errors=True)
