"""The inside of a container: its environment and its files."""

import base64
from typing import Any

from simcluster import logs, programs
from simcluster.cluster import Cluster
from simcluster.objects import get_annotations
from simcluster.resources import Object
from simcluster.shell import FileSystem

# What still fits on a full disk.
FREE_BYTES = 64 * 1024
_RELEASE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.1\n'


def files_of(cluster: Cluster, pod: Object, container: Object) -> FileSystem:
    """The file system of a container; what is written to it stays as long as the pod."""
    key = (pod["metadata"]["uid"], container["name"])
    if key not in cluster.file_systems:
        files = FileSystem(_initial_files(cluster, pod, container))
        if target := container.get("targetContainerName"):
            beside = logs.container_of(pod, target)
            files.target = lambda: files_of(cluster, pod, beside)
        traits = traits_of(pod, container)
        files.read_only = "read-only" in traits or bool(
            (container.get("securityContext") or {}).get("readOnlyRootFilesystem")
        )
        if "full" in traits:
            files.capacity = sum(len(data) for data in files.files.values()) + FREE_BYTES
        if "locked" in traits:
            files.make_directory("/var/locked")
            files.write("/var/locked/inside", b"")
            files.locked.add("/var/locked")
        if "links" in traits:
            _add_links(files)
        cluster.file_systems[key] = files
    return cluster.file_systems[key]


def traits_of(pod: Object, container: Object) -> frozenset[str]:
    """What is odd about a container: the words of the pod's annotation simcluster.dev/files.

    An ephemeral container has none of them: they are those of the pod's image.
    """
    if container.get("targetContainerName"):
        return frozenset()
    words = get_annotations(pod).get("simcluster.dev/files", "")
    return frozenset(word.strip() for word in words.split(",") if word.strip())


def missing_programs(pod: Object, container: Object) -> frozenset[str] | None:
    """The programs that the image lacks; None for one without any (distroless)."""
    traits = traits_of(pod, container)
    image = container.get("image", "")
    if "no-shell" in traits or "distroless" in image or image == "scratch":
        return None
    return frozenset(word.removeprefix("no-") for word in traits if word.startswith("no-"))


HOSTILE = "/tmp/hostile"  # noqa: S108 - of the fake file system


def _add_links(files: FileSystem) -> None:
    """What a hostile image holds: links everywhere, and names that steer a terminal."""
    files.make_directory(HOSTILE)
    files.make_link("/proc", f"{HOSTILE}/processes")
    files.make_link("/var/run/secrets/kubernetes.io/serviceaccount", f"{HOSTILE}/account")
    files.make_link("/", f"{HOSTILE}/root")
    files.make_link("loop", f"{HOSTILE}/loop")
    for name in ("\x1b[31mred", "two\nlines", "-rf", "a b\"'$(id)", "\udcff\udcfe"):
        files.write(f"{HOSTILE}/{name}", b"x")


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
