"""One-time tokens: a secret that is handed out once, of which only the SHA-256 is ever stored.

WebSocket tickets (`core.sockets.tickets`) and confirmations (`core.api.confirmation`) are both made
of them. Each keeps what a token stands for under its digest, and spends it in one atomic step.
"""

import hashlib
import secrets
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """The secret text as its holder sends it."""

    secret: str

    @classmethod
    def generate(cls, *, size: int, prefix: str = "") -> "OneTimeToken":
        """A new token of `size` random bytes as url-safe base64, behind `prefix`."""
        return cls(prefix + secrets.token_urlsafe(size))

    @property
    def digest(self) -> str:
        """The SHA-256 of the secret as 64 hexadecimal digits: what may be stored."""
        return hashlib.sha256(self.secret.encode()).hexdigest()
