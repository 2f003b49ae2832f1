"""Start a KubeGale of its own, let things happen in it, take the pictures, stop it.

    python -m tools.screenshots [NAME …]     all pictures, or those with these names

PYTHONPATH has to name clients/python/src (as `make screenshots` does). Exit 2 without Chromium.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from launcher import ports, programs
from tools import chromium
from tools.screenshots import pictures, scene

IMAGES = programs.ROOT / "docs" / "images"
# All pictures together: who clones the project loads them.
BUDGET_BYTES = 1_500_000
START_SECONDS = 300
STOP_SECONDS = 60
# What would make it another system than the one that is started here.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "OPEN_DIALECTS")
NO_BROWSER = (
    "screenshots: there is no Chromium, so no picture was taken. Install it (Debian, Ubuntu: "
    "apt-get install chromium); as root launcher/browser.sh does so. Looked for: "
)


def main(names: list[str]) -> int:
    """Take the pictures; the exit status."""
    if unknown := set(names) - set(pictures.NAMES):
        print(f"screenshots: no such picture: {', '.join(sorted(unknown))}")
        print(f"screenshots: there are: {', '.join(pictures.NAMES)}")
        return 2
    if chromium.executable() is None:
        print(NO_BROWSER + ", ".join(chromium.NAMES))
        return 2
    with tempfile.TemporaryDirectory(prefix="kubegale-screenshots-") as folder:
        home = Path(folder)
        with running_system(home) as address, running_cluster(home) as second:
            password = (home / "admin.password").read_text().strip()
            print("screenshots: things happen", flush=True)
            places = scene.play(address, password, second.read_text())
            scene.remember_hour(home)
            with chromium.open_browser() as browser:
                studio = pictures.Studio(browser, address, password, places)
                studio.take(names or pictures.NAMES, IMAGES)
    return weigh()


def weigh() -> int:
    """Say how heavy the pictures are; 1 when they are too heavy together."""
    total = sum(path.stat().st_size for path in IMAGES.glob("*.png"))
    print(f"screenshots: {total / 1000:.0f} kB in {IMAGES.relative_to(programs.ROOT)}")
    if total > BUDGET_BYTES:
        print(f"screenshots: that is more than {BUDGET_BYTES / 1000:.0f} kB")
        return 1
    return 0


@contextlib.contextmanager
def running_system(home: Path) -> Iterator[str]:
    """The address of a new KubeGale with its demo cluster; its data are in `home`."""
    environment = {name: text for name, text in os.environ.items() if name not in FOREIGN}
    port = ports.free_port()
    environment |= {
        "KUBEGALE_DATA_DIR": str(home),
        "KUBEGALE_PORT": str(port),
        "KUBEGALE_WS_PORT": str(ports.free_port()),
        "KUBEGALE_GATEWAY_PORT": str(ports.free_port()),
    }
    command = [sys.executable, "-m", "launcher", "run", "--end-with-parent"]
    with running_program(command, environment, home / "launcher.log") as program:
        address = f"http://127.0.0.1:{port}"
        print("screenshots: starting KubeGale", flush=True)
        wait_for_answer(f"{address}/readyz", program)
        yield address


@contextlib.contextmanager
def running_cluster(home: Path) -> Iterator[Path]:
    """The kubeconfig of a second simulated cluster."""
    kubeconfig = home / "second-cluster"
    command = [sys.executable, "-m", "simcluster", "--nodes", "5"]
    command += ["--kubeconfig-out", str(kubeconfig)]
    with running_program(command, dict(os.environ), home / "second.log"):
        ends = time.monotonic() + START_SECONDS
        while not kubeconfig.exists():
            if time.monotonic() > ends:
                raise TimeoutError("the second cluster did not start")
            time.sleep(0.2)
        yield kubeconfig


@contextlib.contextmanager
def running_program(
    command: list[str],
    environment: dict[str, str],
    log: Path,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program for the length of the block; what it says goes to `log`."""
    with log.open("wb") as output:
        program = subprocess.Popen(
            command,
            cwd=programs.ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield program
        finally:
            program.terminate()
            try:
                program.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


def wait_for_answer(address: str, program: subprocess.Popen[bytes]) -> None:
    """Return once the address answers; RuntimeError when its program ends, or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if program.poll() is not None:
            raise RuntimeError("KubeGale ended while it started")
        try:
            with opener.open(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"{address} did not answer within {START_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
