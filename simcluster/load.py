"""What containers use: steady per container, swinging over minutes."""

import math
import time
import zlib
from decimal import Decimal

from simcluster import quantity
from simcluster.resources import Object


def share(key: str) -> float:
    """The part of its request that something uses now."""
    seed = zlib.crc32(key.encode()) % 1000 / 1000
    return 0.25 + 0.5 * seed + 0.12 * math.sin(time.time() / 60 + seed * 6.28)


def container_use(pod: Object, container: Object) -> dict[str, Decimal]:
    """Cores and bytes that a container uses."""
    resources = container.get("resources") or {}
    requests = resources.get("requests") or {}
    key = f"{pod['metadata'].get('uid')}/{container['name']}"
    cpu = quantity.parse(requests.get("cpu", "20m")) * Decimal(str(share(key)))
    memory = quantity.parse(requests.get("memory", "48Mi")) * Decimal(str(share(key + "/memory")))
    return {"cpu": cpu, "memory": memory}
