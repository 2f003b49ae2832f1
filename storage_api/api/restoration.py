"""POST /history/restore: an old version of an object, first as a dry run, then for good."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.request import Request

from core.api import confirmation
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.confirmation import ConfirmationRequest
from core.api.parsing import boolean, integer, json_body, moment
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    KUBERNETES_OBJECT,
    OBJECT,
    TEXT,
    OperationSchema,
    array,
    nullable,
    record,
)
from core.errors import ConfirmationRequired, Expired, Invalid
from core.times import rfc3339
from storage_api.api.history import CHANGE, HistoryView
from storage_api.history import as_of, restore
from storage_api.history.restore import PreparedRestore, RestoreTarget

MAX_SEQ = 2**63 - 1
BODY = record(
    required=("cluster_id", "kind", "name"),
    cluster_id=INTEGER,
    kind=TEXT,
    namespace=TEXT,
    name=TEXT,
    seq=INTEGER,
    at=TEXT,
    dry_run=BOOLEAN,
    confirm_token=TEXT,
    confirm=BOOLEAN,
)
ANSWER = record(
    applied=BOOLEAN,
    action={"type": "string", "enum": ["create", "replace", "unchanged"]},
    version=record(seq=nullable(INTEGER), at=TEXT),
    verdict=record(accepted=BOOLEAN, reason=TEXT, message=TEXT),
    changes=array(CHANGE),
    left_out=array(TEXT),
    content=OBJECT,
    object=nullable(KUBERNETES_OBJECT),
    confirm_token=nullable(TEXT),
    expires_in=nullable(INTEGER),
)


class Restore(HistoryView):
    """The same request twice.

    The first answers what it would do, with a token; the second has the token and does it.
    """

    refused_as = "PUT"
    aliases = {"clusterId": "cluster_id"}
    operations = {
        "post": OperationSchema(
            "Restore an old version of an object",
            ANSWER,
            body=BODY,
        )
    }

    def post(self, request: Request) -> Any:
        """Body: cluster_id, kind, namespace, name and `seq` (of the history) or `at`.

        Without a confirmation nothing is written. The answer then has the differences from the
        live object, the API server's answer to a dry run, and `confirm_token`, which is null when
        there is nothing to do, when the server refuses, or with `dry_run`. With `confirm_token`,
        `confirm=true` or X-Confirm the version is written; ConfirmationRequired when the live
        object has changed since the token was issued.
        """
        body = json_body(request)
        cluster, kind, namespace, name, _ = self.subject(request, body, is_single=True)
        restore.check_kind(kind)
        subject = RestoreTarget(cluster, kind, namespace, name)
        old, version = self._version(subject, body)
        restore.check_version(old)
        live = restore.read_live(subject)
        act = AccessAttributes(
            "create" if live is None else "update",
            kind.plural,
            kind.group,
            str(cluster.pk),
            namespace,
            name,
            cluster_scoped=not kind.namespaced,
        )
        scope = authorise(self, request, act)
        restoration = restore.prepare(
            subject,
            old,
            live,
            unbounded=scope.unbounded,
        )
        return self._proceed(request, body, restoration, version)

    def _version(
        self,
        subject: RestoreTarget,
        body: Mapping[str, Any],
    ) -> tuple[bytes, dict[str, Any]]:
        """(the old version as JSON, {"seq", "at"} of it)."""
        cluster = subject.cluster
        kind = subject.kind
        namespace = subject.namespace
        name = subject.name
        if (body.get("seq") is None) == (not body.get("at")):
            raise Invalid("either seq or at is required", field="seq")
        if body.get("seq") is not None:
            seq = integer(body["seq"], "seq", minimum=1, maximum=MAX_SEQ)
            version = as_of.version(
                cluster,
                kind,
                name,
                namespace=namespace,
                seq=seq,
            )
            return version.data, {"seq": seq, "at": rfc3339(version.at, digits=3)}
        at = moment(str(body["at"]), "at")
        if at is None:
            raise Invalid("at is required", field="at")
        try:
            old = as_of.read_sealed(
                cluster,
                kind,
                name,
                namespace=namespace,
                at=at,
            )
        except Expired as error:
            raise Invalid(error.message, field="at") from None
        return old, {"seq": None, "at": rfc3339(at, digits=3)}

    def _proceed(
        self,
        request: Request,
        body: Mapping[str, Any],
        restoration: PreparedRestore,
        version: dict[str, Any],
    ) -> dict[str, Any]:
        """Write it when the request confirms it, else answer what it would do."""
        subject = restoration.subject
        guarded = ConfirmationRequest(
            "restore",
            subject.kind.name,
            subject.name,
            subject.namespace,
            identity=restoration.identity(),
        )
        dry_run = boolean(body.get("dry_run", False), "dry_run")
        action = restoration.action
        is_confirmable = not dry_run and action != "unchanged"
        answer = _answer(restoration, action, version)
        # True, False, or None for a token that is not valid any more.
        confirmed = is_confirmable and confirmation.is_confirmed(request, guarded)
        if confirmed:
            manifest = restore.apply(restoration)
            annotate(
                request,
                before=restoration.live,
                after=manifest,
                details={"restored": version},
            )
            return {**answer, "applied": True, "object": orjson.Fragment(manifest)}
        annotate(request, details={"dry_run": True})
        if is_confirmable and restoration.verdict.made is not None:
            answer |= confirmation.issue_confirmation(request, guarded)
        if confirmed is None:
            raise ConfirmationRequired(
                "the object has changed, or the token has expired: review, then confirm again",
                **answer,
            )
        return answer


def _answer(
    restoration: PreparedRestore,
    action: str,
    version: dict[str, Any],
) -> dict[str, Any]:
    """What the restore would do, as ANSWER describes it."""
    verdict = restoration.verdict
    return {
        "applied": False,
        "action": action,
        "version": version,
        "verdict": {
            "accepted": verdict.made is not None,
            "reason": verdict.reason,
            "message": verdict.message,
        },
        "changes": restoration.changes(),
        "left_out": list(restoration.plan.left_out),
        "content": restoration.plan.body,
        "object": None,
        "confirm_token": None,
        "expires_in": None,
    }
