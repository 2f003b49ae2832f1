"""The credentials of a kubeconfig as an HTTP header."""

import base64

from clusters.kubeconfig import Access


def authorization_header(access: Access) -> str:
    """The Authorization header; "" when the credentials are a client certificate or none."""
    if access.token:
        return f"Bearer {access.token}"
    if access.username is None:
        return ""
    # UTF-8, as Go sends it.
    pair = f"{access.username}:{access.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
