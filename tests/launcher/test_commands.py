"""`make run` and `make serve` as a person meets them: a fresh start, Ctrl-C, a second start, and what is refused."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher import ports, secretfiles
from tests.launcher.watching import descendants, environment, eventually, living

ROOT = Path(__file__).resolve().parents[2]


def launch(what: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher to its end."""
    arguments = [sys.executable, "-m", "launcher", what]
    return subprocess.run(
        arguments, env=environment(**changes), cwd=ROOT, capture_output=True, text=True, timeout=90
    )


def refused(done: subprocess.CompletedProcess[str], pattern: str) -> bool:
    """Whether it ended with exit code 1 and one sentence that matches."""
    lines = done.stderr.strip().splitlines()
    return done.returncode == 1 and len(lines) == 1 and re.search(pattern, lines[0]) is not None


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        yield squatter.getsockname()[1]


@pytest.mark.parametrize("name", ["KUBEGALE_PORT", "KUBEGALE_WS_PORT"])
def test_a_port_in_use_is_said_before_anything_starts(
    tmp_path: Path, taken_port: int, name: str
) -> None:
    free = {"KUBEGALE_PORT": str(ports.free_port()), "KUBEGALE_WS_PORT": str(ports.free_port())}
    done = launch(
        "run", KUBEGALE_DATA_DIR=str(tmp_path / "data"), **(free | {name: str(taken_port)})
    )
    assert refused(done, f"Port {taken_port} .* set {name}")
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    done = launch(
        "run", KUBEGALE_DATA_DIR=str(tmp_path / "data"), KUBEGALE_PORT=str(ports.free_port())
    )
    assert refused(done, "data folder .* cannot be used")


@pytest.mark.parametrize(
    "missing", ["SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"]
)
def test_serving_without_a_needed_setting_is_refused_in_one_sentence(missing: str) -> None:
    complete = {
        "SECRET_KEY": secretfiles.secret_key(),
        "FIELD_ENCRYPTION_KEYS": secretfiles.fernet_key(),
        "DATABASE_URL": "postgres://user:secret-word@127.0.0.1:1/name",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "KUBEGALE_PORT": str(ports.free_port()),
    }
    done = launch("serve", **{name: value for name, value in complete.items() if name != missing})
    assert refused(done, f"{missing} is not set")


def test_serving_without_a_database_is_refused_in_one_sentence_without_the_password() -> None:
    done = launch(
        "serve",
        SECRET_KEY=secretfiles.secret_key(),
        FIELD_ENCRYPTION_KEYS=secretfiles.fernet_key(),
        DATABASE_URL="postgres://user:secret-word@127.0.0.1:1/name",
        REDIS_URL="redis://127.0.0.1:1/0",
        KUBEGALE_PORT=str(ports.free_port()),
    )
    assert refused(done, "database at 127.0.0.1:1 cannot be used")
    assert "secret-word" not in done.stderr


@contextmanager
def running(home: Path, port: int, **more: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`make run` until it says that it is ready: (process, the password that it printed)."""
    # Two draws may give the same port, as nobody listens on the first one yet.
    ws_port = next(drawn for drawn in iter(ports.free_port, None) if drawn != port)
    settings = {
        "KUBEGALE_DATA_DIR": str(home),
        "KUBEGALE_PORT": str(port),
        "KUBEGALE_WS_PORT": str(ws_port),
        **more,
    }
    arguments = [sys.executable, "-m", "launcher", "run"]
    with subprocess.Popen(
        arguments,
        env=environment(**settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            shown: list[str] = []
            for line in process.stdout:
                shown.append(line)
                if match := re.search(r"kubegale \| +password +(\S+)", line):
                    yield process, match[1]
                    return
            pytest.fail("".join(shown))
        finally:
            process.kill()


def call(port: int, path: str, body: dict[str, str] | None = None, token: str = "") -> Any:
    """A JSON call to the web server."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data,
        {"Authorization": f"Bearer {token}"} if token else {},
    )
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  our own loopback address
        return json.load(response)


def sign_in(port: int, password: str) -> str:
    """The administrator's token."""
    body = {"username": "admin", "password": password}
    return str(call(port, "/api/v1/auth/login", body)["data"]["token"])


def demo_cluster(port: int, token: str) -> dict[str, Any]:
    """The demo's cluster as the API shows it."""
    clusters = call(port, "/api/v1/kubernetes/clusters", token=token)["data"]["items"]
    return dict(next(cluster for cluster in clusters if cluster["name"] == "demo"))


def opened(port: int, query: str = "", **headers: str) -> int:
    """The status of a documented curl line without credentials."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/storageclass{query}", headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  our own loopback address
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def register_elsewhere(home: Path) -> None:
    """A cluster of the person's own: another address, behind which the demo's stands too."""
    demo = next(home.glob("**/*kubeconfig*")).read_text()
    own = home.parent / "own-kubeconfig"
    own.write_text(demo.replace("https://127.0.0.1:", "https://localhost:"))
    command = ["manage.py", "register_cluster", "own", "--kubeconfig", str(own), "--skip-checks"]
    done = subprocess.run(
        [sys.executable, *command],
        env=environment(KUBEGALE_DATA_DIR=str(home)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def register_twin(port: int, token: str, home: Path) -> None:
    """The demo's cluster once more, under a name that nobody opened."""
    twin = {"name": "twin", "kubeconfig": next(home.glob("**/*kubeconfig*")).read_text()}
    call(port, "/api/v1/kubernetes/clusters", twin, token)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_fresh_start_serves_the_demo_ctrl_c_leaves_nothing_and_a_second_start_finds_its_data(
    tmp_path: Path,
) -> None:
    port = ports.free_port()
    with running(tmp_path / "data", port) as (process, password):
        first = demo_cluster(port, sign_in(port, password))
        register_elsewhere(tmp_path / "data")
        below = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stdout is not None
        # After the password comes the rest of the banner, then what Ctrl-C stops, and nothing else.
        shown = process.stdout.read()
        assert [
            line.split("|")[1].split()[0] for line in shown.splitlines() if line[-2:] != "| "
        ] == ["kept", "logs", "data", "stopping", "stopping", "stopping"], shown
        kept = re.search(r"kept in +(\S+)", shown)
        assert kept is not None
        assert Path(kept[1]).read_text().strip() == password
        assert "path=/api/v1/auth/login" in (tmp_path / "data" / "web.log").read_text()
        assert not [pid for pid in below if living(pid)]
    assert all((file.stat().st_mode & 0o077) == 0 for file in (tmp_path / "data").glob("*.key*"))
    mark = tmp_path / "data" / "simcluster" / "registered"
    marked = mark.stat().st_mtime_ns
    with running(tmp_path / "data", port, CLUSTER_CHECK_INTERVAL="1") as (process, again):
        assert again == password
        token = sign_in(port, again)
        second = demo_cluster(port, token)
        assert (second["id"], second["status"]) == (first["id"], "active")
        # Nothing about it is new, so it was not registered again: a program more to wait for.
        assert mark.stat().st_mtime_ns == marked
        register_twin(port, token, tmp_path / "data")
        assert [opened(port), opened(port, "?cluster=demo"), opened(port, "?cluster=twin")] == [
            200,
            200,
            403,
        ]
        assert opened(port, Origin="http://evil.example") == 403
        assert eventually(
            lambda: demo_cluster(port, token)["last_seen_at"] > second["last_seen_at"], seconds=60
        ), "no periodic task has run"
        below = descendants(process.pid)
        process.kill()
        process.wait(timeout=10)
        assert eventually(lambda: not [pid for pid in below if living(pid)], seconds=60), (
            "processes were left behind"
        )
        assert process.stdout is not None
        assert "check_clusters" not in process.stdout.read(), "tasks push the password away"
        assert "check_clusters" in (tmp_path / "data" / "worker.log").read_text()
