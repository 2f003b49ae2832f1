"""Defaults that the API server writes into built-in kinds on every write."""

from collections.abc import Callable
from typing import Any

from simcluster.resources import Object, Resource

Defaulter = Callable[[Object], None]
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
# Fields of status conditions that are written as null when they are not set.
_NULLS = {
    "pods": ("lastProbeTime", "lastTransitionTime"),
    "nodes": ("lastHeartbeatTime", "lastTransitionTime"),
}
# Fields of objects that are written when they are not set.
_UNSET: dict[tuple[str, str], dict[str, Any]] = {
    ("", "events"): {
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    },
    ("events.k8s.io", "events"): {
        "eventTime": None,
        "deprecatedSource": {},
        "deprecatedFirstTimestamp": None,
        "deprecatedLastTimestamp": None,
    },
    ("rbac.authorization.k8s.io", "roles"): {"rules": None},
    ("rbac.authorization.k8s.io", "clusterroles"): {"rules": None},
    ("discovery.k8s.io", "endpointslices"): {"endpoints": None, "ports": None},
}


def _fill(target: Object, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _tag(image: str) -> str:
    if "@" in image:
        # An image by digest never changes, so it has no tag to default.
        return "@"
    # The colon of a registry's port is not that of the tag.
    last = image.rpartition("/")[2]
    return last.partition(":")[2] or "latest"


def container(spec: Object) -> None:
    """Defaults of one container."""
    for port in spec.get("ports") or ():
        _fill(port, protocol="TCP")
    _fill(
        spec,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    _fill(
        spec,
        imagePullPolicy="Always" if _tag(spec.get("image", "")) == "latest" else "IfNotPresent",
    )
    limits = spec["resources"].get("limits") or {}
    if limits:
        # A limit without a request is also the request.
        requests = spec["resources"].setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in spec:
            _probe(spec[probe])
    for variable in spec.get("env") or ():
        _references(variable.get("valueFrom") or {})


def _references(holder: Object) -> None:
    """Defaults of what the downward API is asked for."""
    if holder.get("fieldRef") is not None:
        _fill(holder["fieldRef"], apiVersion="v1")
    if holder.get("resourceFieldRef") is not None:
        _fill(holder["resourceFieldRef"], divisor="0")


def _probe(probe: Object) -> None:
    if "httpGet" in probe:
        _fill(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        _fill(probe["grpc"], service="")
    _fill(
        probe,
        timeoutSeconds=1,
        periodSeconds=10,
        successThreshold=1,
        failureThreshold=3,
    )


def _volume(volume: Object) -> None:
    for source in ("secret", "configMap", "projected", "downwardAPI"):
        if source in volume:
            _fill(volume[source], defaultMode=420)
    if "hostPath" in volume:
        _fill(volume["hostPath"], type="")
    for source in [
        volume,
        *((volume.get("projected") or {}).get("sources") or ()),
    ]:
        if "serviceAccountToken" in source:
            _fill(source["serviceAccountToken"], expirationSeconds=3600)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _references(item)
    # Only a name: such a volume is an emptyDir.
    if len(volume) == 1:
        volume["emptyDir"] = {}


def pod_spec(spec: Object) -> None:
    """Defaults of a pod's spec, in a pod and in a template alike."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container_spec in spec.get(field) or ():
            container(container_spec)
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
    )
    if "serviceAccountName" in spec or "serviceAccount" in spec:
        # The two names are one field: the short one is deprecated, and the server mirrors it.
        _fill(spec, serviceAccountName=spec.get("serviceAccount"))
        _fill(spec, serviceAccount=spec["serviceAccountName"])
    _fill(spec, securityContext={}, schedulerName="default-scheduler")
    for volume in spec.get("volumes") or ():
        _volume(volume)
    if spec.get("hostNetwork"):
        for container_spec in spec.get("containers") or ():
            for port in container_spec.get("ports") or ():
                # In the host's network both ports are the same.
                _fill(port, hostPort=port.get("containerPort"))


def _template(holder: Object) -> None:
    template = holder.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        # Go's zero time, which older kubectl writes into templates, is not stored.
        template["metadata"].pop("creationTimestamp", None)
        pod_spec(template.setdefault("spec", {}))


def _pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    _fill(spec, enableServiceLinks=True)


def _deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _template(spec)
    strategy = spec.setdefault("strategy", {})
    _fill(spec, replicas=1)
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(
            strategy.setdefault("rollingUpdate", {}),
            maxUnavailable="25%",
            maxSurge="25%",
        )
    _fill(spec, revisionHistoryLimit=10, progressDeadlineSeconds=600)


def _replica_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, replicas=1)
    _template(spec)
    if obj["kind"] == "ReplicationController":
        labels = spec.get("template", {}).get("metadata", {}).get("labels")
        # The oldest workload kind selects by its template's labels.
        if labels:
            _fill(spec, selector=dict(labels))


def _stateful_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _template(spec)
    _fill(
        spec,
        replicas=1,
        podManagementPolicy="OrderedReady",
        revisionHistoryLimit=10,
    )
    update = spec.setdefault("updateStrategy", {})
    _fill(update, type="RollingUpdate")
    if update["type"] == "RollingUpdate":
        _fill(update.setdefault("rollingUpdate", {}), partition=0)
    _fill(
        spec,
        persistentVolumeClaimRetentionPolicy={
            "whenDeleted": "Retain",
            "whenScaled": "Retain",
        },
    )
    for claim in spec.get("volumeClaimTemplates") or ():
        _fill(claim, kind="PersistentVolumeClaim", apiVersion="v1")
        _claim(claim)
        _fill(claim, status={"phase": "Pending"})


def _daemon_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _template(spec)
    update = spec.setdefault("updateStrategy", {})
    _fill(update, type="RollingUpdate")
    if update["type"] == "RollingUpdate":
        _fill(update.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    _fill(spec, revisionHistoryLimit=10)
    _fill(
        obj["metadata"].setdefault("annotations", {}),
        **{TEMPLATE_GENERATION: "1"},
    )


def _job_spec(spec: Object) -> None:
    _template(spec)


def _job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _job_spec(spec)
    # With parallelism alone it is a work queue: any success completes it.
    if "completions" not in spec and "parallelism" not in spec:
        _fill(spec, completions=1)
    _fill(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
    )
    _fill(
        spec,
        podReplacementPolicy="Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed",
    )


def _cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _fill(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    template = spec.setdefault("jobTemplate", {})
    template.setdefault("metadata", {})
    _job_spec(template.setdefault("spec", {}))


def _service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _fill(spec, sessionAffinity="None", type="ClusterIP")
    for port in spec.get("ports") or ():
        _fill(port, protocol="TCP", targetPort=port.get("port"))
    if spec["sessionAffinity"] == "ClientIP":
        _fill(spec, sessionAffinityConfig={"clientIP": {"timeoutSeconds": 10800}})
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _fill(spec, allocateLoadBalancerNodePorts=True)


def _claim(obj: Object) -> None:
    _fill(obj.setdefault("spec", {}), volumeMode="Filesystem")


def _node(obj: Object) -> None:
    # The API server writes a Node's spec even when it is empty, and controllers read it.
    obj.setdefault("spec", {})


def _volume_object(obj: Object) -> None:
    _fill(
        obj.setdefault("spec", {}),
        persistentVolumeReclaimPolicy="Retain",
        volumeMode="Filesystem",
    )


def _storage_class(obj: Object) -> None:
    _fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _namespace(obj: Object) -> None:
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {
        **labels,
        "kubernetes.io/metadata.name": obj["metadata"].get("name", ""),
    }


def _secret(obj: Object) -> None:
    _fill(obj, type="Opaque")


def _limit_range(obj: Object) -> None:
    for limit in obj.setdefault("spec", {}).get("limits") or ():
        if limit.get("type") != "Container":
            continue
        for name, amount in (limit.get("max") or {}).items():
            limit.setdefault("default", {}).setdefault(name, amount)
        for source in ("default", "min"):
            for name, amount in (limit.get(source) or {}).items():
                limit.setdefault("defaultRequest", {}).setdefault(name, amount)


def _autoscaler(obj: Object) -> None:
    _fill(obj.setdefault("spec", {}), minReplicas=1)


def _binding(obj: Object) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        _fill(reference, apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, apiGroup="rbac.authorization.k8s.io")


def _network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            _fill(port, protocol="TCP")
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        _fill(port, name="", protocol="TCP")


def _endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            _fill(port, protocol="TCP")


def _definition(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = str(names.get("kind", ""))
    _fill(names, singular=kind.lower(), listKind=f"{kind}List")
    _fill(spec, conversion={"strategy": "None"})


TABLE: dict[str, Defaulter] = {
    "pods": _pod,
    "podtemplates": _template,
    "replicationcontrollers": _replica_set,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "services": _service,
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _slice,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume_object,
    "storageclasses.storage.k8s.io": _storage_class,
    "namespaces": _namespace,
    "nodes": _node,
    "secrets": _secret,
    "limitranges": _limit_range,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "networkpolicies.networking.k8s.io": _network_policy,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}


def write_nulls(resource: Resource, obj: Object) -> None:
    """The nulls and zeros that the API server shows for fields that are not set, in place."""
    _fill(obj, **_UNSET.get((resource.group, resource.plural), {}))
    for condition in (obj.get("status") or {}).get("conditions") or ():
        _fill(condition, **dict.fromkeys(_NULLS.get(resource.storage, ())))


def apply(resource: Resource, obj: Object) -> None:
    """Fill in what the writer left out, in place."""
    defaulter = TABLE.get(resource.storage)
    if defaulter is not None:
        defaulter(obj)
