"""Service: Endpoints and EndpointSlice of the selected pods, and a load balancer's address."""

from simcluster import clock
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.objects import is_terminating
from simcluster.resources import Object
from simcluster.selectors import selector_test

_SLICES = "endpointslices.discovery.k8s.io"
_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Bring both in line."""
    if is_terminating(obj):
        return None
    _balance(cluster, obj)
    selector = obj["spec"].get("selector")
    # Endpoints without a selector are written by hand, and must be left alone.
    if not selector:
        return None
    test = selector_test({"matchLabels": selector})
    records = cluster.store.list("pods", obj["metadata"]["namespace"])
    chosen = [
        pod
        for record in records
        if test(record.labels) and (pod := record.obj)["status"].get("podIP")
    ]
    # The address of a finished pod may belong to another one already.
    chosen = [pod for pod in chosen if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    _write_endpoints(cluster, obj, chosen)
    _write_slice(cluster, obj, chosen)
    return None


def _balance(cluster: Cluster, obj: Object) -> None:
    if obj["spec"].get("type") != "LoadBalancer" or (obj["status"].get("loadBalancer") or {}).get(
        "ingress"
    ):
        return
    # TEST-NET-3, which is routed nowhere; the cluster IP makes it unique.
    last = int(obj["spec"]["clusterIP"].rpartition(".")[2])
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": f"203.0.113.{last}", "ipMode": "VIP"}]}}
    Client(cluster, "service-controller").update_status("services", obj)


def _port_number(pod: Object, port: Object) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for container_port in container.get("ports") or ():
            if container_port.get("name") == target:
                return int(container_port["containerPort"])
    return None


def _ports(obj: Object, chosen: list[Object]) -> list[Object]:
    ports = []
    for port in obj["spec"].get("ports") or ():
        number = port.get("targetPort")
        if chosen:
            number = _port_number(chosen[0], port)
        # Without a pod there is no container whose port could bear the name.
        if isinstance(number, int):
            endpoint_port = {
                "port": number,
                "protocol": port.get("protocol", "TCP"),
            }
            if port.get("name"):
                endpoint_port = {"name": port["name"], **endpoint_port}
            ports.append(endpoint_port)
    return ports


def _reference(pod: Object) -> Object:
    meta = pod["metadata"]
    return {
        "kind": "Pod",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }


def _write_endpoints(cluster: Cluster, obj: Object, chosen: list[Object]) -> None:
    # Endpoints drop a terminating pod; slices keep it with its condition.
    live = [pod for pod in chosen if not is_terminating(pod)]
    subset: Object = {}
    for key, ready in (("addresses", True), ("notReadyAddresses", False)):
        listed = [_address(pod) for pod in live if pods.is_ready(pod) is ready]
        if listed:
            subset[key] = listed
    ports = _ports(obj, live)
    if subset and ports:
        subset["ports"] = ports
    subsets = [subset] if subset else []
    meta = obj["metadata"]
    client = Client(cluster, "kube-controller-manager")
    old = client.get("endpoints", meta["namespace"], meta["name"])
    labels = {
        **(meta.get("labels") or {}),
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    if obj["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    if (
        old is not None
        and (old.get("subsets") or []) == subsets
        and old["metadata"].get("labels") == labels
    ):
        return
    body: Object = {
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": labels,
        }
    }
    body["metadata"]["annotations"] = {_TRIGGER: clock.timestamp()}
    body |= {"subsets": subsets} if subsets else {}
    if old is None:
        client.create("endpoints", body)
    else:
        client.update(
            "endpoints",
            {
                **{key: value for key, value in old.items() if key != "subsets"},
                **body,
                "metadata": {**old["metadata"], **body["metadata"]},
            },
        )


def _address(pod: Object) -> Object:
    return {
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": _reference(pod),
    }


def _write_slice(cluster: Cluster, obj: Object, chosen: list[Object]) -> None:
    client = Client(cluster, "kube-controller-manager")
    meta = obj["metadata"]
    body: Object = {
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in chosen],
    }
    body["ports"] = [
        {
            "name": port.get("name", ""),
            "protocol": port["protocol"],
            "port": port["port"],
        }
        for port in _ports(obj, chosen)
    ]
    labels = {
        **(meta.get("labels") or {}),
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": meta["name"],
    }
    old = next(iter(client.owned(_SLICES, obj)), None)
    note = {_TRIGGER: clock.timestamp()}
    if old is None:
        slice_meta = {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": note,
        }
        slice_meta["ownerReferences"] = [pods.owner_reference(obj)]
        client.create(_SLICES, {"metadata": slice_meta, **body})
    elif (
        any(old.get(key) != value for key, value in body.items())
        or old["metadata"].get("labels") != labels
    ):
        client.update(
            _SLICES,
            {
                **old,
                **body,
                "metadata": {
                    **old["metadata"],
                    "labels": labels,
                    "annotations": note,
                },
            },
        )


def _endpoint(pod: Object) -> Object:
    leaving = is_terminating(pod)
    ready = pods.is_ready(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": ready and not leaving,
            "serving": ready,
            "terminating": leaving,
        },
        "targetRef": _reference(pod),
        "nodeName": pod["spec"]["nodeName"],
    }
