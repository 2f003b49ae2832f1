"""The processes of KubeGale itself: how each is started, out of one environment."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher import ports
from launcher.processes import Command, LaunchError

ROOT = Path(__file__).resolve().parent.parent
TIER = 2
# The path of a unix socket has at most 107 bytes, on some systems 103.
LONGEST_HOME = 90
LONGEST_COMMAND_LINE = 600
# Warnings about what is meant to be so: our own machine's user, and static files served from where
# the packages have them.
AS_ROOT = "ignore:You're running the worker with superuser privileges"
NOT_COLLECTED = "ignore:No directory at"
# Each thread would keep the most that it has ever held: large bodies, one a thread, would stay in
# memory for good.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(8 * 1024 * 1024),
}


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the web server and the socket server listen."""

    address: str
    port: int
    ws_port: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, default_address: str) -> "Listening":
        """KUBEGALE_BIND, KUBEGALE_PORT (8000) and KUBEGALE_WS_PORT (the next port)."""
        port = _port(environ, "KUBEGALE_PORT", 8000)
        return cls(
            environ.get("KUBEGALE_BIND") or default_address,
            port,
            _port(environ, "KUBEGALE_WS_PORT", port + 1),
        )

    def check(self) -> None:
        """LaunchError when one of the ports is already in use, or both are the same."""
        if self.port == self.ws_port:
            raise LaunchError(
                f"KUBEGALE_PORT and KUBEGALE_WS_PORT are both {self.port}: "
                "give two different ports."
            )
        for name, port in (
            ("KUBEGALE_PORT", self.port),
            ("KUBEGALE_WS_PORT", self.ws_port),
        ):
            self.check_port(name, port)

    def check_port(self, name: str, port: int) -> None:
        """LaunchError when the port, of the variable `name`, is already in use."""
        if not ports.is_free(port, self.address):
            raise LaunchError(
                f"Port {port} on {self.address} cannot be used (already in use?): "
                f"free it, or set {name} to another one."
            )

    @property
    def host(self) -> str:
        """A host name under which this machine itself reaches the servers."""
        literal = f"[{self.address}]" if ":" in self.address else self.address
        return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.address, literal)  # noqa: S104

    @property
    def url(self) -> str:
        """The address of the web server, for a browser on this machine."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The address of the port that is for WebSockets alone."""
        return f"http://{self.host}:{self.ws_port}"

    def environment(self, folder: Path) -> dict[str, str]:
        """The ports as environment variables; servers behind the front use sockets in `folder`."""
        return {
            "KUBEGALE_BIND": self.address,
            "KUBEGALE_PORT": str(self.port),
            "KUBEGALE_WS_PORT": str(self.ws_port),
            "KUBEGALE_WEB_SOCKET": str(folder / "web"),
            "KUBEGALE_WS_SOCKET": str(folder / "ws"),
            "KUBEGALE_GATEWAY_SOCKET": str(folder / "gateway"),
        }


@contextmanager
def socket_folder(home: Path | None = None) -> Iterator[Path]:
    """A folder for unix sockets that only we enter.

    It is below `home`, where a launch that was killed leaves nothing in the way of the next, unless
    its path is too long for a socket's; else a temporary one.
    """
    if home is not None and len(os.fsencode(home)) < LONGEST_HOME:
        folder = home / "sockets"
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        yield folder
        return
    with tempfile.TemporaryDirectory(
        prefix="kubegale-sockets-", ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def count_web_processes(environ: Mapping[str, str], *, most: int) -> str:
    """WEB_CONCURRENCY, else one for each processor that this process may use, at most `most`."""
    if hasattr(os, "sched_getaffinity"):
        # A container may be limited to fewer than the machine has.
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    return environ.get("WEB_CONCURRENCY") or str(min(most, processors))


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    return parse_port(name, environ.get(name) or str(default))


def parse_port(name: str, text: str) -> int:
    """The port that the variable `name` gives; LaunchError when it is none."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise LaunchError(f"{name} must be a port number from 1 to 65535, not {text!r}.")


def manage(*arguments: str) -> list[str]:
    """The command line of a `manage.py` command."""
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def front(environ: Mapping[str, str]) -> Command:
    """What clients talk to: it forwards whole requests to the web server, WebSockets to theirs."""
    return _python("front", ("-m", "edge"), environ, grace=35.0)


def web(environ: Mapping[str, str]) -> Command:
    """Pages, admin and every JSON route: gunicorn with threads (kubegale/gunicorn.py)."""
    program = (
        "-m",
        "gunicorn",
        "--config",
        "python:kubegale.gunicorn",
        "kubegale.wsgi:application",
    )
    # Several processes add up their metrics in files, which must be known before anything loads.
    forkable = environ.get("WEB_CONCURRENCY") == "1" or "PROMETHEUS_MULTIPROC_DIR" in environ
    arguments = ("-W", NOT_COLLECTED, *program)
    return _python("web", arguments, environ, grace=35.0, forkable=forkable)


def sockets(environ: Mapping[str, str]) -> Command:
    """The WebSocket routes: one uvicorn, behind the front."""
    options = [
        "--uds",
        environ["KUBEGALE_WS_SOCKET"],
        # Else it would read WEB_CONCURRENCY, and each process would listen for the gateway.
        "--workers",
        "1",
        "--no-access-log",
        "--no-server-header",
    ]
    limits = [
        "--log-level",
        "warning",
        "--timeout-graceful-shutdown",
        "5",
        "--ws-max-size",
        "1048576",
        "--ws-per-message-deflate",
        "false",
    ]
    return _python(
        "ws",
        ("-m", "uvicorn", "kubegale.asgi:application", *options, *limits),
        environ,
        forkable=True,
    )


def worker(environ: Mapping[str, str]) -> Command:
    """Background work: a Celery worker with processes, so that time limits and cancelling hold."""
    count = environ.get("WORKER_CONCURRENCY") or "2"
    options = (
        "--concurrency",
        count,
        "--without-gossip",
        "--without-mingle",
        "--loglevel",
        environ.get("LOG_LEVEL") or "INFO",
    )
    return _python(
        "worker",
        ("-W", AS_ROOT, "-m", "celery", "-q", "-A", "kubegale", "worker", *options),
        environ,
        grace=20.0,
        # Asked politely it would wait for a broker that has died with us, for ever; what it was
        # doing is done again.
        orphan_signal=signal.SIGKILL,
        forkable=True,
    )


def beat(environ: Mapping[str, str], schedule: Path) -> Command:
    """The clock of periodic tasks.

    A process of its own: as part of a worker it would outlive the worker's SIGKILL.
    """
    options = (
        "--schedule",
        str(schedule),
        "--pidfile",
        "",
        "--loglevel",
        environ.get("LOG_LEVEL") or "INFO",
    )
    arguments = ("-m", "celery", "-q", "-A", "kubegale.beat", "beat", *options)
    return _python("beat", arguments, environ, forkable=True)


def collector(environ: Mapping[str, str]) -> Command | None:
    """The process that follows the clusters into the store, once the project has its command."""
    if not list(ROOT.glob("*/management/commands/collect.py")):
        return None
    return _python("collector", ("manage.py", "collect"), environ, forkable=True)


def fork_server(environ: Mapping[str, str], path: Path) -> Command:
    """What starts the other programs by fork, from `path`, so that they share memory."""
    # The last argument makes room for the command lines of the programs.
    room = " " * LONGEST_COMMAND_LINE
    arguments = ("-W", NOT_COLLECTED, "-m", "kubegale.fork_server", str(path), room)
    return _python("forks", arguments, environ, tier=1)


def simulator(environ: Mapping[str, str], port: int, kubeconfig: Path) -> Command:
    """The simulated Kubernetes cluster of the demo."""
    options = (
        *("--port", str(port), "--kubeconfig-out", str(kubeconfig)),
        *("--data", str(kubeconfig.parent), "--demo"),
    )
    return _python("simulator", ("-m", "simcluster", *options), environ, tier=1)


def _python(
    name: str,
    arguments: tuple[str, ...],
    environ: Mapping[str, str],
    *,
    grace: float = 10.0,
    tier: int = TIER,
    orphan_signal: int = signal.SIGTERM,
    forkable: bool = False,
) -> Command:
    return Command(
        name=name,
        argv=(sys.executable, *arguments),
        env={**ALLOCATOR, **environ},
        cwd=ROOT,
        grace=grace,
        tier=tier,
        orphan_signal=orphan_signal,
        forkable=forkable,
    )
