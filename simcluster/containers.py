"""The inside of a container: its environment and its files."""

import base64
from typing import Any

from simcluster import programs
from simcluster.cluster import Cluster
from simcluster.resources import Object
from simcluster.shell import FileSystem

_RELEASE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME="Alpine Linux v3.22"\n'


def files_of(cluster: Cluster, pod: Object, container: Object) -> FileSystem:
    """The file system of a container; what is written to it stays as long as the pod."""
    key = (pod["metadata"]["uid"], container["name"])
    found = cluster.file_systems.get(key)
    if found is None:
        found = cluster.file_systems[key] = FileSystem(_files(cluster, pod, container))
    return found


def _files(cluster: Cluster, pod: Object, container: Object) -> dict[str, bytes]:
    name, address = pod["metadata"]["name"], pod["status"].get("podIP", "127.0.0.1")
    namespace = pod["metadata"]["namespace"]
    files = {
        "/etc/hostname": f"{name}\n".encode(),
        "/etc/hosts": f"127.0.0.1\tlocalhost\n{address}\t{name}\n".encode(),
        "/etc/resolv.conf": f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n".encode(),
        "/etc/os-release": _RELEASE,
        "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
        "/proc/version": b"Linux version 6.12.48\n",
        "/var/run/secrets/kubernetes.io/serviceaccount/namespace": namespace.encode(),
        "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt": cluster.authority.encode(),
    }
    if programs.image_name(container.get("image", "")) == "nginx":
        files["/usr/share/nginx/html/index.html"] = (
            b"<html><body><h1>Welcome to nginx!</h1></body></html>\n"
        )
        files["/etc/nginx/nginx.conf"] = (
            b"worker_processes auto;\nevents { worker_connections 1024; }\nhttp { include conf.d/*.conf; }\n"
        )
    for mount in container.get("volumeMounts") or ():
        volume: Object = next(
            (one for one in pod["spec"].get("volumes") or () if one["name"] == mount["name"]), {}
        )
        files[f"{mount['mountPath'].rstrip('/')}/.keep"] = b""
        for key, data in _volume(cluster, namespace, volume).items():
            files[f"{mount['mountPath'].rstrip('/')}/{key}"] = data
    return files


def _volume(cluster: Cluster, namespace: str, volume: Object) -> dict[str, bytes]:
    for kind, field in (("configMap", "name"), ("secret", "secretName")):
        if kind in volume:
            found = cluster.object(f"{kind.lower()}s", namespace, volume[kind].get(field, ""))
            return _data(found)
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
        for key, data in _data(
            cluster.object(storage, namespace, reference.get("name", ""))
        ).items():
            env[source.get("prefix", "") + key] = data.decode(errors="replace")
    for one in container.get("env") or ():
        env[one["name"]] = (
            str(one["value"])
            if "value" in one
            else _value(cluster, pod, one.get("valueFrom") or {})
        )
    return env


def _value(cluster: Cluster, pod: Object, source: Object) -> str:
    for kind, storage in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if kind in source:
            found = _data(
                cluster.object(storage, pod["metadata"]["namespace"], source[kind].get("name", ""))
            )
            return found.get(source[kind].get("key", ""), b"").decode(errors="replace")
    value: Any = pod
    for part in (source.get("fieldRef") or {}).get("fieldPath", "").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def main_command(container: Object) -> str:
    """What `ps` shows as process 1."""
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return " ".join(str(word) for word in words) or programs.image_name(container.get("image", ""))
