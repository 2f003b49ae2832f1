"""What can be done to an object: scale, restart, pause, roll back, trigger, delete; each a page that says what will happen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from console import forms, navigation
from console.api_client import Refused, call
from console.locations import Place, at
from console.page import go, signed_in
from console.rendering import diffs
from console.rendering.health import Object, get


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done: its title, and what it will do."""

    title: str | Promise
    explains: str | Promise
    danger: bool = False


VERBS: Mapping[str, Verb] = {
    "scale": Verb(
        gettext_lazy("Scale"),
        gettext_lazy("Pods are started or stopped until there are as many as asked for."),
    ),
    "restart": Verb(
        gettext_lazy("Restart"),
        gettext_lazy(
            "Every pod is replaced by a new one, at the pace of the update strategy, so that the service goes on."
        ),
    ),
    "pause": Verb(
        gettext_lazy("Pause"),
        gettext_lazy(
            "Changes of the pod template are no longer rolled out until it is resumed. Running pods go on."
        ),
    ),
    "resume": Verb(
        gettext_lazy("Resume"),
        gettext_lazy("Changes are rolled out again, those made meanwhile too."),
    ),
    "suspend": Verb(
        gettext_lazy("Suspend"),
        gettext_lazy("No new runs are started until it is resumed. A Job that runs is stopped."),
    ),
    "trigger": Verb(
        gettext_lazy("Run now"),
        gettext_lazy("A Job is made out of the template at once, whatever the schedule says."),
    ),
    "rerun": Verb(
        gettext_lazy("Run again"),
        gettext_lazy("A copy of the Job is made under a new name; this one stays."),
    ),
    "rollback": Verb(
        gettext_lazy("Roll back"),
        gettext_lazy(
            "The pod template becomes that of the chosen revision, and the pods are replaced."
        ),
    ),
    "delete": Verb(
        gettext_lazy("Delete"),
        gettext_lazy("It is deleted from the cluster. This cannot be undone."),
        danger=True,
    ),
    "cordon": Verb(
        gettext_lazy("Cordon"),
        gettext_lazy("No new pods are put on the node. What runs there goes on."),
    ),
    "uncordon": Verb(
        gettext_lazy("Uncordon"), gettext_lazy("New pods may be put on the node again.")
    ),
    "drain": Verb(
        gettext_lazy("Drain"),
        gettext_lazy(
            "The node is cordoned and its pods are evicted, respecting disruption budgets."
        ),
        danger=True,
    ),
}


def _verbs(place: Place, item: Object) -> Iterator[str]:
    """What makes sense for the object as it is now."""
    paused = bool(get(item, "spec", "paused")) or "kubegale.io/paused-partition" in (
        get(item, "metadata", "annotations") or {}
    )
    suspended = bool(get(item, "spec", "suspend"))
    match place.plural:
        case "deployments" | "statefulsets":
            yield from ("scale", "restart", "rollback", "resume" if paused else "pause")
        case "daemonsets":
            yield from ("restart", "rollback")
        case "jobs":
            yield from ("rerun", "resume" if suspended else "suspend")
        case "cronjobs":
            yield from ("trigger", "resume" if suspended else "suspend")
        case "pods":
            yield "restart"
        case "nodes":
            yield from ("uncordon" if get(item, "spec", "unschedulable") else "cordon", "drain")
    yield "delete"


def offered(place: Place, item: Object) -> list[dict[str, Any]]:
    """The buttons on the object's page."""
    return [
        {
            "verb": verb,
            "title": VERBS[verb].title,
            "danger": VERBS[verb].danger,
            "address": address(place, verb),
        }
        for verb in _verbs(place, item)
    ]


def address(place: Place, verb: str) -> str:
    """Where the action is asked for."""
    return f"{place.address}/revisions" if verb == "rollback" else f"{place.address}/act/{verb}"


@require_http_methods(["GET", "POST"])
@signed_in
def act(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str, verb: str
) -> HttpResponse:
    """The page of an action: what it will do, and doing it."""
    place = at(cluster, plural, namespace, name)
    item = call(request, "GET", place.path, query=place.query).data
    if verb not in VERBS or verb not in set(_verbs(place, item)) or verb in ("rollback", "drain"):
        raise Refused(
            1001, _("That cannot be done to it now. Reload its page to see what can."), {}, 400
        )
    known = VERBS[verb]
    context = {
        "cluster_id": cluster,
        "place": place,
        "kind": navigation.kind_name(plural),
        "kinds_title": navigation.title(plural),
        "verb": verb,
        "act_title": known.title,
        "explains": known.explains,
        "danger": known.danger,
    }
    extra = FORMS[verb](request, place, item) if request.method == "GET" and verb in FORMS else {}
    return forms.shown(
        request,
        "console/act.html",
        {**context, **extra, **_kept(request, verb)},
        lambda: DEEDS.get(verb, _plain)(request, place, verb),
    )


def _kept(request: HttpRequest, verb: str) -> dict[str, Any]:
    """What the form has to know again when it comes back with a refusal."""
    if request.method != "POST":
        return {}
    return {
        "replicas": request.POST.get("replicas", ""),
        "current": request.POST.get("current", ""),
        "needs_name": verb == "delete",
    }


# --- forms ----------------------------------------------------------------------------------------------------------
def _scale_form(request: HttpRequest, place: Place, item: Object) -> dict[str, Any]:
    had = get(item, "spec", "replicas")
    had = 1 if had is None else had
    tried = call(
        request,
        "POST",
        f"{place.plural}/{place.name}/scale",
        body={**place.query, "replicas": had, "dry_run": True},
    ).data
    return {"replicas": had, "current": had, "warnings": tried["warnings"]}


def _delete_form(request: HttpRequest, place: Place, item: Object) -> dict[str, Any]:
    found = call(request, "DELETE", place.path, query={**place.query, "dry_run": True}).data
    impact = found["impact"]
    pods, children, pvcs = (impact[name] or 0 for name in ("pods", "children", "pvcs"))
    counts = (
        (pods, ngettext("%(n)s pod goes with it", "%(n)s pods go with it", pods)),
        (
            children,
            ngettext(
                "%(n)s object that belongs to it", "%(n)s objects that belong to it", children
            ),
        ),
        (
            pvcs,
            ngettext("%(n)s volume claim is affected", "%(n)s volume claims are affected", pvcs),
        ),
    )
    return {
        "needs_name": True,
        "impact": [sentence % {"n": number} for number, sentence in counts if number],
        "warnings": impact["warnings"],
        "protected": found["protected"],
    }


def _restart_form(request: HttpRequest, place: Place, item: Object) -> dict[str, Any]:
    if place.plural != "pods":
        return {}
    owned = bool(get(item, "metadata", "ownerReferences"))
    said = (
        _("The pod is deleted and its controller makes another.")
        if owned
        else _(
            "No controller would make this pod again: KubeGale keeps its manifest, deletes it and creates it anew."
        )
    )
    return {"explains": said, "needs_name": not owned}


FORMS = {"scale": _scale_form, "delete": _delete_form, "restart": _restart_form}


# --- deeds ----------------------------------------------------------------------------------------------------------
def _plain(request: HttpRequest, place: Place, verb: str) -> HttpResponse:
    return _done(
        request,
        place,
        verb,
        call(request, "POST", f"{place.plural}/{place.name}/{verb}", body=place.query).data,
    )


def _scale(request: HttpRequest, place: Place, verb: str) -> HttpResponse:
    wanted, current = forms.number(request, "replicas"), forms.number(request, "current")
    body = {**place.query, "replicas": wanted, "current_replicas": current}
    return _done(
        request,
        place,
        verb,
        call(request, "POST", f"{place.plural}/{place.name}/scale", body=body).data,
    )


def _restart(request: HttpRequest, place: Place, verb: str) -> HttpResponse:
    if place.plural != "pods":
        return _plain(request, place, verb)
    owned = bool(
        get(call(request, "GET", place.path, query=place.query).data, "metadata", "ownerReferences")
    )
    if not owned:
        forms.require_name(request, place.name)
    data = call(
        request, "POST", f"pods/{place.name}/restart", body={**place.query, "force": not owned}
    ).data
    if data.get("operation_id"):
        return go(request, f"/operations/{data['operation_id']}")
    return go(
        request,
        place.table,
        _("%(name)s was deleted; its controller makes another.") % {"name": place.name},
    )


def _delete(request: HttpRequest, place: Place, verb: str) -> HttpResponse:
    forms.confirmed(request, "DELETE", place.path, name=place.name, query=place.query)
    return go(
        request,
        place.table,
        _("%(kind)s %(name)s is being deleted.") % {"kind": place.kind.name, "name": place.name},
    )


def _schedule(request: HttpRequest, place: Place, verb: str) -> HttpResponse:
    call(
        request,
        "POST",
        f"nodes/{place.name}/schedule",
        body={"cluster_id": place.cluster, "schedulable": verb == "uncordon"},
    )
    said = (
        _("New pods may be put on %(name)s again.")
        if verb == "uncordon"
        else _("No new pods are put on %(name)s.")
    )
    return go(request, place.address, said % {"name": place.name})


DEEDS = {
    "scale": _scale,
    "restart": _restart,
    "delete": _delete,
    "cordon": _schedule,
    "uncordon": _schedule,
}


def _done(request: HttpRequest, place: Place, verb: str, data: Mapping[str, Any]) -> HttpResponse:
    """Where the person goes after an action: to the operation that follows it, to what it made, or back."""
    warnings = " ".join(data.get("warnings") or [])
    if data.get("operation_id"):
        return go(request, f"/operations/{data['operation_id']}", warnings)
    if data.get("job"):
        return go(
            request,
            place.other("jobs", data["job"]).address,
            _("Job %(name)s was made.") % {"name": data["job"]},
        )
    said = (
        _("Done.")
        if data.get("changed")
        else data.get("message") or _("Nothing had to be changed.")
    )
    return go(request, place.address, f"{said} {warnings}".strip())


# --- revisions ------------------------------------------------------------------------------------------------------
def revisions_of(request: HttpRequest, place: Place) -> list[dict[str, Any]]:
    """The revisions of a workload, newest first."""
    found: list[dict[str, Any]] = call(
        request,
        "GET",
        f"{place.plural}/{place.name}/revisions",
        query={**place.query, "pageSize": 200},
    ).data["items"]
    return found


@require_http_methods(["GET", "POST"])
@signed_in
def rollback(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str, revision: int
) -> HttpResponse:
    """How the pod template would differ after going back to a revision, and going back."""
    place = at(cluster, plural, namespace, name)
    found = revisions_of(request, place)
    current = next((one for one in found if one["current"]), found[0] if found else None)
    base = f"{place.plural}/{place.name}"
    lines = []
    if current:
        diff = call(
            request,
            "GET",
            f"{base}/revisions/{current['revision']}",
            query={**place.query, "diff_to": revision},
        ).data["diff"]
        lines = diffs.lines(diff)
    context = {
        "cluster_id": cluster,
        "place": place,
        "kind": navigation.kind_name(plural),
        "kinds_title": navigation.title(plural),
        "wanted": next(
            (one for one in found if one["revision"] == revision), {"revision": revision}
        ),
        "current": current,
        "lines": lines,
    }

    def back() -> HttpResponse:
        return _done(
            request,
            place,
            "rollback",
            call(
                request, "POST", f"{base}/rollback", body={**place.query, "revision": revision}
            ).data,
        )

    return forms.shown(request, "console/rollback.html", context, back)
