"""`python -m bench.simulated_clusters COUNT OBJECTS FOLDER`: many clusters in one process.

Each has a port, a certificate and an identity of its own, OBJECTS small ConfigMaps, and nothing
that would change by itself. Their kubeconfigs are in FOLDER, 0 to COUNT - 1, when `ready` is there.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from simcluster import clock, kubeconfig
from simcluster.cluster import Settings
from simcluster.resources import Object
from simcluster.serving import Running

SETTINGS = Settings(nodes=1, kubelet=False, controllers=False, metrics=False)


def config_map(name: str, value: str) -> Object:
    """A ConfigMap of one short value."""
    meta = {"name": name, "namespace": "default", "creationTimestamp": clock.timestamp()}
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {**meta, "uid": f"uid-of-{name}"},
        "data": {"value": value},
    }


async def serve(count: int, objects: int, folder: Path) -> None:
    """Until terminated."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        for number in range(count):
            running = await stack.enter_async_context(Running(SETTINGS))
            names = (f"small-{index}" for index in range(objects))
            running.cluster.store.load("configmaps", [config_map(name, "first") for name in names])
            (folder / str(number)).write_text(kubeconfig.text(running.kubeconfig))
        (folder / "ready").touch()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
