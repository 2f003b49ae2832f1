"""Rules of each built-in kind, in two tables: for the object itself, and for its changes."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from simcluster import cron, quantity
from simcluster.resources import Object
from simcluster.validation.causes import (
    Cause,
    bad_value,
    choice_causes,
    duplicate,
    forbidden,
    required,
    unsupported,
)
from simcluster.validation.metadata import label_map_causes
from simcluster.validation.pods import (
    pod_spec_causes,
    pod_update_causes,
    port_causes,
    quantity_causes,
    selector_causes,
    template_causes,
    workload_selector_causes,
)

_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_PERCENT = re.compile(r"^\d+%$")
_IMMUTABLE = "field is immutable"
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    "'key.name',  or 'KEY_NAME',  or 'key-name', "
    "regex used for validation is '[-._a-zA-Z0-9]+')"
)


def not_negative(field: str, value: Any) -> Iterator[Cause]:
    """A count must be zero or more."""
    if isinstance(value, int) and value < 0:
        yield bad_value(field, value, "must be greater than or equal to 0")


def _amount(field: str, value: Any) -> Iterator[Cause]:
    if isinstance(value, str) and not _PERCENT.match(value):
        yield bad_value(
            field,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        )
    else:
        yield from not_negative(field, value)


def _pod(obj: Object) -> Iterator[Cause]:
    yield from pod_spec_causes("spec", obj["spec"])


def _deployment(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from not_negative("spec.replicas", spec.get("replicas"))
    yield from workload_selector_causes(spec)
    yield from template_causes(spec)
    strategy = spec["strategy"]
    yield from choice_causes("spec.strategy.type", strategy["type"], ("Recreate", "RollingUpdate"))
    # A patch of the type alone leaves the old rollingUpdate behind, and the server says so.
    if strategy["type"] == "Recreate" and "rollingUpdate" in strategy:
        yield forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )
    rolling = strategy.get("rollingUpdate") or {}
    for name in ("maxUnavailable", "maxSurge"):
        yield from _amount(f"spec.strategy.rollingUpdate.{name}", rolling.get(name))
    # Both spellings of the field, number and percentage, compare as text.
    zero = ("0", "0%")
    if str(rolling.get("maxUnavailable")) in zero and str(rolling.get("maxSurge")) in zero:
        # Nothing could ever be replaced.
        yield bad_value(
            "spec.strategy.rollingUpdate.maxUnavailable",
            rolling["maxUnavailable"],
            "may not be 0 when `maxSurge` is 0",
        )
    yield from not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    deadline = spec.get("progressDeadlineSeconds")
    # Otherwise every rollout would exceed its deadline.
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        yield bad_value(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        )


def _replica_set(obj: Object) -> Iterator[Cause]:
    yield from not_negative("spec.replicas", obj["spec"].get("replicas"))
    yield from workload_selector_causes(obj["spec"])
    yield from template_causes(obj["spec"])


def _stateful_set(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from not_negative("spec.replicas", spec.get("replicas"))
    yield from workload_selector_causes(spec)
    claims = frozenset(
        claim["metadata"].get("name", "") for claim in spec.get("volumeClaimTemplates") or ()
    )
    yield from template_causes(spec, claims=claims)
    yield from choice_causes(
        "spec.podManagementPolicy",
        spec["podManagementPolicy"],
        ("OrderedReady", "Parallel"),
    )
    yield from choice_causes(
        "spec.updateStrategy.type",
        spec["updateStrategy"]["type"],
        ("RollingUpdate", "OnDelete"),
    )


def _daemon_set(obj: Object) -> Iterator[Cause]:
    yield from workload_selector_causes(obj["spec"])
    yield from template_causes(obj["spec"])
    yield from choice_causes(
        "spec.updateStrategy.type",
        obj["spec"]["updateStrategy"]["type"],
        ("RollingUpdate", "OnDelete"),
    )


def _job_spec(spec: Object, field: str) -> Iterator[Cause]:
    for name in (
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ):
        yield from not_negative(f"{field}.{name}", spec.get(name))
    template = (spec.get("template") or {}).get("spec") or {}
    policy = template.get("restartPolicy")
    policy_field = f"{field}.template.spec.restartPolicy"
    if policy not in ("OnFailure", "Never"):
        if policy == "Always":
            # The default of pods: to the API server as if the job had named none.
            yield required(policy_field, 'valid values: "OnFailure", "Never"')
        else:
            yield unsupported(policy_field, policy, ("Never", "OnFailure"))
        # Only once: the rules of pods would refuse the policy a second time.
        template = {**template, "restartPolicy": "Never"}
    yield from pod_spec_causes(f"{field}.template.spec", template)


def _job(obj: Object) -> Iterator[Cause]:
    yield from _job_spec(obj["spec"], "spec")


def _cron_job(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    schedule = spec.get("schedule", "")
    if not schedule:
        yield required("spec.schedule")
    else:
        try:
            cron.parse(schedule)
        except ValueError as error:
            yield bad_value("spec.schedule", schedule, str(error))
    yield from choice_causes(
        "spec.concurrencyPolicy",
        spec["concurrencyPolicy"],
        ("Allow", "Forbid", "Replace"),
    )
    yield from not_negative(
        "spec.successfulJobsHistoryLimit", spec.get("successfulJobsHistoryLimit")
    )
    yield from not_negative("spec.failedJobsHistoryLimit", spec.get("failedJobsHistoryLimit"))
    yield from _job_spec(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def _service(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    ports = spec.get("ports") or []
    yield from choice_causes(
        "spec.type",
        spec["type"],
        ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"),
    )
    if spec["type"] == "ExternalName":
        if not spec.get("externalName"):
            yield required("spec.externalName")
    # Headless Services may have no ports: their records need only addresses.
    elif not ports and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    yield from choice_causes("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None"))
    names = [port.get("name", "") for port in ports]
    for at, port in enumerate(ports):
        # A single port needs no name to be told from the others.
        if len(ports) > 1 and not port.get("name"):
            yield required(f"spec.ports[{at}].name")
        elif port.get("name") and names.index(port["name"]) < at:
            yield duplicate(f"spec.ports[{at}].name", port["name"])
        yield from port_causes(f"spec.ports[{at}].port", port.get("port", 0))
        # As text it is the name of a container's port.
        if isinstance(port.get("targetPort"), int):
            yield from port_causes(f"spec.ports[{at}].targetPort", port["targetPort"])
        yield from choice_causes(
            f"spec.ports[{at}].protocol", port["protocol"], ("SCTP", "TCP", "UDP")
        )
        node_port = port.get("nodePort")
        if node_port and not 30000 <= node_port <= 32767:
            yield bad_value(
                f"spec.ports[{at}].nodePort",
                node_port,
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            )
    yield from label_map_causes("spec.selector", spec.get("selector"))


def _keys(field: str, data: Object | None) -> Iterator[Cause]:
    for key in data or {}:
        if len(key) > 253:
            yield bad_value(f"{field}[{key}]", key, "must be no more than 253 characters")
        elif not _KEY.match(key):
            yield bad_value(f"{field}[{key}]", key, _KEY_RULE)


def _config_map(obj: Object) -> Iterator[Cause]:
    yield from _keys("data", obj.get("data"))
    yield from _keys("binaryData", obj.get("binaryData"))
    size = sum(
        len(value) for part in ("data", "binaryData") for value in (obj.get(part) or {}).values()
    )
    if size > 1024 * 1024:
        yield Cause(
            "FieldValueTooLong",
            "Too long: may not be more than 1048576 bytes",
            "",
        )


_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _secret(obj: Object) -> Iterator[Cause]:
    data = obj.get("data") or {}
    yield from _keys("data", data)
    for key in _SECRET_KEYS.get(obj["type"], ()):
        if key not in data:
            yield required(f"data[{key}]")
    if obj["type"] == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        problem = ""
        try:
            text = base64.b64decode(data[".dockerconfigjson"])
            # Enough to tell JSON objects from pasted text, without the whole parser.
            if not text.strip().startswith(b"{"):
                problem = "invalid character"
        except binascii.Error:
            problem = "illegal base64 data"
        if problem:
            yield bad_value("data[.dockerconfigjson]", "<secret contents redacted>", problem)
    # The limit is one MiB of bytes, which base64 makes a third larger.
    if sum(len(value) for value in data.values()) > 1.4 * 1024 * 1024:
        yield Cause(
            "FieldValueTooLong",
            "Too long: may not be more than 1048576 bytes",
            "data",
        )


def _claim(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    modes = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    for mode in spec.get("accessModes") or ():
        if mode not in modes:
            yield unsupported("spec.accessModes", mode, modes)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        yield required("spec.resources[storage]")
    elif quantity.parse(storage) <= 0:
        yield bad_value("spec.resources[storage]", storage, "must be greater than zero")


def _volume(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield required("spec.accessModes")
    if not (spec.get("capacity") or {}).get("storage"):
        yield required("spec.capacity")
    generic_fields = {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeMode",
        "volumeAttributesClassName",
    }
    # What is left is the volume's source, for example csi or nfs.
    if not set(spec) - generic_fields:
        yield required("spec", "must specify a volume type")


def _storage_class(obj: Object) -> Iterator[Cause]:
    if not obj.get("provisioner"):
        yield required("provisioner")


def _quota(obj: Object) -> Iterator[Cause]:
    yield from quantity_causes("spec.hard", (obj.get("spec") or {}).get("hard"))


def _limit_range(obj: Object) -> Iterator[Cause]:
    for at, limit in enumerate(obj["spec"].get("limits") or ()):
        if not limit.get("type"):
            yield required(f"spec.limits[{at}].type")
        for part in ("default", "defaultRequest", "max", "min"):
            yield from quantity_causes(f"spec.limits[{at}].{part}", limit.get(part))


def _budget(obj: Object) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield bad_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        yield from _amount(f"spec.{name}", spec.get(name))
    yield from selector_causes("spec.selector", spec.get("selector") or {})


def _autoscaler(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    if not (spec.get("scaleTargetRef") or {}).get("kind"):
        yield required("spec.scaleTargetRef.kind")
    if not (spec.get("scaleTargetRef") or {}).get("name"):
        yield required("spec.scaleTargetRef.name")
    if spec.get("maxReplicas", 0) < 1:
        yield bad_value(
            "spec.maxReplicas",
            spec.get("maxReplicas", 0),
            "must be greater than 0",
        )
    elif spec["maxReplicas"] < spec.get("minReplicas", 1):
        yield bad_value(
            "spec.maxReplicas",
            spec["maxReplicas"],
            "must be greater than or equal to `minReplicas`",
        )


_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


def _ingress(obj: Object) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        yield bad_value("spec", spec, "either `defaultBackend` or `rules` must be specified")
    for rule_index, rule in enumerate(spec.get("rules") or ()):
        for path_index, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            path_field = f"spec.rules[{rule_index}].http.paths[{path_index}]"
            if not path.get("pathType"):
                yield required(f"{path_field}.pathType", "pathType must be specified")
            else:
                yield from choice_causes(f"{path_field}.pathType", path["pathType"], _PATH_TYPES)
            service = (path.get("backend") or {}).get("service") or {}
            if "resource" not in (path.get("backend") or {}) and not service.get("name"):
                yield required(f"{path_field}.backend.service.name")


def _role(obj: Object) -> Iterator[Cause]:
    for at, rule in enumerate(obj.get("rules") or ()):
        if not rule.get("verbs"):
            yield required(f"rules[{at}].verbs", "verbs must contain at least one value")


def _binding(obj: Object) -> Iterator[Cause]:
    reference = obj.get("roleRef") or {}
    yield from choice_causes("roleRef.kind", reference.get("kind", ""), ("ClusterRole", "Role"))
    if not reference.get("name"):
        yield required("roleRef.name")


def _node(obj: Object) -> Iterator[Cause]:
    for at, taint in enumerate((obj.get("spec") or {}).get("taints") or ()):
        yield from choice_causes(
            f"metadata.taints[{at}].effect",
            taint.get("effect", ""),
            ("NoExecute", "NoSchedule", "PreferNoSchedule"),
        )


def _definition(obj: Object) -> Iterator[Cause]:
    spec = obj["spec"]
    for name in ("group", "scope"):
        if not spec.get(name):
            yield required(f"spec.{name}")
    for name in ("plural", "kind"):
        if not spec["names"].get(name):
            yield required(f"spec.names.{name}")
    expected_name = f"{spec['names'].get('plural', '')}.{spec.get('group', '')}"
    if obj["metadata"].get("name") != expected_name:
        yield bad_value(
            "metadata.name",
            obj["metadata"].get("name"),
            'must be spec.names.plural+"."+spec.group',
        )
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield bad_value(
            "spec.versions",
            versions,
            "must have exactly one version marked as storage version",
        )
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield required(
                f"spec.versions[{index}].schema.openAPIV3Schema",
                "schemas are required",
            )


def _same(*paths: str) -> Callable[[Object, Object], Iterator[Cause]]:
    def check(obj: Object, old: Object) -> Iterator[Cause]:
        for path in paths:
            new = _value_at(obj, path)
            before = _value_at(old, path)
            if new != before:
                yield bad_value(path, new, _IMMUTABLE)

    return check


def _value_at(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_SET_NOTE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', "
    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _stateful_set_update(obj: Object, old: Object) -> Iterator[Cause]:
    if _immutable_set_spec(obj["spec"]) != _immutable_set_spec(old["spec"]):
        yield forbidden("spec", _SET_NOTE)


def _immutable_set_spec(spec: Object) -> Object:
    immutable = {key: value for key, value in spec.items() if key not in _SET_MUTABLE}
    claims = spec.get("volumeClaimTemplates") or ()
    # Claims are compared by their specs: the server completes the rest of them.
    immutable["volumeClaimTemplates"] = [claim.get("spec") for claim in claims]
    return immutable


def _immutable_claim_spec(spec: Object) -> Object:
    mutable = ("resources", "volumeName", "storageClassName")
    return {key: value for key, value in spec.items() if key not in mutable}


def _claim_update(obj: Object, old: Object) -> Iterator[Cause]:
    new = _value_at(obj, "spec.resources.requests.storage")
    before = _value_at(old, "spec.resources.requests.storage")
    volume = old["spec"].get("volumeName")
    moved = volume and volume != obj["spec"].get("volumeName")
    if moved or _immutable_claim_spec(obj["spec"]) != _immutable_claim_spec(old["spec"]):
        yield forbidden(
            "spec",
            "spec is immutable after creation except resources.requests "
            "and volumeAttributesClassName for bound claims",
        )
    elif new and before and quantity.parse(new) < quantity.parse(before):
        yield forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        )


def _service_update(obj: Object, old: Object) -> Iterator[Cause]:
    new = obj["spec"].get("clusterIP")
    before = old["spec"].get("clusterIP")
    if (
        before
        and new != before
        and obj["spec"]["type"] != "ExternalName"
        and old["spec"]["type"] != "ExternalName"
    ):
        yield bad_value(
            "spec.clusterIPs[0]",
            [new] if new else None,
            "may not change once set",
        )


def _fixed_data(obj: Object, old: Object) -> Iterator[Cause]:
    if old.get("immutable") and any(
        obj.get(part) != old.get(part) for part in ("data", "binaryData", "immutable")
    ):
        yield forbidden("data", "field is immutable when `immutable` is set")


def _secret_update(obj: Object, old: Object) -> Iterator[Cause]:
    yield from _same("type")(obj, old)
    yield from _fixed_data(obj, old)


Check = Callable[[Object], Iterable[Cause]]
ChangeCheck = Callable[[Object, Object], Iterable[Cause]]

ON_CREATE: dict[str, Check] = {
    "pods": _pod,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "services": _service,
    "configmaps": _config_map,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "storageclasses.storage.k8s.io": _storage_class,
    "resourcequotas": _quota,
    "limitranges": _limit_range,
    "poddisruptionbudgets.policy": _budget,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "ingresses.networking.k8s.io": _ingress,
    "roles.rbac.authorization.k8s.io": _role,
    "clusterroles.rbac.authorization.k8s.io": _role,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "nodes": _node,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}

ON_UPDATE: dict[str, ChangeCheck] = {
    "pods": pod_update_causes,
    "deployments.apps": _same("spec.selector"),
    "replicasets.apps": _same("spec.selector"),
    "daemonsets.apps": _same("spec.selector"),
    "statefulsets.apps": _stateful_set_update,
    "jobs.batch": _same(
        "spec.completions",
        "spec.selector",
        "spec.template",
        "spec.completionMode",
    ),
    "services": _service_update,
    "persistentvolumeclaims": _claim_update,
    "configmaps": _fixed_data,
    "secrets": _secret_update,
    "rolebindings.rbac.authorization.k8s.io": _same("roleRef"),
    "clusterrolebindings.rbac.authorization.k8s.io": _same("roleRef"),
    "storageclasses.storage.k8s.io": _same(
        "provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"
    ),
    "customresourcedefinitions.apiextensions.k8s.io": _same(
        "spec.group", "spec.names.plural", "spec.names.kind", "spec.scope"
    ),
}
