"""`python -m bench.simulated PODS FILE`: a simulated cluster full of pods, until terminated."""

import signal
import sys
import threading
from pathlib import Path

from simcluster.testing import running_cluster


def main(pods: int, kubeconfig: Path) -> None:
    """Serve the cluster; its kubeconfig appears when all pods are loaded."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with running_cluster() as cluster:
        cluster.load_pods(pods)
        # Renamed into place, so that no reader gets half a file.
        partial = kubeconfig.with_suffix(".partial")
        partial.write_text(cluster.kubeconfig_yaml)
        partial.rename(kubeconfig)
        stop.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
