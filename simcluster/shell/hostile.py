"""Programs of images that lie: what a client of exec has to survive."""

import io
import tarfile
from collections.abc import Collection, Mapping

from simcluster.shell.commands import COMMANDS
from simcluster.shell.effects import STDERR, STDOUT, Run, Write
from simcluster.shell.interpreter import Command, Shell

_PART = bytes(32 * 1024)


def commands_of(traits: Collection[str], missing: Collection[str]) -> Mapping[str, Command]:
    """The commands of an image: those that it lacks are gone, those that lie take their place."""
    commands = {name: command for name, command in COMMANDS.items() if name not in missing}
    for trait in traits:
        commands |= _LIES.get(trait, {})
    return commands


def _lying_tar(shell: Shell, words: list[str]) -> Run:
    """An archive whose members lead out of it, over links, or are devices."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, target in (
            ("../../etc/cron.d/evil", tarfile.REGTYPE, ""),
            ("/etc/passwd", tarfile.REGTYPE, ""),
            ("./data/link", tarfile.SYMTYPE, "/etc"),
            ("./data/link/shadow", tarfile.REGTYPE, ""),
            ("./data/device", tarfile.CHRTYPE, ""),
            ("./data/two\nlines", tarfile.REGTYPE, ""),
            ("./data/good", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = target
            member.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"evil"))
    yield Write(STDOUT, output.getvalue())
    return 0


def _endless_tar(shell: Shell, words: list[str]) -> Run:
    """A member that never ends."""
    member = tarfile.TarInfo("./data/endless")
    member.size = 8**11 - 1
    yield Write(STDOUT, member.tobuf(tarfile.GNU_FORMAT))
    while True:
        yield Write(STDOUT, _PART)


def _endless_output(shell: Shell, words: list[str]) -> Run:
    while True:
        yield Write(STDOUT, _PART)


def _endless_complaint(shell: Shell, words: list[str]) -> Run:
    while True:
        yield Write(STDERR, _PART)


def _nonsense(shell: Shell, words: list[str]) -> Run:
    yield Write(STDOUT, b"\x1b[2Jstat zz 12 \xff\xfe\x00 no numbers\n")
    return 0


_LIES: dict[str, dict[str, Command]] = {
    "lying-tar": {"tar": _lying_tar},
    "endless-tar": {"tar": _endless_tar},
    "endless-output": {"cat": _endless_output, "tail": _endless_output},
    "endless-complaint": {"cat": _endless_complaint},
    "nonsense": {"stat": _nonsense},
}
