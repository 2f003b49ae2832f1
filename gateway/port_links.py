"""Links that open a port of a pod or service in a browser, through the API server's proxy.

A browser sends no bearer token with a page's own requests, and a page out of a pod must get neither
the console's cookie nor its origin. So the address itself holds a secret: it reaches this one port,
with the rights that its maker has at the time of each request, until PORT_LINK_SECONDS are over.
Redis keeps it under the digest of the secret.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson
import redis
from django.conf import settings

from clusters import dns_names
from core.errors import ClusterUnavailable, Internal, Invalid
from core.one_time_tokens import OneTimeToken
from core.sockets.tickets import blocking_redis

# No cluster has a name with an @: below it the gateway serves links.
ROOT = "/kube/@port/"
SCHEMES = ("http", "https")
RESOURCES = ("pods", "services")
TOKEN_BYTES = 32
MAX_PORT = 65535
_PORT_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,13}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")
_PREFIX = "kubegale:port-link:"


@dataclass(frozen=True, slots=True)
class PortLink:
    """What a link opens: `port` is a number or a name, `cluster` the cluster's name."""

    credential: Mapping[str, Any]
    cluster: str
    namespace: str
    resource: str
    name: str
    port: str
    scheme: str = "http"

    @property
    def path(self) -> str:
        """The path of the API server's proxy, with a slash at its end."""
        scheme = "https:" if self.scheme == "https" else ""
        return (
            f"/api/v1/namespaces/{self.namespace}/{self.resource}/"
            f"{scheme}{self.name}:{self.port}/proxy/"
        )

    @property
    def target(self) -> str:
        """The same as a path of the gateway."""
        return f"/kube/{quote(self.cluster, safe='')}{self.path}"


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """The path that a browser opens, and when it expires."""

    path: str
    expires_at: datetime


def check_place(body: Mapping[str, Any]) -> dict[str, str]:
    """namespace, resource, name, port and scheme of a request's body; Invalid, with the field."""
    place = {**body, "scheme": body.get("scheme", "http"), "port": str(body.get("port", ""))}
    if place.get("resource") not in RESOURCES:
        raise Invalid("resource must be pods or services", field="resource")
    if place["scheme"] not in SCHEMES:
        raise Invalid("scheme must be http or https", field="scheme")
    forms = {"namespace": dns_names.LABEL, "name": dns_names.SUBDOMAIN}
    for field, form in forms.items():
        value = place.get(field)
        if not isinstance(value, str) or not form.match(value):
            raise Invalid(f"{field} must be a name as Kubernetes has them", field=field)
    port = place["port"]
    if not _is_port(port):
        raise Invalid(f"port must be a number from 1 to {MAX_PORT}, or a name", field="port")
    return {name: place[name] for name in ("namespace", "resource", "name", "port", "scheme")}


def _is_port(text: str) -> bool:
    if _NUMBER.fullmatch(text):
        return int(text) <= MAX_PORT
    # The name of a port has a letter in it.
    return bool(_PORT_NAME.fullmatch(text)) and not text.isdigit()


def issue(link: PortLink) -> IssuedLink:
    """Store a link; the oldest of its maker ends when they have PORT_LINKS_PER_USER.

    Internal when Redis does not answer.
    """
    token = OneTimeToken.generate(size=TOKEN_BYTES)
    key = _PREFIX + token.digest
    seconds = settings.PORT_LINK_SECONDS
    maker = f"{_PREFIX}of:{link.credential['user']}"
    now = time.time()
    client = blocking_redis(settings.REDIS_URL)
    try:
        with client.pipeline() as pipe:
            pipe.set(key, orjson.dumps(asdict(link)), ex=seconds)
            pipe.zremrangebyscore(maker, 0, now)
            pipe.zadd(maker, {key: now + seconds})
            pipe.expire(maker, seconds)
            pipe.zrange(maker, 0, -settings.PORT_LINKS_PER_USER - 1)
            surplus = pipe.execute()[-1]
        if surplus:
            client.delete(*surplus)
            client.zrem(maker, *surplus)
    except redis.RedisError as error:
        raise Internal("the store of links does not answer") from error
    return IssuedLink(f"{ROOT}{token.secret}/", datetime.now(UTC) + timedelta(seconds=seconds))


def find(secret: str) -> PortLink | None:
    """The link of a secret, or None; ClusterUnavailable when Redis does not answer.

    Runs outside of the event loop.
    """
    try:
        content = blocking_redis(settings.REDIS_URL).get(_PREFIX + OneTimeToken(secret).digest)
    except redis.RedisError:
        raise ClusterUnavailable("the store of links does not answer") from None
    return None if content is None else PortLink(**orjson.loads(content))
