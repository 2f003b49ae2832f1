"""Ready-made objects of realistic size, for loads and benchmarks."""

import uuid
import zlib
from collections.abc import Iterator

from simcluster import clock
from simcluster.resources import Object

_TEAMS = ("payments", "search", "platform", "growth")


def pods(count: int, *, namespace: str, prefix: str, nodes: dict[str, str]) -> Iterator[Object]:
    """Running pods of 3 to 5 KB, spread over nodes (name to address), ten to an application."""
    now = clock.timestamp()
    node_addresses = list(nodes.items())
    for number in range(count):
        yield pod(
            number,
            namespace=namespace,
            prefix=prefix,
            node=node_addresses[number % len(node_addresses)],
            now=now,
        )


def pod(number: int, *, namespace: str, prefix: str, node: tuple[str, str], now: str) -> Object:
    """One running pod on a node (name, address)."""
    app = f"{prefix}-{number // 10:04d}"
    digest = f"{zlib.crc32(app.encode()):08x}"
    labels = {
        "app": app,
        "app.kubernetes.io/name": app,
        "pod-template-hash": digest,
        "team": _TEAMS[number // 10 % len(_TEAMS)],
        "tier": "backend",
    }
    address = f"10.{200 + number // 65025}.{number // 255 % 255}.{number % 255}"
    meta: Object = {
        "name": f"{app}-{digest}-{number:05d}",
        "generateName": f"{app}-{digest}-",
        "namespace": namespace,
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": now,
        "labels": labels,
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "8080",
            "checksum/config": digest * 8,
        },
        "managedFields": [_claims(labels, now)],
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": meta,
        "spec": _spec(app, node[0]),
        "status": _status(app, address, node[1], now),
    }


def _claims(labels: Object, now: str) -> Object:
    leaf: Object = {}
    container = {
        f"f:{name}": leaf
        for name in (
            "image",
            "imagePullPolicy",
            "name",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "env",
            "volumeMounts",
        )
    }
    spec = {
        f"f:{name}": leaf
        for name in (
            "dnsPolicy",
            "enableServiceLinks",
            "restartPolicy",
            "schedulerName",
            "securityContext",
            "terminationGracePeriodSeconds",
        )
    }
    fields = {
        "f:metadata": {
            "f:generateName": leaf,
            "f:labels": {".": leaf, **{f"f:{name}": leaf for name in labels}},
        },
        "f:spec": {
            "f:containers": {'k:{"name":"app"}': {".": leaf, **container}},
            **spec,
        },
    }
    return {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _spec(app: str, node: str) -> Object:
    env = [
        {"name": name, "value": value}
        for name, value in (
            ("APP", app),
            ("LOG_LEVEL", "info"),
            ("REGION", "region-1"),
            ("DATABASE_HOST", "postgres.data.svc"),
        )
    ]
    probe = {
        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    container = {
        "name": "app",
        "image": f"registry.example.com/{app}:1.4.2",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": env,
        "resources": {
            "limits": {"cpu": "100m", "memory": "64Mi"},
            "requests": {"cpu": "10m", "memory": "16Mi"},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/app"},
            {"name": "cache", "mountPath": "/var/cache"},
        ],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    tolerations = [
        {
            "key": f"node.kubernetes.io/{why}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for why in ("not-ready", "unreachable")
    ]
    return {
        "volumes": [
            {"name": "config", "configMap": {"name": app, "defaultMode": 420}},
            {"name": "cache", "emptyDir": {}},
        ],
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "nodeName": node,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": tolerations,
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _status(app: str, address: str, host: str, now: str) -> Object:
    kinds = (
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    )
    conditions = [
        {
            "type": kind,
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
        for kind in kinds
    ]
    digest = f"{zlib.crc32(app.encode()):08x}" * 8
    container = {
        "name": "app",
        "state": {"running": {"startedAt": now}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": f"registry.example.com/{app}:1.4.2",
        "imageID": f"registry.example.com/{app}@sha256:{digest}",
        "containerID": f"containerd://{digest}",
        "started": True,
    }
    return {
        "observedGeneration": 1,
        "phase": "Running",
        "conditions": conditions,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": [container],
        "qosClass": "Burstable",
    }
