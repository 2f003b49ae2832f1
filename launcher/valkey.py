"""An embedded Redis: valkey (or redis) on loopback with a password and an append-only file."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launcher import binaries, ports, secretfiles
from launcher.processes import Child, Command, LaunchError, last_line

DATABASES = 128
MAX_MEMORY = "512mb"


@dataclass(frozen=True)
class Valkey:
    """A server whose files live under `home`; `quick` keeps nothing on disk (tests)."""

    home: Path
    environ: Mapping[str, str]
    quick: bool = False

    @cached_property
    def password(self) -> str:
        """The server's password; generated once, stored next to the data."""
        file = self.home / "redis.password"
        return secretfiles.read_or_generate(file, secretfiles.password)

    @cached_property
    def port(self) -> int:
        """The TCP port; the same over restarts while it stays free."""
        return ports.stored_port(self.home / "redis.port")

    @property
    def data(self) -> Path:
        """The folder of its append-only file."""
        return self.home / "redis"

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.home / "redis.log"

    def url(self, database: int = 0) -> str:
        """The address for REDIS_URL."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def command(self) -> Command:
        """The server process.

        Its settings go through a private file, as a command line is readable by every user.
        """
        self._make_folder()
        settings = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.data}"',
            f"databases {DATABASES}",
            "daemonize no",
            "protected-mode yes",
            # Queues and sessions are stored here: a full memory refuses writes, and evicts nothing.
            f"maxmemory {MAX_MEMORY}",
            "maxmemory-policy noeviction",
            *(
                ['save ""', "appendonly no"]
                if self.quick
                else ["save 300 10", "appendonly yes", "appendfsync everysec"]
            ),
        ]
        file = self.home / "redis.conf"
        secretfiles.write(file, "\n".join(settings))
        program = binaries.valkey(self.environ)
        return Command(
            name="redis",
            argv=(str(program), str(file)),
            env=self.environ,
            cwd=self.data,
            log=self.log,
            diagnose=self._diagnosis,
        )

    def is_ready(self, child: Child) -> bool:
        """Whether the server answers; a LaunchError when it has died."""
        if not child.alive:
            raise LaunchError(self._diagnosis(child.process.returncode))
        answer = self._ask()
        if b"-WRONGPASS" in answer:
            file = self.home / "redis.password"
            raise LaunchError(
                f"The Redis server on port {self.port} does not accept the password in {file}."
            )
        return b"+PONG" in answer

    def _ask(self) -> bytes:
        """What the server says to its password and a PING; b"" when it does not answer.

        The client's library would be half of the launcher's memory, for this alone.
        """
        address = ("127.0.0.1", self.port)
        try:
            with socket.create_connection(address, timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as reader:
                    return reader.read()
        except OSError:
            return b""

    def wait(self, child: Child, seconds: float = 30.0) -> None:
        """Return once the server answers; a LaunchError when it does not within `seconds`."""
        deadline = time.monotonic() + seconds
        while not self.is_ready(child):
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"The Redis server on {self.data} did not answer within {seconds:.0f} s "
                    f"(its log is {self.log})."
                )
            time.sleep(0.01)

    def _diagnosis(self, code: int) -> str:
        reason = last_line(self.log, "#", "rror") or f"exit code {code}"
        return (
            f"The Redis server could not start on {self.data}: {reason.rstrip('.')} "
            f"(its log is {self.log})."
        )

    def _make_folder(self) -> None:
        try:
            self.data.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError as error:
            raise LaunchError(
                f"{self.data} is not a folder: move it away, "
                "or set KUBEGALE_DATA_DIR to another folder."
            ) from error
