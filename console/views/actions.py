"""What can be done to an object: scale, restart, pause, roll back, trigger, delete.

Each action is a page that says what will happen before it does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from console import forms, navigation
from console.api_client import ApiRefusal, call
from console.locations import Location, locate
from console.page import redirect, require_sign_in
from console.rendering import diffs
from console.rendering.health import Object, get


@dataclass(frozen=True, slots=True)
class Verb:
    """An action on an object: its title and its effect."""

    title: str | Promise
    explains: str | Promise
    danger: bool = False


VERBS: Mapping[str, Verb] = {
    "scale": Verb(
        gettext_lazy("Scale"),
        gettext_lazy("Pods are started or stopped until the number of replicas is reached."),
    ),
    "restart": Verb(
        gettext_lazy("Restart"),
        gettext_lazy("Every pod is replaced by a new one, following the update strategy."),
    ),
    "pause": Verb(
        gettext_lazy("Pause"),
        gettext_lazy(
            "Changes of the pod template are not rolled out until it is resumed. Running pods stay."
        ),
    ),
    "resume": Verb(
        gettext_lazy("Resume"),
        gettext_lazy("Changes are rolled out again, including those made while it was paused."),
    ),
    "suspend": Verb(
        gettext_lazy("Suspend"),
        gettext_lazy("No new runs are started until it is resumed. A Job that runs is stopped."),
    ),
    "trigger": Verb(
        gettext_lazy("Run now"),
        gettext_lazy("A Job is created from the template now, independent of the schedule."),
    ),
    "rerun": Verb(
        gettext_lazy("Run again"),
        gettext_lazy("A copy of the Job is created under a new name; this one stays."),
    ),
    "rollback": Verb(
        gettext_lazy("Roll back"),
        gettext_lazy(
            "The pod template becomes that of the chosen revision, and the pods are replaced."
        ),
    ),
    "delete": Verb(
        gettext_lazy("Delete"),
        gettext_lazy(
            "It is deleted from the cluster. History keeps its last version, out of which it can be"
            " created again; data in its containers and volumes is not kept."
        ),
        danger=True,
    ),
    "cordon": Verb(
        gettext_lazy("Cordon"),
        gettext_lazy("No new pods are scheduled on the node. Running pods stay."),
    ),
    "uncordon": Verb(
        gettext_lazy("Uncordon"),
        gettext_lazy("New pods can be scheduled on the node again."),
    ),
    "drain": Verb(
        gettext_lazy("Drain"),
        gettext_lazy(
            "The node is cordoned and its pods are evicted, respecting disruption budgets."
        ),
        danger=True,
    ),
}


def _possible_verbs(location: Location, item: Object) -> Iterator[str]:
    """What makes sense for the object as it is now."""
    annotations = get(item, "metadata", "annotations") or {}
    # A StatefulSet has no `paused`: KubeGale stops its rollout by the partition, noted there.
    paused = bool(get(item, "spec", "paused")) or "kubegale.io/paused-partition" in annotations
    suspended = bool(get(item, "spec", "suspend"))
    match location.plural:
        case "deployments" | "statefulsets":
            yield from ("scale", "restart", "resume" if paused else "pause")
        case "daemonsets":
            yield "restart"
        case "jobs":
            yield from ("rerun", "resume" if suspended else "suspend")
        case "cronjobs":
            yield from ("trigger", "resume" if suspended else "suspend")
        case "pods":
            yield "restart"
        case "nodes":
            yield from ("uncordon" if get(item, "spec", "unschedulable") else "cordon", "drain")
    # Every kind can be deleted, so it stands last in every row of buttons.
    yield "delete"


def action_buttons(location: Location, item: Object) -> list[dict[str, Any]]:
    """The buttons on the object's page."""
    return [
        {
            "verb": verb,
            "title": VERBS[verb].title,
            "danger": VERBS[verb].danger,
            "address": action_address(location, verb),
        }
        for verb in _possible_verbs(location, item)
    ]


def action_address(location: Location, verb: str) -> str:
    """Where the action is asked for."""
    return f"{location.address}/act/{verb}"


@require_http_methods(["GET", "POST"])
@require_sign_in
def act(
    request: HttpRequest,
    cluster: int,
    plural: str,
    namespace: str,
    name: str,
    verb: str,
) -> HttpResponse:
    """The page of an action: what it will do, and doing it."""
    location = locate(cluster, plural, namespace, name)
    item = call(request, "GET", location.path, query=location.query).data
    # A drain has a page of its own.
    possible = set(_possible_verbs(location, item)) - {"drain"}
    if verb not in possible:
        raise ApiRefusal(
            1001,
            _("That cannot be done to it now. Reload its page to see what can."),
            {},
            400,
        )
    action = VERBS[verb]
    context = {
        "cluster_id": cluster,
        "location": location,
        "kind": navigation.kind_name(plural),
        "kinds_title": navigation.kind_title(plural),
        "verb": verb,
        "act_title": action.title,
        "explains": action.explains,
        "danger": action.danger,
    }
    if request.method == "GET" and verb in FORMS:
        context |= FORMS[verb](request, location, item)
    return forms.render_form(
        request,
        "console/act.html",
        {**context, **_posted_values(request, verb)},
        lambda: RUNNERS.get(verb, _run_verb)(request, location, verb),
    )


def _posted_values(request: HttpRequest, verb: str) -> dict[str, Any]:
    """The values that the form needs when it is shown again with a refusal."""
    if request.method != "POST":
        return {}
    return {
        "replicas": request.POST.get("replicas", ""),
        "current": request.POST.get("current", ""),
        # The form says what it was asked with: the API has the last word.
        "needs_name": "typed" in request.POST,
    }


def needs_name(protected: str | None) -> bool:
    """Whether the name of what is deleted or drained must be typed."""
    return bool(protected) or settings.CONFIRMATION_LEVEL == "all"


# --- forms ------------------------------------------------------------------------------------
def _scale_form(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> dict[str, Any]:
    replicas = get(item, "spec", "replicas")
    if replicas is None:
        # The API server's default.
        replicas = 1
    # The dry run reports, for example, an autoscaler that would undo the change.
    trial = call(
        request,
        "POST",
        f"{location.plural}/{location.name}/scale",
        body={**location.query, "replicas": replicas, "dry_run": True},
    ).data
    return {
        "replicas": replicas,
        "current": replicas,
        "warnings": trial["warnings"],
    }


def _delete_form(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> dict[str, Any]:
    trial = call(request, "DELETE", location.path, query={**location.query, "dry_run": True}).data
    impact = trial["impact"]
    pods, children, pvcs = (impact[name] or 0 for name in ("pods", "children", "pvcs"))
    counts = (
        (pods, ngettext("%(n)s pod goes with it", "%(n)s pods go with it", pods)),
        (
            children,
            ngettext(
                "%(n)s object that belongs to it",
                "%(n)s objects that belong to it",
                children,
            ),
        ),
        (
            pvcs,
            ngettext("%(n)s volume claim is affected", "%(n)s volume claims are affected", pvcs),
        ),
    )
    return {
        "needs_name": needs_name(trial["protected"]),
        "impact": [sentence % {"n": number} for number, sentence in counts if number],
        "warnings": impact["warnings"],
        "protected": trial["protected"],
    }


def _restart_form(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> dict[str, Any]:
    if location.plural != "pods":
        return {}
    if get(item, "metadata", "ownerReferences"):
        explanation = _("The pod is deleted and its controller creates a new one.")
        return {"explains": explanation, "needs_name": False}
    explanation = _(
        "No controller would recreate this pod: KubeGale saves its manifest, deletes the pod"
        " and creates it again."
    )
    return {"explains": explanation, "needs_name": True}


FORMS = {
    "scale": _scale_form,
    "delete": _delete_form,
    "restart": _restart_form,
}


# --- running an action ------------------------------------------------------------------------
def _run_verb(
    request: HttpRequest,
    location: Location,
    verb: str,
) -> HttpResponse:
    path = f"{location.plural}/{location.name}/{verb}"
    data = call(request, "POST", path, body=location.query).data
    return _redirect_after(request, location, verb, data)


def _run_scale(
    request: HttpRequest,
    location: Location,
    verb: str,
) -> HttpResponse:
    replicas = forms.form_number(request, "replicas")
    # What the person saw: the API refuses the change when another user has scaled since.
    current = forms.form_number(request, "current")
    body = {**location.query, "replicas": replicas, "current_replicas": current}
    path = f"{location.plural}/{location.name}/scale"
    data = call(request, "POST", path, body=body).data
    return _redirect_after(request, location, verb, data)


def _run_restart(
    request: HttpRequest,
    location: Location,
    verb: str,
) -> HttpResponse:
    if location.plural != "pods":
        return _run_verb(request, location, verb)
    pod = call(request, "GET", location.path, query=location.query).data
    owned = bool(get(pod, "metadata", "ownerReferences"))
    # Without a controller the pod is lost if it cannot be created again: the name confirms it.
    if not owned:
        forms.require_name(request, location.name)
    data = call(
        request,
        "POST",
        f"pods/{location.name}/restart",
        body={**location.query, "force": not owned},
    ).data
    if data.get("operation_id"):
        return redirect(request, f"/operations/{data['operation_id']}")
    return redirect(
        request,
        location.table,
        _("%(name)s was deleted; its controller creates a new one.") % {"name": location.name},
    )


def _run_delete(
    request: HttpRequest,
    location: Location,
    verb: str,
) -> HttpResponse:
    forms.call_confirmed(request, "DELETE", location.path, name=location.name, query=location.query)
    return redirect(
        request,
        location.table,
        _("%(kind)s %(name)s is being deleted.")
        % {"kind": location.kind.name, "name": location.name},
    )


def _run_schedule(
    request: HttpRequest,
    location: Location,
    verb: str,
) -> HttpResponse:
    call(
        request,
        "POST",
        f"nodes/{location.name}/schedule",
        body={"cluster_id": location.cluster, "schedulable": verb == "uncordon"},
    )
    notice = (
        _("%(name)s was uncordoned: new pods can be scheduled on it again.")
        if verb == "uncordon"
        else _("%(name)s was cordoned: no new pods are scheduled on it.")
    )
    return redirect(request, location.address, notice % {"name": location.name})


RUNNERS = {
    "scale": _run_scale,
    "restart": _run_restart,
    "delete": _run_delete,
    "cordon": _run_schedule,
    "uncordon": _run_schedule,
}


def _redirect_after(
    request: HttpRequest,
    location: Location,
    verb: str,
    data: Mapping[str, Any],
) -> HttpResponse:
    """Send the person to the action's operation, to the Job it created, or back."""
    warnings = " ".join(data.get("warnings") or [])
    if data.get("operation_id"):
        return redirect(request, f"/operations/{data['operation_id']}", warnings)
    if data.get("job"):
        return redirect(
            request,
            location.other("jobs", data["job"]).address,
            _("Job %(name)s was created.") % {"name": data["job"]},
        )
    notice = data.get("message") or _("Nothing had to be changed.")
    # The API explains why it changed nothing; a change speaks for itself.
    if data.get("changed"):
        notice = _("Done.")
    return redirect(request, location.address, f"{notice} {warnings}".strip())


# --- revisions --------------------------------------------------------------------------------
def list_revisions(
    request: HttpRequest,
    location: Location,
) -> list[dict[str, Any]]:
    """The revisions of a workload, newest first."""
    revisions: list[dict[str, Any]] = call(
        request,
        "GET",
        f"{location.plural}/{location.name}/revisions",
        query={**location.query, "pageSize": 200},
    ).data["items"]
    return revisions


@require_http_methods(["GET", "POST"])
@require_sign_in
def rollback(
    request: HttpRequest,
    cluster: int,
    plural: str,
    namespace: str,
    name: str,
    revision: int,
) -> HttpResponse:
    """How the pod template would differ after going back to a revision, and going back."""
    location = locate(cluster, plural, namespace, name)
    revisions = list_revisions(request, location)
    newest = revisions[0] if revisions else None
    current = next((entry for entry in revisions if entry["current"]), newest)
    # A revision that has been pruned since: the API says so when the rollback is requested.
    unknown = {"revision": revision}
    target = next((entry for entry in revisions if entry["revision"] == revision), unknown)
    base = f"{location.plural}/{location.name}"
    lines = []
    if current:
        diff = call(
            request,
            "GET",
            f"{base}/revisions/{current['revision']}",
            query={**location.query, "diff_to": revision},
        ).data["diff"]
        lines = diffs.diff_lines(diff)
    context = {
        "cluster_id": cluster,
        "location": location,
        "kind": navigation.kind_name(plural),
        "kinds_title": navigation.kind_title(plural),
        "target": target,
        "current": current,
        "lines": lines,
    }

    def roll_back() -> HttpResponse:
        return _redirect_after(
            request,
            location,
            "rollback",
            call(
                request,
                "POST",
                f"{base}/rollback",
                body={**location.query, "revision": revision},
            ).data,
        )

    return forms.render_form(request, "console/rollback.html", context, roll_back)
