"""What V-Kube's tests share: regions in simulated clusters, and a buyer who calls the document's addresses."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.test import Client

from billing.models import Order
from billing.services import orders
from clusters import registry
from operations import lifecycle, runner

TIMEOUT = 30.0


def label_nodes(server: Any, regions: Iterable[str]) -> None:
    """Give the nodes a region each, round and round, and make them all ready and schedulable."""
    names = list(regions)
    for number, node in enumerate(
        sorted(server.list("nodes"), key=lambda node: node["metadata"]["name"])
    ):
        region = names[number % len(names)] if names else None
        patch_node(
            server,
            node["metadata"]["name"],
            {"metadata": {"labels": {"region": region}}, "spec": {"unschedulable": None}},
        )


def patch_node(server: Any, name: str, patch: dict[str, Any], subresource: str = "") -> None:
    """A merge patch of a node, as kubectl would send it."""
    path = f"/api/v1/nodes/{name}{subresource}"
    registry.connect(server.kubeconfig_yaml).request(
        "PATCH", path, body=patch, content_type="application/merge-patch+json"
    )


def eventually(condition: Callable[[], Any], *, seconds: float = TIMEOUT) -> Any:
    """What the condition returns once it holds; AssertionError when it never does."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
    return found


class Buyer:
    """One order and its secret, and calls under one of the two prefixes."""

    def __init__(self, *, prefix: str = "/api/v1/k8s", paid: bool = True, **wanted: Any) -> None:
        self.order = orders.create(
            orders.PurchaseRequest(**{"units": 2, "duration": 100, **wanted})
        )
        self.secret = orders.pay(self.order, by="test")[1] if paid else None
        self.prefix = prefix

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """The Django response."""
        data = (
            body if isinstance(body, bytes | str) else json.dumps(body) if body is not None else b""
        )
        headers = {"secret": self.secret} if self.secret else {}
        return Client().generic(
            method, f"{self.prefix}{path}", data, content_type="application/json", headers=headers
        )

    def get(self, path: str) -> tuple[int, Any]:
        """(status, JSON) of a GET."""
        answer = self.raw("GET", path)
        return answer.status_code, answer.json()

    def deploy(self, *containers: dict[str, Any], region: str = "ausrine") -> tuple[int, Any]:
        """(status, JSON) of a deploy."""
        answer = self.raw(
            "POST",
            "/deploy",
            {"nodeSelector": {"region": region}, "containers": list(containers) or [container()]},
        )
        return answer.status_code, answer.json()

    def now(self) -> Order:
        """The order as it is."""
        return Order.objects.get(pk=self.order.pk)

    @property
    def name(self) -> str:
        """The name of its Deployment."""
        return str(self.order.service_name)


def container(**changes: Any) -> dict[str, Any]:
    """The document's container."""
    return {"name": "container1", "imageName": "nginx", "resource": {"memory": "100Mi"}, **changes}


def follow(operation: int) -> Any:
    """Turn an operation, as the workers would, until it is over; the row."""

    def over() -> Any:
        row = lifecycle.find(operation)
        if not row.is_final:
            runner.run(row.pk, row.turn)
            row = lifecycle.find(operation)
        return row if row.is_final else None

    return eventually(over)


def running(buyer: Buyer) -> Any:
    """The status document once the pod is ready."""

    def look() -> Any:
        status, body = buyer.get("/pod/status")
        assert status == 200
        conditions = (
            {item["type"]: item["status"] for item in body["podStatus"].get("conditions", [])}
            if body
            else {}
        )
        return body if conditions.get("Ready") == "True" else None

    return eventually(look)
