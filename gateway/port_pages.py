"""What changes in requests and answers of a port that a browser opens by a link.

The pages come out of a pod and are not trusted: a sandbox gives them an origin of their own, so
that they read nothing of the console and send nothing in its name.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import Forbidden
from gateway.messages import Response
from gateway.port_links import ROOT, PortLink

Headers = list[tuple[str, str]]
# Without allow-same-origin: the origin of such a page is none, which no cookie goes with.
SANDBOX = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts"
# What every answer below ROOT has.
ISOLATION = (("content-security-policy", SANDBOX), ("referrer-policy", "no-referrer"))
# And those of the gateway itself.
_OWN = (*ISOLATION, ("x-content-type-options", "nosniff"), ("cache-control", "no-store"))
# The address of a page has its secret, and the origin of a sandbox says nothing to a service.
# The body of an HTML page is rewritten, so that nobody may compress it.
_NOT_SENT = frozenset({"accept-encoding", "authorization", "cookie", "origin", "referer"})
# What would speak for our whole origin: a password asked for, data cleared, transport prescribed.
_NOT_RETURNED = frozenset(
    {
        "accept-ch",
        "alt-svc",
        "clear-site-data",
        "critical-ch",
        "nel",
        "report-to",
        "reporting-endpoints",
        "service-worker-allowed",
        "set-login",
        "strict-transport-security",
        "use-as-dictionary",
        "www-authenticate",
    }
)
# These are about an origin that the page does not have here.
_NOT_RETURNED_PREFIXES = (
    "access-control-",
    "cross-origin-",
    # Sessions that are bound to a device are registered for the whole origin.
    "sec-session-",
    "secure-session-",
)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_MAX_HEADER_NAMES = 1000
# What the API server itself rewrites links in.
_HTML = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class PortPage:
    """One request behind a link: `secret` stands in its address."""

    link: PortLink
    secret: str

    @property
    def mount(self) -> str:
        """The path that the browser has for the root of the port."""
        return f"{ROOT}{self.secret}/"

    def request_headers(self, headers: Sequence[tuple[str, str]]) -> Headers:
        """The headers for the port."""
        sent = [pair for pair in headers if pair[0] not in _NOT_SENT]
        return [*sent, ("accept-encoding", "identity")]

    def answer_headers(self, headers: Sequence[tuple[str, str]]) -> Headers:
        """The headers for the browser."""
        pairs = [
            pair
            for pair in headers
            if pair[0] not in _NOT_RETURNED and not pair[0].startswith(_NOT_RETURNED_PREFIXES)
        ]
        return [
            *pairs,
            *ISOLATION,
            # Fetched by the page itself, and by nobody who does not know the secret.
            ("access-control-allow-origin", "null"),
            ("access-control-expose-headers", "*"),
        ]

    def location(self, address: str) -> str:
        """Where a redirect leads, as the browser's path; "" for what is not below the port."""
        if address.startswith(self.link.path):
            return self.mount + address.removeprefix(self.link.path)
        # A browser takes a backslash for a slash.
        plain = address.replace("\\", "/")
        return "" if plain.startswith("/") or ":" in plain.partition("/")[0] else address

    def is_rewritten(self, status: int, headers: Sequence[tuple[str, str]]) -> bool:
        """Whether an answer is a whole HTML page that is not compressed."""
        values = dict(headers)
        is_html = values.get("content-type", "").lower().startswith(_HTML)
        # A part of a page has to fit the range that was asked for.
        return (
            is_html and status != 206 and values.get("content-encoding", "identity") == "identity"
        )

    async def rewrite(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """An HTML page whose links, which the API server has put below its proxy, lead here."""
        old = self.link.path.encode()
        new = self.mount.encode()
        rest = b""
        async for part in parts:
            text = (rest + part).replace(old, new)
            # The end may be the beginning of a link whose other half comes with the next part.
            overlap = _overlap(text, old)
            rest = text[len(text) - overlap :]
            if overlap < len(text):
                yield text[: len(text) - overlap]
        if rest:
            yield rest


def _overlap(text: bytes, word: bytes) -> int:
    """How many bytes at the end of the text are the beginning of the word, but not all of it."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(word[:size])), 0)


def split_target(target: str) -> tuple[str, str] | None:
    """(secret, path behind it with its query) of a link's address; None for other addresses.

    Of an address that ends with its secret the path is "".
    """
    if not target.startswith(ROOT):
        return None
    secret, slash, rest = target.removeprefix(ROOT).partition("/")
    return secret, slash + rest


def isolate(response: Response) -> Response:
    """An answer of the gateway itself as the browser gets it below ROOT."""
    return replace(response, headers=(*response.headers, *_OWN))


def refuse_parts(headers: Sequence[tuple[str, str]]) -> None:
    """Forbidden for a page of ours that would take a script or the like from a port.

    Our policy lets our pages load scripts of our own origin, and a service worker would see all
    that they ask. Nothing but whole pages is opened from there; the pages of a port are sandboxed,
    so that a browser calls their requests cross-site.
    """
    if _is_part_of_ours(dict(headers)):
        raise Forbidden("a link opens whole pages: the console takes no parts of them")


def _is_part_of_ours(values: Mapping[str, str]) -> bool:
    if "sec-fetch-site" in values:
        is_ours = values["sec-fetch-site"] in {"same-origin", "same-site"}
        return is_ours and values.get("sec-fetch-mode") != "navigate"
    # Over plain HTTP a browser sends no Sec-Fetch-*. Then the address of the page that asks tells
    # (those of a port send none), and what is asked for: only a whole page is to be text/html.
    addresses = (values.get("origin", ""), values.get("referer", ""))
    hosts = {address.partition("://")[2].partition("/")[0].lower() for address in addresses}
    is_ours = values.get("host", "").lower() in hosts - {""}
    return is_ours and not values.get("accept", "").lower().startswith("text/html")


def preflight(headers: Sequence[tuple[str, str]]) -> Response:
    """The answer to a browser that asks whether a page of a port may send a request."""
    names = next((value for name, value in headers if name == "access-control-request-headers"), "")
    return Response(
        204,
        b"",
        (
            ("access-control-allow-origin", "null"),
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", names[:_MAX_HEADER_NAMES]),
            ("access-control-max-age", "600"),
        ),
    )


def expired() -> Response:
    """The answer for a link that is over."""
    text = b"This link is over. Open the port again from the console.\n"
    return Response(404, text, (("content-type", "text/plain; charset=utf-8"),))


def to_root(secret: str) -> Response:
    """The answer to an address without the slash that relative links need."""
    return Response(308, b"", (("location", f"{ROOT}{secret}/"),))
