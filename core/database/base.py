"""The database backend of the settings: Django's own, with two things added.

Each connection hears of its own changes to cached rows as it commits (`core.row_cache`), and a kept
connection is asked `SELECT 1` only when there is a reason for doubt, not before every request.
"""

import select
import time

from django.conf import settings
from django.db.backends.postgresql import base

from core import row_cache


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of one thread."""

    # Django's, which its stubs do not know.
    health_check_enabled: bool
    health_check_done: bool
    # When a request, or a task, last ended that had used the connection.
    _released_at = 0.0
    # Names of the statements that the session has planned.
    prepared_statements: set[str]

    def init_connection_state(self) -> None:
        """Listen for changes of cached rows.

        PostgreSQL tells a session of its own changes before it answers the COMMIT, so that the
        process which changes a row never reads the old one afterwards.
        """
        super().init_connection_state()
        # A new session of the server knows no statement (core.database.prepared).
        self.prepared_statements = set()
        # The driver appends each notification that comes with an answer.
        self.connection.notifies = row_cache.Announcements(self.connection.get_backend_pid())
        with self.connection.cursor() as cursor:
            # Statements are only prepared when their plan suits all values: none is planned again.
            cursor.execute(f"SET plan_cache_mode = force_generic_plan; LISTEN {row_cache.CHANNEL}")

    def close_if_unusable_or_obsolete(self) -> None:
        """Called before and after each request; notes when the connection was last used."""
        if self.health_check_done:
            self._released_at = time.monotonic()
        super().close_if_unusable_or_obsolete()

    def close_if_health_check_failed(self) -> None:
        """Ask the server whether it is there, if that can be in doubt.

        A server that ended, or ended the session, leaves something to read on the socket. One that
        vanished does not, so that a connection that was idle for long is asked too.
        """
        unchecked = self.health_check_enabled and not self.health_check_done
        if self.connection is not None and unchecked and not self._is_doubtful():
            self.health_check_done = True
        super().close_if_health_check_failed()

    def _is_doubtful(self) -> bool:
        idle = time.monotonic() - self._released_at
        if self.connection.closed or idle > settings.DATABASE_IDLE_CHECK_SECONDS:
            return True
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
