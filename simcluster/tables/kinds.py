"""The columns of each built-in kind."""

from typing import Any

from simcluster import clock
from simcluster.objects import (
    controller_reference,
    get_annotations,
    get_conditions,
    is_terminating,
)
from simcluster.resources import Object
from simcluster.selectors import selector_text
from simcluster.tables.cells import (
    NONE,
    UNKNOWN,
    Column,
    age,
    age_of,
    containers,
    duration,
    field_reader,
    images,
    pod_ready,
    pod_restarts,
    pod_status,
)

NAME = Column("Name", lambda obj: obj["metadata"]["name"])
AGE = Column("Age", age)
CREATED = Column("Created At", lambda obj: obj["metadata"]["creationTimestamp"])
DEFAULT = (NAME, Column("Age", age))
_CONTAINERS = Column(
    "Containers",
    containers("spec.template"),
    1,
    description="Names of each container in the template.",
)
_IMAGES = Column(
    "Images",
    images("spec.template"),
    1,
    description="Images referenced by each container in the template.",
)


def _selector(path: str = "spec.selector") -> Column:
    return Column("Selector", lambda obj: selector_text(field_reader(path, {})(obj)), 1)


def _wide() -> tuple[Column, ...]:
    return _CONTAINERS, _IMAGES, _selector()


def _count(path: str) -> Any:
    return field_reader(path, 0)


def _deployment_ready(obj: Object) -> str:
    return f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"


def _node_status(obj: Object) -> str:
    conditions = {condition["type"]: condition["status"] for condition in get_conditions(obj)}
    # A status Unknown is the kubelet's silence, which kubectl calls NotReady.
    ready = {"True": "Ready", "False": "NotReady"}.get(
        conditions.get("Ready", ""), "Unknown" if not conditions else "NotReady"
    )
    return ready + (",SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else "")


def _node_roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    return (
        ",".join(
            sorted(
                key.removeprefix(prefix)
                for key in obj["metadata"].get("labels") or {}
                if key.startswith(prefix)
            )
        )
        or NONE
    )


def _address(kind: str) -> Any:
    return lambda obj: next(
        (
            address["address"]
            for address in obj.get("status", {}).get("addresses") or ()
            if address["type"] == kind
        ),
        NONE,
    )


def _info(name: str) -> Any:
    return field_reader(f"status.nodeInfo.{name}", UNKNOWN)


def _kernel(obj: Object) -> str:
    info = obj.get("status", {}).get("nodeInfo") or {}
    return f"{info.get('kernelVersion', UNKNOWN)} ({info.get('architecture', UNKNOWN)})"


def _ports(obj: Object) -> str:
    texts = []
    for port in obj["spec"].get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def _external(obj: Object) -> str:
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    if spec.get("type") == "LoadBalancer":
        ingress = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
        return (
            ",".join(address.get("ip") or address.get("hostname", "") for address in ingress)
            or "<pending>"
        )
    return ",".join(spec.get("externalIPs") or ()) or NONE


def _endpoints(obj: Object) -> str:
    texts = [
        f"{address['ip']}:{port['port']}"
        for part in obj.get("subsets") or ()
        for address in part.get("addresses") or ()
        for port in part.get("ports") or ()
    ]
    # kubectl's own limit and wording.
    return ",".join(texts[:3]) + (f" + {len(texts) - 3} more..." if len(texts) > 3 else "") or NONE


def _slice_ports(obj: Object) -> str:
    return ",".join(str(port.get("port")) for port in obj.get("ports") or ()) or "<unset>"


def _slice_addresses(obj: Object) -> str:
    addresses = [
        address for endpoint in obj.get("endpoints") or () for address in endpoint["addresses"]
    ]
    return (
        ",".join(addresses[:3]) + (f" + {len(addresses) - 3} more..." if len(addresses) > 3 else "")
        or "<unset>"
    )


def _modes(path: str) -> Any:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    return lambda obj: ",".join(short.get(mode, mode) for mode in field_reader(path, [])(obj))


def _job_state(obj: Object) -> str:
    for condition in get_conditions(obj):
        if condition["status"] == "True" and condition["type"] in (
            "Complete",
            "Failed",
            "Suspended",
        ):
            return str(condition["type"])
    # A Job without a final condition runs, even while it has no pod.
    return "Terminating" if is_terminating(obj) else "Running"


def _job_duration(obj: Object) -> str:
    status = obj.get("status", {})
    if not status.get("startTime"):
        return ""
    if status.get("completionTime"):
        return duration(
            (
                clock.parse(status["completionTime"]) - clock.parse(status["startTime"])
            ).total_seconds()
        )
    return age_of(status["startTime"])


def _job_completions(obj: Object) -> str:
    done = obj.get("status", {}).get("succeeded", 0)
    spec = obj["spec"]
    return (
        f"{done}/{spec['completions']}"
        if "completions" in spec
        else f"{done}/1 of {spec.get('parallelism', 1)}"
    )


def _event_object(obj: Object) -> str:
    about = obj.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _last_occurrence(obj: Object) -> str:
    return age_of(
        (obj.get("series") or {}).get("lastObservedTime")
        or obj.get("lastTimestamp")
        or obj.get("firstTimestamp")
        or obj.get("eventTime")
    )


def _event_count(obj: Object) -> int:
    return int((obj.get("series") or obj).get("count") or 1)


def _event_source(obj: Object) -> str:
    source = obj.get("source") or {}
    return ", ".join(
        filter(
            None,
            (
                source.get("component") or obj.get("reportingComponent", ""),
                source.get("host", ""),
            ),
        )
    )


def _hpa_targets(obj: Object) -> str:
    current = {}
    for metric_status in obj.get("status", {}).get("currentMetrics") or ():
        name = (metric_status.get("resource") or {}).get("name")
        current[name] = (
            (metric_status.get("resource") or {}).get("current", {}).get("averageUtilization")
        )
    texts = []
    for metric in obj["spec"].get("metrics") or ():
        resource = metric.get("resource") or {}
        have = current.get(resource.get("name"))
        target = resource.get("target", {})
        target_text = (
            f"{target['averageUtilization']}%"
            if "averageUtilization" in target
            else target.get("averageValue", UNKNOWN)
        )
        texts.append(
            f"{resource.get('name')}: {UNKNOWN if have is None else f'{have}%'}/{target_text}"
        )
    return ", ".join(texts) or NONE


def _quota(part: str) -> Any:
    def cell(obj: Object) -> str:
        status = obj.get("status", {})
        used = status.get("used") or {}
        names = sorted(
            name
            for name in status.get("hard") or {}
            if name.startswith("limits.") is (part == "limits")
        )
        return ", ".join(f"{name}: {used.get(name, 0)}/{status['hard'][name]}" for name in names)

    return cell


def _controller(obj: Object) -> str:
    reference = controller_reference(obj)
    if reference is None:
        return NONE
    group = reference["apiVersion"].rpartition("/")[0]
    return f"{reference['kind'].lower()}.{group}/{reference['name']}"


def _hosts(obj: Object) -> str:
    return ",".join(rule.get("host", "*") for rule in obj.get("spec", {}).get("rules") or ()) or "*"


def _budget(name: str) -> Any:
    return lambda obj: str(field_reader(f"spec.{name}", "N/A")(obj))


def _role(obj: Object) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def _claim_of(obj: Object) -> str:
    claim = obj["spec"].get("claimRef")
    return f"{claim['namespace']}/{claim['name']}" if claim else ""


COLUMNS: dict[str, tuple[Column, ...]] = {
    "pods": (
        NAME,
        Column(
            "Ready",
            pod_ready,
            description="The aggregate readiness state of this pod for accepting traffic.",
        ),
        Column(
            "Status",
            pod_status,
            description="The aggregate status of the containers in this pod.",
        ),
        Column(
            "Restarts",
            pod_restarts,
            description=(
                "The number of times the containers in this pod have been restarted and when "
                "the last container in this pod has restarted."
            ),
        ),
        AGE,
        Column(
            "IP",
            field_reader("status.podIP"),
            1,
            description=(
                "podIP address allocated to the pod. Routable at least within the cluster. Empty "
                "if not yet allocated."
            ),
        ),
        Column("Node", field_reader("spec.nodeName"), 1),
        Column("Nominated Node", field_reader("status.nominatedNodeName"), 1),
        Column("Readiness Gates", lambda obj: NONE, 1),
    ),
    "deployments.apps": (
        NAME,
        Column(
            "Ready",
            _deployment_ready,
            description="Number of the pod with ready state",
        ),
        Column(
            "Up-to-date",
            _count("status.updatedReplicas"),
            description=(
                "Total number of non-terminating pods targeted by this deployment that have the "
                "desired template spec."
            ),
        ),
        Column(
            "Available",
            _count("status.availableReplicas"),
            description=(
                "Total number of available non-terminating pods (ready for at least "
                "minReadySeconds) targeted by this deployment."
            ),
        ),
        AGE,
        *_wide(),
    ),
    "replicasets.apps": (
        NAME,
        Column("Desired", _count("spec.replicas"), type="integer"),
        Column("Current", _count("status.replicas"), type="integer"),
        Column("Ready", _count("status.readyReplicas"), type="integer"),
        AGE,
        *_wide(),
    ),
    "statefulsets.apps": (
        NAME,
        Column("Ready", _deployment_ready),
        AGE,
        _CONTAINERS,
        _IMAGES,
    ),
    "daemonsets.apps": (
        NAME,
        Column("Desired", _count("status.desiredNumberScheduled"), type="integer"),
        Column("Current", _count("status.currentNumberScheduled"), type="integer"),
        Column("Ready", _count("status.numberReady"), type="integer"),
        Column("Up-to-date", _count("status.updatedNumberScheduled"), type="integer"),
        Column("Available", _count("status.numberAvailable"), type="integer"),
        Column(
            "Node Selector",
            lambda obj: (
                selector_text(
                    {"matchLabels": field_reader("spec.template.spec.nodeSelector", {})(obj)}
                )
                or NONE
            ),
        ),
        AGE,
        *_wide(),
    ),
    "jobs.batch": (
        NAME,
        Column("Status", _job_state),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        AGE,
        *_wide(),
    ),
    "cronjobs.batch": (
        NAME,
        Column("Schedule", field_reader("spec.schedule")),
        Column("Timezone", field_reader("spec.timeZone")),
        Column(
            "Suspend",
            lambda obj: str(bool(obj["spec"].get("suspend"))),
            type="boolean",
        ),
        Column(
            "Active",
            lambda obj: len(obj.get("status", {}).get("active") or ()),
            type="integer",
        ),
        Column(
            "Last Schedule",
            lambda obj: (
                age_of(obj["status"]["lastScheduleTime"])
                if obj.get("status", {}).get("lastScheduleTime")
                else NONE
            ),
        ),
        AGE,
        Column("Containers", containers("spec.jobTemplate.spec.template"), 1),
        Column("Images", images("spec.jobTemplate.spec.template"), 1),
        Column(
            "Selector",
            lambda obj: selector_text(field_reader("spec.jobTemplate.spec.selector", {})(obj)),
            1,
        ),
    ),
    "services": (
        NAME,
        Column("Type", field_reader("spec.type")),
        Column("Cluster-IP", field_reader("spec.clusterIP")),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        AGE,
        Column(
            "Selector",
            lambda obj: selector_text({"matchLabels": obj["spec"].get("selector") or {}}) or NONE,
            1,
        ),
    ),
    "endpoints": (NAME, Column("Endpoints", _endpoints), AGE),
    "endpointslices.discovery.k8s.io": (
        NAME,
        Column("AddressType", field_reader("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_addresses),
        AGE,
    ),
    "ingresses.networking.k8s.io": (
        NAME,
        Column("Class", field_reader("spec.ingressClassName")),
        Column("Hosts", _hosts),
        Column(
            "Address",
            lambda obj: ",".join(
                one.get("ip", "") for one in field_reader("status.loadBalancer.ingress", [])(obj)
            ),
        ),
        Column(
            "Ports",
            lambda obj: "80, 443" if obj.get("spec", {}).get("tls") else "80",
        ),
        AGE,
    ),
    "nodes": (
        NAME,
        Column("Status", _node_status, description="The status of the node"),
        Column("Roles", _node_roles, description="The roles of the node"),
        AGE,
        Column(
            "Version",
            _info("kubeletVersion"),
            description="Kubelet Version reported by the node.",
        ),
        Column("Internal-IP", _address("InternalIP"), 1),
        Column("External-IP", _address("ExternalIP"), 1),
        Column("OS-Image", _info("osImage"), 1),
        Column("Kernel-Version", _kernel, 1),
        Column("Container-Runtime", _info("containerRuntimeVersion"), 1),
    ),
    "namespaces": (NAME, Column("Status", field_reader("status.phase")), AGE),
    "configmaps": (
        NAME,
        Column(
            "Data",
            lambda obj: len(obj.get("data") or {}) + len(obj.get("binaryData") or {}),
            type="integer",
        ),
        AGE,
    ),
    "secrets": (
        NAME,
        Column("Type", field_reader("type")),
        Column("Data", lambda obj: len(obj.get("data") or {}), type="integer"),
        AGE,
    ),
    "serviceaccounts": (
        NAME,
        Column("Secrets", lambda obj: len(obj.get("secrets") or ()), type="integer"),
        AGE,
    ),
    "persistentvolumeclaims": (
        NAME,
        Column(
            "Status",
            lambda obj: "Terminating" if is_terminating(obj) else field_reader("status.phase")(obj),
        ),
        Column("Volume", field_reader("spec.volumeName", "")),
        Column("Capacity", field_reader("status.capacity.storage", "")),
        Column("Access Modes", _modes("status.accessModes")),
        Column("StorageClass", field_reader("spec.storageClassName", "")),
        Column(
            "VolumeAttributesClass",
            field_reader("spec.volumeAttributesClassName", "<unset>"),
        ),
        AGE,
        Column("VolumeMode", field_reader("spec.volumeMode"), 1),
    ),
    "persistentvolumes": (
        NAME,
        Column("Capacity", field_reader("spec.capacity.storage", "")),
        Column("Access Modes", _modes("spec.accessModes")),
        Column("Reclaim Policy", field_reader("spec.persistentVolumeReclaimPolicy")),
        Column("Status", field_reader("status.phase")),
        Column("Claim", _claim_of),
        Column("StorageClass", field_reader("spec.storageClassName", "")),
        Column(
            "VolumeAttributesClass",
            field_reader("spec.volumeAttributesClassName", "<unset>"),
        ),
        Column("Reason", field_reader("status.reason", "")),
        AGE,
        Column("VolumeMode", field_reader("spec.volumeMode"), 1),
    ),
    "storageclasses.storage.k8s.io": (
        Column(
            "Name",
            lambda obj: (
                obj["metadata"]["name"]
                + (" (default)" if "true" in get_annotations(obj).values() else "")
            ),
        ),
        Column("Provisioner", field_reader("provisioner")),
        Column("ReclaimPolicy", field_reader("reclaimPolicy")),
        Column("VolumeBindingMode", field_reader("volumeBindingMode")),
        Column(
            "AllowVolumeExpansion",
            lambda obj: str(bool(obj.get("allowVolumeExpansion"))).lower(),
            type="boolean",
        ),
        AGE,
    ),
    "events": (
        Column("Last Seen", _last_occurrence),
        Column("Type", field_reader("type", "")),
        Column("Reason", field_reader("reason", "")),
        Column("Object", _event_object),
        Column("Subobject", field_reader("involvedObject.fieldPath", ""), 1),
        Column("Source", _event_source, 1),
        Column("Message", field_reader("message", "")),
        Column(
            "First Seen",
            lambda obj: age_of(obj.get("firstTimestamp") or obj.get("eventTime")),
            1,
        ),
        Column("Count", _event_count, 1),
        Column("Name", lambda obj: obj["metadata"]["name"], 1),
    ),
    "horizontalpodautoscalers.autoscaling": (
        NAME,
        Column(
            "Reference",
            lambda obj: (
                f"{obj['spec']['scaleTargetRef']['kind']}/{obj['spec']['scaleTargetRef']['name']}"
            ),
        ),
        Column("Targets", _hpa_targets),
        Column("MinPods", field_reader("spec.minReplicas", 1)),
        Column("MaxPods", field_reader("spec.maxReplicas", 0)),
        Column("Replicas", _count("status.currentReplicas")),
        AGE,
    ),
    "poddisruptionbudgets.policy": (
        NAME,
        Column("Min Available", _budget("minAvailable")),
        Column("Max Unavailable", _budget("maxUnavailable")),
        Column(
            "Allowed Disruptions",
            _count("status.disruptionsAllowed"),
            type="integer",
        ),
        AGE,
    ),
    "resourcequotas": (
        NAME,
        Column("Request", _quota("requests")),
        Column("Limit", _quota("limits")),
        AGE,
    ),
    "limitranges": (NAME, CREATED),
    "roles.rbac.authorization.k8s.io": (NAME, CREATED),
    "clusterroles.rbac.authorization.k8s.io": (NAME, CREATED),
    "rolebindings.rbac.authorization.k8s.io": (NAME, Column("Role", _role), AGE),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        NAME,
        Column("Role", _role),
        AGE,
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (NAME, CREATED),
    "controllerrevisions.apps": (
        NAME,
        Column("Controller", _controller),
        Column("Revision", _count("revision"), type="integer"),
        AGE,
    ),
    "networkpolicies.networking.k8s.io": (
        NAME,
        Column(
            "Pod-Selector",
            lambda obj: selector_text(field_reader("spec.podSelector", {})(obj)),
        ),
        AGE,
    ),
    "ingressclasses.networking.k8s.io": (
        NAME,
        Column("Controller", field_reader("spec.controller")),
        Column("Parameters", lambda obj: NONE),
        AGE,
    ),
    "leases.coordination.k8s.io": (
        NAME,
        Column("Holder", field_reader("spec.holderIdentity", "")),
        AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        NAME,
        Column("Value", _count("value"), type="integer"),
        Column(
            "Global-Default",
            lambda obj: bool(obj.get("globalDefault")),
            type="boolean",
        ),
        AGE,
        Column(
            "PreemptionPolicy",
            field_reader("preemptionPolicy", "PreemptLowerPriority"),
        ),
    ),
    "apiservices.apiregistration.k8s.io": (
        NAME,
        Column("Service", lambda obj: "Local"),
        Column("Available", lambda obj: "True"),
        AGE,
    ),
}
