"""What `make run` does when nothing happens: statements, wake-ups and processor time of each part.

A whole KubeGale with its demo cluster in a folder of its own, measured for `BENCH_SECONDS`.
"""

import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from bench.processes import running, until, wait_for
from launcher.ports import free_port
from launcher.postgres import ROLE

SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
# Until what the start has left to do is done.
SETTLE_SECONDS = float(os.environ.get("BENCH_SETTLE_SECONDS", "45"))
# Part of a command line -> what the process is; the first that fits.
PARTS = {
    "fork_server": "fork server",
    " collect": "collector",
    " worker ": "worker",
    " beat ": "clock",
    "gunicorn": "web",
    "uvicorn": "sockets",
    "edge": "front",
    "simcluster": "demo cluster",
    "launcher": "launcher",
    "postgres": "PostgreSQL",
    "valkey": "Redis",
    "redis": "Redis",
}
LOG_STATEMENTS = (
    "ALTER SYSTEM SET log_statement = 'all'",
    "ALTER SYSTEM SET log_line_prefix = '%r|'",
    "ALTER SYSTEM SET log_connections = on",
    "SELECT pg_reload_conf()",
)
STATEMENT = re.compile(r"^\S*\((\d+)\)\|LOG:  (?:statement|execute [^:]*):\s+(.*)", re.MULTILINE)
CONNECTION = re.compile(r"^\S*\(\d+\)\|LOG:  connection authorized", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process is, its processor time so far in seconds, and how often it woke up."""

    part: str
    seconds: float
    wakeups: int


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    children: list[str] = []
    # A thread, or the process, may end meanwhile.
    with suppress(OSError):
        for listing in Path(f"/proc/{pid}/task").glob("*/children"):
            children += listing.read_text().split()
    for child in children:
        yield from _descendants(int(child))


def _part_of(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return next((part for text, part in PARTS.items() if text in words), "other")


def _usage(pid: int) -> Usage:
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    wakeups = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                wakeups += int(line.split()[1])
    return Usage(
        _part_of(pid), (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"), wakeups
    )


def _usages(master: int) -> dict[int, Usage]:
    usages = {}
    for pid in _descendants(master):
        try:
            usages[pid] = _usage(pid)
        except OSError:
            # It ended meanwhile.
            continue
    return usages


def _ports(pids: Iterator[int]) -> dict[int, str]:
    """Local port -> the part of KubeGale that has a connection from there."""
    inodes: dict[str, str] = {}
    for pid in pids:
        # A process may end meanwhile, and close a file.
        with suppress(OSError):
            part = _part_of(pid)
            for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
                with suppress(OSError):
                    inodes[os.readlink(entry)] = part
    ports = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        part = inodes.get(f"socket:[{fields[9]}]")
        if part:
            ports[int(fields[1].rsplit(":", 1)[1], 16)] = part
    return ports


def _database_address(home: Path) -> str:
    port = (home / "postgres.port").read_text().strip()
    password = (home / "postgres.password").read_text().strip()
    return f"postgres://{ROLE}:{password}@127.0.0.1:{port}/{ROLE}"


def _is_collected(address: str) -> bool:
    with closing(psycopg2.connect(address)) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) > 20 FROM storage_kind_sync WHERE phase = 'watching'")
        return bool(cursor.fetchone()[0])


def _switch_log_on(address: str) -> None:
    with closing(psycopg2.connect(address)) as session, session.cursor() as cursor:
        session.autocommit = True
        for statement in LOG_STATEMENTS:
            cursor.execute(statement)


def _print_processes(before: dict[int, Usage], after: dict[int, Usage]) -> None:
    totals: dict[str, Counter[str]] = {}
    for pid, usage in after.items():
        earlier = before.get(pid, Usage(usage.part, 0.0, 0))
        part = totals.setdefault(usage.part, Counter())
        part["processes"] += 1
        part["microseconds"] += int((usage.seconds - earlier.seconds) * 1e6)
        part["wakeups"] += usage.wakeups - earlier.wakeups
    for name, part in sorted(totals.items()):
        share = part["microseconds"] / 1e4 / SECONDS
        print(
            f"{name} ({part['processes']}): {share:.2f} % of a core,"
            f" {part['wakeups'] / SECONDS:.1f} wake-ups a second",
            flush=True,
        )


def _print_statements(text: str, ports: dict[int, str]) -> None:
    rows = STATEMENT.findall(text)
    minutes = SECONDS / 60
    connections = len(CONNECTION.findall(text))
    print(
        f"SQL: {len(rows) / minutes:.0f} statements and {connections / minutes:.0f} new sessions"
        " a minute",
        flush=True,
    )
    # What is left: sessions that ended before anybody looked whose they were.
    by_part = Counter(ports.get(int(port), "sessions that ended") for port, _ in rows)
    for name, count in by_part.most_common():
        print(f"  {name}: {count / minutes:.0f} a minute", flush=True)
    texts = Counter(re.sub(r"\d+|'[^']*'", "?", statement)[:90] for _, statement in rows)
    if os.environ.get("BENCH_STATEMENTS"):
        for statement, count in texts.most_common(40):
            print(f"  {count / minutes:6.0f} {statement}", flush=True)


def run() -> None:
    """About three minutes."""
    with tempfile.TemporaryDirectory() as folder:
        # As root the database has a user of its own, which has to get in.
        Path(folder).chmod(0o755)
        home = Path(folder) / "data"
        port = free_port()
        environ = {
            **os.environ,
            "KUBEGALE_DATA_DIR": str(home),
            "KUBEGALE_PORT": str(port),
            "KUBEGALE_GATEWAY_PORT": str(free_port()),
        }
        command = [sys.executable, "-m", "launcher", "run", "--end-with-parent"]
        with running(command, environ) as child:
            wait_for(f"http://127.0.0.1:{port}/healthz", 300)
            address = _database_address(home)
            log = home / "postgres.log"
            until(lambda: _is_collected(address), 300)
            time.sleep(SETTLE_SECONDS)
            _switch_log_on(address)
            log_size = log.stat().st_size
            before = _usages(child.pid)
            time.sleep(SECONDS)
            after = _usages(child.pid)
            ports = _ports(_descendants(child.pid))
            # A statement of several lines goes on behind a tab.
            text = log.read_text(errors="replace")[log_size:].replace("\n\t", " ")
            _print_processes(before, after)
            _print_statements(text, ports)
