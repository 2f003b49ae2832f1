"""Addresses whose requests and answers pass as streams, to the event-driven server.

Files of containers go up and down there: they are not stored on the way, and no thread of the web
server is held for their length. Agents are answered there, too, with limits of its own.
"""

import re

_PLACE = rb"/(?:api/v1/kubernetes/pods|clusters)/[^?]*/files"
_STREAMED = (
    (frozenset({b"GET", b"HEAD"}), re.compile(_PLACE + rb"/download/?(?:\?|\Z)")),
    (frozenset({b"POST"}), re.compile(_PLACE + rb"/?(?:\?|\Z)")),
)
_AGENTS = re.compile(rb"/mcp/?(?:\?|\Z)")


def is_streamed(method: bytes, target: bytes) -> bool:
    """Whether a request is an up- or download of files, or an agent's."""
    # Most are neither, and every request is asked.
    if b"/files" not in target and not target.startswith(b"/mcp"):
        return False
    if _AGENTS.match(target):
        return True
    return any(method in methods and pattern.match(target) for methods, pattern in _STREAMED)
