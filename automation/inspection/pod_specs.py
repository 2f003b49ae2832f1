"""Checks of what pods are made from: the templates of workloads, and pods that nobody controls."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from automation.inspection.catalogue import Severity
from automation.inspection.facts import (
    Facts,
    elements,
    join_names,
    mapping,
)
from automation.inspection.hits import Hit
from clusters.manifests import Object

_RESOURCES = ("cpu", "memory")
# Each of them is as good as root on the node.
_STRONG_CAPABILITIES = frozenset(
    [
        "ALL",
        "SYS_ADMIN",
        "SYS_MODULE",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "NET_ADMIN",
        "DAC_READ_SEARCH",
        "BPF",
    ]
)
# Paths with which a pod takes over its node.
_DANGEROUS_PATHS = (
    "/",
    "/etc",
    "/root",
    "/var/lib/kubelet",
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
)
_MUTABLE_TAGS = ("", "latest")
# They run to their end: nobody sends them requests.
_FINITE = ("Job", "CronJob")


def template_of(obj: Object) -> dict[str, Any]:
    """The pod template of a workload; a pod is its own."""
    match obj["kind"]:
        case "Pod":
            return obj
        case "CronJob":
            spec = mapping(mapping(mapping(obj, "spec"), "jobTemplate"), "spec")
        case _:
            spec = mapping(obj, "spec")
    return mapping(spec, "template")


def check_pod_spec(obj: Object, facts: Facts) -> Iterator[Hit]:
    """Resources, probes, images and rights of a workload's containers."""
    spec = mapping(template_of(obj), "spec")
    containers = elements(spec, "containers")
    everything = [*containers, *elements(spec, "initContainers")]
    yield from _check_resources(obj, containers, facts)
    if obj["kind"] not in _FINITE:
        yield from _check_probes(containers)
    yield from _check_images(everything)
    yield from _check_rights(spec, everything)
    yield from _check_host(spec)


def _names(containers: Sequence[Mapping[str, Any]]) -> str:
    word = "container" if len(containers) == 1 else "containers"
    return f"{word} {join_names([str(each.get('name')) for each in containers])}"


def _check_resources(
    obj: Object,
    containers: Sequence[Mapping[str, Any]],
    facts: Facts,
) -> Iterator[Hit]:
    namespace = str(obj["metadata"].get("namespace") or "")
    for member, check in (("requests", "no-requests"), ("limits", "no-limits")):
        missing: dict[str, list[str]] = {}
        for container in containers:
            lacking = [
                resource
                for resource in _RESOURCES
                if not _has_resource(
                    container,
                    member,
                    resource,
                )
                and not facts.has_default(
                    namespace,
                    member,
                    resource,
                )
            ]
            if lacking:
                missing.setdefault(
                    " and ".join(lacking),
                    [],
                ).append(str(container.get("name")))
        if missing:
            parts = [
                f"no {resources} {member}: {join_names(names)}"
                for resources, names in missing.items()
            ]
            yield Hit(check, "; ".join(parts))


def _has_resource(
    container: Mapping[str, Any],
    member: str,
    resource: str,
) -> bool:
    resources = mapping(container, "resources")
    if resource in mapping(resources, member):
        return True
    # A container with a limit alone requests as much.
    return member == "requests" and resource in mapping(resources, "limits")


def _check_probes(containers: Sequence[Mapping[str, Any]]) -> Iterator[Hit]:
    for probe, check in (
        ("readinessProbe", "no-readiness-probe"),
        ("livenessProbe", "no-liveness-probe"),
    ):
        lacking = [each for each in containers if not mapping(each, probe)]
        if lacking:
            yield Hit(check, f"{_names(lacking)} without {probe}")


def _check_images(containers: Sequence[Mapping[str, Any]]) -> Iterator[Hit]:
    images = sorted(
        {str(each["image"]) for each in containers if each.get("image") and _is_mutable(each)}
    )
    if images:
        yield Hit("image-latest", f"latest or no tag: {join_names(images)}")


def _is_mutable(container: Mapping[str, Any]) -> bool:
    image = str(container["image"])
    if "@" in image:
        return False
    # A colon before the last slash is a registry's port.
    _, _, tag = image.rpartition("/")[2].partition(":")
    return tag in _MUTABLE_TAGS


def _check_rights(
    spec: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
) -> Iterator[Hit]:
    contexts = [(each, mapping(each, "securityContext")) for each in containers]
    privileged = [each for each, context in contexts if context.get("privileged") is True]
    if privileged:
        yield Hit("privileged", f"{_names(privileged)} privileged")
    pod_context = mapping(spec, "securityContext")
    roots = [each for each, context in contexts if _user(context, pod_context) == 0]
    possible = [
        each
        for each, context in contexts
        if _user(
            context,
            pod_context,
        )
        is None
        and not _is_non_root(context, pod_context)
    ]
    if roots:
        yield Hit("runs-as-root", f"{_names(roots)} with runAsUser 0")
    elif possible:
        yield Hit(
            "runs-as-root",
            f"{_names(possible)} without runAsNonRoot and runAsUser",
        )
    added: dict[str, None] = {}
    for _each, context in contexts:
        capabilities = mapping(context, "capabilities").get("add")
        for name in capabilities if isinstance(capabilities, list) else []:
            if str(name).removeprefix("CAP_") in _STRONG_CAPABILITIES:
                added[str(name)] = None
    if added:
        yield Hit("added-capabilities", f"adds {join_names(list(added))}")


def _user(context: Mapping[str, Any], pod_context: Mapping[str, Any]) -> object:
    """The numeric user of a container; None when the image decides."""
    user = context.get("runAsUser")
    return pod_context.get("runAsUser") if user is None else user


def _is_non_root(context: Mapping[str, Any], pod_context: Mapping[str, Any]) -> bool:
    own = context.get("runAsNonRoot")
    return (pod_context.get("runAsNonRoot") if own is None else own) is True


def _check_host(spec: Mapping[str, Any]) -> Iterator[Hit]:
    namespaces = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name) is True]
    if namespaces:
        yield Hit("host-namespaces", f"uses {join_names(namespaces)}")
    paths = [
        str(mapping(volume, "hostPath").get("path"))
        for volume in elements(spec, "volumes")
        if mapping(volume, "hostPath")
    ]
    if paths:
        dangerous = [path for path in paths if (path.rstrip("/") or "/") in _DANGEROUS_PATHS]
        severity = Severity.CRITICAL if dangerous else None
        yield Hit(
            "host-path",
            f"mounts {join_names(dangerous or paths)} of the node",
            severity,
        )
