"""`python -m launcher run` (everything, with a demo cluster) and `python -m launcher serve` (the web server alone)."""

import argparse
import os
import signal
import sys

from launcher import run, serve
from launcher.processes import LaunchError, die_with


def main() -> int:
    """Do what the command line says; 0 when asked to end, 1 with one sentence when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m launcher", description="Start KubeGale.")
    parser.add_argument("what", choices=("run", "serve"))
    parser.add_argument(
        "--end-with-parent",
        action="store_true",
        help="end when the process that started this one ends",
    )
    options = parser.parse_args()
    if options.end_with_parent:
        die_with(os.getppid(), signal.SIGTERM)
    try:
        (run if options.what == "run" else serve).main(os.environ)
    except LaunchError as error:
        print(
            f"\nkubegale: {error}" if options.what == "run" else f"kubegale: {error}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
