"""The console's calls of the KubeGale API, as the person who is signed in.

It is the console's only way to clusters, tenants and everything else.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from access.authentication import ConsoleSession
from console.messages import translate_refusal
from core.api import inner_calls
from core.api.inner_calls import (
    BASE,
    STATUS_OF_CODE,
    ApiRefusal,
    ApiResult,
    require_segment,
)

# What the API answers to who may not do something, and about a cluster that does not answer.
FORBIDDEN = 1005
UNREACHABLE = 1006


def call(
    request: HttpRequest,
    method: str,
    path: str,
    *,
    query: Mapping[str, Any] | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> ApiResult:
    """The API's answer to the person of a page's request; as `inner_calls.call`.

    The message of a refusal is in the viewer's language.
    """
    try:
        return inner_calls.call(
            request,
            method,
            path,
            query=query,
            body=body,
            headers=headers,
            session=ConsoleSession.for_request(request),
        )
    except ApiRefusal as refusal:
        refusal.message = translate_refusal(refusal.message)
        raise


__all__ = ["BASE", "STATUS_OF_CODE", "ApiRefusal", "ApiResult", "call", "require_segment"]
