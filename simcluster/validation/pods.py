"""Rules of pod specs and pod templates."""

import re
from collections.abc import Iterator
from typing import Any

from simcluster import quantity
from simcluster.resources import Object
from simcluster.selectors import selector_test
from simcluster.validation.causes import (
    Cause,
    bad_value,
    choice_causes,
    duplicate,
    forbidden,
    missing_reference,
    required,
    unsupported,
)
from simcluster.validation.metadata import label_causes, label_map_causes

_ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_PORT_NAME = re.compile(r"^(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
# What is counted, besides extended resources such as `example.com/gpu`.
_COUNTED = {
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
}


def port_causes(field: str, value: Any) -> Iterator[Cause]:
    """Rules of a port number."""
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield bad_value(field, value, "must be between 1 and 65535, inclusive")


def _container_ports(field: str, ports: list[Object]) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        port_field = f"{field}[{index}]"
        name = port.get("name", "")
        if name and (len(name) > 15 or not _PORT_NAME.match(name)):
            yield bad_value(
                f"{port_field}.name",
                name,
                "must be no more than 15 characters"
                if len(name) > 15
                else "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            )
        # A name in two ports would make `targetPort: name` ambiguous.
        elif name in names:
            yield duplicate(f"{port_field}.name", name)
        names |= {name} - {""}
        if not port.get("containerPort"):
            yield required(f"{port_field}.containerPort")
        else:
            yield from port_causes(f"{port_field}.containerPort", port["containerPort"])
        yield from choice_causes(
            f"{port_field}.protocol", port.get("protocol"), ("TCP", "UDP", "SCTP")
        )


def quantity_causes(field: str, amounts: Object | None) -> Iterator[Cause]:
    """Rules of the amounts of a list of resources: none is negative, what is counted is whole."""
    for name, amount in (amounts or {}).items():
        number = quantity.parse(amount)
        if number < 0:
            yield bad_value(f"{field}[{name}]", amount, "must be greater than or equal to 0")
        # Devices such as nvidia.com/gpu cannot be divided.
        extended = "/" in name and "kubernetes.io/" not in name and name[:9] != "requests."
        if (extended or name in _COUNTED) and number % 1:
            yield bad_value(f"{field}[{name}]", amount, "must be an integer")


def resource_causes(field: str, resources: Object) -> Iterator[Cause]:
    """Rules of requests and limits."""
    for part in ("limits", "requests"):
        yield from quantity_causes(f"{field}.{part}", resources.get(part))
    limits = resources.get("limits") or {}
    for name, amount in (resources.get("requests") or {}).items():
        # Compared as numbers: 1024Mi and 1Gi are equal.
        if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
            yield bad_value(
                f"{field}.requests",
                amount,
                f"must be less than or equal to {name} limit of {limits[name]}",
            )


def container_causes(field: str, container: Object, volumes: set[str]) -> Iterator[Cause]:
    """Rules of one container, of any sort."""
    if not container.get("image"):
        yield required(f"{field}.image")
    elif container["image"] != container["image"].strip():
        yield bad_value(
            f"{field}.image",
            container["image"],
            "must not have leading or trailing whitespace",
        )
    yield from _container_ports(f"{field}.ports", container.get("ports") or [])
    for index, variable in enumerate(container.get("env") or ()):
        name = variable.get("name", "")
        if not name:
            yield required(f"{field}.env[{index}].name")
        elif not _ENV_NAME.match(name):
            yield bad_value(
                f"{field}.env[{index}].name",
                name,
                "a valid environment variable name must consist only of printable ASCII "
                "characters other than '='",
            )
        # Clients that write every field send an empty value with valueFrom.
        if variable.get("value") and variable.get("valueFrom"):
            yield bad_value(
                f"{field}.env[{index}].valueFrom",
                "",
                "may not be specified when `value` is not empty",
            )
    yield from resource_causes(f"{field}.resources", container.get("resources") or {})
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            yield missing_reference(f"{field}.volumeMounts[{index}].name", mount.get("name", ""))
        if not mount.get("mountPath"):
            yield required(f"{field}.volumeMounts[{index}].mountPath")
    yield from choice_causes(
        f"{field}.imagePullPolicy",
        container.get("imagePullPolicy"),
        ("Always", "IfNotPresent", "Never"),
    )


def pod_spec_causes(
    field: str,
    spec: Object,
    *,
    restart: tuple[str, ...] = ("Always", "OnFailure", "Never"),
    claims: frozenset[str] = frozenset(),
) -> Iterator[Cause]:
    """Rules of a pod's spec.

    `restart` are the restart policies that its owner allows, `claims` the volumes that it adds.
    """
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or ()} | claims
    volume_names: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or ()):
        name = volume.get("name", "")
        if not name:
            yield required(f"{field}.volumes[{index}].name")
        else:
            yield from label_causes(f"{field}.volumes[{index}].name", name)
        if name in volume_names:
            yield duplicate(f"{field}.volumes[{index}].name", name)
        volume_names.add(name)
    if not spec.get("containers"):
        yield required(f"{field}.containers")
    names: set[str] = set()
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            container_field = f"{field}.{part}[{index}]"
            name = container.get("name", "")
            if not name:
                yield required(f"{container_field}.name")
            else:
                yield from label_causes(f"{container_field}.name", name)
            if name in names:
                yield duplicate(f"{container_field}.name", name)
            names |= {name} - {""}
            yield from container_causes(container_field, container, volumes)
    policy = spec.get("restartPolicy")
    # A controller such as a Deployment allows fewer policies than a pod.
    if policy not in ("Always", "OnFailure", "Never") or policy not in restart:
        yield unsupported(f"{field}.restartPolicy", policy, restart)
    grace = spec.get("terminationGracePeriodSeconds", 0)
    if grace < 0:
        yield bad_value(
            f"{field}.terminationGracePeriodSeconds",
            grace,
            "must be greater than or equal to 0",
        )
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        if toleration.get("operator", "Equal") not in (
            "Equal",
            "Exists",
            "Lt",
            "Gt",
        ):
            yield unsupported(
                f"{field}.tolerations[{index}].operator",
                toleration["operator"],
                ("Equal", "Exists"),
            )
    yield from label_map_causes(f"{field}.nodeSelector", spec.get("nodeSelector"))


def template_causes(
    spec: Object,
    *,
    restart: tuple[str, ...] = ("Always",),
    claims: frozenset[str] = frozenset(),
) -> Iterator[Cause]:
    """Rules of the `template` of a controller's spec."""
    template = spec.get("template") or {}
    yield from label_map_causes(
        "spec.template.metadata.labels",
        (template.get("metadata") or {}).get("labels"),
    )
    yield from pod_spec_causes(
        "spec.template.spec",
        template.get("spec") or {},
        restart=restart,
        claims=claims,
    )


def selector_causes(field: str, selector: Object) -> Iterator[Cause]:
    """Rules of a `LabelSelector`."""
    yield from label_map_causes(f"{field}.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        expression_field = f"{field}.matchExpressions[{index}]"
        if expression.get("operator") not in (
            "In",
            "NotIn",
            "Exists",
            "DoesNotExist",
        ):
            yield bad_value(
                f"{expression_field}.operator",
                expression.get("operator"),
                "not a valid selector operator",
            )
        elif expression["operator"] in ("In", "NotIn") and not expression.get("values"):
            yield required(
                f"{expression_field}.values",
                "must be specified when `operator` is 'In' or 'NotIn'",
            )


def workload_selector_causes(spec: Object) -> Iterator[Cause]:
    """A controller's selector must be there, not be empty, and match its own template."""
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
        selector = {}
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield bad_value("spec.selector", selector, "empty selector is invalid for deployment")
    causes = list(selector_causes("spec.selector", selector))
    yield from causes
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    # A broken selector would only add a second, misleading cause.
    if not causes and not selector_test(selector)(labels):
        yield bad_value(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        )


_IMMUTABLE_NOTE = (
    "pod updates may not change fields other than "
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)


def _frozen(spec: Object) -> Object:
    mutable = (
        "activeDeadlineSeconds",
        "tolerations",
        "schedulingGates",
    )
    rest = {key: value for key, value in spec.items() if key not in mutable}
    for part in ("containers", "initContainers"):
        if part in rest:
            rest[part] = [
                {key: value for key, value in container.items() if key != "image"}
                for container in rest[part]
            ]
    return rest


def pod_update_causes(obj: Object, old: Object) -> Iterator[Cause]:
    """What may change in a pod's spec: images, the deadline, added tolerations."""
    if _frozen(obj["spec"]) != _frozen(old["spec"]):
        yield forbidden("spec", _IMMUTABLE_NOTE)
    elif any(
        toleration not in (obj["spec"].get("tolerations") or [])
        for toleration in old["spec"].get("tolerations") or ()
    ):
        yield forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        )
