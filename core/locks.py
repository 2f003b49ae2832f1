"""Named locks over all processes, in PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from django.db import connection

LOCK_FAMILY = 0x4B4C


@contextmanager
def try_lock(name: str) -> Iterator[bool]:
    """Whether this process has the named lock for the length of the block.

    PostgreSQL releases it when the process dies.
    """
    # pg_try_advisory_lock takes signed 32-bit integers.
    key = crc32(name.encode()) - 2**31
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_FAMILY, key])
        is_mine = bool(cursor.fetchone()[0])
    try:
        yield is_mine
    finally:
        if is_mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK_FAMILY, key])
