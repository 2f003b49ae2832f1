"""Asking an image registry whether an image exists: Registry HTTP API v2, token flow, HEAD of the manifest."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode

import orjson
from django.conf import settings
from django.core.cache import cache
from django.utils.crypto import salted_hmac

from billing.http_client import Outbound, OutboundError
from billing.images import Image
from core.errors import Internal, Invalid

ACCEPT = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """For a private repository."""

    username: str
    password: str


class ImageChecker(Protocol):
    """Says whether a registry has an image; Internal when it cannot be asked."""

    def exists(self, image: Image, tag: str, credentials: Credentials | None = None) -> bool:
        """Whether the image is there."""


def decode_credentials(username: str | None, password: str | None) -> Credentials | None:
    """The `Username` and `Password` headers (base64 of UTF-8); None without them, Invalid when garbled."""
    if not username and not password:
        return None
    try:
        name, word = (
            base64.b64decode(text or "", validate=True).decode() for text in (username, password)
        )
    except (binascii.Error, UnicodeDecodeError):
        raise Invalid("Username and Password must be base64 of UTF-8") from None
    if ":" in name or not (name + word).isprintable():
        raise Invalid("Username and Password cannot be used")
    return Credentials(name, word)


class RegistryChecker:
    """Asks the registry itself; answers are kept for IMAGE_CACHE_SECONDS, failures never."""

    def exists(self, image: Image, tag: str, credentials: Credentials | None = None) -> bool:
        """Whether the manifest is there and may be seen; registries off the allow-list have nothing."""
        base = self._base(image.registry)
        if base is None:
            return False
        key = _cache_key(base, image, tag, credentials)
        if (known := cache.get(key)) is not None:
            return bool(known)
        found = self._ask(base, image, tag, credentials)
        cache.set(key, found, settings.IMAGE_CACHE_SECONDS)
        return found

    @staticmethod
    def _base(registry: str) -> str | None:
        """The registry's address: the configured one, or one on the allow-list; the user never chooses a host."""
        if not registry:
            return str(settings.IMAGE_REGISTRY_URL).rstrip("/")
        for allowed in [settings.IMAGE_REGISTRY_URL, *settings.IMAGE_REGISTRIES]:
            url = allowed if "://" in allowed else f"https://{allowed}"
            if url.partition("://")[2].rstrip("/").lower() == registry.lower():
                return str(url).rstrip("/")
        return None

    def _ask(self, base: str, image: Image, tag: str, credentials: Credentials | None) -> bool:
        try:
            with Outbound(
                policy=settings.IMAGE_ADDRESS_POLICY, timeout=settings.IMAGE_REGISTRY_TIMEOUT
            ) as outbound:
                return _Exchange(outbound, base, image.repository, credentials).head(tag)
        except OutboundError as error:
            raise Internal(
                f"the image registry cannot be asked: {error}", reason="registry"
            ) from None


def _cache_key(base: str, image: Image, tag: str, credentials: Credentials | None) -> str:
    who = f"{credentials.username}\0{credentials.password}" if credentials else ""
    return (
        "image:"
        + salted_hmac(
            "billing.image", f"{base}\0{image.repository}\0{tag}\0{who}", algorithm="sha256"
        ).hexdigest()
    )


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One question to one registry: HEAD, and what its challenge asks for in between."""

    outbound: Outbound
    base: str
    repository: str
    credentials: Credentials | None

    def head(self, tag: str) -> bool:
        """Whether the manifest is there and may be seen."""
        url = f"{self.base}/v2/{quote(self.repository)}/manifests/{quote(tag)}"
        answer = self.outbound.request("HEAD", url, headers={"Accept": ACCEPT})
        if answer.status == 401:
            authorization = self._authorization(answer.headers.get("WWW-Authenticate", ""))
            if authorization is None:
                return False
            answer = self.outbound.request(
                "HEAD", url, headers={"Accept": ACCEPT, "Authorization": authorization}
            )
        return _meaning(answer.status)

    def _authorization(self, challenge: str) -> str | None:
        """The Authorization header that the challenge asks for; None when we cannot give one."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return _basic(self.credentials) if self.credentials else None
        if scheme.lower() != "bearer":
            raise OutboundError("it asks for credentials of an unknown kind")
        return self._token(dict(CHALLENGE.findall(rest)))

    def _token(self, fields: dict[str, str]) -> str | None:
        realm = fields.get("realm", "")
        if not _trusted(realm, self.base):
            raise OutboundError(
                "it sends us to a token service that is not trusted (IMAGE_TOKEN_HOSTS)"
            )
        query = urlencode(
            {"service": fields.get("service", ""), "scope": f"repository:{self.repository}:pull"}
        )
        headers = {"Authorization": _basic(self.credentials)} if self.credentials else {}
        answer = self.outbound.request(
            "GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers=headers
        )
        if answer.status in {401, 403, 404}:
            return None
        if answer.status != 200:
            raise OutboundError(f"its token service answers HTTP {answer.status}")
        return f"Bearer {_token_of(answer.body)}"


def _token_of(body: bytes) -> str:
    try:
        found = orjson.loads(body)
        token = found.get("token") or found.get("access_token")
    except (orjson.JSONDecodeError, AttributeError):
        token = None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise OutboundError("its token service answers no token")
    return token


def _meaning(status: int) -> bool:
    """200 is there; 404, and what an unknown repository gets (401, 403), is not; everything else is no answer."""
    if status == 200:
        return True
    if status in {401, 403, 404}:
        return False
    raise OutboundError(f"HTTP {status}")


def _basic(credentials: Credentials) -> str:
    return (
        "Basic "
        + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    )


def _trusted(realm: str, base: str) -> bool:
    """Whether credentials and our requests may go there: the registry's own host or an allowed one, never from TLS to plain."""
    parts, own = Outbound.parse(realm), Outbound.parse(base)
    if parts is None or own is None or (own.scheme == "https" and parts.scheme != "https"):
        return False
    return parts.host == own.host or parts.host in settings.IMAGE_TOKEN_HOSTS
