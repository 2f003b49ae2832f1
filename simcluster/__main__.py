"""`python -m simcluster`: a Kubernetes API server in a box, until interrupted."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from simcluster import faults, kubeconfig
from simcluster.certificates import write_private
from simcluster.cluster import Settings
from simcluster.serving import Running


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="simcluster", description="A Kubernetes API server in a box."
    )
    arguments.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s)",
    )
    arguments.add_argument(
        "--port",
        type=int,
        default=0,
        help="port to listen on (default: a free one)",
    )
    arguments.add_argument(
        "--kubeconfig-out",
        type=Path,
        metavar="FILE",
        help="write the administrator's kubeconfig here",
    )
    arguments.add_argument(
        "--nodes",
        type=int,
        default=3,
        help="number of nodes (default: %(default)s)",
    )
    arguments.add_argument(
        "--demo",
        action="store_true",
        help="fill the cluster with a small company",
    )
    arguments.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="run controllers and kubelet X times as fast (default: %(default)s)",
    )
    arguments.add_argument(
        "--faults",
        type=Path,
        metavar="FILE",
        help="delay, cut, refuse or garble requests as this YAML file says",
    )
    arguments.add_argument(
        "--token",
        default="",
        help="the administrator's bearer token (default: a random one)",
    )
    arguments.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="keep objects, certificate authority and tokens in this folder over a restart",
    )
    return arguments


async def serve(arguments: argparse.Namespace) -> None:
    """Run until SIGINT or SIGTERM."""
    settings = Settings(
        nodes=arguments.nodes,
        demo=arguments.demo,
        time_scale=arguments.time_scale,
        faults=faults.load(arguments.faults) if arguments.faults else {},
    )
    stop = asyncio.Event()
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop_signal, stop.set)
    async with Running(
        settings,
        host=arguments.host,
        port=arguments.port,
        token=arguments.token,
        folder=arguments.data,
    ) as running:
        if arguments.kubeconfig_out:
            write_private(
                arguments.kubeconfig_out,
                kubeconfig.text(running.kubeconfig).encode(),
            )
        sys.stdout.write(f"simcluster listens on {running.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main(words: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    arguments = parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(arguments))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"simcluster: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
