"""An embedded PostgreSQL: on loopback, with passwords, never as root, in a folder of ours."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg2
from psycopg2 import sql

from launcher import accounts, ports, secretfiles
from launcher.binaries import Binaries, choose_postgres
from launcher.processes import Account, Child, Command, LaunchError, last_line

ROLE = "kubegale"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "2GB",
}


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server whose files live under `home`.

    `quick` trades the safety of the data for speed (tests).
    """

    home: Path
    environ: Mapping[str, str]
    quick: bool = False

    @cached_property
    def data(self) -> Path:
        """The data directory, as initdb makes it."""
        return self.home / "postgres"

    @cached_property
    def password(self) -> str:
        """The password of our role; generated once, stored next to the data."""
        file = self.home / "postgres.password"
        if (self.data / "PG_VERSION").exists() and not file.exists():
            raise LaunchError(
                f"The database in {self.data} exists but its password file {file} is missing: "
                f"put it back, or move {self.data} away."
            )
        return secretfiles.read_or_generate(file, secretfiles.password)

    @cached_property
    def port(self) -> int:
        """The TCP port; the same over restarts while it stays free."""
        return ports.stored_port(self.home / "postgres.port")

    @cached_property
    def account(self) -> Account | None:
        """The user that the server runs as; None (ourselves) unless we are root."""
        return accounts.unprivileged_account()

    @cached_property
    def binaries(self) -> Binaries:
        """The programs, of the version that made the data directory when there is one."""
        version = self._version_of_data()
        return choose_postgres(self.environ, data_version=version, account=self.account)

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.home / "postgres.log"

    def url(self, database: str = ROLE) -> str:
        """The address of a database for DATABASE_URL."""
        return f"postgres://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"

    def command(self) -> Command:
        """The server process; makes the data directory first when there is none."""
        environment = _clean(self.environ)
        if self._version_of_data() is None:
            self._initialise(environment)
        self._settle_old_server()
        address, descriptors = accounts.reachable(self.data, self.account)
        settings = {
            **SETTINGS,
            **(QUICK if self.quick else {}),
            "port": str(self.port),
        }
        # SIGINT ends sessions and writes a checkpoint, SIGQUIT ends at once.
        stop_signal = signal.SIGQUIT if self.quick else signal.SIGINT
        return Command(
            name="postgres",
            argv=(
                str(self.binaries.program("postgres")),
                "-D",
                address,
                *(f"--{key}={value}" for key, value in settings.items()),
            ),
            env=environment,
            cwd=Path("/"),
            account=self.account,
            descriptors=descriptors,
            stop_signal=stop_signal,
            orphan_signal=stop_signal,
            grace=30.0,
            log=self.log,
            diagnose=self._diagnosis,
        )

    def is_ready(self, child: Child) -> bool:
        """Whether the server answers and our database exists; LaunchError when it has died."""
        if not child.alive:
            raise LaunchError(self._diagnosis(child.process.returncode))
        try:
            self._ensure_database()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                file = self.home / "postgres.password"
                raise LaunchError(
                    f"PostgreSQL on {self.data} does not accept the password in {file}."
                ) from error
            return False
        return True

    def wait(self, child: Child, seconds: float = 30.0) -> None:
        """Return once the server answers; LaunchError when it does not within `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.is_ready(child):
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"PostgreSQL on {self.data} did not answer within {seconds:.0f} s "
                    f"(its log is {self.log})."
                )
            time.sleep(0.02)

    def _diagnosis(self, code: int) -> str:
        reason = last_line(self.log, "FATAL", "PANIC", "ERROR") or f"exit code {code}"
        return (
            f"PostgreSQL could not start on {self.data}: {_sentence(reason)} "
            f"(its log is {self.log})."
        )

    def _ensure_database(self) -> None:
        connection = psycopg2.connect(self.url("postgres"), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [ROLE])
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(ROLE)))
        finally:
            connection.close()

    def _version_of_data(self) -> int | None:
        if not self.data.exists():
            return None
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (OSError, ValueError) as error:
            raise LaunchError(
                f"{self.data} is not a PostgreSQL data directory: move it away, "
                "or set KUBEGALE_DATA_DIR to another folder."
            ) from error

    def _initialise(self, environment: Mapping[str, str]) -> None:
        """Make the data directory under another name and move it there when it is complete."""
        fresh = self.home / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        # PostgreSQL refuses a data directory that others can read.
        fresh.mkdir(mode=0o700)
        accounts.give(fresh, self.account)
        address, descriptors = accounts.reachable(fresh, self.account)
        with accounts.secret_file(self.password, self.account) as password_file:
            command = [
                str(self.binaries.program("initdb")),
                "-D",
                address,
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                f"--username={ROLE}",
                "--encoding=UTF8",
                "--no-locale",
            ]
            if self.quick:
                # Test databases are thrown away, so they need not survive a power cut.
                command.append("--no-sync")
            process = subprocess.run(
                command,
                env=dict(environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
                pass_fds=descriptors,
                start_new_session=True,
                **accounts.as_user(self.account),
            )
        accounts.close(descriptors)
        if process.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            text = process.stderr.decode(errors="replace").strip()
            complaint = text.splitlines() or [f"exit code {process.returncode}"]
            raise LaunchError(
                f"PostgreSQL could not make its data directory {self.data}: "
                f"{_sentence(complaint[0])}."
            )
        # An initialisation that was cut short never looks like a database.
        fresh.rename(self.data)

    def _settle_old_server(self) -> None:
        """Wait for a server that is still stopping; remove the pid file that a crash left."""
        pid_file = self.data / "postmaster.pid"
        deadline = time.monotonic() + 15
        while (pid := _pid_in(pid_file)) is not None and _is_postgres(pid):
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"A PostgreSQL server (process {pid}) still runs on {self.data}: end it first."
                )
            time.sleep(0.1)
        # Its process is gone, and PostgreSQL would refuse to start if the number was used again.
        pid_file.unlink(missing_ok=True)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would redirect PostgreSQL's own programs."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith(("PG", "LC_", "LD_")) and key not in {"LANG", "LANGUAGE"}
    }


def _pid_in(file: Path) -> int | None:
    try:
        pid = int(file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if pid > 0 else None


def _is_postgres(pid: int) -> bool:
    """Whether process `pid` is a running PostgreSQL server; the number may be another's by now."""
    status = Path(f"/proc/{pid}/status")
    if status.parent.parent.joinpath("self").exists():
        text = status.read_text() if status.exists() else ""
        return "Name:\tpostgres\n" in text and "State:\tZ" not in text
    # Not Linux.
    process = subprocess.run(
        ["ps", "-o", "stat=,command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=10,
    )
    state, _, command = process.stdout.strip().partition(" ")
    return "postgres" in command and not state.startswith("Z")


def _sentence(complaint: str) -> str:
    """PostgreSQL's complaint without its time stamp and without a full stop."""
    return re.sub(r"^[-\d.: ]+[A-Z]+ \[\d+\] ", "", complaint).rstrip(".")
