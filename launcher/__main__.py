"""`python -m launcher run` (everything, with a demo cluster) and `serve` (web server alone)."""

import argparse
import os
import signal
import sys

from launcher import run, serve
from launcher.processes import LaunchError, die_with


def main() -> int:
    """Run the command that the arguments name.

    The exit status: 0 after a signal to stop, 1 with one sentence when something is wrong.
    """
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
    command = run if options.what == "run" else serve
    try:
        command.main(os.environ)
    except LaunchError as error:
        # An empty line sets it apart from the output of the children.
        gap = "\n" if options.what == "run" else ""
        print(f"{gap}kubegale: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
