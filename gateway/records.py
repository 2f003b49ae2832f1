"""The audit trail of what passes through the gateway, and the store's notice of writes."""

import logging
import uuid

from access import audit, audit_sink
from clusters import registry
from clusters.api_errors import status_error
from core.api.attributes import AccessAttributes
from core.api.audit import AuditEvent
from core.errors import ClusterNotFound, DomainError
from gateway.messages import Request

DIALECT = "gateway"
# The body of the answer passes by unread: its status alone tells what became of the request.
_STATUS = b'{"kind":"Status"}'
log = logging.getLogger(__name__)


def new_request_id() -> str:
    """The id of a request, in the audit trail and in the answer's X-Request-Id."""
    return uuid.uuid4().hex


def record_refusal(request: Request, act: AccessAttributes, request_id: str) -> None:
    """An entry for what was refused, when its kind of act leaves one."""
    _write(request, AuditEvent(act, allowed=False), None, request_id)


def record_answer(
    request: Request,
    act: AccessAttributes,
    status: int,
    request_id: str,
    *,
    written: bytes = b"",
) -> None:
    """An entry for what a cluster has answered, when its kind of act leaves one.

    `written` is the object as JSON that a write was answered with: the entry names its uid and
    resourceVersion. Afterwards the store knows that objects of the kind may have changed.
    """
    info = request.info
    if info.is_resource and not info.is_read:
        _note_write(act.cluster, info.path)
    event = AuditEvent(act)
    if version := audit.written_version(written):
        event.facts["details"] = version
    if request.head.parameter("dryRun"):
        event.facts["details"] = {"dry_run": True}
    error = status_error(status, _STATUS) if status >= 400 else None
    _write(request, event, error, request_id)


def _note_write(cluster: str, path: str) -> None:
    try:
        registry.note_write(registry.find(cluster).pk, path)
    except ClusterNotFound:
        # It was removed meanwhile: there are no lists of it.
        return


def _write(request: Request, event: AuditEvent, error: DomainError | None, request_id: str) -> None:
    """What was done is answered, even when the trail cannot be written; that is logged."""
    try:
        audit_sink.write_entry_of(
            request.caller.credential,
            DIALECT,
            event,
            error,
            address=request.caller.address,
            request_id=request_id,
        )
    except Exception:
        log.exception(
            "the audit trail could not be written",
            extra={"acts": [f"{event.act.verb} {event.act.kind}"]},
        )
