"""`python -m bench [name …]`: run the named scenarios, or all; each prints its ratios."""

import importlib
import sys
import time

# name -> module with `run()`; a module is imported only when its scenario runs.
SCENARIOS = {
    "objects": "bench.objects",
    "collector": "bench.collector",
    "storage": "bench.storage",
    "streams": "bench.streams",
    "console": "bench.console",
    "fleet": "bench.fleet",
    "front": "bench.front",
    "gateway": "bench.gateway",
    "small": "bench.small",
    "files": "bench.files",
    "manifests": "bench.manifests",
    "rates": "bench.rates",
    "reads": "bench.reads",
    "alerts": "bench.alerts",
    "answers": "bench.answers",
    "capacity": "bench.capacity",
    "clusters": "bench.clusters",
    "idle": "bench.idle",
    "worker": "bench.worker",
}


def main(names: list[str]) -> int:
    """Run scenarios in turn; 2 for a name that does not exist."""
    if unknown := set(names) - set(SCENARIOS):
        print(f"no such scenario: {', '.join(sorted(unknown))}; there are: {', '.join(SCENARIOS)}")
        return 2
    for name in names or SCENARIOS:
        started = time.monotonic()
        print(f"== {name}", flush=True)
        importlib.import_module(SCENARIOS[name]).run()
        print(
            f"-- {name}: {time.monotonic() - started:.0f} s in all",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
