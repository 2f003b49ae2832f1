"""Rows that every request reads, kept in the process for as long as they are unchanged.

Who is calling, what they may do and which cluster they mean is asked by each request and changes
rarely. Triggers announce every committed change of these tables on CHANNEL, by whichever way it
was made (`access/migrations/sql/announce.sql`), and the announcement empties the topic's cache:

- in the process that made the change before its COMMIT returns (`core.database`);
- in every other process within milliseconds: one thread of each listens.

A process trusts its cache only while its listener has had an answer of the server less than
TRUST_SECONDS ago. So what was revoked is dead everywhere within a second, also when an announcement
gets lost with a connection. In all other cases, and inside transactions, whose own changes nobody
has announced yet, rows are read from the database.
"""

import copy
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Any, TypeVar

import psycopg2
from django.db import connection, connections
from django.db.models import Model
from django.db.models.base import ModelState

log = logging.getLogger(__name__)
T = TypeVar("T")
Row = TypeVar("Row", bound=Model)

CHANNEL = "kubegale_rows"
# How long an answer of the server to the listener counts, from when it was asked.
TRUST_SECONDS = 0.8
# How often the listener asks again while the cache is in use.
RENEW_SECONDS = 0.25
# A listener that nobody needed for so long ends, and its connection with it.
IDLE_SECONDS = 20.0
RETRY_SECONDS = 0.5
# A safety net for changes that no trigger sees, such as a restore without triggers.
LONGEST_SECONDS = 10.0
# Callers choose some of the keys, so there is an end to them.
MOST_ENTRIES = 10_000


class Topic(StrEnum):
    """What an announcement is about: the payload of the notification."""

    # Users, groups, tokens, grants.
    ACCESS = "access"
    CLUSTERS = "clusters"


Entries = dict[Hashable, tuple[float, Any]]
_entries: dict[Topic, Entries] = {topic: {} for topic in Topic}


def forget(topic: str) -> None:
    """Empty the cache of a topic; of all topics when there is none of that name."""
    # Replaced, not cleared: a reader that began before puts its row, which may be the old one,
    # where nobody finds it.
    for name in [topic] if topic in _entries else list(Topic):
        _entries[Topic(name)] = {}


class Announcements:
    """What the driver appends notifications to: nothing is kept, the topic is emptied.

    With `backend`, the process id of a session's server, only those of the session itself count.
    Others the listener has heard long before a session that was idle gets to read them.
    """

    def __init__(self, backend: int = 0) -> None:
        self._backend = backend

    def append(self, notification: Any) -> None:
        """Take one notification."""
        if self._backend in (0, notification.pid):
            forget(notification.payload)


def read(topic: Topic, key: Hashable, source: Callable[[], T]) -> T:
    """What `source` reads from the database, or read before and is unchanged since.

    For values that nobody changes; `read_row` is for rows. None is not kept. What `source` reads
    must be of tables whose changes the topic announces.
    """
    if connection.in_atomic_block or not _listener.is_trusted():
        return source()
    entries = _entries[topic]
    now = time.monotonic()
    expires, value = entries.get(key, (0.0, None))
    if now < expires:
        return value  # type: ignore[no-any-return]
    value = source()
    if value is not None:
        if len(entries) >= MOST_ENTRIES:
            entries.clear()
        entries[key] = (now + LONGEST_SECONDS, value)
    return value


def read_row(topic: Topic, key: Hashable, source: Callable[[], Row | None]) -> Row | None:
    """A row of one's own, with the rows that were read along with it.

    As `read`, but each caller gets a copy, which may be changed and saved.
    """
    row = read(topic, key, source)
    return None if row is None else copy_row(row)


def copy_row(row: Row) -> Row:
    """A row like it, with copies of the rows that were read along with it."""
    duplicate: Row = row.__class__.__new__(row.__class__)
    values = duplicate.__dict__
    values.update(row.__dict__)
    for name, value in row.__dict__.items():
        # An empty one, as most are, is copied quickly.
        if isinstance(value, list | dict):
            values[name] = copy.deepcopy(value) if value else type(value)()
    state = ModelState()
    state.db = row._state.db
    state.adding = row._state.adding
    state.fields_cache = {
        name: copy_row(related) if isinstance(related, Model) else related
        for name, related in row._state.fields_cache.items()
    }
    duplicate._state = state
    return duplicate


class Listener:
    """The thread that hears of changes; it runs while the cache is in use."""

    def __init__(self) -> None:
        self._trusted_until = 0.0
        self._asked_at = 0.0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def is_trusted(self) -> bool:
        """Whether the cache may be used now; starts the thread where there is none."""
        now = time.monotonic()
        self._asked_at = now
        if now < self._trusted_until:
            return True
        if self._thread is None:
            self._start()
        return False

    def stop(self) -> None:
        """End the thread and its connection; the next reader starts another."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._stopping.set()
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name="row cache", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._listen()
            except (psycopg2.Error, OSError) as error:
                log.warning("changes of cached rows cannot be heard: %s", type(error).__name__)
            self._trusted_until = 0.0
            with self._lock:
                if self._stopping.is_set() or self._is_idle():
                    self._thread = None
                    return
            self._stopping.wait(RETRY_SECONDS)

    def _is_idle(self) -> bool:
        return time.monotonic() - self._asked_at > IDLE_SECONDS

    def _listen(self) -> None:
        """Hear announcements on a connection of its own until it is lost or no longer needed."""
        parameters = {
            **connections["default"].get_connection_params(),
            "application_name": "kubegale row cache",
            # A server that vanished must not hold the thread for the hours of TCP's own patience.
            "tcp_user_timeout": 5000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
        }
        session = psycopg2.connect(**parameters)
        try:
            session.autocommit = True
            session.notifies = Announcements()
            with session.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
                # Before the tables announce anything, after an upgrade, nothing is kept.
                cursor.execute(
                    "SELECT pg_backend_pid() WHERE to_regproc('announce_rows') IS NOT NULL"
                )
                backend = cursor.fetchone()
            # What changed before we listened was not heard.
            forget("")
            poll = select.poll()
            poll.register(session.fileno(), select.POLLIN)
            while backend and not (self._stopping.is_set() or self._is_idle()):
                self._renew(session, backend)
                if poll.poll(RENEW_SECONDS * 1000):
                    session.poll()
        finally:
            self._trusted_until = 0.0
            forget("")
            session.close()

    def _renew(self, session: Any, backend: tuple[int]) -> None:
        """Trust the cache a little longer: the server answers, after all announcements so far."""
        asked_at = time.monotonic()
        with session.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            # A pooler in between may have changed the session, and the new one does not listen.
            if cursor.fetchone() != backend:
                raise OSError("the session was exchanged")
        self._trusted_until = asked_at + TRUST_SECONDS


_listener = Listener()


def stop() -> None:
    """End the listener of this process, for instance before its database is dropped."""
    _listener.stop()


def _begin_again() -> None:
    """In a forked process no thread runs and nothing was heard."""
    global _listener
    _listener = Listener()
    forget("")


os.register_at_fork(after_in_child=_begin_again)
