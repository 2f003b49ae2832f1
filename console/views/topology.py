"""What belongs together, drawn: from the Ingress to nodes, configuration and volumes, with what is missing or in trouble."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from console.api_client import call
from console.locations import Place, at
from console.page import missing, page, signed_in
from console.rendering import health, state_labels
from console.rendering.graph_layout import Drawing, drawn
from console.rendering.html import clean
from console.views import objects

COLUMNS = {
    "entry": 0,
    "service": 1,
    "workload": 2,
    "pod": 4,
    "configuration": 4,
    "storage": 4,
    "node": 5,
}
# A CronJob's Jobs stand to its right; what claims are bound to, beside the nodes.
JOBS, BOUND = 3, 5
RELATIONS: Mapping[str, str | Promise] = {
    "routes": gettext_lazy("sends requests to"),
    "selects": gettext_lazy("is in front of"),
    "scales": gettext_lazy("scales"),
    "owns": gettext_lazy("runs"),
    "runs on": gettext_lazy("runs on"),
    "mounts": gettext_lazy("mounts"),
    "reads": gettext_lazy("reads"),
    "pulls with": gettext_lazy("pulls images with"),
    "bound to": gettext_lazy("is bound to"),
}
Vertices = Mapping[str, dict[str, Any]]
Folds = Mapping[str, tuple[str, int]]
WORST_FIRST = {"bad": 0, "warn": 1, "busy": 2, "good": 3, "idle": 4}
MOST_PODS, MOST_DRAWN = 6, 400
LETTERS = 26


@require_GET
@signed_in
def show(
    request: HttpRequest, cluster: int, plural: str, namespace: str, name: str
) -> HttpResponse:
    """The graph around one object; of a namespace, everything in it."""
    if plural not in objects.DRAWN:
        return missing(request)
    place = at(cluster, plural, namespace, name)
    context = objects.frame(request, place, "topology")
    whole = plural == "namespaces"
    about = (
        {"namespace": name}
        if whole
        else {"namespace": place.namespace, "kind": plural, "name": name}
    )
    found = call(request, "GET", "topology", query={"cluster_id": cluster, **about}).data
    return page(request, "console/topology.html", context | picture(place, found))


def picture(place: Place, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the template draws, and says in words."""
    vertices = {one["id"]: {**one, **_state(one)} for one in found["nodes"]}
    edges = [(one["from"], one["to"], one["relation"]) for one in found["edges"]]
    shown, folded = _folded(vertices, edges)
    lines = [
        (source, target)
        for source, target, _relation in edges
        if source in shown and target in shown
    ]
    lines += [(owner, key) for key, (owner, _count) in folded.items()]
    columns = {one: _column(vertex, edges) for one, vertex in shown.items()} | dict.fromkeys(
        folded, COLUMNS["pod"]
    )
    graph = drawn(columns, lines) if len(columns) <= MOST_DRAWN else drawn({}, [])
    told = {
        (source, target): str(RELATIONS.get(relation, relation))
        for source, target, relation in edges
    }
    return {
        "graph": graph,
        "boxes": _boxes(place, graph, vertices, folded),
        "lines": [
            (line, told.get((line.source, line.target), str(RELATIONS["owns"])))
            for line in graph.lines
        ],
        "sentences": [
            (_said(place, vertices[one]), told[one, other], _said(place, vertices[other]))
            for one, other, _relation in edges
        ],
        "too_many": len(columns) > MOST_DRAWN,
        "nothing": not vertices,
        "truncated": found["truncated"],
        "refused": found["refused"],
    }


def _state(vertex: Mapping[str, Any]) -> dict[str, str]:
    """The word and the tone of a vertex: missing ones are bad, those that were not read have none."""
    if vertex["presence"] == "missing":
        return {"word": _("missing"), "tone": "bad"}
    if vertex["presence"] == "unread" or vertex["layer"] in ("entry", "service", "configuration"):
        return {"word": "", "tone": "idle"}
    word, tone = health.of(vertex["plural"], vertex["object"])
    return {"word": state_labels.said(word), "tone": tone}


def _folded(vertices: Vertices, edges: list[tuple[str, str, str]]) -> tuple[Vertices, Folds]:
    """What is drawn one by one, and by id what stands for the rest of a workload's pods: (workload, how many). The worst are drawn."""
    pods: dict[str, list[str]] = {}
    for source, target, relation in edges:
        if relation == "owns" and vertices[target]["layer"] == "pod":
            pods.setdefault(source, []).append(target)
    hidden: set[str] = set()
    folded = {}
    for owner, found in pods.items():
        if len(found) > MOST_PODS:
            found.sort(key=lambda one: (WORST_FIRST.get(vertices[one]["tone"], 4), one))
            hidden |= set(found[MOST_PODS - 1 :])
            folded[f"more/{owner}"] = (owner, len(found) - MOST_PODS + 1)
    kept = {one: vertex for one, vertex in vertices.items() if one not in hidden}
    used = {
        target
        for source, target, relation in edges
        if source in kept and relation in ("runs on", "mounts")
    }
    # A node or claim of hidden pods only would stand there without a line.
    lonely = {one for one, vertex in kept.items() if vertex["layer"] == "node" and one not in used}
    return {one: vertex for one, vertex in kept.items() if one not in lonely}, folded


def _column(vertex: Mapping[str, Any], edges: list[tuple[str, str, str]]) -> int:
    if vertex["plural"] == "persistentvolumes":
        return BOUND
    if vertex["plural"] == "jobs" and any(
        target == vertex["id"] and relation == "owns" for _source, target, relation in edges
    ):
        return JOBS
    return COLUMNS[vertex["layer"]]


def _boxes(place: Place, graph: Drawing, vertices: Vertices, folded: Folds) -> list[dict[str, Any]]:
    found = []
    for one, box in graph.boxes.items():
        if one in folded:
            owner, count = folded[one]
            name = _("and {count} more pods").format(count=count)
            shown = {
                "kind": "",
                "name": name,
                "short": name,
                "word": "",
                "tone": "idle",
                "style": "more",
            }
            found.append(
                {"box": box, "id": one, "address": _place(place, vertices[owner]).address, **shown}
            )
            continue
        vertex = vertices[one]
        name = clean(vertex["name"])
        found.append(
            {
                "box": box,
                "id": one,
                "kind": vertex["kind"],
                "name": name,
                "short": name if len(name) <= LETTERS else f"{name[: LETTERS - 9]}…{name[-8:]}",
                "word": vertex["word"],
                "tone": vertex["tone"],
                "address": _place(place, vertex).address if vertex["presence"] != "missing" else "",
                "style": f"{vertex['presence']} {'here' if _is_here(place, vertex) else ''}",
            }
        )
    return found


def _is_here(place: Place, vertex: Mapping[str, Any]) -> bool:
    return (vertex["plural"], vertex["name"]) == (place.plural, place.name)


def _place(place: Place, vertex: Mapping[str, Any]) -> Place:
    return place.other(vertex["plural"], vertex["name"], vertex["namespace"] or None)


def _said(place: Place, vertex: Mapping[str, Any]) -> dict[str, str]:
    """A vertex in a sentence."""
    address = _place(place, vertex).address if vertex["presence"] != "missing" else ""
    return {
        "kind": vertex["kind"],
        "name": vertex["name"],
        "word": vertex["word"],
        "tone": vertex["tone"],
        "address": address,
    }
