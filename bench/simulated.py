"""`python -m bench.simulated PODS FILE`: a simulated cluster full of pods in a process of its own, until terminated."""

import signal
import sys
import threading
from pathlib import Path

from simcluster.testing import running_cluster


def main(pods: int, kubeconfig: Path) -> None:
    """Load the pods first; the kubeconfig appears when all is ready."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with running_cluster() as cluster:
        cluster.load_pods(pods)
        partial = kubeconfig.with_suffix(".partial")
        partial.write_text(cluster.kubeconfig_yaml)
        partial.rename(kubeconfig)
        stop.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
