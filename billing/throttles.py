"""How often anonymous callers may call, and how often an address may guess secrets."""

import hashlib
import logging
from typing import ClassVar

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from core.api.client_ip import client_address
from core.errors import TooManyRequests

log = logging.getLogger(__name__)


class Throttle(SimpleRateThrottle):
    """A rate of the settings, read when it is needed; an empty one is no limit."""

    setting: ClassVar[str]
    num_requests: int | None
    duration: int | None

    def get_rate(self) -> str | None:
        """For example `60/min`."""
        return getattr(settings, self.setting) or None

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        """One history for each address."""
        return self.cache_format % {"scope": self.scope, "ident": client_address(request)}


class PublicThrottle(Throttle):
    """Anonymous calls that ask clusters or registries.

    While Redis cannot count them, all are allowed.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Whether the caller is within the rate."""
        try:
            return super().allow_request(request, view)
        except RedisError:
            log.exception("calls cannot be counted")
            return True

    scope = "public"
    setting = "THROTTLE_PUBLIC"


class WrongSecretThrottle(Throttle):
    """Counts wrong secrets by address, and nothing else."""

    scope = "bad-secret"
    setting = "THROTTLE_BAD_SECRET"

    @staticmethod
    def _key(request: Request) -> str:
        return "bad-secret:" + hashlib.sha256(client_address(request).encode()).hexdigest()

    def count_failure(self, request: Request) -> None:
        """Count a wrong secret; TooManyRequests when the address had too many before.

        A right secret is always accepted. The count expires one period after its first secret.
        """
        if self.rate is None or not self.duration or not self.num_requests:
            return
        key = self._key(request)
        over = (cache.get(key) or 0) >= self.num_requests
        if not cache.add(key, 1, self.duration):
            try:
                cache.incr(key)
            except ValueError:
                # The count expired between the two calls.
                return
        if over:
            raise TooManyRequests("too many wrong secrets; wait", retry_after=self.duration)
