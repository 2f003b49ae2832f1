"""Which ConfigMaps, Secrets and PersistentVolumeClaims something in a cluster refers to.

Kubernetes' own kinds are read by their fields. Of custom kinds, annotations and command lines
nobody can tell which text is a name: every text in them that could be one counts. When in doubt an
object is used.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from automation.cluster_objects import ClusterObjects, Namespaces
from automation.inspection.facts import elements, mapping
from automation.inspection.pod_specs import template_of
from clusters import dns_names, registry
from clusters.kinds import KINDS, Kind, custom_kind
from clusters.manifests import LAST_APPLIED, Object
from clusters.models import Cluster
from clusters.resource_types import BUILT_IN
from core.api.attributes import AccessAttributes, Scope
from core.errors import ClusterUnavailable, DomainError, Invalid, NotFound
from workloads.objects.discovery import served_resources

# Their pods are made from a template, which refers to what the pods will need.
WITH_TEMPLATES = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "jobs",
    "cronjobs",
)
# Other kinds whose objects name some of the three.
OTHERS = (
    "serviceaccounts",
    "ingresses",
    "persistentvolumeclaims",
    "roles",
    "services",
)
CLUSTER_WIDE = ("persistentvolumes", "storageclasses", "clusterroles")
# Texts that are longer are no names, but may hold some.
MAX_TEXT = 64 * 1024
MAX_MENTIONS = 200_000
_TOKEN_SPLIT = re.compile(r"[^-.a-z0-9]+")


@dataclass(slots=True)
class References:
    """What is referred to in one namespace: names by kind, and texts that may be any name."""

    names: dict[str, set[str]] = field(default_factory=dict)
    mentions: set[str] = field(default_factory=set)
    # Prefixes of claims that a StatefulSet makes or will make again: `data-web-`.
    claim_prefixes: set[str] = field(default_factory=set)

    def add(self, kind: str, name: object) -> None:
        """Note a name of a kind (its plural); anything but a text is no name."""
        if isinstance(name, str) and name:
            self.names.setdefault(kind, set()).add(name)

    def is_used(self, kind: str, name: str) -> bool:
        """Whether something may need the object."""
        if name in self.names.get(kind, ()) or name in self.mentions:
            return True
        # StatefulSets number their claims.
        prefix, _, ordinal = name.rpartition("-")
        is_numbered = ordinal.isascii() and ordinal.isdigit()
        return kind == "persistentvolumeclaims" and is_numbered and prefix in self.claim_prefixes


@dataclass(slots=True)
class ClusterReferences:
    """References by namespace; `elsewhere` are texts of objects that may name any namespace's."""

    by_namespace: dict[str, References] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)

    def of(self, namespace: str) -> References:
        """Those of one namespace, which may be empty."""
        return self.by_namespace.setdefault(namespace, References())

    def is_used(
        self,
        kind: str,
        namespace: str,
        name: str,
    ) -> bool:
        """Whether something may need the object."""
        return name in self.elsewhere or self.of(namespace).is_used(kind, name)


def _as_platform(_act: AccessAttributes) -> Scope:
    """No right is asked for: nothing of what is read is ever shown."""
    return Scope()


def collect(
    cluster: Cluster,
    namespaces: Namespaces = None,
    *,
    live: bool = False,
) -> ClusterReferences:
    """Everything that is referred to in the namespaces, None being all.

    Read with the cluster's own credentials. Raises when a kind cannot be read: then nobody knows
    what is used.
    """
    references = ClusterReferences()
    reader = ClusterObjects(
        cluster,
        _as_platform,
        namespaces,
        live=live,
    )
    for pod in reader.read(KINDS["pods"]):
        # A pod that is over mounts nothing any more.
        if mapping(pod, "status").get("phase") not in ("Succeeded", "Failed"):
            _note(references, pod)
    for plural in (*WITH_TEMPLATES, *OTHERS):
        for obj in reader.read(KINDS[plural]):
            _note(references, obj)
    for plural in CLUSTER_WIDE:
        for obj in reader.read(KINDS[plural]):
            # A volume names the claim that it is bound to, which is no use of the claim.
            mapping(obj, "spec").pop("claimRef", None)
            references.elsewhere.update(_words(obj))
            _require_bounded(references.elsewhere)
    # Custom objects may name those of other namespaces, so that all of them are read.
    everywhere = ClusterObjects(
        cluster,
        _as_platform,
        live=live,
    )
    for kind in custom_kinds(cluster):
        for obj in everywhere.read(kind):
            references.elsewhere.update(_words(obj))
            _require_bounded(references.elsewhere)
    return references


def _require_bounded(mentions: set[str]) -> None:
    if len(mentions) > MAX_MENTIONS:
        raise Invalid("the cluster has too many objects to tell what is used")


def custom_kinds(cluster: Cluster) -> list[Kind]:
    """The kinds that others than Kubernetes itself define and that can be listed.

    ClusterUnavailable when a group does not answer.
    """
    groups = orjson.loads(registry.client(cluster).request("GET", "/apis"))
    kinds: list[Kind] = []
    for group in groups.get("groups") or []:
        name = str(group.get("name") or "")
        version = str(mapping(group, "preferredVersion").get("version") or "")
        # Metrics are about objects and name nothing else.
        if name in BUILT_IN or name.endswith("metrics.k8s.io"):
            continue
        kinds += _kinds_of_group(cluster, name, version)
    return kinds


def _kinds_of_group(
    cluster: Cluster,
    group: str,
    version: str,
) -> Iterator[Kind]:
    try:
        resources = served_resources(cluster, group, version)
    except NotFound:
        return
    except DomainError as error:
        raise ClusterUnavailable(
            f"the API group {group} does not answer, so what its objects use is not clear:"
            f" {error.message}"
        ) from None
    for resource in resources:
        if "list" in (resource.get("verbs") or []):
            yield custom_kind(
                group,
                version,
                str(resource["name"]),
                name=str(resource["kind"]),
                namespaced=bool(resource["namespaced"]),
            )


# --- fields ---------------------------------------------------------------------------------------
def _note(references: ClusterReferences, obj: Object) -> None:
    metadata = obj["metadata"]
    place = references.of(str(metadata.get("namespace") or ""))
    annotations = {
        name: value
        for name, value in mapping(metadata, "annotations").items()
        if name != LAST_APPLIED
    }
    place.mentions.update(_words(annotations))
    match obj["kind"]:
        case "Pod" | "Deployment" | "DaemonSet" | "ReplicaSet" | "Job" | "CronJob":
            _note_template(place, template_of(obj))
        case "StatefulSet":
            _note_template(place, template_of(obj))
            _note_claim_templates(place, obj)
        case "ServiceAccount":
            for name in ("secrets", "imagePullSecrets"):
                for reference in elements(obj, name):
                    place.add("secrets", reference.get("name"))
        case "Ingress":
            for entry in elements(mapping(obj, "spec"), "tls"):
                place.add("secrets", entry.get("secretName"))
        case "PersistentVolumeClaim":
            _note_source(place, mapping(obj, "spec"))
        case "Role":
            # Somebody may read exactly this object.
            for rule in elements(obj, "rules"):
                place.mentions.update(_words(rule.get("resourceNames")))
    _require_bounded(place.mentions)


def _note_claim_templates(place: References, stateful_set: Object) -> None:
    for template in elements(mapping(stateful_set, "spec"), "volumeClaimTemplates"):
        name = mapping(template, "metadata").get("name")
        place.claim_prefixes.add(f"{name}-{stateful_set['metadata']['name']}")


def _note_source(place: References, spec: Mapping[str, Any]) -> None:
    """A claim that is being cloned from another."""
    for name in ("dataSource", "dataSourceRef"):
        source = mapping(spec, name)
        if source.get("kind") == "PersistentVolumeClaim":
            place.add("persistentvolumeclaims", source.get("name"))


def _note_template(place: References, template: Mapping[str, Any]) -> None:
    place.mentions.update(
        _words(
            mapping(
                mapping(template, "metadata"),
                "annotations",
            )
        )
    )
    spec = mapping(template, "spec")
    for reference in elements(spec, "imagePullSecrets"):
        place.add("secrets", reference.get("name"))
    for volume in elements(spec, "volumes"):
        _note_volume(place, volume)
    for member in ("containers", "initContainers", "ephemeralContainers"):
        for container in elements(spec, member):
            _note_container(place, container)


def _note_volume(place: References, volume: Mapping[str, Any]) -> None:
    place.add("configmaps", mapping(volume, "configMap").get("name"))
    place.add("secrets", mapping(volume, "secret").get("secretName"))
    place.add(
        "persistentvolumeclaims",
        mapping(volume, "persistentVolumeClaim").get("claimName"),
    )
    for source in elements(mapping(volume, "projected"), "sources"):
        place.add("configmaps", mapping(source, "configMap").get("name"))
        place.add("secrets", mapping(source, "secret").get("name"))
    # CSI, CephFS, RBD and the like name a Secret in members of different names.
    for value in volume.values():
        if isinstance(value, dict):
            for name in ("secretRef", "nodePublishSecretRef"):
                place.add("secrets", mapping(value, name).get("name"))
            place.add("secrets", value.get("secretName"))


def _note_container(place: References, container: Mapping[str, Any]) -> None:
    for source in elements(container, "envFrom"):
        place.add("configmaps", mapping(source, "configMapRef").get("name"))
        place.add("secrets", mapping(source, "secretRef").get("name"))
    for variable in elements(container, "env"):
        origin = mapping(variable, "valueFrom")
        place.add("configmaps", mapping(origin, "configMapKeyRef").get("name"))
        place.add("secrets", mapping(origin, "secretKeyRef").get("name"))
        # Controllers are often told the name of their configuration so.
        place.mentions.update(_words(variable.get("value")))
    place.mentions.update(_words([container.get("command"), container.get("args")]))


def _words(value: object) -> Iterable[str]:
    """Every text in a JSON value that could be an object's name, and such parts of texts."""
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, dict):
            stack += current.values()
        elif isinstance(current, list):
            stack += current
        elif isinstance(current, str) and len(current) <= MAX_TEXT:
            for word in _TOKEN_SPLIT.split(current):
                if dns_names.SUBDOMAIN.match(word):
                    yield word
