"""How many alerts fire, for the bell of every page and the badges of clusters and objects."""

from typing import Any
from urllib.parse import urlencode

from django.core.cache import cache
from django.http import HttpRequest

from console.api_client import ApiRefusal, call

# How long a count stands before it is counted again.
CACHE_SECONDS = 5
# Apart from None, which is a count that the person may not have.
_ABSENT = -1


def count_firing(request: HttpRequest, **where: Any) -> int | None:
    """How many alerts fire of those that the person may see; None for who may see none.

    `where` are filters of the API, such as cluster_id. Cached for the session for CACHE_SECONDS.
    """
    key = f"console-firing:{request.session.session_key}:{urlencode(sorted(where.items()))}"
    cached: int | None = cache.get(key, _ABSENT)
    if cached != _ABSENT:
        return cached
    count = _read_count(request, where)
    cache.set(key, count, CACHE_SECONDS)
    return count


def _read_count(request: HttpRequest, where: dict[str, Any]) -> int | None:
    query = {**where, "state": "firing", "pageSize": 1}
    try:
        return int(call(request, "GET", "alerts", query=query).data["total"])
    except ApiRefusal:
        # Without a grant there is nothing to count; the page itself still opens.
        return None
