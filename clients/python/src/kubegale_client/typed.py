"""The generated half: a function for each call and a class for each object, with types.

It is in wheels that `make client` built, and needs the extra `typed`.
"""

import httpx

from kubegale_client.client import KubeGale
from kubegale_client.generated.client import AuthenticatedClient


def typed_client(client: KubeGale) -> AuthenticatedClient:
    """The `client` for functions of `kubegale_client.generated.api`: same server, same user."""
    return AuthenticatedClient(
        base_url=client.url,
        token=client.token,
        timeout=httpx.Timeout(client.timeout),
    )
