"""POST /history/restore: an old version of an object, first as a dry run with its differences, then for good."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.request import Request

from core.api import confirmation
from core.api.audit import note
from core.api.auth import Act, authorise
from core.api.confirmation import Guarded
from core.api.parsing import boolean, integer, json_body, moment
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    KUBERNETES_OBJECT,
    OBJECT,
    TEXT,
    Described,
    array,
    nullable,
    record,
)
from core.errors import ConfirmationRequired, Expired, Invalid
from core.times import rfc3339
from storage_api.api.history import CHANGE, HistoryView
from storage_api.history import as_of, restore
from storage_api.history.restore import PreparedRestore, Subject

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
    """Twice the same request: the first says what it would do and gives a token, the second brings the token and does it."""

    refused_as = "PUT"
    aliases = {"clusterId": "cluster_id"}
    operations = {"post": Described("Restore an old version of an object", ANSWER, body=BODY)}

    def post(self, request: Request) -> Any:
        """Body: cluster_id, kind, namespace, name and `seq` (of the history) or `at`.

        Without a confirmation nothing is written: the answer has the differences to the live object, the API server's verdict on a dry
        run, and `confirm_token` (null when there is nothing to do, the server refuses, or with `dry_run`). With `confirm_token`,
        `confirm=true` or X-Confirm it is applied; ConfirmationRequired when the live object has changed since the token was given.
        """
        body = json_body(request)
        cluster, kind, namespace, name, _ = self.subject(request, body, item=True)
        restore.check_kind(kind)
        subject = Subject(cluster, kind, namespace, name)
        old, version = self._version(subject, body)
        restore.check_version(old)
        now = restore.live(subject)
        act = Act(
            "create" if now is None else "update",
            *(kind.plural, kind.group, str(cluster.pk), namespace, name),
            cluster_scoped=not kind.namespaced,
        )
        scope = authorise(self, request, act)
        prepared = restore.prepare(subject, old, now, unbounded=scope.unbounded)
        return self._proceed(request, body, prepared, version)

    def _version(self, subject: Subject, body: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
        where = {"namespace": subject.namespace}
        if (body.get("seq") is None) == (not body.get("at")):
            raise Invalid("seq or at is required, and not both", field="seq")
        if body.get("seq") is not None:
            seq = integer(body["seq"], "seq", minimum=1, maximum=MAX_SEQ)
            found = as_of.version(subject.cluster, subject.kind, subject.name, seq=seq, **where)
            return found.data, {"seq": seq, "at": rfc3339(found.at, digits=3)}
        at = moment(str(body["at"]), "at")
        if at is None:
            raise Invalid("at is required", field="at")
        try:
            return as_of.read_sealed(subject.cluster, subject.kind, subject.name, at=at, **where), {
                "seq": None,
                "at": rfc3339(at, digits=3),
            }
        except Expired as error:
            raise Invalid(error.message, field="at") from None

    def _proceed(
        self, request: Request, body: Mapping[str, Any], found: PreparedRestore, version: dict[str, Any]
    ) -> dict[str, Any]:
        subject = found.subject
        guarded = Guarded(
            "restore", subject.kind.name, subject.name, subject.namespace, identity=found.identity()
        )
        dry_run, action = boolean(body.get("dry_run", False), "dry_run"), found.action
        shown = _shown(found, action, version)
        confirmed = not dry_run and action != "unchanged" and confirmation.answer(request, guarded)
        if confirmed:
            made = restore.apply(found)
            note(request, before=found.live, after=made, details={"restored": version})
            return {**shown, "applied": True, "object": orjson.Fragment(made)}
        note(request, details={"dry_run": True})
        invited = not dry_run and action != "unchanged" and found.verdict.made is not None
        shown |= confirmation.invite(request, guarded) if invited else {}
        if confirmed is None:
            raise ConfirmationRequired(
                "the object has changed since, or the token is spent: look again, then confirm anew",
                **shown,
            )
        return shown


def _shown(found: PreparedRestore, action: str, version: dict[str, Any]) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "applied": False,
        "action": action,
        "version": version,
        "verdict": {
            "accepted": verdict.made is not None,
            "reason": verdict.reason,
            "message": verdict.message,
        },
        "changes": found.changes(),
        "left_out": list(found.plan.left_out),
        "content": found.plan.body,
        "object": None,
        "confirm_token": None,
        "expires_in": None,
    }
