"""The tools that read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from django.utils import timezone

from agents.answers import LOG_BYTES, MOST_BYTES, USUAL_BYTES, Answer, Position, source_of
from agents.caller import (
    Caller,
    ClusterChoice,
    ToolError,
    collection_path,
    find_kind,
    item_path,
)
from agents.summaries import summarise, summarise_event
from agents.tool import ARGUMENTS, Arguments, Tool
from clusters import event_series
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object, prune
from core.errors import DomainError
from core.times import rfc3339
from insights.api import parse_since
from insights.causes import failing_container

USUAL_SIZE = 20
USUAL_LINES = 100
# Kinds whose Events the API lists together with those of what they own.
WORKLOADS = frozenset({"deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"})
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
PLACE = ("cluster", "namespace")
PAGE = ("limit", "cursor")


def _place(caller: Caller, arguments: Arguments) -> tuple[ClusterChoice, dict[str, Any]]:
    """(the cluster, the query parameters that name it and the namespace)."""
    cluster = caller.find_cluster(arguments.get("cluster"))
    return cluster, {"cluster_id": cluster.id, "namespace": arguments.get("namespace")}


def _since(arguments: Arguments) -> datetime | None:
    """The moment of `since`; None without it."""
    text = arguments.get("since")
    if not text:
        return None
    try:
        return parse_since(text, timezone.now())
    except DomainError as error:
        raise ToolError(
            error.message,
            "Give RFC 3339, unix seconds, or 30m.",
        ) from None


def _page_answer(
    caller: Caller,
    path: str,
    query: Mapping[str, Any],
    arguments: Arguments,
    *,
    represent: Any = dict,
    facts: Mapping[str, Any] | None = None,
    source: str = "",
) -> Answer:
    """One page of an API list as an answer that goes on by a cursor."""
    position = Position.decode(
        arguments.get("cursor", ""), size=int(arguments.get("limit", USUAL_SIZE))
    )
    result = caller.call(
        "GET", path, query={**query, "page": position.page, "pageSize": position.size}
    )
    data = result.data
    fetched = data["items"]
    total = data.get("total")
    has_more = total is not None and position.page * position.size < total
    own_source, age = source_of(result)
    return Answer(
        data={"total": total},
        source=source or own_source,
        age=age,
        items=[represent(item) for item in fetched[position.skip :]],
        cursor=lambda count: position.follow(
            count,
            fetched=len(fetched),
            has_more=has_more,
        ),
        facts=facts or {},
    )


# --- clusters -------------------------------------------------------------------------------------
def list_clusters(caller: Caller, arguments: Arguments) -> Answer:
    """The clusters that the caller may see."""
    fields = ("id", "name", "description", "status", "status_reason", "version", "labels")
    return _page_answer(
        caller,
        "clusters",
        {"keyword": arguments.get("query")},
        arguments,
        represent=lambda row: {name: row.get(name) for name in (*fields, "last_seen_at")},
        source="kubegale",
    )


def overview(caller: Caller, arguments: Arguments) -> Answer:
    """Counts of each cluster, and the pods and workloads that have problems."""
    result = caller.call("GET", "multicluster/overview")
    data = dict(result.data)
    clusters = data["clusters"]
    query: dict[str, Any] = {"troubled": True, "pageSize": 10}
    if "cluster" in arguments:
        cluster = caller.find_cluster(arguments["cluster"])
        data["clusters"] = [row for row in clusters if row["id"] == cluster.id]
        # The totals are over all clusters.
        del data["totals"]
        query["clusters"] = cluster.id
    troubled: list[Any] = []
    for plural in ("nodes", "deployments", "statefulsets", "daemonsets", "pods"):
        try:
            listed = caller.call(
                "GET",
                f"multicluster/resources/{plural}",
                query=query,
            ).data
        except ToolError:
            # A viewer of one namespace may not list nodes; the rest is still worth an answer.
            continue
        troubled += [_stored_item(KINDS[plural], item) for item in listed["items"]]
    data["troubled"] = troubled
    source, age = source_of(result)
    return Answer(data=data, source=source, age=age)


def search(caller: Caller, arguments: Arguments) -> Answer:
    """Objects of any kind by a part of their name."""
    query: dict[str, Any] = {"q": arguments["query"], "pageSize": 200}
    if "cluster" in arguments:
        query["clusters"] = caller.find_cluster(arguments["cluster"]).id
    size = int(arguments.get("limit", USUAL_SIZE))
    position = Position.decode(arguments.get("cursor", ""), size=size)
    data = caller.call("GET", "multicluster/search", query=query).data
    matches = [
        match
        for match in data["items"]
        if arguments.get("namespace", match["namespace"]) == match["namespace"]
    ]
    fields = ("cluster_name", "kind", "group", "namespace", "name", "status", "created_at")
    visible = matches[position.skip : position.skip + size]
    return Answer(
        data={"partial_errors": data["partial_errors"][:10]},
        source="store",
        items=[{name: match[name] for name in fields} for match in visible],
        cursor=lambda count: position.follow(
            count,
            fetched=len(matches),
            has_more=False,
        ),
    )


# --- objects --------------------------------------------------------------------------------------
def _stored_item(kind: Kind, item: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a list over many clusters, in few words."""
    return {
        "cluster": item.get(
            "cluster_name",
            "",
        ),
        "kind": kind.name,
        **summarise(kind, item),
    }


def list_objects(caller: Caller, arguments: Arguments) -> Answer:
    """Objects of one kind, in one cluster or in all."""
    clusters = caller.clusters()
    if "cluster" not in arguments and len(clusters) != 1:
        return _list_everywhere(caller, arguments)
    cluster, query = _place(caller, arguments)
    kind = find_kind(arguments["kind"], cluster)
    query |= {
        "keyword": arguments.get("query"),
        "labelSelector": arguments.get("label_selector"),
        "troubled": arguments.get("troubled"),
    }
    return _page_answer(
        caller,
        collection_path(kind),
        query,
        arguments,
        represent=lambda item: (
            summarise_event(item)
            if kind == KINDS["events"]
            else summarise(
                kind,
                item,
            )
        ),
        facts={"cluster": cluster.name, "kind": kind.name},
    )


def _list_everywhere(caller: Caller, arguments: Arguments) -> Answer:
    kind = find_kind(arguments["kind"])
    query = {
        "namespaces": arguments.get("namespace"),
        "keyword": arguments.get("query"),
        "labelSelector": arguments.get("label_selector"),
        "troubled": arguments.get("troubled"),
        "total": True,
    }
    reference = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    return _page_answer(
        caller,
        f"multicluster/resources/{reference}",
        query,
        arguments,
        represent=lambda item: _stored_item(kind, item),
        facts={"kind": kind.name},
        source="store",
    )


def get_object(caller: Caller, arguments: Arguments) -> Answer:
    """One object, or a part of it."""
    cluster, query = _place(caller, arguments)
    kind = find_kind(arguments["kind"], cluster)
    result = caller.call("GET", item_path(kind, arguments["name"]), query=query)
    item = prune(result.data)
    source, age = source_of(result)
    data: Object = {"object": item}
    if path := arguments.get("path"):
        data = {"path": path, "value": _member(item, path)}
    return Answer(
        data=data,
        source=source,
        age=age,
        facts={"cluster": cluster.name, "kind": kind.name},
    )


def _member(item: Any, path: str) -> Any:
    """The part of an object at a dotted path; numbers are positions in lists."""
    value = item
    for step in path.strip(".").split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            names = ", ".join(list(value)[:20]) if isinstance(value, dict) else ""
            raise ToolError(
                f"the object has nothing at {path[:100]!r}",
                f"There are: {names}." if names else "Read the object without path first.",
            )
    return value


def events(caller: Caller, arguments: Arguments) -> Answer:
    """Events, newest first: of a namespace, or of one object and what it owns."""
    cluster, query = _place(caller, arguments)
    path = "events"
    if "name" in arguments:
        if "kind" not in arguments:
            raise ToolError(
                "kind is required with name",
                "Name the kind of the object too.",
            )
        kind = find_kind(arguments["kind"], cluster)
        if kind.plural in WORKLOADS or kind == KINDS["pods"]:
            path = f"{item_path(kind, arguments['name'])}/events"
        else:
            query |= {"resource_type": kind.name, "resource_name": arguments["name"]}
    elif "kind" in arguments:
        query["resource_type"] = find_kind(arguments["kind"], cluster).name
    if "query" in arguments:
        query["keyword"] = arguments["query"]
    since = _since(arguments)
    answer = _page_answer(
        caller, path, query, arguments, represent=summarise_event, facts={"cluster": cluster.name}
    )
    if since is None:
        return answer
    recent = [item for item in answer.items or () if _is_recent(item, since)]
    # They come newest first: behind the first older one there are older ones only.
    is_last = len(recent) < len(answer.items or ())
    return Answer(
        data={},
        source=answer.source,
        age=answer.age,
        items=recent,
        cursor=lambda count: None if is_last and count == len(recent) else answer.cursor(count),
        facts=answer.facts,
    )


def _is_recent(event: Mapping[str, Any], since: datetime) -> bool:
    return event_series.moment(str(event["at"])) >= since.astimezone(UTC)


def logs(caller: Caller, arguments: Arguments) -> Answer:
    """The end of a container's log; of a workload the log of one of its pods."""
    cluster, query = _place(caller, arguments)
    kind = find_kind(arguments.get("kind", "pods"), cluster)
    name = arguments["name"]
    others: list[str] = []
    if kind != KINDS["pods"]:
        name, others = _pod_of(caller, kind, name, query)
    container = arguments.get("container", "")
    containers: list[str] = []
    if not container:
        container, containers = _container_of(caller, name, query)
    lines = int(arguments.get("limit", USUAL_LINES))
    log_query = {
        **query,
        "container": container,
        "previous": arguments.get("previous"),
        "tail_lines": lines,
        "limit_bytes": LOG_BYTES * 4,
        "timestamps": True,
    }
    if since := _since(arguments):
        log_query["since_time"] = rfc3339(since)
    text = caller.call(
        "GET",
        f"{item_path(KINDS['pods'], name)}/logs",
        query=log_query,
    ).data["logs"]
    limit = LOG_BYTES if "limit" in arguments else USUAL_BYTES
    cut = _log_end(text, limit)
    return Answer(
        data={
            "pod": name,
            "container": container,
            "other_pods": others,
            "other_containers": containers,
            "log": cut,
        },
        source="live",
        truncated=len(cut) < len(text),
        facts={"cluster": cluster.name},
    )


def _container_of(
    caller: Caller,
    pod: str,
    query: Mapping[str, Any],
) -> tuple[str, list[str]]:
    """(the container to read: the one that fails, the default one, the first; names of others).

    ("", []) for who may read logs and no pods: the cluster then chooses, where there is one alone.
    """
    try:
        item = caller.call("GET", item_path(KINDS["pods"], pod), query=query).data
    except ToolError:
        return "", []
    spec = item.get("spec") or {}
    declared = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    names = [str(container["name"]) for container in declared]
    annotations = (item.get("metadata") or {}).get("annotations") or {}
    failing = failing_container(item)
    preferred = failing[1] if failing else annotations.get(DEFAULT_CONTAINER, "")
    chosen = preferred if preferred in names else names[0]
    return chosen, [name for name in names if name != chosen]


def _log_end(text: str, limit: int) -> str:
    """The last whole lines that fit into an answer of so many bytes, as JSON."""
    # Room for what stands beside the log in the answer.
    left = limit - 1024
    lines_to_answer: list[str] = []
    for line in reversed(text.splitlines(keepends=True)):
        size = len(orjson.dumps(line)) - 2
        if size > left:
            # A single line may be longer than the answer.
            if not lines_to_answer:
                lines_to_answer.append(line[-(left // 6) :])
            break
        left -= size
        lines_to_answer.append(line)
    return "".join(reversed(lines_to_answer))


def _pod_of(
    caller: Caller,
    kind: Kind,
    name: str,
    query: Mapping[str, Any],
) -> tuple[str, list[str]]:
    """(a pod of a workload, one with a problem first; names of others)."""
    if kind.plural not in WORKLOADS:
        raise ToolError(
            f"{kind.name} has no logs", "Name a pod, or a workload such as a Deployment."
        )
    path = f"{item_path(kind, name)}/pods"
    pods = caller.call("GET", path, query={**query, "pageSize": 50}).data["items"]
    if not pods:
        raise ToolError(
            f"{kind.name} {name} has no pods",
            "why_failing says what hinders it.",
        )
    pods.sort(key=lambda pod: not summarise(KINDS["pods"], pod)["problem"])
    names = [pod["metadata"]["name"] for pod in pods]
    return names[0], names[1:10]


def metrics(caller: Caller, arguments: Arguments) -> Answer:
    """What a cluster, its nodes or pods use now."""
    cluster, query = _place(caller, arguments)
    facts = {"cluster": cluster.name}
    kind = find_kind(arguments["kind"], cluster) if "kind" in arguments else None
    if kind == KINDS["nodes"]:
        query["node_name"] = arguments.get("name")
        result = caller.call("GET", "metrics/nodes", query=query)
    elif kind == KINDS["pods"] or arguments.get("namespace"):
        query["pod_name"] = arguments.get("name")
        result = caller.call("GET", "metrics/pods", query=query)
    elif kind is None:
        result = caller.call("GET", "metrics/cluster", query=query)
    else:
        raise ToolError(
            f"there are no metrics of {kind.name}",
            "Ask for nodes, pods or neither.",
        )
    used = result.data["metrics"]
    facts["measured_by"] = result.data.get("source", "")
    if not isinstance(used, list):
        return Answer(data={"metrics": used}, source="live", facts=facts)
    size = int(arguments.get("limit", USUAL_SIZE))
    position = Position.decode(arguments.get("cursor", ""), size=size)
    visible = used[position.skip : position.skip + size]
    return Answer(
        data={"total": len(used)},
        source="live",
        items=visible,
        member="metrics",
        cursor=lambda count: position.follow(
            count,
            fetched=len(used),
            has_more=False,
        ),
        facts=facts,
    )


def topology(caller: Caller, arguments: Arguments) -> Answer:
    """What belongs together, as a graph without the objects' details."""
    cluster, query = _place(caller, arguments)
    if "kind" in arguments:
        query["kind"] = find_kind(arguments["kind"], cluster).plural
    query["name"] = arguments.get("name")
    graph = caller.call("GET", "topology", query=query).data
    vertices = []
    for vertex in graph["nodes"]:
        visible = {name: vertex[name] for name in ("id", "kind", "name", "presence")}
        kind = KINDS.get(vertex["plural"])
        if kind is not None and vertex.get("object"):
            status = summarise(kind, vertex["object"]).get("status")
            visible |= {"status": status} if status else {}
        vertices.append(visible)
    return Answer(
        data={
            "nodes": vertices,
            "edges": [f"{edge['from']} {edge['relation']} {edge['to']}" for edge in graph["edges"]],
            "refused": graph["refused"],
        },
        source="live",
        truncated=graph["truncated"],
        facts={"cluster": cluster.name},
    )


# --- the past -------------------------------------------------------------------------------------
def history(caller: Caller, arguments: Arguments) -> Answer:
    """What happened to one object, or to all of a kind, and who did it; newest first."""
    cluster, query = _place(caller, arguments)
    size = int(arguments.get("limit", 10))
    position = Position.decode(arguments.get("cursor", ""), size=size)
    since = _since(arguments)
    query |= {
        "kind": find_kind(arguments["kind"], cluster).plural,
        "name": arguments.get("name"),
        "keyword": arguments.get("query"),
        "since": rfc3339(since, digits=3) if since else None,
        "pageSize": size,
        "cursor": position.mark,
    }
    kind = find_kind(arguments["kind"], cluster)
    if KINDS.get(kind.plural) != kind:
        query["kind"] = f"{kind.plural}.{kind.group}"
    data = caller.call("GET", "history", query=query).data
    items = data["items"]

    def follow(count: int) -> str | None:
        if count < len(items):
            return Position(1, size, 0, str(items[count - 1]["seq"])).encode()
        following = data["next_cursor"]
        return Position(1, size, 0, following).encode() if following else None

    return Answer(
        data={"gaps": data["gaps"][:5]},
        source="store",
        items=items,
        cursor=follow,
        facts={"cluster": cluster.name},
    )


def diff(caller: Caller, arguments: Arguments) -> Answer:
    """How one object differs between two moments."""
    cluster, query = _place(caller, arguments)
    kind = find_kind(arguments["kind"], cluster)
    since = _since(arguments)
    if since is None:
        raise ToolError(
            "since is required",
            "Say from when: RFC 3339, unix seconds or 30m.",
        )
    query |= {
        "kind": f"{kind.plural}.{kind.group}" if kind.group else kind.plural,
        "name": arguments["name"],
        "from": rfc3339(since, digits=3),
        "to": arguments.get("until"),
    }
    data = caller.call("GET", "history/diff", query=query).data
    return Answer(
        data={"from": data["from"], "to": data["to"], "changes": data["changes"]},
        source="store",
        facts={"cluster": cluster.name},
    )


def what_changed(caller: Caller, arguments: Arguments) -> Answer:
    """Changes since a moment, the likely most harmful first."""
    query: dict[str, Any] = {
        name: arguments.get(name) for name in ("namespace", "name", "kind", "since")
    }
    if "kind" in arguments:
        kind = find_kind(arguments["kind"])
        query["kind"] = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    if "cluster" in arguments:
        query["clusters"] = caller.find_cluster(arguments["cluster"]).id
    # One moment for all pages: a duration would move on.
    position = Position.decode(
        arguments.get("cursor", ""), size=int(arguments.get("limit", USUAL_SIZE))
    )
    if position.mark:
        query["since"], query["before"] = position.mark.split("/", 1)
    result = caller.call(
        "GET",
        "insights/what-changed",
        query={**query, "page": position.page, "pageSize": position.size},
    )
    data = result.data
    fetched = data["items"]
    period = f"{data['since']}/{data['until']}"

    def follow(count: int) -> str | None:
        done = position.skip + count
        if done < len(fetched):
            return Position(position.page, position.size, done, period).encode()
        if position.page * position.size < data["total"]:
            return Position(position.page + 1, position.size, 0, period).encode()
        return None

    left_out = {"uid", "resource_version", "cluster_id", "seq"}
    return Answer(
        data={name: data[name] for name in ("since", "until", "total", "partial_errors")},
        source="store",
        items=[
            {name: value for name, value in change.items() if name not in left_out}
            for change in fetched[position.skip :]
        ],
        cursor=follow,
        truncated=data["truncated"],
    )


def why_failing(caller: Caller, arguments: Arguments) -> Answer:
    """What stands in the way of one object."""
    cluster, query = _place(caller, arguments)
    kind = find_kind(arguments["kind"], cluster)
    query |= {
        "kind": f"{kind.plural}.{kind.group}" if kind.group else kind.plural,
        "name": arguments["name"],
    }
    data = caller.call("GET", "insights/why-failing", query=query).data
    return Answer(data=data, source="live", facts={"cluster": cluster.name})


def list_alerts(caller: Caller, arguments: Arguments) -> Answer:
    """Alerts that fire, wait or have been acknowledged."""
    query: dict[str, Any] = {
        "namespace": arguments.get("namespace"),
        "name": arguments.get("name"),
        "keyword": arguments.get("query"),
        "state": arguments.get("state"),
        "severity": arguments.get("severity"),
    }
    if "kind" in arguments:
        query["kind"] = find_kind(arguments["kind"]).name
    if "cluster" in arguments:
        query["cluster_id"] = caller.find_cluster(arguments["cluster"]).id
    return _page_answer(caller, "alerts", query, arguments, source="kubegale")


_OBJECT = ("kind", "name")
TOOLS = (
    Tool(
        name="list_clusters",
        title="List clusters",
        description="The clusters that you may see, with version and status. Begin here.",
        optional=("query", *PAGE),
        answer=list_clusters,
    ),
    Tool(
        name="overview",
        title="Overview",
        description="Counts of every cluster, and what has problems now.",
        optional=("cluster",),
        answer=overview,
    ),
    Tool(
        name="search",
        title="Search by name",
        description="Objects of every kind, in all clusters, by a part of their name.",
        required=("query",),
        optional=("cluster", "namespace", *PAGE),
        answer=search,
    ),
    Tool(
        name="list_objects",
        title="List objects",
        description="Objects of one kind in few words, in one cluster or, without cluster, in all.",
        required=("kind",),
        optional=(*PLACE, "query", "label_selector", "troubled", *PAGE),
        answer=list_objects,
    ),
    Tool(
        name="get_object",
        title="Read one object",
        description="One object whole, or with path a part of it. Values of Secrets are masked.",
        required=_OBJECT,
        optional=(*PLACE, "path"),
        answer=get_object,
        usual_bytes=MOST_BYTES,
    ),
    Tool(
        name="events",
        title="List events",
        description="Events, newest first: of a namespace, or of one object and what it owns.",
        optional=(*PLACE, *_OBJECT, "query", "since", *PAGE),
        answer=events,
    ),
    Tool(
        name="logs",
        title="Read a log",
        description="The end of a container's log: of a pod, or of one pod of a workload. limit "
        "is a number of lines.",
        required=("name",),
        optional=(*PLACE, "kind", "container", "previous", "since", "limit"),
        schemas={"limit": {**ARGUMENTS["limit"], "maximum": 5000}},
        answer=logs,
        most_bytes=LOG_BYTES,
    ),
    Tool(
        name="metrics",
        title="Read usage",
        description="Processor and memory of a cluster, or of its nodes or pods by kind.",
        optional=(*PLACE, *_OBJECT, *PAGE),
        answer=metrics,
    ),
    Tool(
        name="topology",
        title="What belongs together",
        description="Ingresses, services, workloads, pods, configuration and volumes of a "
        "namespace, or around one object, as a graph.",
        required=("namespace",),
        optional=("cluster", *_OBJECT),
        answer=topology,
        most_bytes=MOST_BYTES,
        usual_bytes=MOST_BYTES,
    ),
    Tool(
        name="history",
        title="History of objects",
        description="Every change of one object, or of all of a kind: when, what and by whom.",
        required=("kind",),
        optional=(*PLACE, "name", "query", "since", *PAGE),
        answer=history,
    ),
    Tool(
        name="diff",
        title="Compare with the past",
        description="How one object differs between since and until.",
        required=(*_OBJECT, "since"),
        optional=(*PLACE, "until"),
        answer=diff,
    ),
    Tool(
        name="what_changed",
        title="What changed",
        description="Changes since a moment (1h ago when absent) in all clusters or one, by whom, "
        "the likely most harmful first. Ask this first in an incident.",
        optional=(*PLACE, *_OBJECT, "since", *PAGE),
        answer=what_changed,
    ),
    Tool(
        name="why_failing",
        title="Why something fails",
        description="Causes, conditions, events, owners, last changes and the end of the log of "
        "one object in one answer.",
        required=_OBJECT,
        optional=PLACE,
        answer=why_failing,
        usual_bytes=MOST_BYTES,
    ),
    Tool(
        name="list_alerts",
        title="List alerts",
        description="Alerts of your rules: firing, pending or acknowledged.",
        optional=(*PLACE, *_OBJECT, "query", "state", "severity", *PAGE),
        schemas={
            "state": {"type": "string", "enum": ["pending", "firing", "resolved"]},
            "severity": {"type": "string", "enum": ["info", "warning", "critical"]},
        },
        answer=list_alerts,
    ),
)
