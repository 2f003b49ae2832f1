"""The kubeconfig that reaches the cluster."""

import base64

import yaml

from simcluster.resources import Object


def make(url: str, authority: bytes, token: str, *, name: str = "simcluster") -> Object:
    """A kubeconfig with the authority and the token embedded."""
    cluster = {
        "server": url,
        "certificate-authority-data": base64.b64encode(authority).decode(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": f"{name}-admin", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-admin"}}],
        "current-context": name,
    }


def text(document: Object) -> str:
    """The kubeconfig as YAML."""
    return yaml.safe_dump(document, sort_keys=False)
