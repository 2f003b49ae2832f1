"""Objects of a cluster as manifests for another one: without what the cluster filled in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.manifest_text import VOLATILE_FIELDS, editable_object
from clusters.manifests import Object, to_yaml
from clusters.models import Cluster
from clusters.wire import Chunk
from core.errors import Invalid
from workloads.manifests.order import kind_place

# What an export without `kinds` holds: what people make in a namespace, not what controllers make.
DEFAULT_KINDS = (
    "configmaps",
    "secrets",
    "serviceaccounts",
    "roles",
    "rolebindings",
    "persistentvolumeclaims",
    "services",
    "deployments",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "ingresses",
    "networkpolicies",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "resourcequotas",
    "limitranges",
)
MAX_EXPORTED = 5000
# Objects that are named are read one by one.
MAX_NAMED = 1000
MAX_EXPORTED_BYTES = 32 * 1024 * 1024
EXPORT_CHUNK = 50
# Filled in by the API server, whatever the kind.
SERVER_METADATA = (
    *VOLATILE_FIELDS,
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "ownerReferences",
)
# Finalizers that Kubernetes' own controllers add.
OWN_FINALIZERS = ("kubernetes.io/pvc-protection", "kubernetes.io/pv-protection", "kubernetes")
# Annotations that they keep.
OWN_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "batch.kubernetes.io/job-tracking",
)
JOB_LABELS = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)
SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105  # a Secret's type
HELM_RELEASE = "helm.sh/release.v1"
TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  # how the API server names the volume
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path
# Admission adds these two to every pod.
DEFAULT_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def read_objects(
    cluster: Cluster, places: Iterable[tuple[Kind, str]], *, selector: str = ""
) -> list[Object]:
    """The objects that people made, of each (kind, namespace), "" being all; not yet cleaned.

    Left out is what another object owns and what Kubernetes makes in every namespace. Invalid for
    more than MAX_EXPORTED.
    """
    client = registry.client(cluster)
    objects: list[Object] = []
    size = 0

    def read(kind: Kind, chunks: Iterator[Chunk]) -> tuple[list[Object], int]:
        # A list that expired is read again, so nothing is counted before its end.
        listed: list[Object] = []
        listed_size = 0
        for chunk in chunks:
            for raw in map(bytes, chunk.items or []):
                # Items of a list do not say what they are.
                obj = {"apiVersion": kind.api_version, "kind": kind.name, **orjson.loads(raw)}
                if not is_generated(obj):
                    listed.append(obj)
                    listed_size += len(raw)
            _check_limits(len(objects) + len(listed), size + listed_size)
        return listed, listed_size

    for kind, namespace in places:
        listed, listed_size = client.read_list(
            partial(read, kind),
            kind,
            namespace=namespace or None,
            # A ConfigMap may have a megabyte.
            limit=EXPORT_CHUNK,
            query={"labelSelector": selector},
        )
        objects += listed
        size += listed_size
    return sorted(objects, key=_export_place)


def read_named(cluster: Cluster, kind: Kind, namespace: str, names: Sequence[str]) -> list[Object]:
    """Exactly these objects of a kind, also those that another object owns; not yet cleaned.

    NotFound for the first that does not exist, Invalid for more than MAX_NAMED.
    """
    unique = list(dict.fromkeys(names))
    if len(unique) > MAX_NAMED:
        raise Invalid(f"at most {MAX_NAMED} names", field="names")
    client = registry.client(cluster)
    objects: list[Object] = []
    size = 0
    for name in unique:
        raw = client.get(kind, name, namespace=namespace or None)
        size += len(raw)
        _check_limits(len(objects) + 1, size)
        objects.append({"apiVersion": kind.api_version, "kind": kind.name, **orjson.loads(raw)})
    return sorted(objects, key=_export_place)


def _check_limits(count: int, size: int) -> None:
    if count > MAX_EXPORTED or size > MAX_EXPORTED_BYTES:
        raise Invalid(
            f"more than {MAX_EXPORTED} objects or {MAX_EXPORTED_BYTES >> 20} MiB;"
            " narrow the kinds or the selector",
            field="kinds",
        )


def _export_place(obj: Object) -> tuple[int, str, str, str]:
    metadata = obj["metadata"]
    return (
        kind_place(obj),
        str(obj["kind"]),
        str(metadata.get("namespace") or ""),
        str(metadata["name"]),
    )


def is_generated(obj: Object) -> bool:
    """Whether a controller made the object, and will make it in any other cluster too."""
    metadata = obj["metadata"]
    if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
        return True
    match obj["kind"]:
        case "ConfigMap":
            return bool(metadata["name"] == "kube-root-ca.crt")
        case "ServiceAccount":
            return bool(metadata["name"] == "default")
        case "Secret":
            # Helm's records describe a release that the target cluster does not have.
            return obj.get("type") in (SERVICE_ACCOUNT_TOKEN, HELM_RELEASE)
        case "Service":
            labels = metadata.get("labels") or {}
            return bool(metadata["name"] == "kubernetes" and labels.get("component") == "apiserver")
        case "Event" | "Endpoints" | "EndpointSlice" | "Lease" | "ControllerRevision":
            return True
    return False


def to_text(objects: Iterable[Object]) -> Iterator[str]:
    """YAML documents of cleaned objects, each with the separator before it."""
    for obj in objects:
        yield "---\n" + to_yaml(clean(obj))


def clean(obj: Object) -> Object:
    """The object as its author would have written it."""
    document = {key: value for key, value in editable_object(obj).items() if key != "status"}
    document["metadata"] = _clean_metadata(document["metadata"])
    # `editable_object` copies the outermost mapping alone; what is changed below is copied first.
    cleaner = CLEANERS.get(str(document.get("kind")))
    return cleaner(document) if cleaner else document


def _clean_metadata(metadata: Mapping[str, Any]) -> Object:
    cleaned = {name: value for name, value in metadata.items() if name not in SERVER_METADATA}
    _filter_member(cleaned, "annotations", OWN_ANNOTATIONS)
    finalizers = [
        name for name in cleaned.pop("finalizers", None) or [] if name not in OWN_FINALIZERS
    ]
    if finalizers:
        cleaned["finalizers"] = finalizers
    return cleaned


def _filter_member(parent: Object, name: str, dropped: Sequence[str]) -> None:
    """A mapping's member without some keys; absent when nothing is left of it."""
    member = parent.pop(name, None)
    if isinstance(member, dict):
        remaining = {key: value for key, value in member.items() if key not in dropped}
        if remaining:
            parent[name] = remaining


# --- by kind --------------------------------------------------------------------------------------
def _without_spec_fields(document: Object, names: Iterable[str]) -> Object:
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return document
    dropped = frozenset(names)
    return {**document, "spec": {key: spec[key] for key in spec if key not in dropped}}


def _clean_service(document: Object) -> Object:
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return document
    dropped = {"clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"}
    if spec.get("clusterIP") != "None":
        # Each cluster hands its own addresses out; a headless service says so itself.
        dropped.add("clusterIP")
    cleaned = {key: value for key, value in spec.items() if key not in dropped}
    if isinstance(cleaned.get("ports"), list):
        cleaned["ports"] = [
            {key: value for key, value in port.items() if key != "nodePort"}
            for port in cleaned["ports"]
        ]
    return {**document, "spec": cleaned}


def _clean_job(document: Object) -> Object:
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return document
    cleaned = dict(spec)
    if not cleaned.get("manualSelector"):
        # The controller selects by the uid of the Job that it was.
        cleaned.pop("selector", None)
        cleaned["template"] = _without_job_labels(cleaned.get("template"))
    metadata = dict(document["metadata"])
    _filter_member(metadata, "labels", JOB_LABELS)
    return {**document, "metadata": metadata, "spec": cleaned}


def _without_job_labels(template: Any) -> Any:
    if not isinstance(template, dict) or not isinstance(template.get("metadata"), dict):
        return template
    metadata = dict(template["metadata"])
    _filter_member(metadata, "labels", JOB_LABELS)
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": metadata}


def _clean_claim(document: Object) -> Object:
    return _without_spec_fields(document, ["volumeName"])


def _clean_volume(document: Object) -> Object:
    return _without_spec_fields(document, ["claimRef"])


def _clean_namespace(document: Object) -> Object:
    metadata = dict(document["metadata"])
    _filter_member(metadata, "labels", ["kubernetes.io/metadata.name"])
    cleaned = _without_spec_fields({**document, "metadata": metadata}, ["finalizers"])
    return {key: value for key, value in cleaned.items() if key != "spec" or value}


def _clean_service_account(document: Object) -> Object:
    # Token Secrets of clusters before 1.24.
    return {key: value for key, value in document.items() if key != "secrets"}


def _clean_pod(document: Object) -> Object:
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return document
    cleaned = {key: value for key, value in spec.items() if key not in ("nodeName", "priority")}
    _keep_if_any(cleaned, "volumes", lambda volume: not _is_token_volume(volume))
    _keep_if_any(
        cleaned,
        "tolerations",
        lambda toleration: toleration.get("key") not in DEFAULT_TOLERATIONS,
    )
    for name in ("containers", "initContainers"):
        if isinstance(cleaned.get(name), list):
            cleaned[name] = [_without_token_mount(container) for container in cleaned[name]]
    # What the pod ran in to be looked at is no part of it.
    cleaned.pop("ephemeralContainers", None)
    return {**document, "spec": cleaned}


def _is_token_volume(volume: Mapping[str, Any]) -> bool:
    return str(volume.get("name") or "").startswith(TOKEN_VOLUME)


def _without_token_mount(container: Object) -> Object:
    cleaned = dict(container)
    _keep_if_any(
        cleaned,
        "volumeMounts",
        lambda mount: not str(mount.get("name") or "").startswith(TOKEN_VOLUME),
    )
    return cleaned


def _keep_if_any(parent: Object, name: str, test: Callable[[Mapping[str, Any]], bool]) -> None:
    """The elements of a list that pass; the member is absent when none does."""
    elements = parent.pop(name, None)
    if isinstance(elements, list):
        remaining = [element for element in elements if test(element)]
        if remaining:
            parent[name] = remaining


CLEANERS: Mapping[str, Callable[[Object], Object]] = {
    "Job": _clean_job,
    "Namespace": _clean_namespace,
    "PersistentVolume": _clean_volume,
    "PersistentVolumeClaim": _clean_claim,
    "Pod": _clean_pod,
    "Service": _clean_service,
    "ServiceAccount": _clean_service_account,
}


def default_kinds() -> list[Kind]:
    """The kinds of DEFAULT_KINDS."""
    return [KINDS[plural] for plural in DEFAULT_KINDS]
