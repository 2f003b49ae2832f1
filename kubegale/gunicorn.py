"""gunicorn's settings, from the environment: `gunicorn --config python:kubegale.gunicorn`."""

import ctypes
import gc
import logging
import os
import select
import shutil
import signal
import tempfile
from importlib import import_module
from types import FrameType
from typing import Any

import gunicorn.http.wsgi
from django.urls import get_resolver
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from core.stream_limits import stopping

# A thread holds the bytes of a request and an answer; after so many bytes, memory that nobody needs
# any more goes back to the system.
MOST_UNCLEANED_BYTES = 64 * 1024 * 1024
LARGE_BYTES = 1024 * 1024
# glibc's mallopt: one heap for each thread would keep the most that the thread ever needed, and
# large buffers come from the system and go back to it at once.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# The Server header gives no version away.
gunicorn.http.wsgi.SERVER = "KubeGale"


class RootLogger(Logger):  # type: ignore[misc]  # the library has no types
    """gunicorn's own messages in the format of all others.

    Its access log stays off, as the application logs requests.
    """

    def setup(self, cfg: Any) -> None:
        """Leave the handlers to the root logger."""
        self.loglevel = logging.WARNING
        self.error_log.setLevel(self.loglevel)
        self.error_log.propagate = True


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        # A container may be limited to fewer cores than the machine has.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Every address: a server is there to be reached; `make run` says loopback.
_address = os.environ.get("KUBEGALE_BIND") or "0.0.0.0"  # noqa: S104
_literal = f"[{_address}]" if ":" in _address else _address
bind = f"{_literal}:{_number('KUBEGALE_PORT', 8000)}"
if _socket := os.environ.get("KUBEGALE_WEB_SOCKET"):
    # Behind the front: a unix socket in a folder that only we enter.
    bind = f"unix:{_socket}"
# gunicorn's own threads where there is no epoll.
worker_class = "kubegale.web_worker.SharedPollWorker" if hasattr(select, "epoll") else "gthread"
workers = _number("WEB_CONCURRENCY", min(4, _cores()))
threads = _number("WEB_THREADS", 16)
preload_app = True
# Before the application is loaded: where the processes keep their numbers, so that /metrics can add
# them up.
_metrics_folder = ""
if workers > 1 and not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    _metrics_folder = tempfile.mkdtemp(prefix="kubegale-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder
logger_class = RootLogger
backlog = 512
timeout = 60
graceful_timeout = 30
keepalive = 65
limit_request_line = 8190
limit_request_fields = 110  # the front allows 100 and adds its own
limit_request_field_size = 8200  # the front allows 8190 and writes them out anew
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"
# For files by which workers show that they live; on a slow disk a worker would look dead.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108


def _limit_heaps() -> None:
    """Tell glibc's allocator, before threads exist; elsewhere there is no such thing."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, 8 * LARGE_BYTES)


_limit_heaps()


def when_ready(server: Arbiter) -> None:
    """Load the routes before the fork, so that no first request waits for them.

    What was loaded is never garbage: the collector leaves it alone, and its memory stays shared.
    """
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Collect rarely: big JSON makes many objects and no cycles. Count answers apart."""
    gc.set_threshold(50_000, 20, 50)
    # Not before: its module loads what must find the folder of metrics.
    statistics = import_module("kubegale.walm_stats").STATISTICS
    statistics.choose_slot(worker.age)


def post_worker_init(worker: Worker) -> None:
    """End feeds and followed logs as soon as the process has to stop.

    gunicorn itself would wait for them.
    """

    def end(number: int, frame: FrameType | None) -> None:
        stopping.set()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, end)


def post_request(worker: Worker, request: Any, environ: dict[str, Any], response: Any) -> None:
    """Give memory back by bytes: the garbage collector counts objects, and pages have few.

    A body of a megabyte or more is given back at once, answers when many bytes have been sent.
    """
    length = environ.get("CONTENT_LENGTH") or "0"
    received = int(length) if length.isdigit() else 0
    sent = int(getattr(response, "sent", 0))
    # Threads may count past each other; then it is cleaned a little later.
    worker.uncleaned = getattr(worker, "uncleaned", 0) + received + sent
    if received < LARGE_BYTES and worker.uncleaned < MOST_UNCLEANED_BYTES:
        return
    if worker.uncleaned >= MOST_UNCLEANED_BYTES:
        worker.uncleaned = 0
        gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def on_exit(server: Arbiter) -> None:
    """Remove the folder of metrics, when it was made here."""
    if _metrics_folder:
        shutil.rmtree(_metrics_folder, ignore_errors=True)
