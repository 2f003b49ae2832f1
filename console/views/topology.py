"""The topology page: from the Ingress to nodes, configuration and volumes, as a graph.

Missing objects and those with problems are marked.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from console.api_client import call
from console.locations import Location
from console.page import object_view, render_not_found, render_page, require_sign_in
from console.rendering import health, state_labels
from console.rendering.graph_layout import GraphLayout, lay_out
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
# A CronJob's Jobs stand to its right, bound volumes under the nodes.
JOBS_COLUMN = 3
VOLUMES_COLUMN = 5
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
# Severities in the order in which a workload's pods are drawn.
WORST_FIRST = {
    "bad": 0,
    "warn": 1,
    "busy": 2,
    "good": 3,
    "idle": 4,
}
# A taller column would push the rest of the graph off the screen.
MAX_PODS = 6
MAX_VERTICES = 400
MAX_NAME_LENGTH = 26


@require_GET
@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """The graph around one object; of a namespace, everything in it."""
    if location.plural not in objects.KINDS_WITH_TOPOLOGY:
        return render_not_found(request)
    context = objects.head_context(request, location, "topology")
    whole = location.plural == "namespaces"
    about = (
        {"namespace": location.name}
        if whole
        else {"namespace": location.namespace, "kind": location.plural, "name": location.name}
    )
    graph = call(request, "GET", "topology", query={"cluster_id": location.cluster, **about}).data
    return render_page(request, "console/topology.html", context | graph_context(location, graph))


def graph_context(
    location: Location,
    topology: Mapping[str, Any],
) -> dict[str, Any]:
    """The graph for the template, as boxes and curves and as sentences."""
    vertices = {vertex["id"]: {**vertex, **_vertex_state(vertex)} for vertex in topology["nodes"]}
    edges = [(edge["from"], edge["to"], edge["relation"]) for edge in topology["edges"]]
    drawn_vertices, folded = _fold_pods(vertices, edges)
    lines = [
        (source, target)
        for source, target, _relation in edges
        if source in drawn_vertices and target in drawn_vertices
    ]
    # A fold stands where its pods would, so it is connected to their workload.
    lines += [(owner, key) for key, (owner, _count) in folded.items()]
    columns = {
        vertex_id: _layout_column(vertex, edges) for vertex_id, vertex in drawn_vertices.items()
    }
    for fold_id in folded:
        columns[fold_id] = COLUMNS["pod"]
    # A larger graph would not be readable: the sentences remain.
    too_many = len(columns) > MAX_VERTICES
    graph = lay_out({}, []) if too_many else lay_out(columns, lines)
    relation_labels = {
        (source, target): str(RELATIONS.get(relation, relation))
        for source, target, relation in edges
    }
    return {
        "graph": graph,
        "boxes": _box_contexts(location, graph, vertices, folded),
        "lines": [
            (line, relation_labels.get((line.source, line.target), str(RELATIONS["owns"])))
            for line in graph.lines
        ],
        "sentences": [
            (
                _sentence_part(location, vertices[source]),
                relation_labels[source, target],
                _sentence_part(location, vertices[target]),
            )
            for source, target, _relation in edges
        ],
        "too_many": too_many,
        "nothing": not vertices,
        "truncated": topology["truncated"],
        "refused": topology["refused"],
    }


def _vertex_state(vertex: Mapping[str, Any]) -> dict[str, str]:
    """The state and severity of a vertex: a missing one is bad, one that was not read has none."""
    if vertex["presence"] == "missing":
        return {"word": _("missing"), "severity": "bad"}
    # These kinds have no status of their own; a colour would claim that they are fine.
    if vertex["presence"] == "unread" or vertex["layer"] in ("entry", "service", "configuration"):
        return {"word": "", "severity": "idle"}
    word, severity = health.for_kind(vertex["plural"], vertex["object"])
    return {"word": state_labels.translate_state(word), "severity": severity}


def _fold_pods(
    vertices: Vertices,
    edges: list[tuple[str, str, str]],
) -> tuple[Vertices, Folds]:
    """(vertices that are drawn, folds); of a workload's pods the worst are drawn.

    A fold stands for the other pods: by its id, (id of the workload, number of pods).
    """
    pods: dict[str, list[str]] = {}
    for source, target, relation in edges:
        if relation == "owns" and vertices[target]["layer"] == "pod":
            pods.setdefault(source, []).append(target)
    hidden: set[str] = set()
    folded = {}

    def rank(vertex_id: str) -> tuple[int, str]:
        return WORST_FIRST.get(vertices[vertex_id]["severity"], 4), vertex_id

    for owner, pod_ids in pods.items():
        if len(pod_ids) <= MAX_PODS:
            continue
        pod_ids.sort(key=rank)
        # The fold itself takes the place of one pod.
        rest = pod_ids[MAX_PODS - 1 :]
        hidden.update(rest)
        folded[f"more/{owner}"] = (owner, len(rest))
    used = set()
    for source, target, relation in edges:
        if source in vertices and source not in hidden and relation in ("runs on", "mounts"):
            used.add(target)
    visible = {}
    for vertex_id, vertex in vertices.items():
        # A node that only hidden pods run on would be drawn without a line.
        unused_node = vertex["layer"] == "node" and vertex_id not in used
        if vertex_id not in hidden and not unused_node:
            visible[vertex_id] = vertex
    return visible, folded


def _layout_column(
    vertex: Mapping[str, Any],
    edges: list[tuple[str, str, str]],
) -> int:
    if vertex["plural"] == "persistentvolumes":
        return VOLUMES_COLUMN
    # A Job without a CronJob is a workload of its own and stays in that column.
    owned_ids = {target for _source, target, relation in edges if relation == "owns"}
    if vertex["plural"] == "jobs" and vertex["id"] in owned_ids:
        return JOBS_COLUMN
    return COLUMNS[vertex["layer"]]


def _box_contexts(
    location: Location,
    graph: GraphLayout,
    vertices: Vertices,
    folded: Folds,
) -> list[dict[str, Any]]:
    boxes = []
    for vertex_id, box in graph.boxes.items():
        if vertex_id in folded:
            owner, count = folded[vertex_id]
            name = _("and {count} more pods").format(count=count)
            remainder = {
                "kind": "",
                "name": name,
                "short": name,
                "word": "",
                "severity": "idle",
                "style": "more",
            }
            boxes.append(
                {
                    "box": box,
                    "id": vertex_id,
                    "address": _vertex_location(location, vertices[owner]).address,
                    **remainder,
                }
            )
            continue
        vertex = vertices[vertex_id]
        name = clean(vertex["name"])
        boxes.append(
            {
                "box": box,
                "id": vertex_id,
                "kind": vertex["kind"],
                "name": name,
                "short": name
                if len(name) <= MAX_NAME_LENGTH
                # Cut in the middle: generated names differ at their end.
                else f"{name[: MAX_NAME_LENGTH - 9]}…{name[-8:]}",
                "word": vertex["word"],
                "severity": vertex["severity"],
                "address": _vertex_location(location, vertex).address
                if vertex["presence"] != "missing"
                else "",
                "style": f"{vertex['presence']} {'here' if _is_subject(location, vertex) else ''}",
            }
        )
    return boxes


def _is_subject(location: Location, vertex: Mapping[str, Any]) -> bool:
    return (vertex["plural"], vertex["name"]) == (location.plural, location.name)


def _vertex_location(
    location: Location,
    vertex: Mapping[str, Any],
) -> Location:
    return location.other(vertex["plural"], vertex["name"], vertex["namespace"] or None)


def _sentence_part(
    location: Location,
    vertex: Mapping[str, Any],
) -> dict[str, str]:
    """A vertex in a sentence."""
    address = _vertex_location(location, vertex).address if vertex["presence"] != "missing" else ""
    return {
        "kind": vertex["kind"],
        "name": vertex["name"],
        "word": vertex["word"],
        "severity": vertex["severity"],
        "address": address,
    }
