"""Reads kubeconfigs; never runs a command or opens a file that one of them names."""

import base64
import binascii
import ipaddress
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import orjson

from clusters.address_policy import check_host
from clusters.manifests import Object, read_mapping
from core.errors import Invalid

MAX_BYTES = 1024 * 1024
MAX_HOST = 253
MAX_SERVER = 500
# How many contexts are listed; any can be chosen.
MAX_CONTEXTS = 200
LABEL = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?\Z")
# Keys for which a client library would run a program or read a file of this host.
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
    """How to reach one API server, all in memory; `repr` shows no secret."""

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
        # An entry's body may be missing: a user without credentials.
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("name"), str)
            or not isinstance(body or {}, dict)
        ):
            raise Invalid(f"kubeconfig: each of {section} needs a name and a {section[:-1]}")
        yield entry["name"], body or {}


def refuse_dangerous(config: Object) -> None:
    """Raise Invalid when any entry, used or not, would run a command or read a file."""
    for section in ("clusters", "users"):
        for name, body in _entries(config, section):
            for key in body:
                # kubectl writes these keys without a value, too.
                if key in REFUSED and body[key] not in (None, ""):
                    raise Invalid(
                        f"kubeconfig: {key} of {section[:-1]} {name!r} is refused: {REFUSED[key]}",
                        reason="kubeconfig_refused",
                    )


def _find_entry(config: Object, section: str, name: object) -> Object:
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
    """The PEM text of a base64 value; None when it is missing."""
    text = _text(body, key)
    if text is None:
        return None
    try:
        # Comments between the PEM blocks may be in any encoding: Latin-1 decodes all bytes.
        return base64.b64decode("".join(text.split()), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        raise Invalid(f"kubeconfig: {key} is not base64 of a PEM document") from None


def _client_certificate(user: Object) -> tuple[str | None, str | None]:
    """(certificate, key), both None when there is none; Invalid when only one is there."""
    certificate = _pem(user, "client-certificate-data")
    key = _pem(user, "client-key-data")
    if certificate and not key:
        raise Invalid("kubeconfig: client-certificate-data is given without its client-key-data")
    if key and not certificate:
        raise Invalid("kubeconfig: client-key-data is given without its client-certificate-data")
    return certificate, key


def host_name(text: str) -> str:
    """A host as TLS and DNS take it: an IP address, or a name in ASCII; ValueError for others."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        # The trailing dot of an absolute name is not in certificates.
        name = text.rstrip(".") if text.isascii() else text.rstrip(".").encode("idna").decode()
    if not name or len(name) > MAX_HOST or not all(map(LABEL.match, name.split("."))):
        raise ValueError(f"{text[:60]!r} is not a host name")
    return name


def server_address(server: str, policy: str) -> str:
    """The address to which paths are appended: `https://host:port/prefix`, cleaned as Go does it.

    Invalid for a malformed address, and for one that the address policy refuses.
    """
    if "://" not in server:
        raise Invalid("kubeconfig: server must look like https://host:port")
    try:
        parts = urlsplit(server)
        port = parts.port
        host = host_name(_without_zone(parts.hostname or ""))
    except ValueError:
        raise Invalid("kubeconfig: server is not a valid address") from None
    # They would appear wherever the address is shown or logged.
    if parts.username is not None:
        raise Invalid("kubeconfig: server must not hold credentials; they belong to a user")
    if parts.scheme not in {"https", "http"} or parts.query or parts.fragment:
        raise Invalid("kubeconfig: server must look like https://host:port")
    # A host name is checked at each connection, when it is resolved.
    check_host(host, policy)
    # Only an IPv6 address contains colons.
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority = f"{authority}:{port}"
    address = f"{parts.scheme}://{authority}{_prefix(parts)}"
    if len(address) > MAX_SERVER:
        raise Invalid(f"kubeconfig: server is longer than {MAX_SERVER} characters")
    return address


def _without_zone(host: str) -> str:
    """An IPv6 address without its zone, which only link-local addresses need.

    The address policy refuses these anyway.
    """
    return host.partition("%")[0] if ":" in host else host


def _prefix(parts: SplitResult) -> str:
    """The path before `/api` without doubled or trailing slashes and dots; "" for none."""
    cleaned = posixpath.normpath("/" + parts.path.lstrip("/")).rstrip("/")
    return quote(cleaned, safe="/%:@!$&'()*+,;=~")


def _server_name(cluster: Object) -> str | None:
    """`tls-server-name` as TLS takes it; Invalid when no certificate could have such a name."""
    name = _text(cluster, "tls-server-name")
    if name is None:
        return None
    try:
        return host_name(name.strip("[]"))
    except ValueError:
        raise Invalid("kubeconfig: tls-server-name is not a host name") from None


def parse(text: str) -> Object:
    """The kubeconfig as data; Invalid when it is malformed or has a REFUSED key."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise Invalid("kubeconfig: larger than 1 MiB")
    if not text.strip("\ufeff \t\r\n"):
        raise Invalid("kubeconfig: it is empty")
    try:
        config = read_mapping(text)
    except Invalid as error:
        raise Invalid(f"kubeconfig: {error.message}", **error.details) from None
    refuse_dangerous(config)
    return config


def check(text: str) -> None:
    """Raise Invalid for what kubectl refuses to load, or what could be meant in two ways.

    For new kubeconfigs only: `access` still reads those that were saved before.
    """
    config = parse(text)
    is_config = config.get("kind") in (None, "", "Config")
    if not is_config or config.get("apiVersion") not in (None, "", "v1"):
        raise Invalid("kubeconfig: kind and apiVersion must be Config and v1")
    for section in ("clusters", "users", "contexts"):
        _check_names(config, section)
    for name, body in _entries(config, "clusters"):
        if not isinstance(body.get("insecure-skip-tls-verify"), bool | None):
            raise Invalid(
                f"kubeconfig: insecure-skip-tls-verify of cluster {name!r} must be true or false"
            )
    for name, body in _entries(config, "users"):
        # Clients differ in which one they would send.
        if body.get("token") and (body.get("username") or body.get("password")):
            raise Invalid(
                f"kubeconfig: user {name!r} has a token and a password; only one is allowed"
            )
    context_namespace(config)


def _check_names(config: Object, section: str) -> None:
    """Raise Invalid when two entries of a section have one name."""
    names: set[str] = set()
    for name, _ in _entries(config, section):
        if name in names:
            raise Invalid(f"kubeconfig: two {section} are named {name!r}")
        names.add(name)


def contexts(config: Object) -> list[str]:
    """The names of the contexts, in the kubeconfig's order; Invalid when one contains NUL."""
    names = [name for name, _ in _entries(config, "contexts")]
    if any("\0" in name for name in names):
        raise Invalid("kubeconfig: a context's name contains a NUL character")
    return names


def context_name(config: Object, choice: str = "") -> str:
    """The context to use: the chosen one, else the current one, else the only one.

    Invalid, with the names as `contexts` in its details, when there is no such context.
    """
    names = contexts(config)
    name = choice or config.get("current-context") or ""
    if not isinstance(name, str):
        raise Invalid("kubeconfig: current-context must be text")
    if name in names:
        return name
    if not names:
        raise Invalid("kubeconfig: it has no contexts", contexts=names)
    listing = ", ".join(names[:20])
    if name:
        raise Invalid(
            f"kubeconfig: no context named {name[:100]!r}; it has {listing}",
            field="context",
            contexts=names[:MAX_CONTEXTS],
        )
    if len(names) > 1:
        raise Invalid(
            f"kubeconfig: it has no current-context; choose one of {listing} (context)",
            field="context",
            contexts=names[:MAX_CONTEXTS],
        )
    return names[0]


def context_namespace(config: Object) -> str:
    """The namespace of the context in use; "" when it names none."""
    context = _find_entry(config, "contexts", context_name(config))
    return _text(context, "namespace") or ""


def with_context(text: str, choice: str) -> str:
    """The kubeconfig with this context as its current one (see `context_name`).

    The same text when it is the current one already, else JSON. Invalid when it does not exist.
    """
    config = parse(text)
    name = context_name(config, choice)
    # The text stays as the user wrote it, comments included.
    if config.get("current-context") == name:
        return text
    return _as_json({**config, "current-context": name})


def with_server(text: str, server: str) -> str:
    """The kubeconfig, as JSON, with another address of the current context's server."""
    config = parse(text)
    context = _find_entry(config, "contexts", context_name(config))
    name = context.get("cluster")
    # Also refuses a context whose cluster does not exist.
    _find_entry(config, "clusters", name)
    entries = []
    for entry in config["clusters"]:
        if entry["name"] == name:
            entry = {**entry, "cluster": {**entry["cluster"], "server": server}}
        entries.append(entry)
    return _as_json({**config, "clusters": entries})


def _as_json(config: Object) -> str:
    try:
        return orjson.dumps(config).decode()
    except TypeError:
        raise Invalid("kubeconfig: it holds a number that JSON cannot hold") from None


def access(text: str, *, policy: str, allow_insecure: bool = False) -> Access:
    """How to reach the current context's server; Invalid, naming the key, when it cannot be used.

    `policy` is an address policy; `allow_insecure` allows plain HTTP and unverified TLS.
    """
    config = parse(text)
    name = context_name(config)
    context = _find_entry(config, "contexts", name)
    if not context.get("cluster"):
        raise Invalid(f"kubeconfig: context {name!r} names no cluster")
    cluster = _find_entry(config, "clusters", context["cluster"])
    user = _user(config, context)
    address = _text(cluster, "server")
    if not address:
        raise Invalid(f"kubeconfig: cluster {context['cluster']!r} has no server")
    server = server_address(address, policy)
    # Anything but true leaves the verification on.
    verify = cluster.get("insecure-skip-tls-verify") is not True
    if not allow_insecure and (not verify or server.startswith("http:")):
        raise Invalid(
            "kubeconfig: TLS must be verified; give certificate-authority-data"
            " (or set CLUSTER_ALLOW_INSECURE_TLS)",
            reason="insecure",
        )
    certificate, key = _client_certificate(user)
    return Access(
        server=server,
        ca=_pem(cluster, "certificate-authority-data"),
        certificate=certificate,
        key=key,
        token=_token(user),
        username=_text(user, "username"),
        password=_text(user, "password"),
        tls_server_name=_server_name(cluster),
        verify=verify,
    )


def _token(user: Object) -> str | None:
    token = _text(user, "token")
    # A line break would end the header.
    if token is not None and not (token.isascii() and token.isprintable()):
        raise Invalid("kubeconfig: token contains invalid characters")
    return token


def _user(config: Object, context: Object) -> Object:
    name: Any = context.get("user")
    return _find_entry(config, "users", name) if name else {}
