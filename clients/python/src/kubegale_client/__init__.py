"""A client of KubeGale: `KubeGale(url, token).pods.list(cluster="prod")`."""

from kubegale_client.client import KubeGale
from kubegale_client.errors import (
    ClusterUnavailable,
    ConfirmationRequired,
    Forbidden,
    InvalidRequest,
    KubeGaleError,
    NotFound,
    NotReachable,
    NotSignedIn,
    OperationFailed,
    Refused,
    ServerError,
    WaitTimeout,
)
from kubegale_client.objects import Objects, Page

__all__ = [
    "ClusterUnavailable",
    "ConfirmationRequired",
    "Forbidden",
    "InvalidRequest",
    "KubeGale",
    "KubeGaleError",
    "NotFound",
    "NotReachable",
    "NotSignedIn",
    "Objects",
    "OperationFailed",
    "Page",
    "Refused",
    "ServerError",
    "WaitTimeout",
]
