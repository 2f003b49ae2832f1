"""The tools that act: each says first what it would do, and does it with the dry run's token."""

from collections.abc import Mapping
from typing import Any

from agents.caller import Caller, ClusterChoice, ToolError, find_kind, item_path
from agents.confirmations import CONFIRMATION, Plan, Planner, confirmed
from agents.tool import Arguments, Tool
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object

SCALED = ("deployments", "statefulsets")
RESTARTED = ("deployments", "statefulsets", "daemonsets", "pods")
ROLLED_BACK = ("deployments", "statefulsets", "daemonsets")
# What a controller writes all the time is not what a person has agreed to.
_UNSTEADY = ("managedFields", "resourceVersion", "generation")
MOST_PODS = 1000


class _Target:
    """The object of a call: read from the cluster itself, for the plan must not rest on a copy."""

    def __init__(
        self,
        caller: Caller,
        arguments: Arguments,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self.caller = caller
        self.cluster: ClusterChoice = caller.find_cluster(arguments.get("cluster"))
        kind = find_kind(arguments["kind"], self.cluster)
        if kinds and (kind.plural not in kinds or KINDS.get(kind.plural) != kind):
            raise ToolError(
                f"{kind.name} cannot be changed this way", f"This goes for {', '.join(kinds)}."
            )
        self.kind: Kind = kind
        self.name = str(arguments["name"])
        self.namespace = (
            str(
                arguments.get(
                    "namespace",
                    "",
                )
            )
            if kind.namespaced
            else ""
        )
        if kind.namespaced and not self.namespace:
            raise ToolError(
                "namespace is required",
                "Name the namespace of the object.",
            )
        self.path = item_path(kind, self.name)
        self.query = {"cluster_id": self.cluster.id, "namespace": self.namespace}
        self.body = {
            "cluster_id": self.cluster.id,
            **({"namespace": self.namespace} if self.namespace else {}),
        }

    @property
    def label(self) -> str:
        """`Deployment shop/web`."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.name} {place}{self.name}"

    @property
    def where(self) -> str:
        """`in cluster demo`."""
        return f"in cluster {self.cluster.name}"

    def read(self) -> Object:
        """The object as the cluster has it."""
        item: Object = self.caller.call(
            "GET",
            self.path,
            query={**self.query, "fresh": True},
        ).data
        return item

    def pods(self) -> list[str]:
        """The pods of a workload as `Pod namespace/name`; a pod is its own."""
        if self.kind == KINDS["pods"]:
            return [self.label]
        if self.kind.plural not in RESTARTED:
            return []
        query = {**self.query, "pageSize": MOST_PODS}
        listed = self.caller.call(
            "GET",
            f"{self.path}/pods",
            query=query,
        ).data["items"]
        return [f"Pod {self.namespace}/{pod['metadata']['name']}" for pod in listed]

    def act(self, verb: str, **body: Any) -> Mapping[str, Any]:
        """The API's answer to an action on the object."""
        confirmed_name = "" if body.get("dry_run") else self.name
        result: Mapping[str, Any] = self.caller.call(
            "POST",
            f"{self.path}/{verb}",
            body={**self.body, **body},
            confirmed=confirmed_name,
        ).data
        return result


def steady_state(item: Mapping[str, Any]) -> dict[str, Any]:
    """What of an object a person has agreed to change: all that controllers do not keep writing.

    Where a kind has no status its resourceVersion counts, and with it masked values.
    """
    metadata = dict(item.get("metadata") or {})
    for name in _UNSTEADY:
        if name != "resourceVersion" or "status" in item:
            metadata.pop(name, None)
    return {
        "metadata": metadata,
        **{name: value for name, value in item.items() if name not in ("metadata", "status")},
    }


def _count(objects: list[str], noun: str) -> str:
    """`no pods`, `1 pod`, `3 pods`."""
    if not objects:
        return f"no {noun}s"
    return f"{len(objects)} {noun}{'' if len(objects) == 1 else 's'}"


def plan_scale(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to set the number of replicas."""
    target = _Target(caller, arguments, SCALED)
    replicas = int(arguments["replicas"])
    item = target.read()
    trial = target.act("scale", replicas=replicas, dry_run=True)
    before = int(trial["previous_replicas"])
    difference = replicas - before
    effect = "nothing changes"
    if difference > 0:
        effect = f"pods to be started: {difference}"
    elif difference < 0:
        effect = f"pods to be deleted: {-difference}"
    sentence = (
        f"{target.label} {target.where} is scaled from {before} to {replicas} replicas; {effect}."
    )
    return Plan(
        sentence=sentence,
        objects=[target.label],
        state=steady_state(item),
        execute=lambda: target.act(
            "scale",
            replicas=replicas,
            current_replicas=before,
        ),
        cluster=target.cluster.name,
        details={"warnings": trial["warnings"]},
    )


def plan_restart(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to restart the pods of a workload, or one pod."""
    target = _Target(caller, arguments, RESTARTED)
    item = target.read()
    trial = target.act("restart", dry_run=True)
    pods = target.pods()
    if target.kind == KINDS["pods"]:
        owner = trial.get("controller") or {}
        starter = f"{owner.get('kind')} {owner.get('name')}" if owner else "nobody"
        sentence = f"{target.label} {target.where} is deleted, and started again by {starter}."
    else:
        sentence = (
            f"{target.label} {target.where} is restarted: {_count(pods, 'pod')} are replaced "
            "one after the other."
        )
    return Plan(
        sentence=sentence,
        objects=pods or [target.label],
        state=steady_state(item),
        execute=lambda: target.act("restart"),
        cluster=target.cluster.name,
        details={"warnings": trial.get("warnings", [])},
    )


def plan_rollback(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to go back to an earlier revision."""
    target = _Target(caller, arguments, ROLLED_BACK)
    item = target.read()
    revision = {"revision": arguments["revision"]} if "revision" in arguments else {}
    trial = target.act("rollback", dry_run=True, **revision)
    pods = target.pods()
    listed = caller.call(
        "GET", f"{target.path}/revisions", query={**target.query, "pageSize": 50}
    ).data["items"]
    number = trial.get("revision") or arguments.get("revision")
    images: list[str] = next((row["images"] for row in listed if row["revision"] == number), [])
    current: list[str] = next((row["images"] for row in listed if row["current"]), [])
    sentence = (
        f"{target.label} {target.where} goes back to revision {number}: images "
        f"{', '.join(current) or 'unknown'} become {', '.join(images) or 'unknown'}, and "
        f"{_count(pods, 'pod')} are replaced."
    )
    return Plan(
        sentence=sentence,
        objects=[target.label, *pods],
        # The number is in the answer of the dry run: it must not have moved.
        state=[steady_state(item), number],
        execute=lambda: target.act("rollback", revision=number),
        cluster=target.cluster.name,
        details={"warnings": trial.get("warnings", [])},
    )


def plan_delete(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to delete one object."""
    target = _Target(caller, arguments)
    item = target.read()
    forecast = caller.call(
        "DELETE",
        target.path,
        query={**target.query, "dry_run": True},
    ).data
    impact = forecast["impact"]
    pods = target.pods()
    consequences = [
        f"{impact[member]} {noun}"
        for member, noun in (
            ("pods", "pods"),
            ("pvcs", "volume claims"),
            ("children", "other objects"),
        )
        if impact.get(member)
    ]
    sentence = f"{target.label} {target.where} is deleted"
    sentence += (
        f", and with it {' and '.join(consequences)}."
        if consequences
        else "; nothing else goes with it."
    )
    if forecast["protected"]:
        sentence += f" It is protected: {forecast['protected']}."
    return Plan(
        sentence=sentence,
        objects=[target.label, *(pod for pod in pods if pod != target.label)],
        state=steady_state(item),
        execute=lambda: _delete(target, item),
        cluster=target.cluster.name,
        details={"impact": impact},
    )


def _delete(target: _Target, item: Object) -> Mapping[str, Any]:
    data = target.caller.call(
        "DELETE",
        target.path,
        query={**target.query, "confirm": True},
        confirmed=target.name,
    ).data
    return {
        "deleted": target.label,
        "uid": item["metadata"].get(
            "uid",
            "",
        ),
        "answer": data,
    }


def plan_apply(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to create or change the objects of a manifest."""
    cluster = caller.find_cluster(arguments.get("cluster"))
    body: dict[str, Any] = {"cluster_id": cluster.id, "content": arguments["manifest"]}
    for name in ("namespace", "force_conflicts"):
        if name in arguments:
            body[name] = arguments[name]
    trial = caller.call(
        "POST",
        "manifests/apply",
        body={**body, "dry_run": True},
    ).data["documents"]
    comparison_body = {name: value for name, value in body.items() if name != "force_conflicts"}
    compared = caller.call(
        "POST",
        "manifests/diff",
        body=comparison_body,
    ).data["documents"]
    failures = [document for document in trial if document["code"] != 0]
    if failures:
        first = failures[0]
        raise ToolError(
            f"the dry run failed for {len(failures)} of {len(trial)} objects: "
            f"{_document_label(first)}: {first['msg']}",
            "Correct the manifest, or on a conflict take the fields over with force_conflicts; "
            "nothing was changed.",
        )
    actions: dict[str, list[str]] = {}
    for document in trial:
        actions.setdefault(
            str(document["action"]),
            [],
        ).append(_document_label(document))
    parts = [f"{', '.join(labels[:10])} {action}" for action, labels in actions.items()]
    changes = [
        {
            "object": _document_label(document),
            "changes": document.get("changes"),
        }
        for document in compared
    ]
    return Plan(
        sentence=f"In cluster {cluster.name} {_count(trial, 'object')}: {'; '.join(parts)}.",
        objects=[_document_label(document) for document in trial],
        state=[
            {name: document.get(name) for name in ("kind", "namespace", "name", "action", "diff")}
            for document in compared
        ],
        execute=lambda: (
            caller.call(
                "POST",
                "manifests/apply",
                query={"confirm": True},
                body=body,
            ).data
        ),
        cluster=cluster.name,
        details={"changes": changes},
    )


def _document_label(document: Mapping[str, Any]) -> str:
    place = f"{document['namespace']}/" if document.get("namespace") else ""
    return f"{document.get('kind', '')} {place}{document.get('name', '')}"


def plan_cordon(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to stop pods from being scheduled on a node, or to let them again."""
    target = _Target(caller, {**arguments, "kind": "nodes"})
    item = target.read()
    schedulable = bool(arguments.get("uncordon", False))
    target.act("schedule", schedulable=schedulable, dry_run=True)
    effect = "new pods may be scheduled on it again" if schedulable else "no new pods start on it"
    is_so = schedulable != bool((item.get("spec") or {}).get("unschedulable"))
    if is_so:
        effect += ", as it is already"
    return Plan(
        sentence=f"{target.label} {target.where}: {effect}; its pods go on running.",
        objects=[target.label],
        state=steady_state(item),
        execute=lambda: _brief(target.act("schedule", schedulable=schedulable)),
        cluster=target.cluster.name,
    )


def _brief(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "name": node["metadata"]["name"],
        "unschedulable": bool((node.get("spec") or {}).get("unschedulable")),
    }


def plan_drain(caller: Caller, arguments: Arguments) -> Plan:
    """A plan to evict the pods of a node."""
    target = _Target(caller, {**arguments, "kind": "nodes"})
    item = target.read()
    options = {
        name: bool(arguments[name])
        for name in ("delete_emptydir_data", "force")
        if name in arguments
    }
    trial = target.act("drain", dry_run=True, **options)
    by_action: dict[str, list[str]] = {}
    for pod in trial["pods"]:
        by_action.setdefault(str(pod["action"]), []).append(f"Pod {pod['name']}")
    refused = [pod for pod in trial["pods"] if pod["action"] not in ("evict", "delete", "skip")]
    if trial["would_fail"]:
        reasons = "; ".join(f"{pod['name']}: {pod['message']}" for pod in refused[:5])
        raise ToolError(
            f"the drain of {target.name} would fail: {reasons}"[:1500],
            "force and delete_emptydir_data allow more; nothing was changed.",
        )
    moved = [*by_action.get("evict", []), *by_action.get("delete", [])]
    skipped = by_action.get("skip", [])
    return Plan(
        sentence=(
            f"{target.label} {target.where} is cordoned and {_count(moved, 'pod')} are evicted; "
            f"{len(skipped)} stay."
        ),
        objects=[target.label, *moved],
        state=[steady_state(item), sorted(moved)],
        execute=lambda: target.act("drain", **options),
        cluster=target.cluster.name,
        details={"skipped": skipped},
    )


def _tool(
    name: str,
    planner: Planner,
    title: str,
    description: str,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    is_destructive: bool = True,
) -> Tool:
    return Tool(
        name=name,
        title=title,
        description=f"{description} Answers first with the dry run and a confirm_token; nothing "
        "is changed until the same call comes with that token.",
        required=required,
        optional=(*optional, CONFIRMATION),
        answer=confirmed(name, planner),
        acts=True,
        is_destructive=is_destructive,
    )


_OBJECT = ("kind", "namespace", "name")
_NODE = ("name",)
TOOLS = (
    _tool(
        "scale",
        plan_scale,
        "Scale a workload",
        "Set the replicas of a Deployment or StatefulSet.",
        required=(*_OBJECT, "replicas"),
        optional=("cluster",),
    ),
    _tool(
        "restart",
        plan_restart,
        "Restart a workload",
        "Restart a Deployment, StatefulSet or DaemonSet pod by pod, or one Pod.",
        required=_OBJECT,
        optional=("cluster",),
    ),
    _tool(
        "rollback",
        plan_rollback,
        "Roll back a workload",
        "Go back to an earlier revision of a Deployment, StatefulSet or DaemonSet.",
        required=_OBJECT,
        optional=("cluster", "revision"),
    ),
    _tool(
        "apply",
        plan_apply,
        "Apply a manifest",
        "Create or change objects by server-side apply.",
        required=("manifest",),
        optional=("cluster", "namespace", "force_conflicts"),
    ),
    _tool(
        "delete",
        plan_delete,
        "Delete an object",
        "Delete one object, and say what goes with it.",
        required=("kind", "name"),
        optional=("cluster", "namespace"),
    ),
    _tool(
        "cordon",
        plan_cordon,
        "Cordon a node",
        "Keep new pods from a node, or with uncordon let them on it again.",
        required=_NODE,
        optional=("cluster", "uncordon"),
        is_destructive=False,
    ),
    _tool(
        "drain",
        plan_drain,
        "Drain a node",
        "Cordon a node and evict its pods.",
        required=_NODE,
        optional=("cluster", "delete_emptydir_data", "force"),
    ),
)
