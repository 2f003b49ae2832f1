"""One action on many objects that were selected in a table."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.locations import find_kind
from console.page import redirect, render_page, require_sign_in
from console.views.actions import VERBS, needs_name

VERBS_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "pods": ("restart", "delete"),
    "deployments": ("restart", "scale", "pause", "resume", "delete"),
    "statefulsets": ("restart", "scale", "pause", "resume", "delete"),
    "daemonsets": ("restart", "delete"),
    "jobs": ("rerun", "suspend", "resume", "delete"),
    "cronjobs": ("trigger", "suspend", "resume", "delete"),
}
MAX_OBJECTS = 1000


def bulk_buttons(plural: str) -> list[dict[str, Any]]:
    """The buttons above a table once rows are selected; [] for kinds without bulk actions."""
    if plural not in navigation.PLURALS or plural in ("nodes", "events"):
        return []
    return [
        {"verb": verb, "title": VERBS[verb].title, "danger": VERBS[verb].danger}
        for verb in VERBS_BY_KIND.get(plural, ("delete",))
    ]


def chosen_names(
    request: HttpRequest,
    namespaced: bool,
) -> dict[str, list[str]]:
    """Names by namespace, as the table's rows name them; ApiRefusal for none or too many."""
    names_by_namespace: dict[str, list[str]] = {}
    # One more than the maximum is enough to refuse the request.
    for key in request.POST.getlist("row")[: MAX_OBJECTS + 1]:
        namespace, _slash, name = key.partition("/") if namespaced else ("", "", key)
        names_by_namespace.setdefault(namespace, []).append(name)
    count = sum(len(names) for names in names_by_namespace.values())
    if not count or count > MAX_OBJECTS:
        raise ApiRefusal(
            1001,
            _("Choose from 1 to %(most)s objects in the table first.") % {"most": MAX_OBJECTS},
            {},
            400,
        )
    return names_by_namespace


@require_POST
@require_sign_in
def act(request: HttpRequest, cluster: int, plural: str) -> HttpResponse:
    """Show what would be done to which objects; confirmed, start an operation per namespace."""
    verb = request.POST.get("verb", "")
    kind = find_kind(plural)
    if verb not in {entry["verb"] for entry in bulk_buttons(plural)}:
        raise ApiRefusal(1001, _("That cannot be done to many of these at once."), {}, 400)
    chosen = chosen_names(request, kind.namespaced)
    count = sum(len(names) for names in chosen.values())
    context = {
        "cluster_id": cluster,
        "plural": plural,
        "kinds_title": navigation.kind_title(plural),
        "table": f"/clusters/{cluster}/{plural}",
        "verb": verb,
        "act_title": VERBS[verb].title,
        "explains": VERBS[verb].explains,
        "danger": VERBS[verb].danger,
        "count": count,
        "rows": request.POST.getlist("row"),
        "typed_name": plural,
        "replicas": request.POST.get("replicas", ""),
    }
    if request.POST.get("sure") != "1":
        existing: list[str] = []
        reasons: list[str] = []
        for namespace, names in chosen.items():
            # Objects may have been deleted since the table was rendered.
            trial = {"names": names, "action": verb, "dry_run": True, "replicas": 0}
            data = _try_bulk(request, cluster, plural, namespace, trial)
            existing += data["objects"]
            reasons.append(data["protected"])
        protected = next(filter(None, reasons), "")
        context |= {
            "objects": existing,
            "missing": count - len(existing),
            "protected": protected,
            "needs_name": VERBS[verb].danger and needs_name(protected),
        }
        return render_page(request, "console/bulk.html", context)
    # The form says what it was asked with: the API has the last word.
    context["needs_name"] = "typed" in request.POST
    return forms.render_form(
        request,
        "console/bulk.html",
        context,
        lambda: _start_operations(request, cluster, plural, verb, chosen),
    )


def _try_bulk(
    request: HttpRequest,
    cluster: int,
    plural: str,
    namespace: str,
    body: dict[str, Any],
) -> Any:
    return call(
        request,
        "POST",
        f"bulk/{plural}",
        body={"cluster_id": cluster, "namespace": namespace, **body},
    ).data


def _start_operations(
    request: HttpRequest,
    cluster: int,
    plural: str,
    verb: str,
    chosen: Mapping[str, list[str]],
) -> HttpResponse:
    body = {"cluster_id": cluster, "action": verb}
    if verb == "scale":
        body["replicas"] = forms.form_number(request, "replicas")
    operation_ids = []
    for namespace, names in chosen.items():
        namespace_body = {**body, "namespace": namespace, "names": names}
        if VERBS[verb].danger:
            answer = forms.call_confirmed(
                request,
                "POST",
                f"bulk/{plural}",
                name=plural,
                body=namespace_body,
            )
        else:
            answer = call(request, "POST", f"bulk/{plural}", body=namespace_body)
        operation_ids.append(answer.data["operation_id"])
    if len(operation_ids) == 1:
        return redirect(request, f"/operations/{operation_ids[0]}")
    notice = ngettext(
        "%(n)s operation was started.",
        "%(n)s operations were started, one for each namespace.",
        len(operation_ids),
    ) % {"n": len(operation_ids)}
    return redirect(request, "/operations", notice)
