"""Reading a kubeconfig without ever running a command or opening a file that it names."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from clusters.addresses import check_host
from clusters.documents import Object, from_yaml
from kubegale.errors import Invalid

MAX_BYTES = 1024 * 1024
# What runs a program or reads a file of our host when a client library loads it.
REFUSED = {
    "exec": "it would run a command on this host",
    "auth-provider": "it would run a plug-in on this host",
    "tokenFile": "it names a file of this host",
    "certificate-authority": "it names a file; use certificate-authority-data",
    "client-certificate": "it names a file; use client-certificate-data",
    "client-key": "it names a file; use client-key-data",
    "proxy-url": "calls through a proxy are not supported",
    "as": "impersonation belongs to the cluster's settings, not to its kubeconfig",
    "as-uid": "impersonation belongs to the cluster's settings, not to its kubeconfig",
    "as-groups": "impersonation belongs to the cluster's settings, not to its kubeconfig",
    "as-user-extra": "impersonation belongs to the cluster's settings, not to its kubeconfig",
}


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server: everything in memory, nothing on disk. `repr` shows no secret."""

    server: str
    ca: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    verify: bool = True


def _entries(config: Object, section: str) -> Iterator[tuple[str, Object]]:
    """(name, body) of each entry of clusters, users or contexts."""
    entries = config.get(section) or []
    if not isinstance(entries, list):
        raise Invalid(f"kubeconfig: {section} must be a list")
    for entry in entries:
        body = entry.get(section[:-1]) if isinstance(entry, dict) else None
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("name"), str)
            or not isinstance(body or {}, dict)
        ):
            raise Invalid(f"kubeconfig: each of {section} needs a name and a {section[:-1]}")
        yield entry["name"], body or {}


def refuse_dangerous(config: Object) -> None:
    """Invalid when any entry, used or not, would run a command or read a file."""
    for section in ("clusters", "users"):
        for name, body in _entries(config, section):
            for key in body:
                if key in REFUSED and body[key] not in (None, ""):
                    raise Invalid(
                        f"kubeconfig: {key} of {section[:-1]} {name!r} is refused: {REFUSED[key]}",
                        reason="kubeconfig_refused",
                    )


def _named(config: Object, section: str, name: object) -> Object:
    for candidate, body in _entries(config, section):
        if candidate == name:
            return body
    raise Invalid(f"kubeconfig: no {section[:-1]} named {name!r}")


def _text(body: Object, key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"kubeconfig: {key} must be text")
    return value or None


def _pem(body: Object, key: str) -> str | None:
    if (text := _text(body, key)) is None:
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Invalid(f"kubeconfig: {key} is not base64 of a PEM document") from None


def check_server(server: str, policy: str) -> None:
    """Invalid when the address is no http(s) URL of a host that the policy allows."""
    try:
        parts = urlsplit(server)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Invalid("kubeconfig: server is not a valid address") from None
    if (
        parts.scheme not in {"https", "http"}
        or not host
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise Invalid("kubeconfig: server must look like https://host:port")
    check_host(host, policy)


def parse(text: str) -> Object:
    """The kubeconfig as data, with everything dangerous refused."""
    if len(text.encode()) > MAX_BYTES:
        raise Invalid("kubeconfig: larger than 1 MiB")
    config = from_yaml(text)
    refuse_dangerous(config)
    return config


def access(text: str, *, policy: str, allow_insecure: bool = False) -> Access:
    """What the current context says about reaching its server; Invalid, naming the key, when it cannot be used."""
    config = parse(text)
    context = _named(config, "contexts", config.get("current-context"))
    cluster, user = _named(config, "clusters", context.get("cluster")), _user(config, context)
    server = (_text(cluster, "server") or "").rstrip("/")
    check_server(server, policy)
    verify = not cluster.get("insecure-skip-tls-verify")
    if not allow_insecure and (not verify or server.startswith("http:")):
        raise Invalid(
            "kubeconfig: TLS must be verified; give certificate-authority-data (or set CLUSTER_ALLOW_INSECURE_TLS)",
            reason="insecure",
        )
    return Access(
        server=server,
        ca=_pem(cluster, "certificate-authority-data"),
        certificate=_pem(user, "client-certificate-data"),
        key=_pem(user, "client-key-data"),
        token=_token(user),
        username=_text(user, "username"),
        password=_text(user, "password"),
        tls_server_name=_text(cluster, "tls-server-name"),
        verify=verify,
    )


def _token(user: Object) -> str | None:
    token = _text(user, "token")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise Invalid("kubeconfig: token has characters that no token has")
    return token


def _user(config: Object, context: Object) -> Object:
    name: Any = context.get("user")
    return _named(config, "users", name) if name else {}
