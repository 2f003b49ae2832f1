"""A caller of the JSON routes, as a script of a user would be."""

import json
from typing import Any

from django.test import Client

BASE = "/api/v1/kubernetes"


class Caller:
    """Calls routes with a bearer token and reads the envelope."""

    def __init__(self, token: str = "") -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"} if token else {})

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        **query: Any,
    ) -> Any:
        """The Django response; `path` is under the KubeGale base unless it begins with /."""
        url = path if path.startswith("/") else f"{BASE}/{path}"
        data = body if isinstance(body, bytes | str) else b"" if body is None else json.dumps(body)
        return self.client.generic(method, url, data, content_type=content_type, query_params=query)

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The envelope."""
        answer: dict[str, Any] = self.raw(method, path, body, **options).json()
        return answer

    def data(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The data of an answer that must be a success."""
        answer = self(method, path, body, **options)
        assert answer["code"] == 0, answer
        assert answer["msg"] == "success"
        return answer["data"]

    def code(self, method: str, path: str, body: Any = None, **options: Any) -> int:
        """The code alone."""
        return int(self(method, path, body, **options)["code"])
