"""The Kubernetes objects of an order: pure functions of what is wanted and of the settings."""

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
# What ordinary images need to start as root and go on as somebody else: they own their directories (CHOWN, FOWNER, DAC_OVERRIDE), change
# their user (SETUID, SETGID) and listen below 1024 (NET_BIND_SERVICE). Everything else that a runtime gives by default is dropped, raw
# sockets and device files before all.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID")


def labels(order: Order) -> dict[str, str]:
    """What finds an order's objects."""
    return {"app": str(order.service_name), LABEL: order.pk}


def cpu_request(memory_bytes: int) -> str:
    """CPU to reserve for memory: VKUBE_CPU_PER_GI thousandths a Gi, rounded up (the document's 2Gi has 513m)."""
    exact = settings.VKUBE_CPU_PER_GI * Decimal(memory_bytes) / Decimal(GIB)
    return f"{int(exact.to_integral_value(rounding=ROUND_CEILING))}m"


def deployment(order: Order, wanted: DeployRequest, *, label: str, host_ports: HostPorts) -> Object:
    """The Deployment: one pod, boxed in, on the region's nodes."""
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
                "spec": _pod(order, wanted, label, host_ports),
            },
        },
    }


def _pod(order: Order, wanted: DeployRequest, label: str, host_ports: HostPorts) -> Object:
    files = config_map(order, wanted)
    own_secret = pull_secret(order, wanted)
    pull_secrets = [
        *([own_secret["metadata"]["name"]] if own_secret else []),
        *([settings.VKUBE_IMAGE_PULL_SECRET] if settings.VKUBE_IMAGE_PULL_SECRET else []),
    ]
    optional: Object = {
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
        "volumes": [
            {"name": FILES, "configMap": {"name": item["metadata"]["name"]}}
            for item in ([files] if files else [])
        ],
    }
    return {
        "automountServiceAccountToken": False,
        "containers": [_container(container, host_ports) for container in wanted.containers],
        "nodeSelector": {label: wanted.region},
        "restartPolicy": "Always",
        **{name: value for name, value in optional.items() if value},
    }


def _container(wanted: ContainerRequest, host_ports: HostPorts) -> Object:
    optional: Object = {
        "command": list(wanted.command),
        "args": list(wanted.args),
        "env": [{"name": name, "value": value} for name, value in wanted.env],
        "ports": [_port(port, host_ports) for port in wanted.ports],
        "volumeMounts": [
            {
                "name": FILES,
                "mountPath": path,
                "subPath": _file_key(wanted, index),
                "readOnly": True,
            }
            for index, (path, _) in enumerate(wanted.files)
        ],
    }
    return {
        "name": wanted.name,
        "image": wanted.image,
        "imagePullPolicy": "Always",
        "resources": {
            "limits": {"memory": wanted.memory},
            "requests": {"cpu": cpu_request(wanted.memory_bytes), "memory": wanted.memory},
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
    host = host_ports.get(port)
    return {
        "containerPort": port.container,
        **({"hostPort": host} if host else {}),
        "protocol": port.protocol,
    }


def _file_key(wanted: ContainerRequest, index: int) -> str:
    return f"{wanted.name}.{index}"


def config_map(order: Order, wanted: DeployRequest) -> Object | None:
    """The files of all containers; None without any.

    Its name depends on its content: what runs keeps its files while its replacement is refused,
    and other files make another pod.
    """
    texts = {
        _file_key(container, index): text
        for container in wanted.containers
        for index, (_, text) in enumerate(container.files)
    }
    if not texts:
        return None
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": texts}
    return _companion(order, body)


def pull_secret(order: Order, wanted: DeployRequest) -> Object | None:
    """The logins for private registries, as Docker's configuration has them; None without any."""
    if not wanted.logins:
        return None
    logins = {}
    for login in wanted.logins:
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


def companions(order: Order, wanted: DeployRequest) -> list[tuple[str, Object]]:
    """(resource, object) of what the Deployment refers to."""
    objects = {
        "configmaps": config_map(order, wanted),
        "secrets": pull_secret(order, wanted),
    }
    return [(resource, body) for resource, body in objects.items() if body is not None]


def digest(manifest: Object) -> str:
    """A keyed hash of a manifest: environments may hold secrets, and a plain hash of them could be guessed."""
    text = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS).decode()
    return salted_hmac("billing.manifest", text, algorithm="sha256").hexdigest()


def network_policy(order: Order) -> Object:
    """Lets in the order's own pods and everyone who is no pod (VKUBE_POD_CIDRS), so that orders cannot call each other."""
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
