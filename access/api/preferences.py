"""How the caller has arranged the console."""

from typing import Any, cast

from django.contrib.auth.models import User
from rest_framework.request import Request

from access import preferences
from access.models import ApiToken
from core.api.audit import record as record_act
from core.api.auth import AccessAttributes
from core.api.dialect import DialectView
from core.api.parsing import json_body
from core.api.schema import INTEGER, TEXT, OperationSchema, array, record
from core.errors import Forbidden

DOCUMENT = record(
    required=(),
    views=array(record(name=TEXT, address=TEXT)),
    hidden_columns={"type": "object", "additionalProperties": array(TEXT)},
    column_widths={
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": INTEGER},
    },
)


class OwnPreferences(DialectView):
    """GET and PUT /auth/preferences."""

    operations = {
        "get": OperationSchema("How you arranged the console", DOCUMENT),
        "put": OperationSchema(
            "Arrange the console: replaces the members that the body has", DOCUMENT, body=DOCUMENT
        ),
    }

    def get(self, request: Request) -> Any:
        """{"views", "hidden_columns", "column_widths"} of the caller."""
        record_act(request, AccessAttributes("get", "preferences"))
        self.check_input(request)
        return preferences.read(cast("User", request.user))

    def put(self, request: Request) -> Any:
        """The document after the change."""
        event = record_act(request, AccessAttributes("update", "preferences"))
        if isinstance(request.auth, ApiToken):
            event.allowed = False
            raise Forbidden("an API token cannot arrange the console: sign in with your password")
        self.check_input(request)
        return preferences.write(cast("User", request.user), json_body(request))
