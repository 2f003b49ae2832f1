"""Objects and issued tokens over a restart, in one file that is written whole or not at all."""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from simcluster.authentication import Tokens, User
from simcluster.store import Record, Store

_log = logging.getLogger(__name__)
_FORMAT = {"format": "simcluster-objects", "version": 1}
# A crash loses writes after the last snapshot; their revisions must not be used again.
REVISION_GAP = 1_000_000
_PERIOD = 2.0
# A large cluster is written less often, so that writing takes a twentieth of the time at most.
_SHARE = 20.0
_BLOCK = 2000

Kept = tuple[str, Record]


@dataclass(frozen=True)
class Snapshot:
    """A file's content: the last revision, the records by collection, the users by token."""

    revision: int
    records: Sequence[Kept]
    users: dict[str, User]


class UnreadableError(ValueError):
    """The file is damaged, or of another version."""


def read(path: Path) -> Snapshot:
    """The snapshot in a file; FileNotFoundError, another OSError, or UnreadableError."""
    raw = path.read_bytes()
    first, _, body = raw.partition(b"\n")
    try:
        head = orjson.loads(first)
        if {key: head.get(key) for key in _FORMAT} != _FORMAT:
            raise UnreadableError("it was written in another format")
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            raise UnreadableError("it is damaged")
        users = {
            token: User(name, tuple(groups), uid) for token, name, groups, uid in head["tokens"]
        }
        lines = body.split(b"\n")[:-1]
        return Snapshot(int(head["revision"]), [_parse_line(line) for line in lines], users)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError("it is damaged") from error


def _parse_line(line: bytes) -> Kept:
    storage, _, raw = line.partition(b" ")
    obj = orjson.loads(raw)
    return storage.decode(), Record(obj, int(obj["metadata"]["resourceVersion"]))


def read_or_set_aside(path: Path) -> Snapshot | None:
    """The snapshot in a file; None without one. One that cannot be read is renamed."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        aside = path.with_name(f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}.set-aside")
        path.replace(aside)
        _log.error(
            "%s cannot be read (%s): set aside as %s, and starting with a new cluster",
            path,
            error,
            aside.name,
        )
        return None


def _write(
    path: Path,
    revision: int,
    records: "list[tuple[str, bytes]]",
    users: "list[object]",
) -> None:
    """Replace the file; the old one stays until the new one is on the disk."""
    digest = hashlib.sha256()
    blocks = []
    for start in range(0, len(records), _BLOCK):
        block = b"".join(
            [
                storage.encode() + b" " + raw + b"\n"
                for storage, raw in records[start : start + _BLOCK]
            ]
        )
        digest.update(block)
        blocks.append(block)
    head = {
        **_FORMAT,
        "revision": revision,
        "tokens": users,
        "sha256": digest.hexdigest(),
    }
    # 0600: Secrets and tokens are readable in it.
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(orjson.dumps(head) + b"\n")
        file.writelines(blocks)
        file.flush()
        # On the disk before the name points to it: a crash leaves the old file or the new.
        os.fsync(file.fileno())
    partial.replace(path)


class Keeper:
    """Writes a cluster's snapshot whenever it has changed."""

    def __init__(self, path: Path, store: Store, tokens: Tokens, *, besides: str) -> None:
        self.path = path
        self.store = store
        self.tokens = tokens
        # The administrator's token has a file of its own, and may be another one next time.
        self._besides = besides
        self._written = (-1, -1)
        self._failing = False
        self._stopping = asyncio.Event()

    def _state(self) -> tuple[int, int]:
        return self.store.revision, len(self.tokens.users)

    def _content(self) -> tuple[int, "list[tuple[str, bytes]]", "list[object]"]:
        """What to write, read in one step of the loop; the bytes of a record never change."""
        records = [
            (storage, record.raw)
            for storage in self.store.storages()
            for record in self.store.list(storage)
        ]
        users: list[object] = [
            (token, user.name, user.groups, user.uid)
            for token, user in self.tokens.users.items()
            if token != self._besides
        ]
        return self.store.revision, records, users

    def save(self) -> None:
        """Write it now; OSError when that fails."""
        state = self._state()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(self.path, *self._content())
        self._written = state

    async def run(self) -> None:
        """Write every few seconds what has changed, and once more on shutdown."""
        pause = _PERIOD
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = max(_PERIOD, _SHARE * await self._save_in_thread())

    def stop(self) -> None:
        """Let `run` write the last state and return."""
        self._stopping.set()

    async def _save_in_thread(self) -> float:
        """Write in a thread, so that requests go on; returns how many seconds it took."""
        state = self._state()
        if state == self._written:
            return 0.0
        began = time.monotonic()
        try:
            await asyncio.to_thread(_write, self.path, *self._content())
        except OSError as error:
            if not self._failing:
                _log.error("the objects cannot be written to %s: %s", self.path, error)
            self._failing = True
        else:
            self._written = state
            self._failing = False
        return time.monotonic() - began
