"""metrics.k8s.io: what nodes and pods use, moving a little all the time."""

from decimal import Decimal

import orjson
from aiohttp import web

from simcluster import authentication, clock, lists, tables
from simcluster.authentication import Attributes, User
from simcluster.cluster import Cluster
from simcluster.errors import not_found
from simcluster.load import container_use, share
from simcluster.objects import get_phase
from simcluster.requests import Accepted, Target, accepted
from simcluster.resources import Object, Resource
from simcluster.usage import pod_requests

_GROUP = "metrics.k8s.io"
_PREFIX = f"/apis/{_GROUP}"
_WINDOW = "15s"
_VERBS = ("get", "list")
PODS = Resource(_GROUP, "v1beta1", "pods", "PodMetrics", True, verbs=_VERBS)
NODES = Resource(_GROUP, "v1beta1", "nodes", "NodeMetrics", False, verbs=_VERBS)


def serves(path: str, cluster: Cluster) -> bool:
    """Whether the path is ours."""
    return cluster.settings.metrics and (path == _PREFIX or path.startswith(_PREFIX + "/"))


def with_group(groups: Object, cluster: Cluster) -> Object:
    """`/apis` with our group in it."""
    if cluster.settings.metrics:
        version = {"groupVersion": f"{_GROUP}/v1beta1", "version": "v1beta1"}
        groups["groups"].append(
            {"name": _GROUP, "versions": [version], "preferredVersion": version}
        )
    return groups


def with_aggregated(document: Object, cluster: Cluster) -> Object:
    """Aggregated `/apis` with our group in it."""
    if cluster.settings.metrics:
        rows = [
            {
                "resource": resource.plural,
                "responseKind": {
                    "group": "",
                    "version": "",
                    "kind": resource.kind,
                },
                "scope": "Namespaced" if resource.namespaced else "Cluster",
                "singularResource": "",
                "verbs": list(_VERBS),
            }
            for resource in (NODES, PODS)
        ]
        versions = [{"version": "v1beta1", "resources": rows, "freshness": "Current"}]
        document["items"].append({"metadata": {"name": _GROUP}, "versions": versions})
    return document


def answer(cluster: Cluster, path: str, request: web.Request, user: User) -> web.Response:
    """Discovery, lists and single metrics."""
    rest = path.removeprefix(_PREFIX).strip("/").split("/")
    if rest in ([""], ["v1beta1"]):
        return _response(_discovery(versioned=rest != [""]))
    target = _target(rest[1:]) if rest[0] == "v1beta1" else None
    if target is None:
        return web.Response(text="404 page not found\n", status=404)
    what = Attributes(
        "get" if target.name else "list",
        _GROUP,
        target.resource.plural,
        "",
        target.namespace,
        target.name,
    )
    if not authentication.allowed(user, what, cluster.store):
        raise authentication.refusal(user, what)
    if target.name:
        usage = next(
            (
                document
                for document in _all(cluster, target, {})
                if document["metadata"]["name"] == target.name
            ),
            None,
        )
        if usage is None:
            raise not_found(target.resource, target.name)
        return _response(usage)
    return _listed(cluster, target, request, accepted(request.headers.get("Accept", "")))


def _target(rest: list[str]) -> Target | None:
    if rest[0] == "nodes" and len(rest) <= 2:
        return Target(NODES, name="/".join(rest[1:]))
    if rest == ["pods"]:
        return Target(PODS, all_namespaces=True)
    if rest[0] == "namespaces" and len(rest) in (3, 4) and rest[2] == "pods":
        return Target(PODS, namespace=rest[1], name="/".join(rest[3:]))
    return None


def _discovery(*, versioned: bool) -> Object:
    if not versioned:
        version = {"groupVersion": f"{_GROUP}/v1beta1", "version": "v1beta1"}
        return {
            "kind": "APIGroup",
            "apiVersion": "v1",
            "name": _GROUP,
            "versions": [version],
            "preferredVersion": version,
        }
    rows = [
        {
            "name": resource.plural,
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(_VERBS),
        }
        for resource in (NODES, PODS)
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{_GROUP}/v1beta1",
        "resources": rows,
    }


def _listed(
    cluster: Cluster, target: Target, request: web.Request, accept: Accepted
) -> web.Response:
    items = _all(cluster, target, dict(request.query))
    if accept.form == "Table":
        columns = tables.columns_of(target.resource)
        return _response(
            tables.table(
                [tables.row(document, columns, "Metadata") for document in items],
                columns,
                {},
            )
        )
    kind = f"{target.resource.kind}List"
    return _response(
        {
            "kind": kind,
            "apiVersion": f"{_GROUP}/v1beta1",
            "metadata": {},
            "items": items,
        }
    )


def _all(cluster: Cluster, target: Target, query: dict[str, str]) -> list[Object]:
    source = cluster.table.of_storage(target.resource.plural)
    selectors: dict[str, str] = {
        key: query[key] for key in ("labelSelector", "fieldSelector") if key in query
    }
    source_page = lists.page(
        cluster.registry,
        Target(source, target.namespace, all_namespaces=target.all_namespaces),
        selectors,
    )
    objects = [record.obj for record in source_page.records]
    if target.resource is PODS:
        # metrics-server has no samples of pods that do not run.
        return [pod_metrics(pod) for pod in objects if get_phase(pod) == "Running"]
    return [_node_metrics(cluster, node) for node in objects]


def _amounts(use: dict[str, Decimal]) -> Object:
    return {
        # metrics-server writes nanocores and kibibytes; a running container never uses 0.
        "cpu": f"{max(int(use['cpu'] * 1_000_000_000), 1)}n",
        "memory": f"{int(use['memory'] / 1024)}Ki",
    }


def pod_metrics(pod: Object) -> Object:
    """The PodMetrics of a pod."""
    meta = pod["metadata"]
    containers = [
        {
            "name": container["name"],
            "usage": _amounts(container_use(pod, container)),
        }
        for container in pod["spec"]["containers"]
    ]
    identity = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
    head = {
        "kind": "PodMetrics",
        "apiVersion": f"{_GROUP}/v1beta1",
        "metadata": {**identity, "creationTimestamp": clock.timestamp()},
    }
    return {
        **head,
        "timestamp": clock.timestamp(),
        "window": _WINDOW,
        "containers": containers,
    }


def _node_metrics(cluster: Cluster, node: Object) -> Object:
    meta = node["metadata"]
    # What the node's own system uses without any pod.
    use = {"cpu": Decimal("0.12"), "memory": Decimal(700 * 1024 * 1024)}
    for record in cluster.store.list("pods"):
        if (
            record.field("spec.nodeName") == meta["name"]
            and record.field("status.phase") == "Running"
        ):
            pod = record.obj
            for name, amount in pod_requests(pod["spec"]).items():
                if name in use:
                    use[name] += amount * Decimal(str(share(f"{record.uid}/{name}")))
    identity = {key: meta[key] for key in ("name", "labels") if key in meta}
    head = {
        "kind": "NodeMetrics",
        "apiVersion": f"{_GROUP}/v1beta1",
        "metadata": {**identity, "creationTimestamp": clock.timestamp()},
    }
    return {
        **head,
        "timestamp": clock.timestamp(),
        "window": _WINDOW,
        "usage": _amounts(use),
    }


def _response(document: Object) -> web.Response:
    return web.Response(body=orjson.dumps(document), headers={"Content-Type": "application/json"})
