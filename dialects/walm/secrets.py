"""Walm's secrets: base64 in, plain text out."""

import base64
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from clusters.manifests import MASK, Object
from core.api.audit import annotate
from core.api.dialect import Page
from core.api.parsing import json_body, raw_body
from core.api.schema import TEXT, OperationSchema, QueryParameter, record
from core.errors import Invalid, NotFound
from dialects.walm.envelope import (
    CLUSTER,
    META,
    NOTHING,
    Missing,
    WalmView,
    empty_response,
    meta,
    prefix_errors,
    require_address,
)
from workloads.objects import secrets

ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
VALUES = {"type": "object", "additionalProperties": TEXT}
SECRET = record(**META, data=VALUES, type=TEXT)
BODY = record(
    required=("name",),
    name=TEXT,
    type=TEXT,
    data={**VALUES, "description": "Values in base64."},
)
# Members of an answer that clients may send back, without changing them.
ANSWERED = ("namespace", "kind", "state")


class WalmSecretView(WalmView):
    """A call about secrets; values are masked for callers without the right to them."""

    plural = "secrets"


def _secret(item: Object, *, reveal: bool) -> dict[str, Any]:
    data = item.get("data") or {}
    values = {key: _decode(value) if reveal else MASK for key, value in data.items()}
    return {
        **meta(item, "Secret", "Ready"),
        "data": values,
        "type": item.get("type") or "",
    }


def _decode(value: str) -> str:
    # Values may be binary; a JSON text cannot hold every byte.
    return base64.b64decode(value).decode(errors="replace")


def _body(request: Request, namespace: str) -> tuple[str, str, dict[str, str]]:
    """(name, type, data) of a request; Invalid in the words of the original."""
    if not raw_body(request).strip():
        raise Invalid("EOF")
    body = json_body(request)
    require_address(body, "namespace", namespace)
    name = body.get("name")
    kind = body.get("type")
    data = body.get("data")
    texts_are_valid = isinstance(name, str | None) and isinstance(kind, str | None)
    if not texts_are_valid or not isinstance(data, dict | None):
        raise Invalid("name and type must be text, data must map text to text")
    return name or "", kind or "", data or {}


def check_base64(value: object) -> str:
    """The value without line breaks, if Go reads it as standard base64.

    Invalid, in Go's words and with the same byte's number, for anything else.
    """
    if not isinstance(value, str):
        raise Invalid("data must map text to base64 text")
    illegal_byte = _first_illegal_byte(value.encode(errors="replace"))
    if illegal_byte is not None:
        raise Invalid(f"illegal base64 data at input byte {illegal_byte}")
    return value.replace("\r", "").replace("\n", "")


def _first_illegal_byte(raw: bytes) -> int | None:
    """The number of the byte that Go's decoder names in its error; None for standard base64.

    It skips line breaks and needs padding.
    """
    # (position, byte) without line breaks.
    positions = [(position, byte) for position, byte in enumerate(raw) if byte not in b"\r\n"]
    length = 0
    while length < len(positions) and positions[length][1] in ALPHABET:
        length += 1
    # What follows the characters of the alphabet may only be the padding.
    rest = positions[length:]
    if not rest:
        return None if length % 4 == 0 else len(raw) - length % 4
    position, byte = rest[0]
    if byte != ord("=") or length % 4 < 2:
        return position
    # One "=" is due.
    if length % 4 == 3:
        return rest[1][0] if len(rest) > 1 else None
    # Two are.
    if len(rest) == 1:
        return len(raw)
    if rest[1][1] != ord("="):
        # Go counts from the first "=" of the padding.
        return rest[1][0] - 1
    return rest[2][0] if len(rest) > 2 else None


class Secrets(WalmSecretView):
    """GET, POST, PUT and DELETE /secret/{namespace}."""

    operations = {
        "get": OperationSchema(
            "Secrets of a namespace, values as plain text.",
            SECRET,
            (CLUSTER,),
            paged=True,
        ),
        "post": OperationSchema(
            "Make a secret.",
            NOTHING,
            (CLUSTER,),
            BODY,
            also_body=ANSWERED,
        ),
        "put": OperationSchema(
            "Replace the data of a secret.",
            NOTHING,
            (CLUSTER,),
            BODY,
            also_body=ANSWERED,
        ),
        "delete": OperationSchema(
            "Delete the secret that the query or the body names.",
            NOTHING,
            (QueryParameter("name", TEXT), CLUSTER),
            also_query=("secretname",),
            also_body=("name",),
        ),
    }

    def get(self, request: Request, namespace: str) -> Any:
        """{"num","items"}."""
        reveal = self.permit(request, "list", namespace=namespace).reveals
        with prefix_errors(f"failed to list secrets under {namespace}: "):
            rows = secrets.list_secrets(self.cluster(), namespace)
            items = [_secret(row, reveal=reveal) for row in rows]
        return Page(items, len(items))

    def post(self, request: Request, namespace: str) -> HttpResponse:
        """Empty: the secret was created."""
        self.permit(request, "create", namespace=namespace)
        name, kind, data = self._read(request, namespace)
        with prefix_errors("failed to create secret : "):
            secrets.create_secret(
                self.cluster(),
                namespace,
                name,
                kind=kind,
                data=_check_values(data),
            )
        return empty_response()

    def put(self, request: Request, namespace: str) -> HttpResponse:
        """Empty: the secret's data was replaced."""
        self.permit(request, "update", namespace=namespace)
        name, kind, data = self._read(request, namespace)
        with prefix_errors("failed to update secret : "):
            secrets.replace_secret(
                self.cluster(),
                namespace,
                name,
                kind=kind,
                data=_check_values(data),
            )
        return empty_response()

    def delete(self, request: Request, namespace: str) -> HttpResponse:
        """Empty: the secret that query or body name was deleted. This address never deletes all."""
        query = request.query_params
        name = query.get("name") or query.get("secretname")
        self.permit(request, "delete", namespace=namespace, name=name or "")
        with prefix_errors("failed to delete secret : "):
            body_name = json_body(request).get("name")
            # Clients of the original send it in either place.
            sources = (name, query.get("secretname"), body_name)
            if len({str(text) for text in sources if text}) > 1:
                raise Invalid("name is given twice with different values")
            name = name or body_name
            if not name or not isinstance(name, str):
                raise Invalid("name is required")
            annotate(request, name=name)
            secrets.delete_secret(self.cluster(), namespace, name)
        return empty_response()

    def _read(self, request: Request, namespace: str) -> tuple[str, str, dict[str, str]]:
        with prefix_errors("failed to read request body: "):
            name, kind, data = _body(request, namespace)
        annotate(request, name=name, details={"keys": sorted(data)})
        return name, kind, data


def _check_values(data: dict[str, str]) -> dict[str, str]:
    return {key: check_base64(value) for key, value in data.items()}


class Secret(WalmSecretView):
    """GET and DELETE /secret/{namespace}/name/{secretname}."""

    operations = {
        "get": OperationSchema(
            "One secret, values as plain text.",
            SECRET,
            (CLUSTER,),
        ),
        "delete": OperationSchema("Delete a secret.", NOTHING, (CLUSTER,)),
    }

    def get(self, request: Request, namespace: str, name: str) -> Any:
        """The secret, its values as plain text."""
        reveal = self.permit(
            request,
            "get",
            namespace=namespace,
            name=name,
        ).reveals
        with prefix_errors(f"failed to get secret {namespace}/{name}: "):
            cluster = self.cluster()
            try:
                return _secret(
                    secrets.get_secret(
                        cluster,
                        namespace,
                        name,
                    ),
                    reveal=reveal,
                )
            except NotFound as error:
                raise Missing(f"secret {namespace}/{name} is not found") from error

    def delete(
        self,
        request: Request,
        namespace: str,
        name: str,
    ) -> HttpResponse:
        """Empty, also when there is no such secret."""
        self.permit(request, "delete", namespace=namespace, name=name)
        with prefix_errors("failed to delete secret : "):
            secrets.delete_secret(self.cluster(), namespace, name)
        return empty_response()
