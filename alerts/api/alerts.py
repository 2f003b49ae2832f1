"""Alerts over JSON: lists, one with its context, acknowledging, the history, silences."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from alerts import context, lifecycle, scopes, silences
from alerts.api import rights
from alerts.api.schemas import (
    ALERT,
    ALERT_DETAIL,
    MATCHER,
    SEVERITY,
    SILENCE,
    SILENCE_BODY,
    STATE,
)
from alerts.models import Alert, Severity, Silence
from core.api.audit import annotate
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import integer, json_body, moment, split_words
from core.api.schema import (
    INTEGER,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.errors import Forbidden, Invalid, NotFound
from core.times import rfc3339
from storage_api.services.sync import database_now

MAX_COMMENT = 2000
# A preview of a silence shows so many alerts.
MAX_SHOWN = 100
# As many as the largest page of a table has rows.
MAX_NAMES = 1000
FILTERS = (
    QueryParameter("severity", SEVERITY),
    QueryParameter("cluster_id", INTEGER),
    QueryParameter("namespace", TEXT),
    QueryParameter(
        "namespaces",
        TEXT,
        description=f"Several with commas, {MAX_NAMES} at most.",
    ),
    QueryParameter("kind", TEXT),
    QueryParameter("name", TEXT),
    QueryParameter(
        "names",
        TEXT,
        description=f"Several with commas, {MAX_NAMES} at most.",
    ),
    QueryParameter("rule_id", INTEGER),
    QueryParameter(
        "label",
        array(TEXT),
        description="`k=v`, several times for several labels.",
    ),
    *PAGING,
)
_FIRST = Case(
    When(state=Alert.State.FIRING, then=Value(0)),
    When(state=Alert.State.PENDING, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)


class AlertViewSet(ViewSetMixin, DialectView):
    """Alerts are seen where their targets may be: in namespaces, clusters, everywhere."""

    aliases = {"clusterId": "cluster_id"}
    operations = {
        "list": OperationSchema(
            "Alerts, firing ones first",
            ALERT,
            query=(
                QueryParameter(
                    "state", STATE, description="Several with commas; all but resolved if absent."
                ),
                *FILTERS,
            ),
            paged=True,
        ),
        "history": OperationSchema(
            "Alerts that fired, newest first, resolved ones included",
            ALERT,
            query=(
                QueryParameter("state", STATE),
                QueryParameter("since", TEXT),
                QueryParameter("until", TEXT),
                *FILTERS,
            ),
            paged=True,
        ),
        "retrieve": OperationSchema(
            "One alert with its context",
            ALERT_DETAIL,
            answer_name="AlertWithContext",
        ),
        "ack": OperationSchema(
            "Note that you care for an alert; it ends with the alert",
            ALERT_DETAIL,
            body=record(required=(), comment=TEXT),
            answer_name="AlertWithContext",
        ),
    }

    def list(self, request: Request) -> Any:
        """One page: firing, then pending, each with the newest first."""
        rows = self._filtered(request)
        states = _states(request)
        rows = rows.filter(state__in=states) if states else rows.exclude(state="resolved")
        return _page(request, rows.order_by(_FIRST, "-started_at", "-pk"))

    def history(self, request: Request) -> Any:
        """One page of alerts that fired between `since` and `until`, newest first."""
        query = request.query_params
        rows = self._filtered(request).filter(fired_at__isnull=False)
        if states := _states(request):
            rows = rows.filter(state__in=states)
        since = moment(query.get("since", ""), "since")
        until = moment(query.get("until", ""), "until")
        if since is not None:
            rows = rows.filter(Q(resolved_at=None) | Q(resolved_at__gte=since))
        if until is not None:
            rows = rows.filter(fired_at__lt=until)
        return _page(request, rows.order_by("-fired_at", "-pk"))

    def retrieve(self, request: Request, pk: int) -> Any:
        """The alert, and what the store knew of its target when it fired."""
        scope = authorise(self, request, AccessAttributes("list", "alerts"))
        return _detail(_visible_alert(scope, pk))

    def ack(self, request: Request, pk: int) -> Any:
        """The alert; NotFound when it is resolved already."""
        scope = authorise(self, request, AccessAttributes("list", "alerts"))
        alert = _visible_alert(scope, pk)
        act = AccessAttributes(
            "update",
            "alerts",
            cluster=str(alert.cluster_id or ""),
            namespace=alert.namespace,
            name=alert.name,
        )
        authorise(self, request, act)
        comment = _comment(json_body(request).get("comment", ""))
        annotate(request, details={"alert": alert.pk, "acknowledged": True})
        by = request.user.get_username()
        return _detail(lifecycle.acknowledge(alert, by, comment, database_now()))

    def _filtered(self, request: Request) -> QuerySet[Alert]:
        query = request.query_params
        cluster = query.get("cluster_id") or query.get("clusterId") or ""
        namespace = query.get("namespace", "")
        act = AccessAttributes(
            "list",
            "alerts",
            cluster=cluster,
            namespace=namespace,
        )
        scope = authorise(self, request, act)
        rows = Alert.objects.filter(_visible(scope))
        if cluster:
            rows = rows.filter(cluster=integer(cluster, "cluster_id", minimum=0))
        for name in ("namespace", "kind", "name"):
            if value := query.get(name, ""):
                rows = rows.filter(**{name: value})
        for parameter, field in (("namespaces", "namespace"), ("names", "name")):
            if text := query.get(parameter, ""):
                rows = rows.filter(**{f"{field}__in": _split_names(text, parameter)})
        if rule := query.get("rule_id", ""):
            rows = rows.filter(rule=integer(rule, "rule_id", minimum=0))
        if severity := query.get("severity", ""):
            if severity not in Severity.values:
                raise Invalid(
                    "severity must be info, warning or critical",
                    field="severity",
                )
            rows = rows.filter(severity=severity)
        if keyword := query.get("keyword", ""):
            rows = rows.filter(Q(name__icontains=keyword) | Q(rule_name__icontains=keyword))
        for text in query.getlist("label"):
            rows = rows.filter(labels__contains=_label(text))
        return rows


def _split_names(text: str, parameter: str) -> list[str]:
    names = split_words(text)
    if len(names) > MAX_NAMES:
        raise Invalid(
            f"{parameter} takes at most {MAX_NAMES} names",
            field=parameter,
        )
    return names


def _label(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Invalid("label must look like k=v", field="label")
    return {name.strip(): value.strip()}


def _states(request: Request) -> list[str]:
    text = request.query_params.get("state", "")
    states = [state for state in text.split(",") if state]
    for state in states:
        if state not in Alert.State.values:
            raise Invalid("state must be pending, firing or resolved", field="state")
    return states


def _visible(scope: Scope) -> Q:
    """The alerts inside a scope, which may be of one cluster or of many."""
    if scope.clusters is not None:
        return scopes.visible_alerts(scope.clusters)
    return Q() if scope.namespaces is None else Q(namespace__in=scope.namespaces)


def _visible_alert(scope: Scope, pk: int) -> Alert:
    rows = Alert.objects.filter(_visible(scope), pk=min(pk, 2**63 - 1))
    alert = rows.select_related("rule", "cluster").first()
    if alert is None:
        raise NotFound("there is no such alert")
    return alert


def _page(request: Request, rows: QuerySet[Alert]) -> Page:
    page = page_request(request.query_params)
    alerts = list(rows[page.offset : page.offset + page.size])
    return Page(_represent_all(alerts), rows.count(), page.page, page.size)


def _represent_all(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    selected = list(alerts)
    quiet = silences.silences_of(
        [alert.pk for alert in selected if alert.state != Alert.State.RESOLVED], database_now()
    )
    return [represent(alert, quiet.get(alert.pk, [])) for alert in selected]


def represent(alert: Alert, silenced_by: list[int]) -> dict[str, Any]:
    """The alert as JSON data, in the shape of ALERT."""
    return {
        "id": alert.pk,
        "rule_id": alert.rule_id,
        "rule_name": alert.rule_name,
        "fingerprint": alert.fingerprint,
        "state": alert.state,
        "severity": alert.severity,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "value": alert.value,
        "source": alert.source,
        "started_at": rfc3339(alert.started_at),
        "fired_at": rfc3339(alert.fired_at),
        "resolved_at": rfc3339(alert.resolved_at),
        "resolved_because": alert.resolved_because,
        "acked_by": alert.acked_by or None,
        "acked_at": rfc3339(alert.acked_at),
        "ack_comment": alert.ack_comment,
        "silenced_by": silenced_by,
        "target": {
            "cluster_id": alert.cluster_id,
            "kind": alert.kind,
            "namespace": alert.namespace,
            "name": alert.name,
        },
    }


def _detail(alert: Alert) -> dict[str, Any]:
    # An alert of a burst may be looked at before its turn came.
    known = alert.context or context.gather(alert)
    return {**_represent_all([alert])[0], "context": known}


def _comment(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_COMMENT or "\0" in value:
        raise Invalid(
            f"comment must be text of at most {MAX_COMMENT} characters",
            field="comment",
        )
    return value


# --- silences -------------------------------------------------------------------------------------
class Silences(DialectView):
    """GET and POST /alerts/silences."""

    operations = {
        "get": OperationSchema(
            "Silences",
            SILENCE,
            query=(
                QueryParameter(
                    "state",
                    TEXT,
                    description="pending, active or expired.",
                ),
                *PAGING[:2],
            ),
            paged=True,
        ),
        "post": OperationSchema(
            "Keep alerts quiet for a time",
            SILENCE,
            body=SILENCE_BODY,
        ),
    }

    def get(self, request: Request) -> Any:
        """One page, newest first: your own, and all for who sees every alert."""
        viewer = rights.viewer_of(self, request)
        now = database_now()
        rows = Silence.objects.select_related("created_by").filter(_visible_silences(viewer))
        match request.query_params.get("state", ""):
            case "":
                pass
            case "pending":
                rows = rows.filter(starts_at__gt=now, ends_at__gt=now)
            case "active":
                rows = rows.filter(starts_at__lte=now, ends_at__gt=now)
            case "expired":
                rows = rows.filter(ends_at__lte=now)
            case _:
                raise Invalid(
                    "state must be pending, active or expired",
                    field="state",
                )
        page = page_request(request.query_params)
        items = [
            _represent_silence(
                row,
                now,
            )
            for row in rows[page.offset : page.offset + page.size]
        ]
        return Page(items, rows.count(), page.page, page.size)

    def post(self, request: Request) -> Any:
        """The silence; it reaches the alerts that its maker may see, and no others."""
        rights.refuse_token_of_clusters(request, "silences")
        authorise(self, request, AccessAttributes("create", "alertsilences"))
        viewer = rights.viewer_of(self, request)
        body = json_body(request)
        now = database_now()
        matchers = silences.parse_matchers(body.get("matchers"))
        starts_at = _moment(body.get("starts_at"), "starts_at") or now
        ends_at = _moment(body.get("ends_at"), "ends_at")
        if ends_at is None:
            raise Invalid("ends_at is required", field="ends_at")
        silences.check_span(starts_at, ends_at, now)
        row = Silence.objects.create(
            matchers=matchers,
            starts_at=starts_at,
            ends_at=ends_at,
            comment=_comment(body.get("comment", "")),
            created_by=viewer.user,
        )
        annotate(request, name=str(row.pk), details={"matchers": matchers})
        return _represent_silence(row, now)


class SilencePreview(DialectView):
    """POST /alerts/silences/preview: what a silence that is not saved would keep quiet."""

    operations = {
        "post": OperationSchema(
            "Alerts that are not resolved and that such a silence would keep quiet",
            record(items=array(ALERT), total=INTEGER),
            body=record(matchers=array(MATCHER)),
        )
    }

    def post(self, request: Request) -> Any:
        """{"items", "total"}: the newest MAX_SHOWN that the caller may see, and the count."""
        authorise(self, request, AccessAttributes("test", "alertsilences"))
        viewer = rights.viewer_of(self, request)
        matchers = silences.parse_matchers(json_body(request).get("matchers"))
        rows = silences.matching_alerts(matchers, _visible(viewer.scope))
        return {
            "items": _represent_all(rows[:MAX_SHOWN]),
            "total": rows.count(),
        }


class SilenceDetail(DialectView):
    """GET and DELETE /alerts/silences/{id}."""

    operations = {
        "get": OperationSchema("One silence", SILENCE),
        "delete": OperationSchema("End a silence now", SILENCE),
    }

    def get(self, request: Request, pk: str) -> Any:
        """One silence."""
        return _represent_silence(self._visible(request, pk), database_now())

    def delete(self, request: Request, pk: str) -> Any:
        """The silence, which is over."""
        authorise(
            self,
            request,
            AccessAttributes("delete", "alertsilences", name=pk),
        )
        row = self._visible(request, pk)
        viewer = rights.viewer_of(self, request)
        if not viewer.owns(row.created_by_id) and not viewer.is_admin:
            raise Forbidden("you may not end a silence of somebody else")
        now = database_now()
        if row.ends_at > now:
            row.ends_at = now
            row.starts_at = min(row.starts_at, now)
            row.save(update_fields=["ends_at", "starts_at"])
        return _represent_silence(row, now)

    def _visible(self, request: Request, pk: str) -> Silence:
        viewer = rights.viewer_of(self, request)
        number = int(pk) if pk.isascii() and pk.isdigit() and len(pk) < 19 else 0
        rows = Silence.objects.filter(_visible_silences(viewer), pk=number)
        row = rows.select_related("created_by").first()
        if row is None:
            raise NotFound("there is no such silence")
        return row


def _visible_silences(viewer: rights.Viewer) -> Q:
    """Matchers may name what others may not see, so a silence is its maker's and the admins'."""
    if viewer.sees_everything:
        return Q()
    # A token of some clusters stands for no person.
    return Q(pk=None) if viewer.is_token_of_clusters else Q(created_by=viewer.user)


def _moment(value: object, field: str) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f"{field} must be an RFC 3339 time", field=field)
    return moment(value, field)


def _represent_silence(row: Silence, now: datetime) -> dict[str, Any]:
    state = "active"
    if row.starts_at > now:
        state = "pending"
    if row.ends_at <= now:
        state = "expired"
    return {
        "id": row.pk,
        "matchers": row.matchers,
        "starts_at": rfc3339(row.starts_at),
        "ends_at": rfc3339(row.ends_at),
        "comment": row.comment,
        "created_by": row.created_by.get_username(),
        "created_at": rfc3339(row.created_at),
        "state": state,
    }
