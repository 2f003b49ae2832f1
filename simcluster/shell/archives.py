"""The command tar: archives of a container's files."""

import io
import posixpath
import tarfile
from collections.abc import Iterator

from simcluster.shell.effects import STDOUT, Run, Write, complain, write_parts
from simcluster.shell.files import NO_ENTRY, FileSystem
from simcluster.shell.interpreter import Shell

_TAR_WORDS = frozenset({"c", "x", "f", "cf", "xf", "m", "xmf", "czf", "xzf", "cvf", "xvf"})


def tar(shell: Shell, words: list[str]) -> Run:
    """`tar cf - PATH...` and `tar xf -`, with `-C FOLDER` and `--exclude=`."""
    letters = "".join(word.lstrip("-") for word in words if word.lstrip("-") in _TAR_WORDS)
    if not letters and words:
        letters = words[0].lstrip("-")
    excluded = [word.partition("=")[2] for word in words if word.startswith("--exclude=")]
    operands = [word for word in words if not word.startswith("-")]
    if words and not words[0].startswith("-"):
        operands = operands[1:]
    folder = shell.cwd
    if "-C" in words:
        folder = shell.files.absolute(shell.cwd, words[words.index("-C") + 1])
        operands.remove(words[words.index("-C") + 1])
    if "c" in letters:
        return (yield from _pack(shell, folder, operands, excluded))
    return (yield from _unpack(shell, folder, letters, operands))


def _unpack(shell: Shell, folder: str, letters: str, operands: list[str]) -> Run:
    archive = operands[0] if "f" in letters and operands else "-"
    if archive == "-":
        data = yield from shell.read_input()
    else:
        data = shell.files.read(shell.files.absolute(shell.cwd, archive))
    with tarfile.open(fileobj=io.BytesIO(data)) as members:
        for member in members:
            path = shell.files.absolute(folder, member.name.lstrip("/"))
            content = members.extractfile(member)
            if member.isdir():
                shell.files.make_directory(path)
            elif content is not None:
                shell.files.make_directory(posixpath.dirname(path))
                shell.files.write(path, content.read())
    return 0


def _pack(shell: Shell, folder: str, paths: list[str], excluded: list[str]) -> Run:
    code = 0
    for path in paths:
        base = shell.files.absolute(folder, path)
        if not shell.files.exists(base, follow=False):
            yield complain(f"tar: {path}: {NO_ENTRY}")
            return 1
        files, place = shell.files.locate(base, follow=False)
        for source in files.below(place):
            name = (path + source.removeprefix(place.rstrip("/"))).lstrip("/")
            if any(name == word or name.startswith(f"{word}/") for word in excluded):
                continue
            try:
                yield from _pack_one(files, source, name)
            except OSError as error:
                yield complain(f"tar: can't open '{name}': {error}")
                code = 1
    yield Write(STDOUT, bytes(2 * tarfile.BLOCKSIZE))
    return code


def _pack_one(files: FileSystem, path: str, name: str) -> Iterator[Write]:
    mode, size, uid, gid, changed = files.status(path)
    member = tarfile.TarInfo(name)
    member.mode = mode & 0o7777
    member.uid = uid
    member.gid = gid
    member.mtime = changed
    data: bytes = b""
    if path in files.links:
        member.type = tarfile.SYMTYPE
        member.linkname = files.links[path]
    elif path in files.directories:
        member.type = tarfile.DIRTYPE
    else:
        data = files.read(path)
        member.size = size
    yield Write(STDOUT, member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    yield from write_parts(data)
    yield Write(STDOUT, bytes(-len(data) % tarfile.BLOCKSIZE))
