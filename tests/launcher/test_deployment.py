"""The files in deploy/: what a production host must not lack."""

import ipaddress
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.programs import ROOT

PROCESSES = ("web", "worker", "beat", "collector")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file, with what they share filled in."""
    return dict(compose()["services"])


def compose() -> Any:
    """The compose file."""
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


def option(command: list[str], name: str) -> str:
    """The value that follows an option."""
    return command[command.index(name) + 1]


def test_every_process_is_there_and_its_program_exists(services: dict[str, Any]) -> None:
    assert set(PROCESSES) < set(services)
    assert services["collector"]["command"] == ["python", "manage.py", "collect"]
    for name in ("collector", "migrate"):
        program, *rest = services[name]["command"]
        done = subprocess.run(
            [sys.executable, *rest, "--help"], cwd=ROOT, capture_output=True, timeout=60
        )
        assert (program, done.returncode) == ("python", 0), done.stderr
    container = (ROOT / "deploy" / "Containerfile").read_text()
    assert 'CMD ["python", "-m", "launcher", "serve"]' in container


def test_the_image_has_everything_compiled_as_its_root_is_read_only(tmp_path: Path) -> None:
    container = (ROOT / "deploy" / "Containerfile").read_text()
    (line,) = [line for line in container.splitlines() if "compileall" in line]
    _, *arguments = shlex.split(line.removeprefix("RUN "))
    for name in ("manage.py", ".venv/library.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True, timeout=60)
    compiled = [path.parent.parent for path in tmp_path.glob("**/*.pyc")]
    assert compiled == [tmp_path]
    # Before the stage that runs begins.
    assert container.index(line) < container.rindex("FROM ")


def test_only_the_proxy_of_this_host_is_believed_and_tls_is_minded(
    services: dict[str, Any],
) -> None:
    (network,) = compose()["networks"]["default"]["ipam"]["config"]
    gateway = ipaddress.ip_address(network["gateway"])
    assert gateway in ipaddress.ip_network(network["subnet"])
    for name in PROCESSES:
        environment = services[name]["environment"]
        assert environment["TRUSTED_PROXIES"] == f"{gateway}/32"
        assert environment["FORWARDED_ALLOW_IPS"] == str(gateway)
        assert environment["BEHIND_TLS_PROXY"] == environment["SECURE_COOKIES"] == "true"


def test_ports_are_for_a_proxy_on_this_host_alone(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8000:8000", "127.0.0.1:8001:8001"]


def test_the_broker_drops_nothing_and_has_a_bound(services: dict[str, Any]) -> None:
    command = services["valkey"]["command"]
    assert option(command, "--maxmemory-policy") == "noeviction"
    assert option(command, "--maxmemory").endswith("mb")


def test_what_waits_for_slow_clients_is_on_disk(services: dict[str, Any]) -> None:
    web = services["web"]
    spool = Path(web["environment"]["TMPDIR"])
    assert str(spool) in web["volumes"]
    assert not any(spool.is_relative_to(memory) for memory in web["tmpfs"])


def test_the_tls_proxy_is_believed_and_passes_sockets_on() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.tls.yaml").read_text())["services"]
    address = services["tls"]["networks"]["default"]["ipv4_address"]
    (network,) = compose()["networks"]["default"]["ipam"]["config"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network["subnet"])
    assert f"{address}/32" in services["web"]["environment"]["TRUSTED_PROXIES"].split(",")
    assert address in services["web"]["environment"]["FORWARDED_ALLOW_IPS"].split(",")
    nginx = (ROOT / "deploy" / "tls" / "nginx.conf").read_text()
    for line in (
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto https;",
    ):
        assert line in nginx
    # The key lies beside it, and belongs into no image.
    assert "deploy/tls" in (ROOT / ".dockerignore").read_text().splitlines()
