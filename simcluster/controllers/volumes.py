"""PersistentVolumeClaims: a volume for each, and the protection of what is in use."""

from simcluster import quantity
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.objects import (
    get_annotations,
    get_phase,
    is_finished,
    is_terminating,
)
from simcluster.resources import Object

_CLAIMS = "persistentvolumeclaims"
_VOLUMES = "persistentvolumes"
_PROTECTION = "kubernetes.io/pvc-protection"
_DELAY = 0.5


def reconcile_claim(cluster: Cluster, obj: Object) -> float | None:
    """Bind a claim to a volume, provisioned if need be; release a deleted one without pods."""
    client = Client(cluster, "persistentvolume-binder")
    if is_terminating(obj):
        return _release(cluster, client, obj)
    if get_phase(obj) == "Bound":
        _grow(client, obj)
        return None
    # A provisioner takes its time, and tests want to see Pending.
    if cluster.clock.since(obj["metadata"]["creationTimestamp"]) < _DELAY:
        return _DELAY
    volume = _volume_for(cluster, obj)
    if volume is None:
        storage_class = cluster.object(
            "storageclasses.storage.k8s.io",
            "",
            obj["spec"].get("storageClassName") or "",
        )
        if storage_class is None:
            _report_unbound(client, obj)
            return 15.0
        volume = _provision(client, obj, storage_class)
    _bind(client, obj, volume)
    return None


def _report_unbound(client: Client, obj: Object) -> None:
    class_name = obj["spec"].get("storageClassName")
    if class_name:
        reason = "ProvisioningFailed"
        message = f'storageclass.storage.k8s.io "{class_name}" not found'
    else:
        reason = "FailedBinding"
        message = "no persistent volumes available for this claim and no storage class is set"
    client.event(obj, reason, message, warning=True)


def _requested(obj: Object) -> str:
    resources = obj["spec"].get("resources") or {}
    return str((resources.get("requests") or {}).get("storage") or "0")


def _volume_for(cluster: Cluster, obj: Object) -> Object | None:
    meta = obj["metadata"]
    volume_name = obj["spec"].get("volumeName")
    for record in cluster.store.list(_VOLUMES):
        volume = record.obj
        claim = volume["spec"].get("claimRef")
        if claim:
            # Reserved, by an administrator or by a binding that was interrupted.
            reserved = (claim.get("namespace"), claim.get("name"))
            if reserved == (meta["namespace"], meta["name"]):
                return volume
        elif volume_name:
            if record.name == volume_name:
                return volume
        elif get_phase(volume) in ("Available", "Pending") and _fits(volume, obj):
            return volume
    return None


def _fits(volume: Object, obj: Object) -> bool:
    """Whether class, access modes and size of a volume meet a claim."""
    spec = volume["spec"]
    if (spec.get("storageClassName") or "") != (obj["spec"].get("storageClassName") or ""):
        return False
    if not set(_access_modes(obj)) <= set(_access_modes(volume)):
        return False
    capacity = (spec.get("capacity") or {}).get("storage") or "0"
    return quantity.parse(capacity) >= quantity.parse(_requested(obj))


def _access_modes(obj: Object) -> list[str]:
    """Of a claim or a volume."""
    return list(obj["spec"].get("accessModes") or ())


def _provision(client: Client, obj: Object, storage_class: Object) -> Object:
    name = f"pvc-{obj['metadata']['uid']}"
    spec = {
        "capacity": {"storage": _requested(obj)},
        "accessModes": _access_modes(obj),
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
        "storageClassName": storage_class["metadata"]["name"],
        "hostPath": {
            "path": f"/opt/local-path-provisioner/{name}",
            "type": "DirectoryOrCreate",
        },
    }
    note = {"pv.kubernetes.io/provisioned-by": storage_class["provisioner"]}
    volume = client.create(
        _VOLUMES, {"metadata": {"name": name, "annotations": note}, "spec": spec}
    )
    client.event(obj, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
    return volume


def _bind(client: Client, obj: Object, volume: Object) -> None:
    meta = obj["metadata"]
    reference = {
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "apiVersion": "v1",
    }
    volume["spec"]["claimRef"] = reference
    volume["metadata"]["annotations"] = {
        **get_annotations(volume),
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    volume = client.update(_VOLUMES, volume)
    client.update_status(_VOLUMES, {**volume, "status": {"phase": "Bound"}})
    obj["spec"]["volumeName"] = volume["metadata"]["name"]
    obj["metadata"]["annotations"] = {
        **(meta.get("annotations") or {}),
        "pv.kubernetes.io/bind-completed": "yes",
    }
    obj = client.update(_CLAIMS, obj)
    status = {
        "phase": "Bound",
        "accessModes": _access_modes(volume),
        "capacity": volume["spec"].get("capacity") or {},
    }
    client.update_status(_CLAIMS, {**obj, "status": status})


def _grow(client: Client, obj: Object) -> None:
    have = (obj["status"].get("capacity") or {}).get("storage", "0")
    # Volumes only ever grow.
    if quantity.parse(_requested(obj)) > quantity.parse(have):
        volume = client.get(_VOLUMES, "", obj["spec"]["volumeName"])
        if volume is not None:
            volume["spec"]["capacity"] = {"storage": _requested(obj)}
            client.update(_VOLUMES, volume)
        client.update_status(
            _CLAIMS,
            {
                **obj,
                "status": {
                    **obj["status"],
                    "capacity": {"storage": _requested(obj)},
                },
            },
        )


def _release(cluster: Cluster, client: Client, obj: Object) -> float | None:
    meta = obj["metadata"]
    for record in cluster.store.list("pods", meta["namespace"]):
        pod = record.obj
        used = any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == meta["name"]
            for volume in pod["spec"].get("volumes") or ()
        )
        if used and not is_finished(pod):
            return 1.0
    finalizers = meta.get("finalizers") or ()
    meta["finalizers"] = [name for name in finalizers if name != _PROTECTION]
    client.update(_CLAIMS, obj)
    return None


def reconcile_volume(cluster: Cluster, obj: Object) -> float | None:
    """Available when free; released, and deleted if its policy says so, when its claim is gone."""
    client = Client(cluster, "persistentvolume-binder")
    meta = obj["metadata"]
    claim = obj["spec"].get("claimRef")
    bound = claim and cluster.object(_CLAIMS, claim.get("namespace", ""), claim.get("name", ""))
    # A bound volume waits for its claim to go.
    if meta.get("deletionTimestamp"):
        if not bound:
            meta["finalizers"] = [
                finalizer
                for finalizer in meta.get("finalizers") or ()
                if finalizer != "kubernetes.io/pv-protection"
            ]
            client.update(_VOLUMES, obj)
            return None
        return 1.0
    phase = get_phase(obj)
    if not claim and phase != "Available":
        client.update_status(_VOLUMES, {**obj, "status": {"phase": "Available"}})
    elif claim and not bound and phase == "Bound":
        if obj["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            client.delete(_VOLUMES, obj)
        else:
            client.update_status(_VOLUMES, {**obj, "status": {"phase": "Released"}})
    return None
