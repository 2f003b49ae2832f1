"""HTTP, with Python's own library: one request, its deadline, and the envelope of its answer."""

import json
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from kubegale_client.errors import (
    BY_CODE,
    KubeGaleError,
    NotReachable,
    ServerError,
)

JSON = "application/json"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to wherever it leads."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class Transport:
    """Sends requests to one server. `timeout` is how many seconds it may be silent."""

    def __init__(self, url: str, *, timeout: float, context: ssl.SSLContext | None) -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ValueError(
                f"{url!r} is no address of a server: it begins with http:// or https://"
            )
        self.url = url.rstrip("/")
        self.timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]],
        body: Any = None,
        content_type: str = JSON,
        token: str = "",
        timeout: float | None = None,
    ) -> Any:
        """The data of the envelope, or the text of an answer that is no JSON.

        KubeGaleError when the call failed.
        """
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json, */*;q=0.5"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        # The scheme is http or https: __init__ has checked it.
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=timeout or self.timeout) as answer:
                return _data(answer, answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return _data(refusal, refusal.read())
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise NotReachable(0, f"{self.url} does not answer: {reason}") from error


def _data(answer: Any, content: bytes) -> Any:
    """The data of the envelope; KubeGaleError for a failure of any HTTP status."""
    is_json = answer.headers.get_content_type() == JSON
    if not is_json and answer.status < 300:
        return content.decode("utf-8", "replace")
    envelope: Any = None
    if is_json:
        try:
            envelope = json.loads(content)
        except ValueError:
            envelope = None
    if not isinstance(envelope, dict) or "code" not in envelope:
        raise ServerError(
            0,
            f"the answer is not KubeGale's: HTTP {answer.status}, {len(content)} bytes",
            status=answer.status,
        )
    if envelope["code"] == 0:
        return envelope.get("data")
    raise _failure(envelope, answer)


def _failure(envelope: dict[str, Any], answer: Any) -> KubeGaleError:
    code = int(envelope["code"])
    details = envelope.get("data")
    return BY_CODE.get(code, KubeGaleError)(
        code,
        str(envelope.get("msg", "")),
        status=answer.status,
        details=details if isinstance(details, dict) else {},
        request_id=answer.headers.get("X-Request-Id", ""),
    )
