"""Rules over JSON: /alerts/rules, their switches, /alerts/rules/test and /alerts/presets."""

import time
from typing import Any

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from alerts import presets, rules, trials, triggers
from alerts.api import rights
from alerts.api.schemas import PRESET, RULE, RULE_BODY, RULE_READ_ONLY, SEVERITY, TRIAL
from alerts.models import Rule
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, json_body
from core.api.schema import (
    BOOLEAN,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
)
from core.errors import Invalid


class RuleViewSet(ViewSetMixin, DialectView):
    """Rules: a namespace's people see and make those of it, admins all."""

    operations = {
        "list": OperationSchema(
            "Rules that you may see",
            RULE,
            query=(
                QueryParameter("source", TEXT),
                QueryParameter("severity", SEVERITY),
                QueryParameter("enabled", BOOLEAN),
                QueryParameter(
                    "state",
                    TEXT,
                    description="inactive, pending or firing.",
                ),
                *PAGING,
            ),
            paged=True,
        ),
        "create": OperationSchema("Make a rule", RULE, body=RULE_BODY),
        "retrieve": OperationSchema("One rule", RULE),
        "update": OperationSchema(
            "Change a rule",
            RULE,
            body=RULE_BODY,
            also_body=RULE_READ_ONLY,
        ),
        "destroy": OperationSchema("Delete a rule; its alerts are resolved", OBJECT),
        "enable": OperationSchema("Switch a rule on", RULE),
        "disable": OperationSchema(
            "Switch a rule off; its alerts are resolved",
            RULE,
        ),
    }

    def list(self, request: Request) -> Any:
        """One page, oldest first."""
        viewer = rights.viewer_of(self, request)
        query = request.query_params
        page = page_request(query)
        rows = Rule.objects.select_related(
            "owner",
            "tenant",
        ).prefetch_related("channels")
        for name in ("source", "severity"):
            if value := query.get(name, ""):
                rows = rows.filter(**{name: value})
        if enabled := query.get("enabled", ""):
            rows = rows.filter(enabled=boolean(enabled, "enabled"))
        if keyword := query.get("keyword", ""):
            rows = rows.filter(name__icontains=keyword)
        visible = [row for row in rows.order_by("pk") if viewer.sees(row)]
        if state := query.get("state", ""):
            counts = rules.count_alerts(visible)
            visible = [
                row
                for row in visible
                if rules.represent(
                    row,
                    counts.get(row.pk),
                )["state"]
                == state
            ]
        selected = visible[page.offset : page.offset + page.size]
        counts = rules.count_alerts(selected)
        items = [rules.represent(row, counts.get(row.pk)) for row in selected]
        return Page(items, len(visible), page.page, page.size)

    def create(self, request: Request) -> Any:
        """The rule, which is evaluated from now on unless it is made switched off."""
        authorise(self, request, AccessAttributes("create", "alertrules"))
        viewer = rights.viewer_of(self, request)
        body = rules.with_preset(json_body(request))
        annotate(request, name=str(body.get("name") or "")[:200])
        rule = _read(self, request, viewer, Rule(owner=viewer.user), body)
        channels = rules.channels_of(
            body.get("channels"),
            rights.usable_channels(viewer),
        )
        return rules.represent(rules.save(rule, channels))

    def retrieve(self, request: Request, pk: str) -> Any:
        """One rule."""
        return _answer(
            rights.visible_rule(
                rights.viewer_of(self, request),
                rules.find(pk),
            )
        )

    def update(self, request: Request, pk: str) -> Any:
        """The rule with the members of the body; what holds no longer is resolved."""
        rule, viewer = self._changeable(request, pk)
        body = json_body(request)
        if "id" in body and body["id"] != rule.pk:
            raise Invalid("id cannot be changed", field="id")
        if not viewer.owns(rule.owner_id) and (viewer.limits or not viewer.sees_everything):
            # A rule sees what its owner may: who changes it answers for it from here on.
            rule.owner = viewer.user
        rule = _read(self, request, viewer, rule, body)
        channels = None
        if "channels" in body:
            before = set(rule.channels.values_list("pk", flat=True))
            usable = rights.usable_channels(viewer) | rights.among(before)
            channels = rules.channels_of(body["channels"], usable)
        return _answer(rules.save(rule, channels))

    def destroy(self, request: Request, pk: str) -> Any:
        """{}."""
        rule, _ = self._changeable(request, pk)
        annotate(request, name=rule.name)
        rules.delete(rule)
        return {}

    def enable(self, request: Request, pk: str) -> Any:
        """The rule, evaluated from now on."""
        rule, _ = self._changeable(request, pk)
        return _answer(rules.switch(rule, True))

    def disable(self, request: Request, pk: str) -> Any:
        """The rule; its alerts are resolved."""
        rule, _ = self._changeable(request, pk)
        return _answer(rules.switch(rule, False))

    def _changeable(
        self,
        request: Request,
        pk: str,
    ) -> tuple[Rule, rights.Viewer]:
        authorise(self, request, AccessAttributes("update", "alertrules", name=pk))
        viewer = rights.viewer_of(self, request)
        rule = rights.visible_rule(viewer, rules.find(pk))
        rights.require_may_change(self, request, viewer, rule)
        return rule, viewer


class RuleTest(DialectView):
    """POST /alerts/rules/test: what a rule that is not saved matches now."""

    operations = {
        "post": OperationSchema(
            "What a rule matches now; nothing is saved",
            TRIAL,
            body=RULE_BODY,
            also_body=RULE_READ_ONLY,
        )
    }

    def post(self, request: Request) -> Any:
        """{"matches": [{"labels", "value", "since"}], "took_ms"}."""
        authorise(self, request, AccessAttributes("test", "alertrules"))
        viewer = rights.viewer_of(self, request)
        body = rules.with_preset(json_body(request))
        # People try a condition before they think of a name.
        body = {"name": "test", **body}
        rule = _read(self, request, viewer, Rule(owner=viewer.user), body)
        started = time.monotonic()
        matches = trials.try_rule(rule)
        return {
            "matches": matches,
            "took_ms": round((time.monotonic() - started) * 1000, 1),
        }


class Presets(DialectView):
    """GET /alerts/presets: rules to take over as they are, or to start from."""

    operations = {
        "get": OperationSchema(
            "Rules that come with KubeGale", PRESET, query=PAGING[:2], paged=True
        )
    }

    def get(self, request: Request) -> Any:
        """One page of presets."""
        rights.viewer_of(self, request)
        page = page_request(request.query_params, default=100)
        items = presets.PRESETS[page.offset : page.offset + page.size]
        return Page(items, len(presets.PRESETS), page.page, page.size)


def _read(
    view: DialectView,
    request: Request,
    viewer: rights.Viewer,
    rule: Rule,
    body: dict[str, Any],
) -> Rule:
    """The rule with the body's members, in places where the caller may have one."""
    if "tenant_id" in body:
        value = body["tenant_id"]
        rule.tenant = None if value is None else rules.find_tenant(value)
    rights.refuse_hidden_clusters(view, request, body.get("scope"))
    rule = rules.apply_body(rule, body)
    if rule.owner == viewer.user:
        rule.limits = dict(viewer.limits)
    if "tasks" in body:
        rule.tasks = triggers.parse_tasks(body["tasks"], viewer.user, viewer.limits)
    rights.require_places(view, request, viewer, rule)
    return rule


def _answer(rule: Rule) -> dict[str, Any]:
    return rules.represent(rule, rules.count_alerts([rule]).get(rule.pk))
