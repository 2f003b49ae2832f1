"""The generated half: a function for each call and a class for each object, with their types.

It is in wheels that `make client` built, and needs the extra `typed`.
"""

import httpx

from kubegale_client.client import KubeGale
from kubegale_client.generated.client import AuthenticatedClient


def typed_client(client: KubeGale) -> AuthenticatedClient:
    """What the functions of `kubegale_client.generated.api` take as `client`, for the same server
    and user.
    """
    return AuthenticatedClient(
        base_url=client.url, token=client.token, timeout=httpx.Timeout(client.timeout)
    )
