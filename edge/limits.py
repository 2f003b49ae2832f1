"""What the front lets a client do, out of the environment; docs/settings.md lists the same names."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
# The names of OPEN_DIALECTS, and the addresses that answer without credentials then.
OPEN_PREFIXES = {
    "bcs": (b"/bcsapi/", b"/bcsstorage/"),
    "k8sservice": (b"/v1/k8sservice",),
    "walm": tuple(
        b"/api/v1/" + name for name in (b"pod/", b"pvc", b"secret", b"storageclass", b"tenant")
    ),
}
SESSION_COOKIE = b"sessionid="
CREDENTIALS = frozenset({b"authorization", b"x-bcs-user-token", b"secret", b"username"})
MIB = 1024 * 1024


class SettingError(Exception):
    """One sentence: which variable holds what it cannot."""


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds, rates in bytes a second."""

    head_bytes: int = 32 * 1024
    line_bytes: int = 8190
    headers: int = 100
    head_seconds: float = 15.0
    idle_seconds: float = 65.0
    body_bytes: int = 16 * MIB
    anonymous_body_bytes: int = 64 * 1024
    body_idle_seconds: float = 15.0
    body_grace_seconds: float = 20.0
    body_rate: int = 4096
    answer_seconds: float = 900.0
    stall_seconds: float = 60.0
    spool_memory: int = 64 * 1024
    answer_spool: int = 32 * MIB
    spool_total: int = 1024 * MIB
    connections: int = 8192
    connections_per_address: int = 1024
    stop_seconds: float = 30.0
    trusted: tuple[Network, ...] = ()
    open_prefixes: tuple[bytes, ...] = ()
    # Names, in lower case, of the headers in which a trusted proxy describes its client's
    # certificate.
    certificate_headers: frozenset[bytes] = frozenset()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Limits":
        """SettingError for what is no number or no network. As many connections as descriptors allow."""
        words = environ.get("OPEN_DIALECTS", "").replace(",", " ").split()
        descriptors = raise_descriptors()
        room = max(64, (descriptors - 64) // 3)
        return cls(
            head_seconds=_number(environ, "EDGE_HEAD_SECONDS", cls.head_seconds),
            idle_seconds=_number(environ, "EDGE_IDLE_SECONDS", cls.idle_seconds),
            body_bytes=int(_number(environ, "MAX_BODY_BYTES", cls.body_bytes)),
            anonymous_body_bytes=int(
                _number(environ, "MAX_ANONYMOUS_BODY_BYTES", cls.anonymous_body_bytes)
            ),
            body_idle_seconds=_number(environ, "EDGE_BODY_IDLE_SECONDS", cls.body_idle_seconds),
            body_grace_seconds=_number(environ, "EDGE_BODY_GRACE_SECONDS", cls.body_grace_seconds),
            body_rate=int(_number(environ, "EDGE_BODY_RATE", cls.body_rate)),
            answer_seconds=_number(environ, "EDGE_ANSWER_SECONDS", cls.answer_seconds),
            stall_seconds=_number(environ, "EDGE_STALL_SECONDS", cls.stall_seconds),
            spool_total=int(_number(environ, "EDGE_SPOOL_BYTES", cls.spool_total)),
            connections=min(room, int(_number(environ, "EDGE_CONNECTIONS", cls.connections))),
            connections_per_address=int(
                _number(environ, "EDGE_CONNECTIONS_PER_ADDRESS", cls.connections_per_address)
            ),
            trusted=_networks(environ.get("TRUSTED_PROXIES", "")),
            open_prefixes=tuple(
                prefix for word in words for prefix in OPEN_PREFIXES.get(word.partition("@")[0], ())
            ),
            certificate_headers=frozenset(
                environ[name].strip().lower().encode()
                for name in ("CLIENT_CERT_HEADER", "CLIENT_CERT_VERIFIED_HEADER")
                if environ.get(name, "").strip()
            ),
        )

    def body_limit(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
        """How large a body is read for a request with these headers (lower-case names): the ordinary limit for whoever shows
        credentials, good or not, and for dialects that ask for none."""
        if target.startswith(self.open_prefixes):
            return self.body_bytes
        for name, value in headers:
            if name in CREDENTIALS or (name == b"cookie" and SESSION_COOKIE in value):
                return self.body_bytes
        return min(self.anonymous_body_bytes, self.body_bytes)

    def trusts(self, address: str) -> bool:
        """Whether a proxy of ours speaks from this address, for many clients at once."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self.trusted)


def raise_descriptors() -> int:
    """Lift the soft limit of open files to the hard one; the limit that holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = 1 << 20 if hard == resource.RLIM_INFINITY else min(hard, 1 << 20)
    if soft < highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    return max(soft, highest)


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or ""
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise SettingError(f"{name} must be a number, not {text!r}.") from None
    if not value > 0:
        raise SettingError(f"{name} must be more than 0.")
    return value


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(
            ip_network(word, strict=False) for word in text.replace(",", " ").split() if word
        )
    except ValueError:
        raise SettingError("TRUSTED_PROXIES must be a comma list of networks.") from None
