"""A tiny shell over a fake file system: `kubectl exec` and container commands run on it."""

from collections.abc import Mapping

from simcluster.shell.commands import COMMANDS
from simcluster.shell.effects import Effect, Read, Run, Sleep, Window, Write
from simcluster.shell.files import FileSystem
from simcluster.shell.interpreter import Command, Shell

__all__ = [
    "Effect",
    "FileSystem",
    "Read",
    "Run",
    "Shell",
    "Sleep",
    "Window",
    "Write",
    "make_shell",
]


def make_shell(
    files: FileSystem,
    env: dict[str, str],
    *,
    window: Window | None = None,
    unknown: Command | None = None,
    commands: Mapping[str, Command] = COMMANDS,
) -> Shell:
    """A shell that knows these commands; others go to `unknown`, or are not found."""
    return Shell(files, env, commands=commands, window=window, unknown=unknown)
