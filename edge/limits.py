"""What the front lets a client do, from the environment (docs/settings.md)."""

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Network,
    IPv6Network,
    ip_address,
    ip_network,
)

Network = IPv4Network | IPv6Network
# The names of OPEN_DIALECTS, and the addresses that answer without credentials then.
OPEN_PREFIXES = {
    "bcs": (b"/bcsapi/", b"/bcsstorage/"),
    "k8sservice": (b"/v1/k8sservice",),
    "walm": (
        b"/api/v1/pod/",
        b"/api/v1/pvc",
        b"/api/v1/secret",
        b"/api/v1/storageclass",
        b"/api/v1/tenant",
    ),
}
# What shows that a request has credentials: a session of the console, or one of these headers.
SESSION_COOKIE = b"sessionid="
CREDENTIALS = frozenset(
    {
        b"authorization",
        b"x-bcs-user-token",
        b"secret",
        b"username",
    }
)
MIB = 1024 * 1024
# As the web server itself counts (docs/settings.md).
WEB_THREADS = 16


class SettingError(Exception):
    """One sentence: which variable has a value that cannot be used."""


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
    spool_per_address: int = 256 * MIB
    connections: int = 8192
    connections_per_address: int = 1024
    requests_per_address: int = 12
    # Of one process of the web server.
    web_threads: int = WEB_THREADS
    stop_seconds: float = 30.0
    trusted: tuple[Network, ...] = ()
    open_prefixes: tuple[bytes, ...] = ()
    # Names, in lower case, of the headers in which a trusted proxy describes its client's
    # certificate.
    certificate_headers: frozenset[bytes] = frozenset()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Limits":
        """The limits from environment variables; SettingError for a value that cannot be used.

        There are at most as many connections as file descriptors allow.
        """

        def seconds(name: str, default: float) -> float:
            return _number(environ, name, default)

        def count(name: str, default: int) -> int:
            return int(_number(environ, name, default))

        # A client takes its own connection, one to a server and perhaps a file for a spool.
        possible = max(64, (raise_descriptors() - 64) // 3)
        spool_total = count("EDGE_SPOOL_BYTES", cls.spool_total)
        return cls(
            head_seconds=seconds("EDGE_HEAD_SECONDS", cls.head_seconds),
            idle_seconds=seconds("EDGE_IDLE_SECONDS", cls.idle_seconds),
            body_bytes=count("MAX_BODY_BYTES", cls.body_bytes),
            anonymous_body_bytes=count(
                "MAX_ANONYMOUS_BODY_BYTES",
                cls.anonymous_body_bytes,
            ),
            body_idle_seconds=seconds("EDGE_BODY_IDLE_SECONDS", cls.body_idle_seconds),
            body_grace_seconds=seconds("EDGE_BODY_GRACE_SECONDS", cls.body_grace_seconds),
            body_rate=count("EDGE_BODY_RATE", cls.body_rate),
            answer_seconds=seconds("EDGE_ANSWER_SECONDS", cls.answer_seconds),
            stall_seconds=seconds("EDGE_STALL_SECONDS", cls.stall_seconds),
            spool_total=spool_total,
            spool_per_address=count(
                "EDGE_SPOOL_BYTES_PER_ADDRESS",
                # Some of the largest answers, even of a small whole.
                max(spool_total // 4, 4 * cls.answer_spool),
            ),
            connections=min(
                possible,
                count("EDGE_CONNECTIONS", cls.connections),
            ),
            connections_per_address=count(
                "EDGE_CONNECTIONS_PER_ADDRESS",
                cls.connections_per_address,
            ),
            requests_per_address=max(
                1,
                count("EDGE_REQUESTS_PER_ADDRESS", _usual_requests(count)),
            ),
            web_threads=count("WEB_THREADS", WEB_THREADS),
            trusted=_networks(environ.get("TRUSTED_PROXIES", "")),
            open_prefixes=_open_prefixes(environ.get("OPEN_DIALECTS", "")),
            certificate_headers=_certificate_headers(environ),
        )

    def body_limit(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
        """How large the body of a request with these headers (lower-case names) may be, in bytes.

        The ordinary limit with credentials, valid or not, and for dialects that ask for none.
        """
        if target.startswith(self.open_prefixes):
            return self.body_bytes
        for name, value in headers:
            # Whether the credentials are valid is for the application to find out.
            if name in CREDENTIALS or (name == b"cookie" and SESSION_COOKIE in value):
                return self.body_bytes
        return min(self.anonymous_body_bytes, self.body_bytes)

    def trusts(self, address: str) -> bool:
        """Whether the address is that of a proxy of ours, which speaks for many clients."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self.trusted)


def raise_descriptors() -> int:
    """Lift the soft limit of open files to the hard one; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = 1 << 20 if hard == resource.RLIM_INFINITY else min(hard, 1 << 20)
    if soft < highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    return max(soft, highest)


def _usual_requests(count: Callable[[str, int], int]) -> int:
    """Three of four threads of the web server, so that no address has them all."""
    # The launcher says how many processes there are.
    return max(8, count("WEB_CONCURRENCY", 1) * count("WEB_THREADS", WEB_THREADS) * 3 // 4)


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or ""
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise SettingError(f"{name} must be a number, not {text!r}.") from None
    if not value > 0:
        raise SettingError(f"{name} must be more than 0.")
    return value


def _open_prefixes(text: str) -> tuple[bytes, ...]:
    """The addresses of opened dialects.

    Which network or certificate may use them is for the application to check.
    """
    prefixes: tuple[bytes, ...] = ()
    for word in text.replace(",", " ").split():
        prefixes += OPEN_PREFIXES.get(word.partition("@")[0], ())
    return prefixes


def _certificate_headers(
    environ: Mapping[str, str],
) -> frozenset[bytes]:
    settings = (
        "CLIENT_CERT_HEADER",
        "CLIENT_CERT_VERIFIED_HEADER",
    )
    names = [environ.get(setting, "").strip().lower() for setting in settings]
    return frozenset(name.encode() for name in names if name)


def _networks(text: str) -> tuple[Network, ...]:
    words = text.replace(",", " ").split()
    try:
        return tuple(ip_network(word, strict=False) for word in words)
    except ValueError:
        raise SettingError("TRUSTED_PROXIES must be a comma list of networks.") from None
