"""Alertmanager's webhook, and rules as PrometheusRule objects."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from alerts import alertmanager, prometheus_rules, rules
from alerts.api import rights
from alerts.api.schemas import RULE
from alerts.models import Rule
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.parsing import json_body
from core.api.schema import (
    INTEGER,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.errors import Forbidden, Invalid

YAML_TYPE = "text/yaml; charset=utf-8"
# Another program's document: members that a later version adds are left alone.
PAYLOAD = {
    "type": "object",
    "description": "Alertmanager's payload, version 4: `version`, `alerts` and the rest.",
    "additionalProperties": True,
}
OMISSION = record(
    group=TEXT,
    rule=TEXT,
    what=TEXT,
    reason=TEXT,
)


class AlertmanagerReceiver(DialectView):
    """POST /alerts/alertmanager: the receiver of another Alertmanager's webhook."""

    operations = {
        "post": OperationSchema(
            "Take an Alertmanager's notification (webhook, version 4)",
            record(firing=INTEGER, resolved=INTEGER),
            query=(
                QueryParameter(
                    "cluster_id",
                    INTEGER,
                    description="Where the alerts are from; without it their label `cluster` says.",
                ),
            ),
            body=PAYLOAD,
        )
    }

    def post(self, request: Request) -> Any:
        """{"firing", "resolved"}: how many alerts began and ended by it.

        The caller needs the right to write in each cluster and namespace that an alert names.
        """
        text = request.query_params.get("cluster_id", "")
        authorise(self, request, AccessAttributes("create", "alertrules", cluster=text))
        received = alertmanager.read(
            json_body(request),
            alertmanager.find_cluster(text),
        )
        for place in {(alert.cluster, alert.namespace) for alert in received}:
            self._require_place(request, *place)
        annotate(request, details={"alerts": len(received)})
        return alertmanager.store(received)

    def _require_place(self, request: Request, cluster: Any, namespace: str) -> None:
        if cluster is not None:
            act = AccessAttributes(
                "create",
                "alerts",
                cluster=str(cluster.pk),
                namespace=namespace,
            )
            authorise(self, request, act)
            return
        # Of no registered cluster: for who may write everywhere.
        scope = authorise(self, request, AccessAttributes("create", "alertrules"))
        if scope.clusters is not None:
            raise Forbidden("you may not create alerts that name none of your clusters")


class RuleExport(DialectView):
    """GET /alerts/rules/export."""

    operations = {
        "get": OperationSchema(
            "Rules with a PromQL query as a PrometheusRule",
            TEXT,
            answer_types=("text/yaml",),
        )
    }

    def get(self, request: Request) -> Any:
        """YAML; comments name the rules that have no query."""
        viewer = rights.viewer_of(self, request)
        rows = Rule.objects.select_related("owner").order_by("pk")
        text = prometheus_rules.export(row for row in rows if viewer.sees(row))
        return HttpResponse(text, content_type=YAML_TYPE)


class RuleImport(DialectView):
    """POST /alerts/rules/import."""

    operations = {
        "post": OperationSchema(
            "Make rules of PrometheusRule YAML",
            record(items=array(RULE), skipped=array(OMISSION)),
            body=record(required=("content",), content=TEXT, scope=OBJECT),
        )
    }

    def post(self, request: Request) -> Any:
        """{"items", "skipped"}: the rules that were made, and what could not be taken over."""
        authorise(self, request, AccessAttributes("create", "alertrules"))
        viewer = rights.viewer_of(self, request)
        body = json_body(request)
        scope = rules.parse_scope(body.get("scope"))
        imported, omissions = prometheus_rules.read(body.get("content"))
        made = []
        for item in imported:
            rule = Rule(owner=viewer.user, scope=scope, limits=dict(viewer.limits))
            try:
                rules.apply_body(rule, item.body)
            except Invalid as error:
                title = str(item.body["name"])
                omissions.append(
                    prometheus_rules.Omission(
                        item.group,
                        title,
                        "rule",
                        error.message,
                    )
                )
                continue
            rights.require_places(self, request, viewer, rule)
            made.append(rule)
        answers = [rules.represent(rules.save(rule, [])) for rule in made]
        annotate(request, details={"rules": len(answers)})
        return {"items": answers, "skipped": [omission.as_json() for omission in omissions]}
