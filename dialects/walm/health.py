"""Walm's health routes at the root: alive, ready, request statistics."""

from typing import Any

from django.db import DatabaseError, connection
from rest_framework.request import Request

from clusters import registry
from core.api.dialect import DialectView
from core.api.schema import OBJECT, TEXT, OperationSchema
from dialects.walm.envelope import Failed, prefix_errors
from kubegale.walm_stats import STATISTICS


class Liveness(DialectView):
    """GET /liveniess (sic)."""

    public = True
    operations = {"get": OperationSchema("Alive.", TEXT)}

    def get(self, request: Request) -> Any:
        """The text OK."""
        return "OK"


class Readiness(DialectView):
    """GET /readiness: the database, then the default cluster's API server."""

    public = True
    operations = {"get": OperationSchema("Ready: cluster and database answer.", TEXT)}

    def get(self, request: Request) -> Any:
        """The text OK, or which of the two does not answer."""
        try:
            # The database first: the default cluster is read from it.
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            with prefix_errors("failed to connect to kubernetes: "):
                registry.check_ready(registry.default())
        except DatabaseError as error:
            raise Failed(f"failed to connect to the database: {type(error).__name__}") from error
        return "OK"


class Stats(DialectView):
    """GET /stats, for anyone signed in: what the web server has answered so far."""

    operations = {
        "get": OperationSchema("Statistics of the requests answered by the web server.", OBJECT)
    }

    def get(self, request: Request) -> Any:
        """The members of the original's statistics."""
        return STATISTICS.report()
