"""Whatever happens between collector and cluster, the store ends up true and its log has no hole."""

import os
import random
import time
import uuid

import pytest

from clusters import services
from simcluster.testing import RunningCluster
from tests.storage_api.bad_network import ANSWERS, FRAMES, BadNetwork, bad_network
from tests.storage_api.collecting import NOT_STORED, collecting, in_store, quick, replayed, wait_true

# More for a long look: CONVERGENCE_SECONDS=3600.
SECONDS = float(os.environ.get("CONVERGENCE_SECONDS", "15"))
KINDS = ("configmaps", "services", "namespaces")


def _others(server: RunningCluster) -> tuple[str, ...]:
    found = {f"{resource.plural}.{resource.group}".rstrip(".") for resource in server.cluster.table if resource.plural not in KINDS}
    return tuple(found | {f"{plural}.{group}".rstrip(".") for group, plural in NOT_STORED})


def _change(server: RunningCluster, dice: random.Random) -> None:
    """One object comes, changes, goes, or is replaced by another of its name."""
    storage, name = dice.choice(("configmaps", "services")), f"object-{dice.randrange(12)}"
    there = server.store.get(storage, "default", name) is not None
    fresh = {"name": name, "namespace": "default", "uid": str(uuid.UUID(int=dice.getrandbits(128)))}
    kind = "ConfigMap" if storage == "configmaps" else "Service"
    body = {"kind": kind, "apiVersion": "v1", "metadata": fresh, "data": {"value": str(dice.random())}}
    action = dice.choice(("put", "put", "remove", "replace"))
    if there and action in ("remove", "replace"):
        server.store.remove(storage, "default", name)
    if there and action == "put":
        body["metadata"] = {**server.store.get(storage, "default", name).obj["metadata"]}  # type: ignore[union-attr]
    if not there or action != "remove":
        server.store.put(storage, body)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_store_becomes_true_again_after_every_bad_day(emptied: None, server: RunningCluster) -> None:
    with bad_network(server) as network:
        services.register(name="shaky", kubeconfig_text=network.kubeconfig_yaml)
        options = quick(pace={"relist": 0.8, "silence": 1.0, "page": 5}, rhythm={"exclude": _others(server), "discovery": 1.0})
        deadline, seed = time.monotonic() + SECONDS, 0
        with collecting(options):
            wait_true(server, "shaky", only=KINDS)
            while time.monotonic() < deadline or seed < 8:
                seed += 1
                _bad_day(server, network, seed)
                wait_true(server, "shaky", only=KINDS)
        assert replayed("shaky") == in_store("shaky")
        assert set(network.struck) >= {*ANSWERS, *FRAMES}, network.struck


def _bad_day(server: RunningCluster, network: BadNetwork, seed: int) -> None:
    dice = random.Random(seed)
    network.worsen(seed)
    for _ in range(dice.randrange(10, 40)):
        server.call(_change, server, dice)
        if dice.random() < 0.1:
            server.compact()
        time.sleep(dice.random() * 0.03)
    network.recover()
