"""The columns of volumes, and of what provides them."""

from collections.abc import Mapping
from datetime import datetime

from clusters.manifests import Object
from clusters.tables.columns import (
    AGE,
    NAME,
    Cell,
    Column,
    count_column,
    text_column,
)
from clusters.tables.values import (
    NONE,
    UNSET,
    get,
    mappings_at,
    text_at,
)

# In the order in which they are shown.
ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
# The annotation of old, which wins over the field.
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
DEFAULT_ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _format_modes(obj: Object, path: str) -> str:
    modes = get(obj, path) or ()
    return ",".join(short for mode, short in ACCESS_MODES.items() if mode in modes)


def _phase(obj: Object, now: datetime) -> str:
    if get(obj, "metadata.deletionTimestamp"):
        return "Terminating"
    return text_at(obj, "status.phase")


def _storage_class(obj: Object, now: datetime) -> str:
    annotations = get(obj, "metadata.annotations") or {}
    if CLASS_ANNOTATION in annotations:
        return str(annotations[CLASS_ANNOTATION])
    return text_at(obj, "spec.storageClassName")


def _claim(volume: Object, now: datetime) -> str:
    claim = get(volume, "spec.claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _claim_capacity(claim: Object, now: datetime) -> str:
    # Before a volume is bound, what the status says is not shown.
    if not get(claim, "spec.volumeName"):
        return ""
    return text_at(claim, "status.capacity.storage", "0")


def _claim_modes(claim: Object, now: datetime) -> str:
    return (
        _format_modes(claim, "status.accessModes")
        if get(
            claim,
            "spec.volumeName",
        )
        else ""
    )


def _class_name(obj: Object, now: datetime) -> str:
    annotations = get(obj, "metadata.annotations") or {}
    is_default = any(annotations.get(name) == "true" for name in DEFAULT_ANNOTATIONS)
    name = text_at(obj, "metadata.name")
    return f"{name} (default)" if is_default else name


def _flag_cell(path: str, *, default: bool = False) -> Cell:
    def cell(obj: Object, now: datetime) -> bool:
        value = get(obj, path)
        return default if value is None else bool(value)

    return cell


def _audiences(driver: Object, now: datetime) -> str:
    requests = get(driver, "spec.tokenRequests")
    if requests is None:
        return UNSET
    return ",".join(
        str(
            request.get(
                "audience",
                "",
            )
        )
        for request in mappings_at(driver, "spec.tokenRequests")
    )


STORAGE: Mapping[str, tuple[Column, ...]] = {
    "persistentvolumes": (
        NAME,
        text_column("Capacity", "spec.capacity.storage", "0"),
        Column(
            "Access Modes",
            lambda volume, now: _format_modes(
                volume,
                "spec.accessModes",
            ),
        ),
        text_column(
            "Reclaim Policy",
            "spec.persistentVolumeReclaimPolicy",
        ),
        Column("Status", _phase),
        Column("Claim", _claim),
        Column(
            "StorageClass",
            _storage_class,
            description="StorageClass of the pv",
        ),
        text_column(
            "VolumeAttributesClass",
            "spec.volumeAttributesClassName",
            UNSET,
        ),
        text_column("Reason", "status.reason"),
        AGE,
        text_column("VolumeMode", "spec.volumeMode", UNSET, wide=True),
    ),
    "persistentvolumeclaims": (
        NAME,
        Column("Status", _phase),
        text_column("Volume", "spec.volumeName"),
        Column("Capacity", _claim_capacity),
        Column("Access Modes", _claim_modes),
        Column(
            "StorageClass",
            _storage_class,
            description="StorageClass of the pvc",
        ),
        text_column(
            "VolumeAttributesClass",
            "spec.volumeAttributesClassName",
            UNSET,
        ),
        AGE,
        text_column("VolumeMode", "spec.volumeMode", UNSET, wide=True),
    ),
    "storageclasses.storage.k8s.io": (
        Column(
            "Name",
            _class_name,
            format="name",
            description=NAME.description,
        ),
        text_column("Provisioner", "provisioner"),
        text_column("ReclaimPolicy", "reclaimPolicy", "Delete"),
        text_column(
            "VolumeBindingMode",
            "volumeBindingMode",
            "Immediate",
        ),
        Column(
            "AllowVolumeExpansion",
            _flag_cell("allowVolumeExpansion"),
        ),
        AGE,
    ),
    "volumeattributesclasses.storage.k8s.io": (
        NAME,
        text_column(
            "DriverName",
            "driverName",
        ),
        AGE,
    ),
    "volumeattachments.storage.k8s.io": (
        NAME,
        text_column("Attacher", "spec.attacher"),
        text_column("PV", "spec.source.persistentVolumeName"),
        text_column("Node", "spec.nodeName"),
        Column(
            "Attached",
            _flag_cell("status.attached"),
            type="boolean",
        ),
        AGE,
    ),
    "csidrivers.storage.k8s.io": (
        NAME,
        Column(
            "AttachRequired",
            _flag_cell("spec.attachRequired", default=True),
            type="boolean",
        ),
        Column(
            "PodInfoOnMount",
            _flag_cell("spec.podInfoOnMount"),
            type="boolean",
        ),
        Column(
            "StorageCapacity",
            _flag_cell("spec.storageCapacity"),
            type="boolean",
        ),
        Column("TokenRequests", _audiences),
        Column(
            "RequiresRepublish",
            _flag_cell("spec.requiresRepublish"),
            type="boolean",
        ),
        Column(
            "Modes",
            lambda driver, now: (
                ",".join(
                    get(
                        driver,
                        "spec.volumeLifecycleModes",
                    )
                    or ()
                )
                or NONE
            ),
        ),
        AGE,
    ),
    "csinodes.storage.k8s.io": (
        NAME,
        count_column(
            "Drivers",
            "spec.drivers",
        ),
        AGE,
    ),
    "csistoragecapacities.storage.k8s.io": (
        NAME,
        text_column("StorageClassName", "storageClassName"),
        text_column("Capacity", "capacity", UNSET),
    ),
    "runtimeclasses.node.k8s.io": (
        NAME,
        text_column(
            "Handler",
            "handler",
        ),
        AGE,
    ),
}
