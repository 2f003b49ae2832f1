"""One runner at a time for periodic work, over all processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from django.db import connection

LOCK_FAMILY = 0x4B4C


@contextmanager
def try_lock(name: str) -> Iterator[bool]:
    """Whether this process alone runs the named work; the database lets go when the process dies."""
    key = crc32(name.encode()) - 2**31
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_FAMILY, key])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_FAMILY, key])
