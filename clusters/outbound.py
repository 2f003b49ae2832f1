"""HTTP to addresses outside.

Redirects are not followed, the peer of every connection is checked, and one deadline holds for the
whole exchange.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import unquote_plus

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from clusters.address_policy import check_host
from clusters.guarded_pools import pool_classes
from clusters.manifests import MASK
from clusters.network_causes import network_cause
from core import standard_webhooks
from core.errors import DomainError, Invalid

MAX_ANSWER = 1 << 20
# A parameter of a query up to its value, which may stand there without a name.
_PARAMETER = re.compile(r"([?&](?:[^=&]*=)?)[^&]+")


class OutboundError(Exception):
    """The request failed; the text says why, without addresses or credentials."""


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """The response; the body is cut at 1 MiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound:
    """A short-lived client.

    `policy` says which addresses may be called; `timeout` is the seconds for a whole exchange.
    """

    def __init__(
        self,
        *,
        policy: str,
        timeout: float,
    ) -> None:
        self.timeout = timeout
        self._pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=1,
            retries=False,
        )
        self._pool.pool_classes_by_scheme = pool_classes(policy)

    def __enter__(self) -> "Outbound":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.clear()

    @staticmethod
    def parse(url: str) -> Url | None:
        """The address's parts; None unless it is http(s) with a host and without credentials."""
        try:
            parts = parse_url(url)
        except LocationParseError:
            return None
        if parts.scheme not in {"http", "https"} or not parts.host or parts.auth:
            return None
        return parts

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> OutboundResponse:
        """The response with any status, redirects too; OutboundError when there is none in time."""
        try:
            response = self._pool.urlopen(
                method,
                url,
                headers=dict(headers),
                body=body,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(total=self.timeout),
                preload_content=False,
            )
            return OutboundResponse(
                response.status,
                response.headers,
                self._read(response),
            )
        except DomainError as error:
            raise OutboundError(error.message) from None
        except HTTPError as error:
            raise OutboundError(f"it cannot be reached: {network_cause(error)[1]}") from None
        except (UnicodeError, ValueError):
            raise OutboundError("its address cannot be used") from None

    def _read(
        self,
        response: urllib3.BaseHTTPResponse,
    ) -> bytes:
        # urllib3's time-out is for each read: a server could send one byte a second for ever.
        deadline = time.monotonic() + self.timeout
        parts: list[bytes] = []
        size = 0
        while size < MAX_ANSWER:
            part = response.read1(1 << 16)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise OutboundError("it cannot be reached: no answer in time")
        return b"".join(parts)


def mask_query(url: str) -> str:
    """The address for readers: what its query's parameters are set to is often a token."""
    address, _, fragment = url.partition("#")
    place, sign, query = address.partition("?")
    masked = place + _PARAMETER.sub(rf"\1{MASK}", sign + query)
    return f"{masked}#{MASK}" if fragment else masked


def query_texts(url: str) -> list[str]:
    """The values that `mask_query` hides, as they stand in the address and decoded."""
    query = url.partition("#")[0].partition("?")[2]
    texts = []
    for parameter in filter(None, query.split("&")):
        name, sign, value = parameter.partition("=")
        texts.append(value if sign else name)
    return [spelling for text in texts for spelling in (text, unquote_plus(text)) if spelling]


def check_url(url: str, policy: str, *, field: str) -> None:
    """Invalid, naming `field`, for an address that cannot be called.

    It must be http(s), without credentials, and no literal address that the policy refuses. A name
    is checked when it is connected to.
    """
    parts = Outbound.parse(url)
    if parts is None:
        raise Invalid(
            "the address must be http:// or https:// with a host and without credentials",
            field=field,
        )
    host = (parts.host or "").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        # RFC 6761: these are always this machine.
        host = "127.0.0.1"
    try:
        check_host(host, policy)
    except Invalid as error:
        raise Invalid(
            error.message,
            **{**error.details, "field": field},
        ) from None


def post(
    url: str,
    body: bytes,
    *,
    policy: str,
    timeout: float,
    headers: Mapping[str, str],
) -> OutboundResponse:
    """The answer to a POST of JSON, with any status; OutboundError when there is none in time."""
    with Outbound(policy=policy, timeout=timeout) as outbound:
        return outbound.request(
            "POST",
            url,
            headers={
                "Content-Type": "application/json",
                "User-Agent": "kubegale-webhooks",
                **headers,
            },
            body=body,
        )


def post_signed(
    url: str,
    body: bytes,
    *,
    key: str,
    delivery: str,
    policy: str,
    timeout: float,
) -> OutboundResponse:
    """The answer to a delivery that is signed as Standard Webhooks; as `post` otherwise."""
    headers = standard_webhooks.signed_headers(
        key,
        delivery=delivery,
        timestamp=int(time.time()),
        payload=body,
    )
    return post(
        url,
        body,
        policy=policy,
        timeout=timeout,
        headers=headers,
    )


def problem_of(answer: OutboundResponse) -> str:
    """ "" when a receiver accepted a delivery, else its status; redirects are not followed."""
    return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
