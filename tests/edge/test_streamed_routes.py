"""Which addresses pass as streams: the front and the event-driven server agree on them."""

import pytest

from edge.routes import is_streamed

PODS = "/api/v1/kubernetes/pods/web/files"
CONSOLE = "/clusters/1/pods/shop/web/files"


@pytest.mark.parametrize(
    ("method", "path", "streamed"),
    [
        ("GET", f"{PODS}/download", True),
        ("HEAD", f"{PODS}/download/", True),
        ("POST", PODS, True),
        ("POST", f"{CONSOLE}/", True),
        ("GET", f"{CONSOLE}/download", True),
        ("POST", "/mcp", True),
        ("GET", "/mcp/", True),
        ("POST", "/mcps", False),
        ("GET", PODS, False),
        ("DELETE", PODS, False),
        ("POST", f"{PODS}/download", False),
        ("POST", f"{PODS}/mkdir", False),
        ("POST", "/bcsapi/v4/storage/files", False),
        ("GET", "/api/v1/kubernetes/configmaps/files/download/x", False),
    ],
)
def test_the_front_and_the_server_agree(method: str, path: str, streamed: bool) -> None:
    # It sets Django up, which the front must not do.
    from kubegale.asgi import is_transfer

    assert is_transfer(method, path) is streamed
    for query in ("", "?path=/a/files/download"):
        assert is_streamed(method.encode(), f"{path}{query}".encode()) is streamed
