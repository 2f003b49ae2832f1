"""Arguments of the commands that grant roles."""

from argparse import ArgumentParser


def add_role_arguments(parser: ArgumentParser) -> None:
    """Add NAME --role ROLE [--cluster C] [--namespace N]."""
    parser.add_argument("name")
    parser.add_argument("--role", required=True, help="viewer, operator or admin")
    parser.add_argument(
        "--cluster",
        default="",
        help="name or id; without it the role holds everywhere",
    )
    parser.add_argument("--namespace", default="", help="with --cluster: only there")
