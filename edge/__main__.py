"""`python -m edge`: the front, configured by environment variables alone."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping

import uvloop

from edge.front import Front, listener, serve
from edge.limits import Limits, SettingError


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise SettingError(f"{name} must be a port number from 1 to 65535, not {text!r}.")
    return int(text)


def _path(environ: Mapping[str, str], name: str) -> str:
    if path := environ.get(name):
        return path
    raise SettingError(f"{name} is not set: give the path of the server's unix socket.")


def main(environ: Mapping[str, str]) -> int:
    """Serve until a signal comes; 1 with one sentence when something is wrong."""
    logging.basicConfig(format="front: %(message)s", level=logging.WARNING)
    try:
        limits = Limits.from_environment(environ)
        port = _port(environ, "KUBEGALE_PORT", 8000)
        ws_port = _port(environ, "KUBEGALE_WS_PORT", port + 1)
        # Every address: a server is there to be reached.
        address = environ.get("KUBEGALE_BIND") or "0.0.0.0"  # noqa: S104
        ports = [
            (listener(address, port), False),
            (listener(address, ws_port), True),
        ]
        web = _path(environ, "KUBEGALE_WEB_SOCKET")
        sockets = _path(environ, "KUBEGALE_WS_SOCKET")
    except (SettingError, OSError) as error:
        sys.stderr.write(f"front: {error}\n")
        return 1

    async def run() -> None:
        gateway = environ.get("KUBEGALE_GATEWAY_SOCKET") or ""
        await serve(Front(web, sockets, limits, gateway=gateway), ports)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
