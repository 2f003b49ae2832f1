"""One thing done to many objects that were chosen in a table."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from console import forms, navigation
from console.api_client import Refused, call
from console.locations import kind_of
from console.page import go, page, signed_in
from console.views.actions import VERBS

OFFERED: Mapping[str, tuple[str, ...]] = {
    "pods": ("restart", "delete"),
    "deployments": ("restart", "scale", "pause", "resume", "delete"),
    "statefulsets": ("restart", "scale", "pause", "resume", "delete"),
    "daemonsets": ("restart", "delete"),
    "jobs": ("rerun", "suspend", "resume", "delete"),
    "cronjobs": ("trigger", "suspend", "resume", "delete"),
}
MOST = 1000


def offered(plural: str) -> list[dict[str, Any]]:
    """The buttons above a table once rows are chosen; nothing for kinds that only cluster admins delete one by one."""
    if plural not in navigation.PLURALS or plural in ("nodes", "events"):
        return []
    return [
        {"verb": verb, "title": VERBS[verb].title, "danger": VERBS[verb].danger}
        for verb in OFFERED.get(plural, ("delete",))
    ]


def _chosen(request: HttpRequest, namespaced: bool) -> dict[str, list[str]]:
    """Names by namespace, as the table's rows name them."""
    found: dict[str, list[str]] = {}
    for key in request.POST.getlist("row")[: MOST + 1]:
        namespace, _slash, name = key.partition("/") if namespaced else ("", "", key)
        found.setdefault(namespace, []).append(name)
    count = sum(len(names) for names in found.values())
    if not count or count > MOST:
        raise Refused(
            1001,
            _("Choose from 1 to %(most)s objects in the table first.") % {"most": MOST},
            {},
            400,
        )
    return found


@require_POST
@signed_in
def act(request: HttpRequest, cluster: int, plural: str) -> HttpResponse:
    """First what would be done to which objects, then, confirmed, an operation for each namespace."""
    verb, kind = request.POST.get("verb", ""), kind_of(plural)
    if verb not in {one["verb"] for one in offered(plural)}:
        raise Refused(1001, _("That cannot be done to many of these at once."), {}, 400)
    chosen = _chosen(request, kind.namespaced)
    count = sum(len(names) for names in chosen.values())
    context = {
        "cluster_id": cluster,
        "plural": plural,
        "kinds_title": navigation.title(plural),
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
        found = [
            _ask(
                request,
                cluster,
                plural,
                namespace,
                {"names": names, "action": verb, "dry_run": True, "replicas": 0},
            )
            for namespace, names in chosen.items()
        ]
        there = [name for one in found for name in one["objects"]]
        return page(
            request, "console/bulk.html", {**context, "objects": there, "gone": count - len(there)}
        )
    return forms.shown(
        request, "console/bulk.html", context, lambda: _do(request, cluster, plural, verb, chosen)
    )


def _ask(
    request: HttpRequest, cluster: int, plural: str, namespace: str, body: dict[str, Any]
) -> Any:
    return call(
        request,
        "POST",
        f"bulk/{plural}",
        body={"cluster_id": cluster, "namespace": namespace, **body},
    ).data


def _do(
    request: HttpRequest, cluster: int, plural: str, verb: str, chosen: Mapping[str, list[str]]
) -> HttpResponse:
    body = {"cluster_id": cluster, "action": verb}
    if verb == "scale":
        body["replicas"] = forms.number(request, "replicas")
    begun = []
    for namespace, names in chosen.items():
        wanted = {**body, "namespace": namespace, "names": names}
        if VERBS[verb].danger:
            answer = forms.confirmed(request, "POST", f"bulk/{plural}", name=plural, body=wanted)
        else:
            answer = call(request, "POST", f"bulk/{plural}", body=wanted)
        begun.append(answer.data["operation_id"])
    if len(begun) == 1:
        return go(request, f"/operations/{begun[0]}")
    said = ngettext(
        "%(n)s operation was begun.",
        "%(n)s operations were begun, one for each namespace.",
        len(begun),
    ) % {"n": len(begun)}
    return go(request, "/operations", said)
