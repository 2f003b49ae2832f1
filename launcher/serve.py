"""`make serve`: the production web and socket servers, from the environment, no demo."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from launcher import programs
from launcher.processes import Command, LaunchError
from launcher.supervisor import Stopped, Supervisor

MIGRATION_LOCK = 0x6B75_6265_6761_6C65  # "kubegale"
MOST_WEB_PROCESSES = 4
NO = {"0", "false", "no", "off"}
# What KUBEGALE_SERVE may say: the front serves what is behind it, everywhere.
SERVERS = {
    "all": (programs.web, programs.sockets),
    "web": (programs.web,),
    "sockets": (programs.sockets,),
}


def main(environ: Mapping[str, str]) -> None:
    """Check the settings, bring the database up to date, serve until a signal comes."""
    # Every address by default: a server is there to be reached.
    listening = programs.Listening.from_environment(
        environ,
        default_address="0.0.0.0",  # noqa: S104
    )
    with (
        programs.socket_folder() as sockets,
        Supervisor(prefix=False).running() as supervisor,
    ):
        environment = {
            "PYTHONUNBUFFERED": "1",
            **environ,
            **listening.environment(sockets),
            # The front counts with it, too.
            "WEB_CONCURRENCY": programs.count_web_processes(environ, most=MOST_WEB_PROCESSES),
            # A production server does not read what `make run` stores next to the project.
            "KUBEGALE_DATA_DIR": os.devnull,
        }
        try:
            _serve(supervisor, environment, listening)
        except Stopped:
            return


def _serve(
    supervisor: Supervisor,
    environment: Mapping[str, str],
    listening: programs.Listening,
) -> None:
    servers = _servers(environment)
    supervisor.once("settings", programs.manage("check"), env=environment, cwd=programs.ROOT)
    listening.check()
    if environment.get("KUBEGALE_MIGRATE", "1").strip().lower() not in NO:
        with migration_lock(supervisor, _database_url(environment)):
            unhurried = {**environment, "DATABASE_STATEMENT_TIMEOUT_MS": "0"}
            supervisor.once(
                "migrate",
                programs.manage("migrate", "--noinput"),
                env=unhurried,
                cwd=programs.ROOT,
                seconds=1800.0,
            )
    supervisor.start(programs.front(environment))
    for server in servers:
        supervisor.start(server(environment))
    if programs.sockets in servers:
        where = f"{listening.port}, WebSockets there and on port {listening.ws_port}"
    else:
        where = f"{listening.port}, without WebSockets"
    if programs.web not in servers:
        where = f"{listening.ws_port}, WebSockets only"
    supervisor.say(f"kubegale: serving on {listening.address} port {where}")
    supervisor.watch()


def _servers(
    environment: Mapping[str, str],
) -> tuple[Callable[[Mapping[str, str]], Command], ...]:
    """The servers that KUBEGALE_SERVE names; LaunchError for a word that is none of its own."""
    word = environment.get("KUBEGALE_SERVE") or "all"
    try:
        return SERVERS[word]
    except KeyError:
        raise LaunchError(f"KUBEGALE_SERVE must be {', '.join(SERVERS)}, not {word!r}.") from None


def _database_url(environment: Mapping[str, str]) -> str:
    """DATABASE_URL, or the content of DATABASE_URL_FILE; the settings check requires one."""
    return (
        environment.get("DATABASE_URL")
        or Path(environment["DATABASE_URL_FILE"]).read_text().strip()
    )


@contextmanager
def migration_lock(supervisor: Supervisor, url: str) -> Iterator[None]:
    """Hold the database's advisory lock, so that of several starting servers one migrates."""
    parts = urlsplit(url)
    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise LaunchError(
            f"The database at {parts.hostname}:{parts.port or 5432} cannot be used: {reason}"
        ) from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:

            def acquire() -> bool:
                # Tried again and again: a blocking lock could not be ended by a signal.
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK])
                row = cursor.fetchone()
                return bool(row and row[0])

            supervisor.until(
                acquire,
                seconds=1800.0,
                what="The lock for migrations, held by another server,",
            )
            yield
    finally:
        connection.close()
