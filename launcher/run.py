"""`make run`: a whole KubeGale on loopback with a demo cluster; only Python is needed."""

import fcntl
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from launcher import ports, programs, secretfiles
from launcher.forks import ForkServer, usable
from launcher.postgres import Postgres
from launcher.processes import LaunchError
from launcher.supervisor import Stopped, Supervisor
from launcher.valkey import Valkey

ADMINISTRATOR = "admin"
DEMO = "demo"
DOCUMENTED_AS_OPEN = "k8sservice,walm,bcs"
# Grows when a database of an earlier, unreleased version cannot be migrated.
SCHEMA = "2"
USUAL_GATEWAY_PORT = 8443
# One interpreter answers on one core at a time; more than two would leave PostgreSQL too little.
MOST_WEB_PROCESSES = 2
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def main(environ: Mapping[str, str]) -> None:
    """Start everything, say where it is, keep it going until a signal comes."""
    listening = programs.Listening.from_environment(environ, default_address="127.0.0.1")
    listening.check()
    with (
        data_folder(environ) as home,
        programs.socket_folder(home) as sockets,
        Supervisor(logs=home).running() as supervisor,
    ):
        try:
            Launch(supervisor, home, sockets, listening, environ).run()
        except Stopped:
            # The supervisor says what it stops.
            return


@contextmanager
def data_folder(environ: Mapping[str, str]) -> Iterator[Path]:
    """The folder of all data (KUBEGALE_DATA_DIR, default .data), locked while we run."""
    home = (programs.ROOT / (environ.get("KUBEGALE_DATA_DIR") or ".data")).resolve()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise LaunchError(
            f"The data folder {home} cannot be used: {error.strerror}; "
            "set KUBEGALE_DATA_DIR to another one."
        ) from error
    with lock:
        _lock(lock, home)
        yield home


def set_aside_older_database(home: Path) -> Path | None:
    """Move away a database that this version cannot migrate; where it lies now, or None.

    `home` is the data folder; its file `schema` says which generation the database is of.
    """
    mark = home / "schema"
    generation = mark.read_text().strip() if mark.exists() else ""
    data = home / "postgres"
    aside: Path | None = None
    if data.exists() and generation != SCHEMA:
        # Moved, never deleted: the version that made it can still run on it.
        aside = home / f"postgres-before-{time.strftime('%Y%m%dT%H%M%S')}"
        data.rename(aside)
    mark.write_text(f"{SCHEMA}\n")
    return aside


def _lock(lock: IO[str], home: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise LaunchError(
            f"Another KubeGale (process {holder}) already runs on {home}: "
            "stop it, or set KUBEGALE_DATA_DIR."
        ) from error
    # The number of the earlier process may be longer than ours.
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


@dataclass(slots=True)
class Launch:
    """One run, step by step."""

    supervisor: Supervisor
    home: Path
    sockets: Path
    listening: programs.Listening
    environ: Mapping[str, str]

    def run(self) -> None:
        """Engines, database, servers, demo cluster, background processes, in order; then watch."""
        started = time.monotonic()
        environment = {**self._settings(), **self._engines()}
        forks = self._fork_server(environment)
        password = self._secret("DJANGO_SUPERUSER_PASSWORD", "admin.password", secretfiles.password)
        self.supervisor.say("bringing the database up to date")
        unhurried = {
            **environment,
            "DJANGO_SUPERUSER_PASSWORD": password,
            # A migration may take longer than any statement of a request.
            "DATABASE_STATEMENT_TIMEOUT_MS": "0",
        }
        state = json.loads(
            self._manage("bootstrap", "--administrator", ADMINISTRATOR, env=unhurried)
        )
        # What is not forked starts while the fork server loads.
        demo = self._start_demo_cluster(environment, state["clusters"])
        self.supervisor.say("starting the servers")
        self.supervisor.start(programs.front(environment))
        if forks is not None:
            self.supervisor.until(lambda: forks.ready, seconds=60.0, what="The fork server")
            self.supervisor.forks = forks
        self.supervisor.start(programs.web(environment))
        self.supervisor.start(programs.sockets(environment))
        if demo is not None:
            self._register_demo_cluster(environment, state, demo)
        self._background(environment)
        announce = partial(
            self._announce,
            password if state["password_current"] else None,
            environment["GATEWAY_URL"],
        )
        announce(f"KubeGale is ready after {time.monotonic() - started:.1f} s.")
        self.supervisor.watch(partial(announce, "KubeGale is running."))

    def _settings(self) -> dict[str, str]:
        """The environment of the processes: the caller's, and what is generated once and stored."""
        environ = self.environ
        opened = self.listening.address in LOOPBACK and "OPEN_DIALECTS" not in environ
        open_demo = {
            "OPEN_DIALECTS": DOCUMENTED_AS_OPEN,
            "OPEN_DIALECTS_CLUSTERS": DEMO,
        }
        return {
            "LOG_FORMAT": "text",
            **self._web_processes(),
            **(open_demo if opened else {}),
            **self._gateway(),
            **environ,
            **self.listening.environment(self.sockets),
            "PYTHONUNBUFFERED": "1",
            "SECRET_KEY": self._secret("SECRET_KEY", "secret.key", secretfiles.secret_key),
            "FIELD_ENCRYPTION_KEYS": self._secret(
                "FIELD_ENCRYPTION_KEYS",
                "field-encryption.keys",
                secretfiles.fernet_key,
            ),
        }

    def _web_processes(self) -> dict[str, str]:
        """How many there are, and where they add up their metrics when there are several."""
        count = programs.count_web_processes(self.environ, most=MOST_WEB_PROCESSES)
        if count == "1":
            return {"WEB_CONCURRENCY": count}
        metrics = self.sockets / "metrics"
        # Of processes of an earlier run.
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir()
        return {"WEB_CONCURRENCY": count, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}

    def _gateway(self) -> dict[str, str]:
        """Where kubectl reaches the clusters: KUBEGALE_GATEWAY_PORT, else 8443 or a free port.

        The port is stored, since kubeconfigs name it.
        """
        stored = self.home / "gateway.port"
        text = self.environ.get("KUBEGALE_GATEWAY_PORT") or ""
        if text:
            port = programs.parse_port("KUBEGALE_GATEWAY_PORT", text)
            self.listening.check_port("KUBEGALE_GATEWAY_PORT", port)
            stored.write_text(f"{port}\n")
        else:
            if not stored.exists():
                stored.write_text(f"{USUAL_GATEWAY_PORT}\n")
            port = ports.stored_port(stored)
        literal = f"[{self.listening.address}]" if ":" in self.listening.address else ""
        return {
            "GATEWAY_ADDRESS": f"{literal or self.listening.address}:{port}",
            "GATEWAY_URL": f"https://{self.listening.host}:{port}",
            "GATEWAY_DATA_DIR": str(self.home),
        }

    def _secret(self, name: str, file: str, make: Callable[[], str]) -> str:
        """The variable's value, or its file's, or one that is generated once and stored."""
        if value := self.environ.get(name):
            return value
        if path := self.environ.get(f"{name}_FILE"):
            return Path(path).read_text().strip()
        return secretfiles.read_or_generate(self.home / file, make)

    def _engines(self) -> dict[str, str]:
        """Start the engines that were not configured; their addresses as settings."""
        addresses: dict[str, str] = {}
        servers: list[Postgres | Valkey] = []
        if not (self.environ.get("REDIS_URL") or self.environ.get("REDIS_URL_FILE")):
            valkey = Valkey(self.home, self.environ)
            servers.append(valkey)
            addresses["REDIS_URL"] = valkey.url()
        if not (self.environ.get("DATABASE_URL") or self.environ.get("DATABASE_URL_FILE")):
            if aside := set_aside_older_database(self.home):
                self.supervisor.say(
                    "the database was made by an earlier, unreleased version and cannot be "
                    f"migrated: it is kept in {aside}, a new one is made"
                )
            postgres = Postgres(self.home, self.environ)
            self.supervisor.say(f"starting PostgreSQL {postgres.binaries.version}")
            servers.append(postgres)
            addresses["DATABASE_URL"] = postgres.url()
        started = [(server, self.supervisor.start(server.command())) for server in servers]
        for server, child in started:
            self.supervisor.until(
                partial(server.is_ready, child),
                seconds=60.0,
                what=type(server).__name__,
            )
        return addresses

    def _fork_server(self, environment: Mapping[str, str]) -> ForkServer | None:
        """Start what loads KubeGale once for all programs, while the database is made ready."""
        if not usable(environment):
            return None
        path = self.sockets / "forks"
        # Its appearance tells that the server is ready.
        path.unlink(missing_ok=True)
        self.supervisor.start(programs.fork_server(environment, path))
        return ForkServer(path)

    def _manage(self, *arguments: str, env: Mapping[str, str]) -> str:
        return self.supervisor.once(
            arguments[0], programs.manage(*arguments), env=env, cwd=programs.ROOT
        )

    def _start_demo_cluster(
        self, environment: Mapping[str, str], servers: Mapping[str, str]
    ) -> "DemoCluster | None":
        """Start the simulated cluster if nothing, or it, is registered; else None.

        `servers` is cluster name -> address.
        """
        # Someone who registered clusters of their own and removed the demo does not want it back.
        if servers and DEMO not in servers:
            return None
        self.supervisor.say("starting the simulated cluster")
        folder = self.home / "simcluster"
        folder.mkdir(mode=0o700, exist_ok=True)
        kubeconfig = folder / "kubeconfig"
        # Its appearance tells that the simulator is ready.
        kubeconfig.unlink(missing_ok=True)
        stored = folder / "port"
        before = stored.read_text().strip() if stored.exists() else ""
        port = ports.stored_port(stored)
        self.supervisor.start(programs.simulator(environment, port, kubeconfig))
        return DemoCluster(folder, port, before)

    def _register_demo_cluster(
        self,
        environment: Mapping[str, str],
        state: Mapping[str, Any],
        demo: "DemoCluster",
    ) -> None:
        """Wait for the simulated cluster; register it, unless it is as it was registered last.

        `state` is what `manage.py bootstrap` says.
        """
        self.supervisor.until(demo.ready, seconds=60.0, what="The simulated cluster")
        servers = state["clusters"]
        current = servers.get(DEMO) == demo.address and DEMO in state["active"]
        if current and demo.registered:
            return
        # A default that was chosen since stays the default.
        first = [] if DEMO in servers else ["--default"]
        self._manage(
            "register_cluster",
            DEMO,
            "--kubeconfig",
            str(demo.kubeconfig),
            "--exist-ok",
            "--skip-checks",
            *first,
            env=environment,
        )
        demo.mark_registered()
        if demo.port_before not in ("", str(demo.port)):
            self._move_clusters(environment, demo.port_before, demo.port)

    def _move_clusters(self, environment: Mapping[str, str], before: str, port: int) -> None:
        """Bring along what people registered by the simulated cluster's kubeconfig.

        Another program has taken the port that these registrations name.
        """
        old = f"https://127.0.0.1:{before}"
        try:
            self._manage("move_clusters", old, f"https://127.0.0.1:{port}", env=environment)
        except LaunchError as error:
            self.supervisor.say(f"not every cluster at {old} could be moved: {error}")

    def _background(self, environment: Mapping[str, str]) -> None:
        """Start what no other process waits for, once the web server answers."""
        self.supervisor.until(
            lambda: _answers(f"{self.listening.url}/readyz"),
            seconds=120.0,
            what="The web server",
        )
        self.supervisor.until(
            lambda: _answers(f"{self.listening.ws_url}/healthz"),
            seconds=60.0,
            what="The socket server",
        )
        self.supervisor.start(programs.worker(environment))
        self.supervisor.start(programs.beat(environment, self.home / "beat.schedule"))
        if (collector := programs.collector(environment)) is not None:
            self.supervisor.start(collector)

    def _announce(self, password: str | None, gateway_url: str, headline: str) -> None:
        """The banner; `password` is None when it was changed since it was generated."""
        say = self.supervisor.say
        stored = self.home / "admin.password"
        say("")
        say(f"{headline} Ctrl-C stops all of it.")
        say(f"  address   {self.listening.url}/")
        say(f"  kubectl   {gateway_url}/kube/…  (manage.py kubeconfig {ADMINISTRATOR})")
        say(f"  user      {ADMINISTRATOR}")
        say(f"  password  {password or '(changed since it was generated)'}")
        if stored.exists() and stored.read_text().strip() == password:
            say(f"  kept in   {stored}")
        say(f"  logs      {self.home}/*.log")
        say(f"  data      {self.home}")
        say("")


@dataclass(frozen=True, slots=True)
class DemoCluster:
    """The simulated cluster of the demo: its folder, its port, and "" or the port that it had."""

    folder: Path
    port: int
    port_before: str

    @property
    def kubeconfig(self) -> Path:
        """What the simulator writes once it is ready."""
        return self.folder / "kubeconfig"

    @property
    def address(self) -> str:
        """Its address, as the registration has it."""
        return f"https://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it answers."""
        return self.kubeconfig.exists() and not ports.is_free(self.port)

    @property
    def registered(self) -> bool:
        """Whether this very kubeconfig was registered: a program more takes seconds to load."""
        return self._mark.exists() and self._mark.read_text() == self._digest()

    def mark_registered(self) -> None:
        """Remember which kubeconfig was registered."""
        self._mark.write_text(self._digest())

    @property
    def _mark(self) -> Path:
        return self.folder / "registered"

    def _digest(self) -> str:
        return sha256(self.kubeconfig.read_bytes()).hexdigest()


def _answers(url: str) -> bool:
    """Whether the address answers 200 now."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
