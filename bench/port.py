"""`python -m bench.port FILE`: an API server that only forwards a port, which sends without end.

Its kubeconfig appears in FILE; it serves over TLS, until it is terminated.
"""

import asyncio
import sys
from pathlib import Path

import uvloop

from simcluster import certificates, kubeconfig

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
VERSION = b'{"major":"1","minor":"36","gitVersion":"v1.36.0"}'
PART = b"x" * 65536


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"upgrade: spdy" not in head.lower():
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(VERSION), VERSION)
                )
                continue
            writer.write(UPGRADED)
            while True:
                writer.write(PART)
                await writer.drain()
                # TLS that is being closed drops what is written and pauses nobody: without a turn
                # for others the end of the connection would never be seen, nor another connection.
                await asyncio.sleep(0)
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


async def _run(file: Path) -> None:
    made = certificates.make(["127.0.0.1"])
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=made.context)
    port = server.sockets[0].getsockname()[1]
    document = kubeconfig.make(f"https://127.0.0.1:{port}", made.authority, "bench")
    partial = file.with_suffix(".partial")
    partial.write_text(kubeconfig.text(document))
    partial.rename(file)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(Path(sys.argv[1])))
