"""TCP ports on the loopback interface."""

import random
import socket
from pathlib import Path

# Below the ports that systems give to outgoing connections.
CHOICE = (15_000, 30_000)


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port without a listener at the moment.

    None of those that systems hand out to outgoing connections: one of these could sit on it before
    its server starts.
    """
    while not is_free(port := random.randrange(*CHOICE)):  # noqa: S311  # no secret
        pass
    return port


def stored_port(file: Path) -> int:
    """The port written in `file` when it is still free, else a new one, which is written there."""
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        port = 0
    if not (1024 <= port <= 65535 and is_free(port)):
        port = free_port()
        file.write_text(f"{port}\n")
    return port
