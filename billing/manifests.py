"""The Kubernetes objects of an order: pure functions of the deploy request and the settings."""

import base64
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

import orjson
from django.conf import settings
from django.utils.crypto import salted_hmac

from billing.containers import ContainerRequest, DeployRequest, PortRequest
from billing.models import Order
from billing.pricing import GIB
from clusters.manifests import Object

LABEL = "v-kube/order"
QUOTA = "v-kube"
FILES = "files"
HostPorts = Mapping[PortRequest, int]
# What ordinary images need that start as root and go on as another user: they own their directories
# (CHOWN, FOWNER, DAC_OVERRIDE), change their user (SETUID, SETGID) and listen below 1024
# (NET_BIND_SERVICE). Everything else that a runtime gives by default is dropped, above all raw
# sockets and device files.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID")


def labels(order: Order) -> dict[str, str]:
    """The labels that select an order's objects."""
    return {"app": str(order.service_name), LABEL: order.pk}


def cpu_request(memory_bytes: int) -> str:
    """The CPU request for a memory limit, for example "513m" for 2Gi.

    VKUBE_CPU_PER_GI thousandths of a core for each Gi, rounded up as in the document.
    """
    exact = settings.VKUBE_CPU_PER_GI * Decimal(memory_bytes) / Decimal(GIB)
    return f"{int(exact.to_integral_value(rounding=ROUND_CEILING))}m"


def deployment(
    order: Order, request: DeployRequest, *, label: str, host_ports: HostPorts
) -> Object:
    """The Deployment: one confined pod on the region's nodes; `label` names the region on nodes."""
    name = str(order.service_name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": settings.VKUBE_NAMESPACE, "labels": labels(order)},
        "spec": {
            "replicas": 1,
            # Two pods cannot hold one host port, so the old one goes first.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels(order)},
            "template": {
                "metadata": {
                    "labels": labels(order),
                    "annotations": {
                        "kubernetes.io/ingress-bandwidth": settings.VKUBE_BANDWIDTH,
                        "kubernetes.io/egress-bandwidth": settings.VKUBE_BANDWIDTH,
                    },
                },
                "spec": _pod(order, request, label, host_ports),
            },
        },
    }


def _pod(
    order: Order,
    request: DeployRequest,
    label: str,
    host_ports: HostPorts,
) -> Object:
    files = config_map(order, request)
    own_secret = pull_secret(order, request)
    pod: Object = {
        # The buyer's program must not call the API server with the namespace's account.
        "automountServiceAccountToken": False,
        "containers": [_container(container, host_ports) for container in request.containers],
        "nodeSelector": {label: request.region},
        "restartPolicy": "Always",
    }
    pull_secrets: list[Object] = []
    if own_secret:
        pull_secrets.append({"name": own_secret["metadata"]["name"]})
    if settings.VKUBE_IMAGE_PULL_SECRET:
        pull_secrets.append({"name": settings.VKUBE_IMAGE_PULL_SECRET})
    if pull_secrets:
        pod["imagePullSecrets"] = pull_secrets
    if files:
        pod["volumes"] = [{"name": FILES, "configMap": {"name": files["metadata"]["name"]}}]
    return pod


def _container(container: ContainerRequest, host_ports: HostPorts) -> Object:
    optional: Object = {
        "command": list(container.command),
        "args": list(container.args),
        "env": [{"name": name, "value": value} for name, value in container.env],
        "ports": [_port(port, host_ports) for port in container.ports],
        "volumeMounts": [
            {
                "name": FILES,
                "mountPath": path,
                # A file in a directory of the image: without subPath the mount would hide the rest.
                "subPath": _file_key(container, index),
                "readOnly": True,
            }
            for index, (path, _) in enumerate(container.files)
        ],
    }
    return {
        "name": container.name,
        "image": container.image,
        # A tag may have moved since the node pulled it.
        "imagePullPolicy": "Always",
        "resources": {
            # CPU has a request only: what others leave unused is free to use.
            "limits": {"memory": container.memory},
            "requests": {"cpu": cpu_request(container.memory_bytes), "memory": container.memory},
        },
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": settings.VKUBE_ALLOW_PRIVILEGE_ESCALATION,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{name: value for name, value in optional.items() if value},
    }


def _port(port: PortRequest, host_ports: HostPorts) -> Object:
    manifest: Object = {"containerPort": port.container}
    if host := host_ports.get(port):
        manifest["hostPort"] = host
    manifest["protocol"] = port.protocol
    return manifest


def _file_key(container: ContainerRequest, index: int) -> str:
    return f"{container.name}.{index}"


def config_map(order: Order, request: DeployRequest) -> Object | None:
    """The files of all containers; None without any.

    Its name depends on its content: what runs keeps its files while its replacement is refused,
    and other files make another pod.
    """
    texts = {
        _file_key(container, index): text
        for container in request.containers
        for index, (_, text) in enumerate(container.files)
    }
    if not texts:
        return None
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": texts}
    return _companion(order, body)


def pull_secret(order: Order, request: DeployRequest) -> Object | None:
    """The logins for private registries, as Docker's configuration has them; None without any."""
    if not request.logins:
        return None
    logins = {}
    for login in request.logins:
        pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        logins[login.registry] = {
            "username": login.username,
            "password": login.password,
            "auth": pair,
        }
    text = base64.b64encode(orjson.dumps({"auths": logins})).decode()
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": text},
    }
    return _companion(order, body)


def _companion(order: Order, body: Object) -> Object:
    """The object, named after the order and its content."""
    name = f"{order.service_name}-{digest(body)[:10]}"
    metadata = {"name": name, "namespace": settings.VKUBE_NAMESPACE, "labels": labels(order)}
    return {**body, "metadata": metadata}


def companions(order: Order, request: DeployRequest) -> list[tuple[str, Object]]:
    """(resource, object) of what the Deployment refers to."""
    objects = {
        "configmaps": config_map(order, request),
        "secrets": pull_secret(order, request),
    }
    return [(resource, body) for resource, body in objects.items() if body is not None]


def digest(manifest: Object) -> str:
    """A keyed hash of a manifest.

    Environments may contain secrets, and a plain hash of them could be guessed.
    """
    text = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS).decode()
    return salted_hmac("billing.manifest", text, algorithm="sha256").hexdigest()


def network_policy(order: Order) -> Object:
    """A NetworkPolicy that keeps orders apart.

    It admits the order's own pods and every address outside VKUBE_POD_CIDRS.
    """
    v6 = [cidr for cidr in settings.VKUBE_POD_CIDRS if ":" in cidr]
    v4 = [cidr for cidr in settings.VKUBE_POD_CIDRS if ":" not in cidr]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": str(order.service_name),
            "namespace": settings.VKUBE_NAMESPACE,
            "labels": labels(order),
        },
        "spec": {
            "podSelector": {"matchLabels": {LABEL: order.pk}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchLabels": {LABEL: order.pk}}},
                        # Everything but the pods' networks: the internet and the nodes.
                        {"ipBlock": {"cidr": "0.0.0.0/0", **({"except": v4} if v4 else {})}},
                        {"ipBlock": {"cidr": "::/0", **({"except": v6} if v6 else {})}},
                    ]
                }
            ],
        },
    }


def quota() -> Object:
    """The ceiling of the namespace (VKUBE_NAMESPACE_MEMORY)."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": QUOTA, "namespace": settings.VKUBE_NAMESPACE},
        "spec": {
            "hard": {
                "limits.memory": settings.VKUBE_NAMESPACE_MEMORY,
                "requests.memory": settings.VKUBE_NAMESPACE_MEMORY,
            }
        },
    }


def namespace() -> Object:
    """The namespace that orders run in."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": settings.VKUBE_NAMESPACE}}
