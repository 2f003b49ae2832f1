"""Texts of the OpenAPI document for parameters that do not explain themselves, and its examples."""

from collections.abc import Mapping
from typing import Any

TEXTS: Mapping[str, str] = {
    "after": "Only what is newer than this cursor.",
    "batch": "How many documents are read at a time.",
    "before": "Only what happened before: RFC 3339 or unix seconds.",
    "cluster": "Name or id of a registered cluster.",
    "clusterId": "The cluster, as its reporter calls it.",
    "cluster_id": "The registered cluster.",
    "clusters": (
        "Ids or names of clusters, with commas between; all that the caller may see when left out."
    ),
    "component": "The component that reported.",
    "container": "The container; the first when left out.",
    "cursor": "Where the last page ended, as its answer says.",
    "deploymentName": "Value of the label `app` (in reads), or the Deployment's name.",
    "dialect": "The API document that was spoken.",
    "diff_to": "A second revision; the answer has the difference between the two.",
    "download": "Answer as a file.",
    "end": "Until then: RFC 3339 or unix seconds.",
    "env": "The kind of cluster: k8s or mesos.",
    "exclude": "A regular expression; lines that match it are left out.",
    "extraInfo.kind": "Kind of the object that is meant.",
    "extraInfo.name": "Name of the object that is meant.",
    "extraInfo.namespace": "Namespace of the object that is meant.",
    "fieldSelector": "Kubernetes' field selector: `status.phase=Running`.",
    "field_validation": (
        "What the cluster does with fields that it does not know; Strict refuses them."
    ),
    "follow": "Go on as the log grows.",
    "format": "The format of the answer.",
    "from": "The earlier of the two moments: RFC 3339 or unix seconds.",
    "grace_period": "Seconds that containers have to end.",
    "group": "The API group; `core` for the one without a name.",
    "id": "The number or name that its list tells.",
    "image": "The image, with its registry where that is not the default.",
    "include": "A regular expression; only lines that match it are answered.",
    "ip": "The address of the host.",
    "kind": "The kind: its plural, singular, short name or name.",
    "kinds": "Kinds, with commas between.",
    "labelSelector": "Kubernetes' label selector: `app=web,tier!=cache`.",
    "level": "How severe it is.",
    "limit": "At most so many.",
    "limit_bytes": "At most so many bytes.",
    "module": "The module that reported.",
    "name": "The name.",
    "nameSpace": "The namespace.",
    "namespace": "The namespace; all that the caller may see when left out of a list.",
    "namespaces": "Namespaces, with commas between.",
    "node_name": "Only what is on this node.",
    "offset": "How many are left out from the beginning.",
    "page": "Which page, from 1.",
    "pageSize": "How many on a page.",
    "plural": "The plural by which the cluster serves the kind.",
    "pod": "The pod.",
    "pod_name": "The pod; with it one pod's own use is answered.",
    "previous": "The container before the last restart.",
    "propagation": "What becomes of objects that this one owns.",
    "q": "Part of a name, whatever its case.",
    "region": "The region, as the list of regions calls it.",
    "request_id": "The X-Request-Id of the call.",
    "requested_by": "The user who asked for it.",
    "resource_name": "Name of the object that is meant.",
    "resource_type": "Kind of the object that is meant.",
    "result": "How it ended.",
    "revision": "The number of the revision.",
    "service": "Name of the service.",
    "since": "Only what happened since: RFC 3339 or unix seconds.",
    "since_seconds": "Only the last so many seconds.",
    "since_time": "Only since then: RFC 3339.",
    "source": "Where it comes from.",
    "start": "From then on: RFC 3339 or unix seconds.",
    "state": "Only what is in this state.",
    "status": "Only what has this status.",
    "step": "Seconds between two points.",
    "tag": "The tag of the image.",
    "tail": "Only the last so many lines.",
    "tailLines": "Only the last so many lines.",
    "tail_lines": "Only the last so many lines.",
    "timeBegin": "From then on: unix seconds.",
    "timeEnd": "Until then: unix seconds.",
    "timestamps": "Begin each line with its time.",
    "type": "The type of the documents, as they were written: Pod, Deployment, taskgroup …",
    "until": "Only what happened until then: RFC 3339 or unix seconds.",
    "updateTimeBegin": "Changed since then: unix seconds.",
    "updateTimeEnd": "Changed until then: unix seconds.",
    "user": "The user's name.",
    "username": "The user's name.",
    "verb": "What was done: create, delete, scale …",
    "version": "The version of the API group: v1, v1beta1 …",
}

# Values of members in examples of bodies.
EXAMPLES: Mapping[str, Any] = {
    "action": "delete",
    "at": "2026-05-01T12:00:00Z",
    "amount": "12.50",
    "cluster": "prod",
    "cluster_id": 1,
    "description": "For the web team",
    "duration": 24,
    "expires_in_days": 30,
    "group": "developers",
    "hard": {"limitCpu": "4", "limitMemory": "8Gi", "pods": "20"},
    "imageName": "nginx:1.27",
    "kind": "Deployment",
    "kubeconfig": "apiVersion: v1\nkind: Config\n…",
    "labelSelector": "app=web",
    "labels": {"app": "web"},
    "memory": "1Gi",
    "metadata": {"name": "web", "namespace": "default"},
    "msg": "name is required",
    "name": "web",
    "namespace": "default",
    "new_password": "correct horse battery staple",
    "password": "correct horse battery staple",
    "plan": "small",
    "propagation": "background",
    "reference": "invoice 17",
    "refresh_token": "eyJhbGciOiJIUzI1NiJ9…",
    "replicas": 3,
    "revision": 2,
    "role": "viewer",
    "schedulable": False,
    "scopes": ["read"],
    "token": "kgt_…",
    "units": 2,
    "user": "alice",
    "username": "alice",
}
MOMENT = "2026-05-01T12:00:00Z"
# How many members an example has where no member is required.
FEW = 3
# Members that examples have besides those that are required.
OPTIONAL_MEMBERS = frozenset(
    [
        "description",
        "hard",
        "labelSelector",
        "name",
        "namespace",
        "plan",
        "role",
        "user",
    ]
)
OPTIONAL_MEMBERS_BY_VERB: Mapping[str, frozenset[str]] = {
    "scale": frozenset({"namespace", "replicas"}),
    "rollback": frozenset({"namespace", "revision"}),
}


def text(name: str) -> str:
    """What a parameter means; without a text of its own, that it selects."""
    return TEXTS.get(name) or f"Only what has this `{name}`."


def optional_members(verb: str) -> frozenset[str]:
    """The optional members of the example of an action; "" is a call that is no action."""
    if not verb:
        return OPTIONAL_MEMBERS
    return OPTIONAL_MEMBERS_BY_VERB.get(verb, frozenset({"namespace"}))


def example(
    schema: Mapping[str, Any],
    name: str = "",
    *,
    manifest: Any = None,
    optional: frozenset[str] = OPTIONAL_MEMBERS,
) -> Any:
    """A value that fits the schema: its required members, and those of `optional`.

    `manifest` stands for a whole Kubernetes object. `name` is the member's, whose values look
    familiar.
    """
    # The content of a file is plain text.
    is_manifest = name == "content" and schema.get("type") != "string"
    if manifest is not None and (is_manifest or "allOf" in schema):
        return manifest
    if "allOf" in schema:
        members: dict[str, Any] = {}
        for part in schema["allOf"]:
            members |= example(part, name, optional=optional)
        return members
    if name in EXAMPLES and "enum" not in schema and _fits(EXAMPLES[name], schema):
        return EXAMPLES[name]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return example(
                schema[choice][0],
                name,
                manifest=manifest,
                optional=optional,
            )
    match schema.get("type"):
        case "object":
            return _members(schema, manifest, optional)
        case "array":
            element = schema.get("items", {})
            singular = name.removesuffix("s")
            return [
                example(
                    element,
                    singular,
                    manifest=manifest,
                    optional=optional,
                )
            ]
        case "integer" | "number":
            return schema.get("default", schema.get("minimum", 1))
        case "boolean":
            return True
        case "string":
            return schema.get("default", MOMENT if name.endswith("_at") else "text")
    return {}


def _members(schema: Mapping[str, Any], manifest: Any, optional: frozenset[str]) -> dict[str, Any]:
    """The members of an object in its example; the first FEW where nothing names any."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    named = {*schema.get("required", ()), *optional}
    members = [member for member in properties if member in named]
    return {
        member: example(
            properties[member],
            member,
            manifest=manifest,
            optional=optional,
        )
        for member in members or list(properties)[:FEW]
    }


TYPES: Mapping[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, TYPES.get(str(schema.get("type")), object)):
        return False
    if not isinstance(value, dict):
        return True
    if not set(schema.get("required", ())) <= set(value):
        return False
    others = schema.get("additionalProperties")
    if not isinstance(others, dict):
        others = {}
    properties = schema.get("properties") or dict.fromkeys(value, others)
    return all(
        member in properties and _fits(inner, properties[member]) for member, inner in value.items()
    )
