"""One clock for money, expiry and deliveries: the database's, the same for every process."""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The time by PostgreSQL's clock.

    Workers whose clocks disagree still agree on what has expired.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
