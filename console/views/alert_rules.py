"""Rules of alerts: the list with the presets, the form with what it matches now, files of rules."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts.conditions import COMPARISONS, METRICS, OPERATORS
from console import choice_labels, forms, navigation, permissions
from console.api_client import ApiRefusal, call, require_segment
from console.editing import condition_forms
from console.editing.condition_forms import ConditionFields
from console.filtered_lists import read_list
from console.object_alerts import SEVERITIES, severity_words
from console.page import redirect, render_page, require_sign_in
from console.rendering import diffs
from console.views.alerts import STATES, section_context

MAX_CHANNELS = 200
MAX_FILE_BYTES = 4 * 1024 * 1024
SOURCES = {
    "state": gettext_lazy("State of objects"),
    "event": gettext_lazy("Events"),
    "metric": gettext_lazy("Metric"),
    "promql": gettext_lazy("PromQL"),
}
NO_DATA = {
    "keep": gettext_lazy("keep: leave the alerts as they are"),
    "ok": gettext_lazy("ok: resolve them"),
    "alert": gettext_lazy("alert: raise one"),
}
FILTERS = ("keyword", "source", "severity", "enabled", "state")
# What the form of a new rule begins with.
NEW_RULE: Mapping[str, Any] = {
    "name": "",
    "description": "",
    "severity": "warning",
    "source": "state",
    "condition": {
        "kind": "Pod",
        "where": [{"path": "status.phase", "op": "eq", "value": "Failed"}],
    },
    "for": "5m",
    "scope": {},
    "labels": {},
    "annotations": {"summary": "{{ $labels.kind }} {{ $labels.namespace }}/{{ $labels.name }}"},
    "no_data": "keep",
    "group_by": [],
    "repeat": "4h",
    "channels": [],
    "enabled": True,
}


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The rules that the person may see, and the presets to switch on."""
    items, listing = read_list(request, "alerts/rules", FILTERS)
    context = {
        **section_context(request, "rules"),
        "rules": [_rule_context(request, rule) for rule in items],
        "presets": _list_presets(request, items),
        "sources": SOURCES.items(),
        "severities": [(value, word) for value, (word, _severity) in SEVERITIES.items()],
        **listing,
    }
    return render_page(request, "console/alert_rules.html", context)


def _list_presets(
    request: HttpRequest,
    rules: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The presets; `used` are those that one of the rules was made from."""
    used = {rule["preset"] for rule in rules}
    items = call(request, "GET", "alerts/presets").data["items"]
    return [
        {**_words(preset), "used": preset["id"] in used, "for": preset["for"]} for preset in items
    ]


def _words(rule: Mapping[str, Any]) -> dict[str, Any]:
    level, severity = severity_words(rule)
    return {
        **rule,
        "level": level,
        "level_severity": severity,
        "source_word": SOURCES.get(rule["source"], rule["source"]),
    }


def _rule_context(request: HttpRequest, rule: Mapping[str, Any]) -> dict[str, Any]:
    word, severity = STATES.get(rule["state"], (_("inactive"), "good"))
    if not rule["enabled"]:
        word = _("switched off")
        severity = "idle"
    return {
        **_words(rule),
        "after": rule["for"],
        "word": word,
        "severity_of_state": severity,
        "changeable": _may_change(request, rule),
    }


def _may_change(request: HttpRequest, rule: Mapping[str, Any]) -> bool:
    """Whether to offer the person changes of a rule: it is theirs, or they write in its places."""
    if not permissions.writes_somewhere(request):
        return False
    if rule["owner"] == request.user.get_username():
        return True
    clusters = rule["scope"].get("clusters") or [None]
    namespaces = rule["scope"].get("namespaces") or [""]
    return all(
        permissions.may_change(request, cluster, "pods", namespace)
        for cluster in clusters
        for namespace in namespaces
    )


@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A rule: what it looks for, what it found, whom it tells."""
    rule = call(request, "GET", f"alerts/rules/{pk}").data
    names = {cluster["id"]: cluster["name"] for cluster in navigation.list_clusters(request)}
    scope = rule["scope"]
    context = {
        **section_context(request, "rules"),
        "rule": _rule_context(request, rule),
        "condition": diffs.as_yaml(rule["condition"]),
        "cluster_names": [names.get(id, str(id)) for id in scope.get("clusters") or []],
        "channels": [
            channel for channel in _list_channels(request) if channel["id"] in rule["channels"]
        ],
    }
    return render_page(request, "console/alert_rule.html", context)


# --- the form -------------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The form of a new rule, begun from a preset when the address names one."""
    rule = dict(NEW_RULE)
    if preset := _find_preset(request, request.GET.get("preset", "")):
        rule |= {name: value for name, value in preset.items() if name != "id"}
        rule["preset"] = preset["id"]

    def act() -> HttpResponse:
        answer = call(request, "POST", "alerts/rules", body=_read_rule(request)).data
        notice = _("Rule {name} was created.").format(name=answer["name"])
        return redirect(request, f"/alerts/rules/{answer['id']}", notice)

    context = {
        **_form_context(request, rule),
        "title": _("New rule"),
        "back": "/alerts/rules",
    }
    return forms.render_form(request, "console/alert_rule_form.html", context, act)


def _find_preset(request: HttpRequest, key: str) -> dict[str, Any] | None:
    if not key:
        return None
    items = call(request, "GET", "alerts/presets").data["items"]
    return next((preset for preset in items if preset["id"] == key), None)


@require_http_methods(["GET", "POST"])
@require_sign_in
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a rule that there is."""
    rule = call(request, "GET", f"alerts/rules/{pk}").data
    usable = {channel["id"] for channel in _list_channels(request)}
    # Channels that the person does not see stay with the rule.
    hidden = [channel for channel in rule["channels"] if channel not in usable]

    def act() -> HttpResponse:
        body = _read_rule(request)
        body["channels"] = [*body["channels"], *hidden]
        call(request, "PUT", f"alerts/rules/{pk}", body=body)
        return redirect(request, f"/alerts/rules/{pk}", _("Saved."))

    context = {
        **_form_context(request, rule),
        "title": _("Edit {name}").format(name=rule["name"]),
        "back": f"/alerts/rules/{pk}",
    }
    return forms.render_form(request, "console/alert_rule_form.html", context, act)


def _form_context(request: HttpRequest, rule: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows: the rule's values, or those that were entered and refused."""
    fields: ConditionFields | None
    if request.method == "POST":
        values = _entered_values(request)
        fields = condition_forms.entered_fields(request.POST)
    else:
        fields = condition_forms.fields_of(rule["source"], rule["condition"])
        values = _rule_values(rule, is_yaml=fields is None)
    clusters = {str(cluster) for cluster in values["clusters"]}
    chosen = {str(channel) for channel in values["channels"]}
    return {
        **section_context(request, "rules"),
        "values": values,
        "fields": fields or ConditionFields(),
        "sources": SOURCES.items(),
        "severities": [(value, word) for value, (word, _severity) in SEVERITIES.items()],
        "no_data": NO_DATA.items(),
        **field_choices(),
        "cluster_boxes": [
            (cluster, str(cluster["id"]) in clusters)
            for cluster in navigation.list_clusters(request)
        ],
        "channel_boxes": [
            (channel, str(channel["id"]) in chosen) for channel in _list_channels(request)
        ],
    }


def field_choices() -> dict[str, Any]:
    """What the fields of a condition offer."""
    return {
        "operators": [(name, choice_labels.operator(name)) for name in OPERATORS],
        "comparisons": [(name, choice_labels.operator(name)) for name in COMPARISONS],
        "metrics": [
            (f"{of}/{name}", choice_labels.metric(f"{of}/{name}"))
            for of, names in METRICS.items()
            for name in sorted(names)
        ],
    }


def _rule_values(rule: Mapping[str, Any], *, is_yaml: bool) -> dict[str, Any]:
    scope = rule["scope"]
    return {
        **rule,
        "after": rule["for"],
        "preset": rule.get("preset", ""),
        "written": "yaml" if is_yaml else "fields",
        "condition_yaml": diffs.as_yaml(rule["condition"]),
        "clusters": scope.get("clusters") or [],
        "namespaces": ", ".join(scope.get("namespaces") or []),
        "label_selector": scope.get("labelSelector", ""),
        "labels": condition_forms.yaml_of(rule["labels"]),
        "annotations": condition_forms.yaml_of(rule["annotations"]),
        "group_by": ", ".join(rule["group_by"]),
    }


def _entered_values(request: HttpRequest) -> dict[str, Any]:
    entered = request.POST
    return {
        **{name: entered.get(name, "") for name in entered},
        "clusters": entered.getlist("clusters"),
        "channels": entered.getlist("channels"),
    }


def _list_channels(request: HttpRequest) -> list[dict[str, Any]]:
    """The channels that the person may use."""
    query = {"pageSize": MAX_CHANNELS}
    channels: list[dict[str, Any]] = call(
        request,
        "GET",
        "alerts/channels",
        query=query,
    ).data["items"]
    return channels


def _read_rule(request: HttpRequest) -> dict[str, Any]:
    """The rule as the API takes it; ApiRefusal for what cannot be read."""
    entered = request.POST
    scope: dict[str, Any] = {}
    if clusters := entered.getlist("clusters"):
        scope["clusters"] = [int(id) if id.isdecimal() else id for id in clusters]
    if namespaces := forms.form_lines(request, "namespaces"):
        scope["namespaces"] = namespaces
    if selector := forms.form_text(request, "label_selector"):
        scope["labelSelector"] = selector
    body: dict[str, Any] = {
        "name": forms.form_text(request, "name"),
        "description": entered.get("description", "").replace("\r\n", "\n").strip(),
        "severity": entered.get("severity", "warning"),
        "source": entered.get("source", ""),
        "condition": read_condition(request),
        "for": forms.form_text(request, "after") or "0s",
        "scope": scope,
        "labels": condition_forms.read_texts(entered.get("labels", ""), "labels"),
        "annotations": condition_forms.read_texts(entered.get("annotations", ""), "annotations"),
        "no_data": entered.get("no_data", "keep"),
        "group_by": forms.form_lines(request, "group_by"),
        "repeat": forms.form_text(request, "repeat") or "4h",
        "channels": [int(id) for id in entered.getlist("channels") if id.isdecimal()],
        "enabled": "enabled" in entered,
    }
    if preset := forms.form_text(request, "preset"):
        body["preset"] = preset
    return body


def read_condition(request: HttpRequest) -> dict[str, Any]:
    """The condition as it was entered: by fields, or as YAML."""
    if request.POST.get("written") == "yaml":
        text = request.POST.get("condition_yaml", "")
        condition: dict[str, Any] = condition_forms.read_yaml(text, "condition")
        return condition
    return condition_forms.read_fields(request.POST)


@require_POST
@require_sign_in
def test(request: HttpRequest) -> HttpResponse:
    """What the rule of the form matches now, and its condition in the form's other writing."""
    context: dict[str, Any] = field_choices()
    try:
        body = _read_rule(request)
        context |= _other_writing(request, body)
        # Whom it would tell is no part of what it matches.
        del body["channels"]
        if not body["name"]:
            del body["name"]
        context["outcome"] = call(request, "POST", "alerts/rules/test", body=body).data
    except ApiRefusal as refusal:
        context["problem"] = refusal.message
    return render_page(request, "console/parts/rule_test.html", context)


def _other_writing(request: HttpRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    text = diffs.as_yaml(body["condition"])
    if request.POST.get("written") == "yaml":
        fields = condition_forms.fields_of(body["source"], body["condition"])
        return {"condition": text, "fields": fields}
    return {"condition": text, "values": {"condition_yaml": text}}


# --- switching and deleting -----------------------------------------------------------------------
@require_POST
@require_sign_in
def switch(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Switch a rule on or off."""
    call(request, "POST", f"alerts/rules/{pk}/{require_segment(verb)}")
    notice = _("The rule was switched on.") if verb == "enable" else _("The rule was switched off.")
    return redirect(request, _return_address(request), notice)


def _return_address(request: HttpRequest) -> str:
    back = request.POST.get("back", "")
    tail = back.removeprefix("/alerts/rules/")
    return back if tail.isdecimal() else "/alerts/rules"


@require_POST
@require_sign_in
def switch_preset_on(request: HttpRequest) -> HttpResponse:
    """Make a rule of a preset as it is."""
    body = {"preset": forms.form_text(request, "preset")}
    answer = call(request, "POST", "alerts/rules", body=body).data
    notice = _("Rule {name} was created.").format(name=answer["name"])
    return redirect(request, "/alerts/rules", notice)


@require_http_methods(["GET", "POST"])
@require_sign_in
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a rule; its alerts are resolved."""
    rule = call(request, "GET", f"alerts/rules/{pk}").data

    def act() -> HttpResponse:
        call(request, "DELETE", f"alerts/rules/{pk}")
        notice = _("Rule {name} was deleted.").format(name=rule["name"])
        return redirect(request, "/alerts/rules", notice)

    return forms.render_form(request, "console/alert_rule_delete.html", {"rule": rule}, act)


# --- files of rules -------------------------------------------------------------------------------
@require_GET
@require_sign_in
def export(request: HttpRequest) -> HttpResponseBase:
    """The rules with a query as a PrometheusRule."""
    response = call(request, "GET", "alerts/rules/export").response or HttpResponse(status=204)
    response["Content-Disposition"] = 'attachment; filename="prometheus-rules.yaml"'
    return response


@require_http_methods(["GET", "POST"])
@require_sign_in
def import_rules(request: HttpRequest) -> HttpResponse:
    """The form of a PrometheusRule, as a text or a file; then what was made and what was not."""
    clusters = navigation.list_clusters(request)
    context: dict[str, Any] = {
        **section_context(request, "rules"),
        "cluster_boxes": [
            (cluster, str(cluster["id"]) in request.POST.getlist("clusters"))
            for cluster in clusters
        ],
    }

    def act() -> HttpResponse:
        scope: dict[str, Any] = {}
        if chosen := request.POST.getlist("clusters"):
            scope["clusters"] = [int(id) if id.isdecimal() else id for id in chosen]
        body = {"content": _read_content(request), "scope": scope}
        answer = call(request, "POST", "alerts/rules/import", body=body).data
        done = {
            **context,
            "imported": answer["items"],
            "skipped": answer["skipped"],
        }
        return render_page(request, "console/alert_rules_imported.html", done)

    return forms.render_form(request, "console/alert_rules_import.html", context, act)


def _read_content(request: HttpRequest) -> str:
    upload = request.FILES.get("file")
    if upload is None:
        return request.POST.get("content", "").replace("\r\n", "\n")
    if (upload.size or 0) > MAX_FILE_BYTES:
        raise ApiRefusal(1001, _("The file is too large."), {"field": "file"}, 400)
    try:
        return str(upload.read().decode())
    except UnicodeDecodeError:
        raise ApiRefusal(1001, _("The file is no text."), {"field": "file"}, 400) from None
