"""The inside of a container: its environment and its files."""

import base64
from typing import Any

from simcluster import programs
from simcluster.cluster import Cluster
from simcluster.resources import Object
from simcluster.shell import FileSystem

_RELEASE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.1\n'


def files_of(cluster: Cluster, pod: Object, container: Object) -> FileSystem:
    """The file system of a container; what is written to it stays as long as the pod."""
    key = (pod["metadata"]["uid"], container["name"])
    if key not in cluster.file_systems:
        cluster.file_systems[key] = FileSystem(_initial_files(cluster, pod, container))
    return cluster.file_systems[key]


def _initial_files(cluster: Cluster, pod: Object, container: Object) -> dict[str, bytes]:
    name = pod["metadata"]["name"]
    namespace = pod["metadata"]["namespace"]
    address = pod["status"].get("podIP", "127.0.0.1")
    domains = f"{namespace}.svc.cluster.local svc.cluster.local cluster.local"
    files = {
        "/etc/hostname": f"{name}\n".encode(),
        "/etc/hosts": f"127.0.0.1\tlocalhost\n{address}\t{name}\n".encode(),
        "/etc/resolv.conf": f"search {domains}\nnameserver 10.96.0.10\n".encode(),
        "/etc/os-release": _RELEASE,
        "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
        "/proc/version": b"Linux version 6.12.48\n",
        "/var/run/secrets/kubernetes.io/serviceaccount/namespace": namespace.encode(),
        "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt": cluster.authority.encode(),
    }
    if programs.image_name(container.get("image", "")) == "nginx":
        files["/usr/share/nginx/html/index.html"] = (
            b"<html><body><h1>Welcome to nginx!</h1></body></html>\n"
        )
        files["/etc/nginx/nginx.conf"] = (
            b"worker_processes auto;\nhttp { include conf.d/*.conf; }\n"
        )
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        folder = mount["mountPath"].rstrip("/")
        # A file system knows directories by what is in them: an empty volume needs a file too.
        files[f"{folder}/.keep"] = b""
        volume = volumes.get(mount["name"], {})
        for key, data in _volume_files(cluster, namespace, volume).items():
            files[f"{folder}/{key}"] = data
    return files


def _volume_files(cluster: Cluster, namespace: str, volume: Object) -> dict[str, bytes]:
    if "configMap" in volume:
        name = volume["configMap"].get("name", "")
        return _data(cluster.object("configmaps", namespace, name))
    if "secret" in volume:
        name = volume["secret"].get("secretName", "")
        return _data(cluster.object("secrets", namespace, name))
    return {}


def _data(obj: Object | None) -> dict[str, bytes]:
    if obj is None:
        return {}
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    return {key: value.encode() for key, value in (obj.get("data") or {}).items()}


def environment(cluster: Cluster, pod: Object, container: Object) -> dict[str, str]:
    """The environment of a container: of its image, its service links, `envFrom` and `env`."""
    namespace = pod["metadata"]["namespace"]
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "HOSTNAME": pod["metadata"]["name"],
    }
    env |= {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "PWD": container.get("workingDir", "/"),
    }
    for source in container.get("envFrom") or ():
        reference = source.get("configMapRef") or source.get("secretRef") or {}
        storage = "configmaps" if "configMapRef" in source else "secrets"
        prefix = source.get("prefix", "")
        referenced = cluster.object(storage, namespace, reference.get("name", ""))
        for key, data in _data(referenced).items():
            env[prefix + key] = data.decode(errors="replace")
    for variable in container.get("env") or ():
        if "value" in variable:
            env[variable["name"]] = str(variable["value"])
        else:
            env[variable["name"]] = _value_from(cluster, pod, variable.get("valueFrom") or {})
    return env


def _value_from(cluster: Cluster, pod: Object, source: Object) -> str:
    namespace = pod["metadata"]["namespace"]
    for kind, storage in (
        ("configMapKeyRef", "configmaps"),
        ("secretKeyRef", "secrets"),
    ):
        if kind in source:
            reference = source[kind]
            data = _data(cluster.object(storage, namespace, reference.get("name", "")))
            return data.get(reference.get("key", ""), b"").decode(errors="replace")
    value: Any = pod
    for part in (source.get("fieldRef") or {}).get("fieldPath", "").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
