"""TCP ports on the loopback interface."""

import socket
from pathlib import Path


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
    """A port that nobody listens on at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kept_port(file: Path) -> int:
    """The port written in `file` when it is still free, else a new one, which is written there."""
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        port = 0
    if not (1024 <= port <= 65535 and is_free(port)):
        port = free_port()
        file.write_text(f"{port}\n")
    return port
