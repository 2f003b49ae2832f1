"""Two chains of middleware: one for pages, one for the APIs, chosen by the address.

Most of what a page needs means nothing to an API: no session, no messages, no static files, no
forms. A request to an API passes by all of it, instead of through it.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# What Django would call on a middleware of its own list, and a chain does not pass on.
OTHER_HOOKS = ("process_exception", "process_template_response")


class Chain:
    """Middleware around `get_response`, the first of them outermost, put together as Django does.

    ImproperlyConfigured for a middleware with a hook that a chain does not call.
    """

    def __init__(self, get_response: GetResponse, paths: Sequence[str]) -> None:
        self._view_hooks: list[Callable[..., HttpResponseBase | None]] = []
        self.answer = get_response
        for path in reversed(paths):
            try:
                middleware = import_string(path)(self.answer)
            except MiddlewareNotUsed:
                continue
            if any(hasattr(middleware, hook) for hook in OTHER_HOOKS):
                raise ImproperlyConfigured(f"{path} has a hook that its chain does not call")
            if hasattr(middleware, "process_view"):
                self._view_hooks.insert(0, middleware.process_view)
            self.answer = cast(GetResponse, convert_exception_to_response(middleware))

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """The answer of the first middleware that answers instead of the view; None for none."""
        for hook in self._view_hooks:
            response = hook(request, view, args, kwargs)
            if response is not None:
                return response
        return None


class ChainByAddress:
    """Middleware: sends each request through API_MIDDLEWARE or PAGE_MIDDLEWARE."""

    def __init__(self, get_response: GetResponse) -> None:
        self._prefixes = tuple(settings.API_PREFIXES)
        self._api = Chain(get_response, settings.API_MIDDLEWARE)
        self._pages = Chain(get_response, settings.PAGE_MIDDLEWARE)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer by the chain of the address."""
        # Chosen once, as middleware may rewrite the address.
        is_api = request.path_info.startswith(self._prefixes)
        chain = self._api if is_api else self._pages
        request.chain = chain  # type: ignore[attr-defined]
        return chain.answer(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Ask the same chain whether the view may be called."""
        chain: Chain = request.chain  # type: ignore[attr-defined]
        return chain.process_view(request, view, args, kwargs)
