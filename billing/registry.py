"""Asking an image registry whether an image exists.

Registry HTTP API v2: HEAD of the manifest, with the token flow when the registry asks for it.
"""

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

from billing.images import Image
from clusters.outbound import Outbound, OutboundError
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

    def exists(
        self,
        image: Image,
        tag: str,
        credentials: Credentials | None = None,
    ) -> bool:
        """Whether the image is there."""


def decode_credentials(username: str | None, password: str | None) -> Credentials | None:
    """The `Username` and `Password` headers, each base64 of UTF-8.

    None without them, Invalid when they cannot be decoded.
    """
    if not username and not password:
        return None
    try:
        name = base64.b64decode(username or "", validate=True).decode()
        secret = base64.b64decode(password or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Invalid("Username and Password must be base64 of UTF-8") from None
    # A colon would end the name in `Authorization: Basic`.
    if ":" in name or not (name + secret).isprintable():
        raise Invalid("Username and Password cannot be used")
    return Credentials(name, secret)


class RegistryChecker:
    """Asks the registry itself; answers are cached for IMAGE_CACHE_SECONDS, failures never."""

    def exists(
        self,
        image: Image,
        tag: str,
        credentials: Credentials | None = None,
    ) -> bool:
        """Whether the manifest exists and is readable; False for registries off the allow-list."""
        base = self._base(image.registry)
        if base is None:
            return False
        key = _cache_key(base, image, tag, credentials)
        cached = cache.get(key)
        if cached is not None:
            return bool(cached)
        exists = self._ask(base, image, tag, credentials)
        cache.set(key, exists, settings.IMAGE_CACHE_SECONDS)
        return exists

    @staticmethod
    def _base(registry: str) -> str | None:
        """The registry's base URL; None off the allow-list: callers must not choose a host."""
        if not registry:
            return str(settings.IMAGE_REGISTRY_URL).rstrip("/")
        for allowed in [settings.IMAGE_REGISTRY_URL, *settings.IMAGE_REGISTRIES]:
            url = allowed if "://" in allowed else f"https://{allowed}"
            if url.partition("://")[2].rstrip("/").lower() == registry.lower():
                return str(url).rstrip("/")
        return None

    def _ask(
        self,
        base: str,
        image: Image,
        tag: str,
        credentials: Credentials | None,
    ) -> bool:
        try:
            with Outbound(
                policy=settings.IMAGE_ADDRESS_POLICY,
                timeout=settings.IMAGE_REGISTRY_TIMEOUT,
            ) as outbound:
                return _Exchange(outbound, base, image.repository, credentials).head(tag)
        except OutboundError as error:
            raise Internal(
                f"the image registry cannot be asked: {error}", reason="registry"
            ) from None


def _cache_key(
    base: str,
    image: Image,
    tag: str,
    credentials: Credentials | None,
) -> str:
    login = f"{credentials.username}\0{credentials.password}" if credentials else ""
    text = f"{base}\0{image.repository}\0{tag}\0{login}"
    # Keyed, since a plain hash of a password could be guessed.
    return "image:" + salted_hmac("billing.image", text, algorithm="sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class _Exchange:
    """HEAD of a manifest at one registry, with the authorization that its challenge asks for."""

    outbound: Outbound
    base: str
    repository: str
    credentials: Credentials | None

    def head(self, tag: str) -> bool:
        """Whether the manifest exists and is readable."""
        url = f"{self.base}/v2/{quote(self.repository)}/manifests/{quote(tag)}"
        answer = self.outbound.request("HEAD", url, headers={"Accept": ACCEPT})
        if answer.status == 401:
            authorization = self._authorization(answer.headers.get("WWW-Authenticate", ""))
            if authorization is None:
                return False
            answer = self.outbound.request(
                "HEAD", url, headers={"Accept": ACCEPT, "Authorization": authorization}
            )
        return _exists(answer.status)

    def _authorization(self, challenge: str) -> str | None:
        """The Authorization header that the challenge asks for; None when we cannot give one."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return _basic_authorization(self.credentials) if self.credentials else None
        if scheme.lower() != "bearer":
            raise OutboundError("it asks for credentials of an unknown type")
        return self._token(dict(CHALLENGE.findall(rest)))

    def _token(self, fields: dict[str, str]) -> str | None:
        realm = fields.get("realm", "")
        if not _is_trusted(realm, self.base):
            raise OutboundError(
                "it sends us to a token service that is not trusted (IMAGE_TOKEN_HOSTS)"
            )
        scope = f"repository:{self.repository}:pull"
        query = urlencode({"service": fields.get("service", ""), "scope": scope})
        separator = "&" if "?" in realm else "?"
        headers = (
            {"Authorization": _basic_authorization(self.credentials)} if self.credentials else {}
        )
        answer = self.outbound.request("GET", f"{realm}{separator}{query}", headers=headers)
        if answer.status in {401, 403, 404}:
            return None
        if answer.status != 200:
            raise OutboundError(f"its token service answers HTTP {answer.status}")
        return f"Bearer {_token_of(answer.body)}"


def _token_of(body: bytes) -> str:
    try:
        answer = orjson.loads(body)
        # Docker's registry says token, OAuth 2 says access_token.
        token = answer.get("token") or answer.get("access_token")
    except (orjson.JSONDecodeError, AttributeError):
        token = None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise OutboundError("its token service returned no token")
    return token


def _exists(status: int) -> bool:
    """Whether the manifest exists, by the status; OutboundError for one that does not say."""
    if status == 200:
        return True
    # Registries answer 401 or 403 for repositories that do not exist.
    if status in {401, 403, 404}:
        return False
    raise OutboundError(f"HTTP {status}")


def _basic_authorization(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _is_trusted(realm: str, base: str) -> bool:
    """Whether a token service may get our credentials.

    It must be on the registry's own host or one of IMAGE_TOKEN_HOSTS, and over TLS when the
    registry is.
    """
    token_url = Outbound.parse(realm)
    registry_url = Outbound.parse(base)
    if token_url is None or registry_url is None:
        return False
    if registry_url.scheme == "https" and token_url.scheme != "https":
        return False
    return token_url.host == registry_url.host or token_url.host in settings.IMAGE_TOKEN_HOSTS
