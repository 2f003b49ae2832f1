"""One value of a Secret in clear, for those who may see it: POST /secrets/{name}/reveal."""

import base64
import binascii
from typing import Any

from rest_framework.request import Request

from core.api.audit import annotate
from core.api.schema import INTEGER, TEXT, OperationSchema, nullable, record
from core.errors import Forbidden, Invalid, NotFound
from workloads.api.actions import WorkloadView
from workloads.objects.object_ref import ObjectRef


class RevealSecret(WorkloadView):
    """POST /secrets/{name}/reveal: the value of one key."""

    # Every answer is a line of the audit trail, which a GET would not be.
    refused_as = "GET"
    operations = {
        "post": OperationSchema(
            "Show the value of one key of a Secret; the audit trail says who saw which key",
            record(
                required=("key", "value", "text", "size"),
                key=TEXT,
                value=TEXT,
                text=nullable(TEXT),
                size=INTEGER,
            ),
            body=record(
                required=("cluster_id", "namespace", "key"),
                cluster_id=INTEGER,
                namespace=TEXT,
                key=TEXT,
            ),
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """{"key","value","text","size"}: `value` is base64, `text` null for bytes that are none."""
        target, scope = self.resolve(request, "reveal", name=name)
        namespace = self.scoped_namespace(target, item=True)
        if not scope.reveals:
            raise Forbidden("you may not see the values of secrets here")
        key = target.option("key")
        if not key:
            raise Invalid("key is required", field="key")
        annotate(request, details={"key": key})
        ref = ObjectRef(target.cluster(), self.kind, namespace, name)
        data = ref.read().get("data") or {}
        if key not in data:
            raise NotFound(f'secrets "{name}" has no key {key!r}', reason="NotFound")
        content = _decode(str(data[key]))
        return {
            "key": key,
            "value": data[key],
            "text": _as_text(content),
            "size": len(content),
        }


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        # The API server stores nothing but base64.
        return b""


def _as_text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
