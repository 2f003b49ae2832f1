"""Manifests of the demo, as a person would write them."""

import base64

from simcluster.demo.company import App, Namespace
from simcluster.resources import Object

_SYSTEM = {"kube-system"}


def namespace(name: str, team: str) -> Object:
    """A namespace with its team's label (system ones exist already)."""
    if name in _SYSTEM:
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "addon-manager", "namespace": name},
        }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"team": team}},
    }


def _labels(app: App) -> dict[str, str]:
    return {"app": app.name, "app.kubernetes.io/name": app.name}


def _meta(space: Namespace, app: App) -> Object:
    team = {"team": space.team} if space.team else {}
    return {
        "name": app.name,
        "namespace": space.name,
        "labels": {**_labels(app), **team},
    }


def _container(app: App) -> Object:
    half = {"cpu": app.cpu, "memory": app.memory}
    container: Object = {
        "name": app.name,
        "image": app.image,
        "ports": [{"name": "main", "containerPort": app.port}],
        "env": [
            {"name": "APP", "value": app.name},
            {
                "name": "NODE",
                "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
            },
        ],
        "resources": {"requests": half, "limits": {"cpu": "1", "memory": "2Gi"}},
    }
    if app.command:
        container["command"] = list(app.command)
    else:
        container["readinessProbe"] = {
            "httpGet": {"path": "/healthz", "port": "main"},
            "initialDelaySeconds": 1,
        }
    if app.config or app.kind == "Deployment":
        container["envFrom"] = [{"configMapRef": {"name": app.config or f"{app.name}-config"}}]
    if app.storage:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/var/lib/data"}]
    return container


def _template(app: App) -> Object:
    meta: Object = {"labels": _labels(app)}
    if app.notes:
        meta["annotations"] = dict(app.notes)
    spec: Object = {"containers": [_container(app)]}
    if app.sidecar:
        resources = {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "200m", "memory": "128Mi"},
        }
        spec["containers"].append(
            {
                "name": "log-shipper",
                "image": "fluent/fluent-bit:4.1",
                "resources": resources,
            }
        )
        spec["initContainers"] = [
            {
                "name": "migrate",
                "image": "busybox:1.37",
                "command": ["sh", "-c", "echo migrated; sleep 1"],
                "resources": resources,
            }
        ]
    if app.selector:
        spec["nodeSelector"] = dict(app.selector)
    return {"metadata": meta, "spec": spec}


def _workload(space: Namespace, app: App) -> Object:
    template = _template(app)
    selector = {"matchLabels": {"app": app.name}}
    if app.kind in ("Job", "CronJob"):
        template["spec"]["restartPolicy"] = "Never"
        job: Object = {"backoffLimit": 2, "template": template}
        if app.kind == "Job":
            return {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": _meta(space, app),
                "spec": job,
            }
        return {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": _meta(space, app),
            "spec": {"schedule": app.schedule, "jobTemplate": {"spec": job}},
        }
    spec: Object = {"selector": selector, "template": template}
    if app.kind != "DaemonSet":
        spec["replicas"] = app.replicas
    if app.kind == "StatefulSet":
        spec["serviceName"] = app.name
    if app.storage:
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": app.storage}},
        }
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
    return {
        "apiVersion": "apps/v1",
        "kind": app.kind,
        "metadata": _meta(space, app),
        "spec": spec,
    }


def application(space: Namespace, app: App) -> list[Object]:
    """Everything that belongs to one application."""
    meta = _meta(space, app)
    objects = []
    if app.kind == "Deployment" and not app.config:
        data = {
            "LOG_LEVEL": "info",
            "PORT": str(app.port),
            "OWNER": space.team or "platform",
        }
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {**meta, "name": f"{app.name}-config"},
                "data": data,
            }
        )
    objects.append(_workload(space, app))
    if app.kind in ("Deployment", "StatefulSet"):
        balanced = space.name == "ingress-nginx"
        spec: Object = {
            "selector": {"app": app.name},
            "ports": [{"name": "main", "port": app.port, "targetPort": "main"}],
        }
        spec |= {"type": "LoadBalancer"} if balanced else {}
        spec |= {"clusterIP": "None"} if app.kind == "StatefulSet" else {}
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": meta,
                "spec": spec,
            }
        )
    if app.host:
        objects.append(_ingress(meta, app))
    if app.scales:
        objects.append(_autoscaler(meta, app))
    if app.replicas > 1 and app.kind in ("Deployment", "StatefulSet"):
        budget = {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {"app": app.name}},
        }
        objects.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": meta,
                "spec": budget,
            }
        )
    return objects


def _ingress(meta: Object, app: App) -> Object:
    backend = {"service": {"name": app.name, "port": {"number": app.port}}}
    rule = {
        "host": app.host,
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }
    spec = {
        "ingressClassName": "nginx",
        "rules": [rule],
        "tls": [{"hosts": [app.host], "secretName": f"{app.name}-tls"}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": meta,
        "spec": spec,
    }


def _autoscaler(meta: Object, app: App) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.name}
    metric = {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 60},
        },
    }
    spec = {
        "scaleTargetRef": target,
        "minReplicas": app.replicas,
        "maxReplicas": app.replicas * 2,
        "metrics": [metric],
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta,
        "spec": spec,
    }


def extras(space: Namespace) -> list[Object]:
    """The other objects of a namespace: credentials, a quota, a role binding."""
    scope = {"namespace": space.name}
    secret = {"username": space.name, "password": f"{space.name}-not-a-secret"}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in secret.items()}
    objects: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "database", **scope},
            "data": data,
        }
    ]
    if space.quota:
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "team", **scope},
                "spec": {"hard": dict(space.quota)},
            }
        )
    if space.team:
        reference = {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "edit",
        }
        subject = {
            "kind": "Group",
            "name": f"team-{space.team}",
            "apiGroup": "rbac.authorization.k8s.io",
        }
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "team", **scope},
        }
        objects.append({**binding, "roleRef": reference, "subjects": [subject]})
    return objects


def cluster_wide() -> list[Object]:
    """Classes, a priority, and a custom kind with two objects."""
    ingress_class = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "nginx"},
    }
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "business-critical"},
        "value": 100000,
    }
    backups = [
        {
            "apiVersion": "ops.example.com/v1",
            "kind": "Backup",
            "metadata": {"name": name, "namespace": space},
            "spec": {"schedule": "0 2 * * *", "keep": 7},
        }
        for name, space in (("ledger", "payments"), ("catalog-db", "catalog"))
    ]
    return [
        {**ingress_class, "spec": {"controller": "k8s.io/ingress-nginx"}},
        priority,
        _definition(),
        *backups,
    ]


def _definition() -> Object:
    properties = {
        "schedule": {"type": "string"},
        "keep": {"type": "integer", "minimum": 1},
    }
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["schedule"],
                "properties": properties,
            }
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    version["additionalPrinterColumns"] = [
        {"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule"}
    ]
    names = {
        "plural": "backups",
        "singular": "backup",
        "kind": "Backup",
        "shortNames": ["bk"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "backups.ops.example.com"},
        "spec": {
            "group": "ops.example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }
