"""What the API server writes into an object: initial status, generation, addresses, selectors."""

import base64
import binascii
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from simcluster import quantity
from simcluster.defaults import TEMPLATE_GENERATION
from simcluster.errors import bad_request
from simcluster.objects import get_annotations
from simcluster.resources import Object, Resource
from simcluster.store import Store

# Kinds whose generation counts changes of the spec.
GENERATIONS = {
    "pods",
    "replicationcontrollers",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
    "poddisruptionbudgets.policy",
    "ingresses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "endpointslices.discovery.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "horizontalpodautoscalers.autoscaling",
}
# Kinds whose generation counts changes of the annotations too.
_ANNOTATED_GENERATIONS = {"deployments.apps"}

_STATUS: dict[str, Object] = {
    "deployments.apps": {},
    "replicasets.apps": {"replicas": 0},
    "replicationcontrollers": {"replicas": 0},
    "statefulsets.apps": {"replicas": 0, "availableReplicas": 0},
    "daemonsets.apps": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "jobs.batch": {},
    "cronjobs.batch": {},
    "poddisruptionbudgets.policy": {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    },
    "resourcequotas": {},
    "services": {"loadBalancer": {}},
    "ingresses.networking.k8s.io": {"loadBalancer": {}},
    "persistentvolumeclaims": {"phase": "Pending"},
    "persistentvolumes": {"phase": "Pending"},
    "namespaces": {"phase": "Active"},
    "horizontalpodautoscalers.autoscaling": {
        "desiredReplicas": 0,
        "currentMetrics": None,
    },
    "customresourcedefinitions.apiextensions.k8s.io": {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": None,
    },
}


# Values of the two priority classes that exist in every cluster.
_SYSTEM_PRIORITIES = {
    "system-node-critical": 2000001000,
    "system-cluster-critical": 2000000000,
}


def quality_of_service(spec: Object) -> str:
    """The QoS class of a pod."""
    guaranteed = True
    anything = False
    for container in [
        *(spec.get("initContainers") or ()),
        *spec.get("containers", ()),
    ]:
        resources = container.get("resources") or {}
        requests = resources.get("requests") or {}
        limits = resources.get("limits") or {}
        for name in ("cpu", "memory"):
            request = _amount(requests.get(name))
            limit = _amount(limits.get(name))
            anything = anything or bool(request) or bool(limit)
            guaranteed = guaranteed and bool(limit) and request == limit
    # Limits equal to requests in every container: Guaranteed; none at all: BestEffort.
    if guaranteed and anything:
        return "Guaranteed"
    return "Burstable" if anything else "BestEffort"


def _amount(text: Any) -> Decimal:
    return quantity.parse(text) if text is not None else Decimal(0)


def _pod(obj: Object, store: Store) -> None:
    spec = obj["spec"]
    obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        # The DefaultTolerationSeconds plug-in: five minutes on a lost node before eviction.
        if not any(
            toleration.get("key") in (key, None, "")
            and toleration.get("effect") in ("NoExecute", None, "")
            for toleration in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            )
    priority = 0
    if spec.get("priorityClassName"):
        priority_class = store.get(
            "priorityclasses.scheduling.k8s.io", "", spec["priorityClassName"]
        )
        priority = _SYSTEM_PRIORITIES.get(spec["priorityClassName"], 0)
        if priority_class:
            priority = priority_class.obj.get("value", 0)
    spec["priority"] = priority
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _job(obj: Object, store: Store) -> None:
    spec = obj["spec"]
    uid = obj["metadata"]["uid"]
    name = obj["metadata"]["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        # The labels without a prefix are of before 1.27; both are still written.
        "controller-uid": uid,
        "job-name": name,
    }
    # The uid in the selector keeps jobs of the same name from adopting old pods.
    if not spec.get("manualSelector"):
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **labels}
    obj["metadata"]["labels"] = {
        **(obj["metadata"].get("labels") or {}),
        **labels,
    }


def _namespace(obj: Object, store: Store) -> None:
    finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
    # Keeps the namespace until its controller has emptied it.
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")


def _service(obj: Object, store: Store) -> None:
    spec = obj["spec"]
    # A CNAME in DNS has no address of its own.
    if spec["type"] == "ExternalName":
        return
    addresses = {record.field("spec.clusterIP") for record in store.list("services")}
    if not spec.get("clusterIP"):
        spec["clusterIP"] = _free_address(addresses)
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        used = {
            port.get("nodePort")
            for record in store.list("services")
            for port in record.obj["spec"].get("ports") or ()
        }
        for port in spec.get("ports") or ():
            if not port.get("nodePort"):
                port["nodePort"] = next(
                    number
                    for number in iter(lambda: random.randint(30000, 32767), None)
                    if number not in used
                )
                used.add(port["nodePort"])


def _free_address(addresses: set[str]) -> str:
    while True:
        address = f"10.96.{random.randint(0, 255)}.{random.randint(1, 254)}"
        if address not in addresses:
            return address


def _claim(obj: Object, store: Store) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if "kubernetes.io/pvc-protection" not in finalizers:
        finalizers.append("kubernetes.io/pvc-protection")
    # Absent means the default class, "" means none: only absent is filled.
    if "storageClassName" not in obj["spec"]:
        for record in store.list("storageclasses.storage.k8s.io"):
            if (
                get_annotations(record.obj).get("storageclass.kubernetes.io/is-default-class")
                == "true"
            ):
                obj["spec"]["storageClassName"] = record.name


def _volume(obj: Object, store: Store) -> None:
    obj["metadata"].setdefault("finalizers", ["kubernetes.io/pv-protection"])


PREPARE: dict[str, Callable[[Object, Store], None]] = {
    "pods": _pod,
    "jobs.batch": _job,
    "namespaces": _namespace,
    "services": _service,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
}


def has_status(resource: Resource) -> bool:
    """Whether the status of the kind is written through its own subresource."""
    return "status" in resource.subresources


def prepare_create(resource: Resource, obj: Object, store: Store) -> None:
    """Complete a new object, in place."""
    if resource.storage in _STATUS:
        obj["status"] = dict(_STATUS[resource.storage])
    # A status sent on creation is ignored; kubelets register nodes with theirs.
    elif has_status(resource) and resource.storage != "nodes":
        obj.pop("status", None)
    if resource.storage in GENERATIONS or resource.custom:
        obj["metadata"]["generation"] = 1
    prepare = PREPARE.get(resource.storage)
    if prepare is not None:
        prepare(obj, store)


def prepare_update(resource: Resource, obj: Object, old: Object, store: Store) -> None:
    """Complete a changed object, in place: the server's fields stay, the generation counts."""
    if has_status(resource):
        if "status" in old:
            obj["status"] = old["status"]
        else:
            obj.pop("status", None)
    if resource.storage == "services":
        _keep_addresses(obj["spec"], old["spec"], store, obj)
    # Validation comes afterwards, so the template may still be missing.
    if resource.storage == "daemonsets.apps" and (
        obj["spec"].get("template") != old["spec"]["template"]
    ):
        notes = obj["metadata"].setdefault("annotations", {})
        # The deprecated counter of templates, which kubectl still shows.
        notes[TEMPLATE_GENERATION] = str(int(get_annotations(old).get(TEMPLATE_GENERATION, 1)) + 1)
    if resource.storage == "jobs.batch":
        obj["spec"].setdefault("selector", old["spec"]["selector"])
    if resource.storage == "namespaces":
        obj["spec"] = old.get("spec", {})
    if resource.storage == "pods":
        for key in ("nodeName", "priority", "preemptionPolicy", "tolerations"):
            if key in old["spec"]:
                obj["spec"].setdefault(key, old["spec"][key])
    if resource.storage in GENERATIONS or resource.custom:
        generation = old["metadata"].get("generation", 1)
        # Only changes of the desired state count, not those of metadata and status.
        obj["metadata"]["generation"] = generation + _counts(resource, obj, old)


def _keep_addresses(spec: Object, before: Object, store: Store, obj: Object) -> None:
    if spec["type"] == "ExternalName":
        return
    # A client that leaves the address out keeps it; it cannot change.
    for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if key in before:
            spec.setdefault(key, before[key])
    ports = {
        (port.get("name"), port["port"]): port.get("nodePort") for port in before.get("ports") or ()
    }
    if spec["type"] in ("NodePort", "LoadBalancer"):
        for port in spec.get("ports") or ():
            node_port = ports.get((port.get("name"), port["port"]))
            if node_port:
                port.setdefault("nodePort", node_port)
    _service(obj, store)


def _counts(resource: Resource, obj: Object, old: Object) -> bool:
    ignored = ("metadata", "status", "kind", "apiVersion")
    if any(obj.get(key) != old.get(key) for key in {*obj, *old} if key not in ignored):
        return True
    annotations = [get_annotations(version) for version in (obj, old)]
    return resource.storage in _ANNOTATED_GENERATIONS and annotations[0] != annotations[1]


def _first_bad_byte(text: str) -> int:
    """Where base64 text breaks off, as Go counts: the first foreign byte, else the last one."""
    for index, letter in enumerate(text):
        if not (letter.isalnum() or letter in "+/="):
            return index
    return max(len(text) - 1, 0)


def convert_input(resource: Resource, obj: Object) -> None:
    """Turn a secret's `stringData` into `data`, in place; 400 when `data` is no base64."""
    if resource.storage != "secrets":
        return
    for value in (obj.get("data") or {}).values():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise bad_request(
                'Secret in version "v1" cannot be handled as a Secret: '
                f"illegal base64 data at input byte {_first_bad_byte(value)}"
            ) from error
    plain = obj.pop("stringData", None)
    if plain:
        obj.setdefault("data", {}).update(
            {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        )
