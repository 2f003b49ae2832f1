"""A tiny shell over a fake file system: what `kubectl exec` talks to and what container commands run on."""

from simcluster.shell.effects import Effect, Read, Run, Sleep, Window, Write
from simcluster.shell.files import FileSystem
from simcluster.shell.interpreter import Shell

__all__ = ["Effect", "FileSystem", "Read", "Run", "Shell", "Sleep", "Window", "Write"]
