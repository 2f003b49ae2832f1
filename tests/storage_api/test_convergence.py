"""Whatever happens between collector and cluster, the store ends up true and its log has no hole that is not marked.

Several clusters, each behind a bad network of its own, are kept by one collector; each has bad days one after the other, each day a seed.
"""

import contextlib
import os
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from django.db import connection

from clusters import registry
from simcluster.store import Record
from simcluster.testing import RunningCluster, running_cluster
from tests.storage_api.bad_network import ANSWERS, FRAMES, BadNetwork, bad_network
from tests.storage_api.collecting import (
    NOT_STORED,
    collecting,
    eventually,
    in_store,
    quick,
    replayed,
    wait_true,
)

# More for a long look: CONVERGENCE_RUNS=500.
RUNS = int(os.environ.get("CONVERGENCE_RUNS", "100"))
FIRST_SEED = int(os.environ.get("CONVERGENCE_SEED", "1"))
LANES = 10
KINDS = ("configmaps", "services", "namespaces")
TYPES = {"configmaps": "ConfigMap", "services": "Service"}


def _others(server: RunningCluster) -> tuple[str, ...]:
    found = {
        f"{resource.plural}.{resource.group}".rstrip(".")
        for resource in server.cluster.table
        if resource.plural not in KINDS
    }
    return tuple(found | {f"{plural}.{group}".rstrip(".") for group, plural in NOT_STORED})


@dataclass(frozen=True)
class Deed:
    """Something that was done in a cluster."""

    revision: int
    kind: str
    name: str
    uid: str
    deleted: bool


@dataclass
class Lane:
    """One cluster behind its bad network, and everything that ever happened in it."""

    name: str
    server: RunningCluster
    network: BadNetwork
    happened: list[Deed] = field(default_factory=list)

    def change(self, dice: random.Random) -> None:
        """One object comes, changes, goes, or is replaced by another of its name."""
        store, storage, name = (
            self.server.store,
            dice.choice(tuple(TYPES)),
            f"object-{dice.randrange(12)}",
        )
        there = store.get(storage, "default", name)
        fresh = {
            "name": name,
            "namespace": "default",
            "uid": str(uuid.UUID(int=dice.getrandbits(128))),
        }
        body = {
            "kind": TYPES[storage],
            "apiVersion": "v1",
            "metadata": fresh,
            "data": {"value": str(dice.random())},
        }
        action = dice.choice(("put", "put", "remove", "replace"))
        if there and action in ("remove", "replace"):
            self._note(store.remove(storage, "default", name), storage, deleted=True)
        if there and action == "put":
            body["metadata"] = {**there.obj["metadata"]}
        if not there or action != "remove":
            self._note(store.put(storage, body), storage)

    def _note(self, record: Record, storage: str, *, deleted: bool = False) -> None:
        self.happened.append(
            Deed(record.revision, TYPES[storage], record.name, record.uid, deleted)
        )

    def bad_day(self, seed: int) -> None:
        """Changes while the network is bad; afterwards the store must become true."""
        dice = random.Random(seed)
        self.network.worsen(seed)
        for _ in range(dice.randrange(10, 40)):
            self.server.call(self.change, dice)
            if dice.random() < 0.1:
                self.server.compact()
            time.sleep(dice.random() * 0.03)
        self.network.recover()
        wait_true(self.server, self.name, only=KINDS, seconds=60)

    def holes(self) -> list[Deed]:
        """What happened, is not in the log, lies in no marked gap, and was not swallowed without a trace."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT resource_type, uid, op, resource_version"
                " FROM storage_change WHERE cluster_id = %s",
                [self.name],
            )
            rows = cursor.fetchall()
            cursor.execute(
                "SELECT resource_type, after_version, to_version"
                " FROM storage_gap WHERE cluster_id = %s",
                [self.name],
            )
            gaps = [(row[0], int(row[1] or 0), int(row[2])) for row in cursor.fetchall()]
        written = {(kind, int(version)) for kind, _, op, version in rows if op != "delete"}
        deleted = {(kind, uid) for kind, uid, op, _ in rows if op == "delete"}
        # What was never seen cannot be seen to go.
        seen = {(kind, uid) for kind, uid, _, _ in rows}
        return [
            deed
            for deed in self.happened
            if (
                (deed.kind, deed.uid) in seen - deleted
                if deed.deleted
                else (deed.kind, deed.revision) not in written
            )
            and deed.revision not in self.network.swallowed
            and not any(
                kind == deed.kind and after < deed.revision <= upto for kind, after, upto in gaps
            )
        ]


def _live_through(lane: Lane, seeds: range) -> None:
    """One lane's days; each must end well."""
    try:
        for seed in seeds:
            try:
                lane.bad_day(seed)
                # A list's objects may be committed a moment before the mark that it leaves.
                eventually(lambda: not lane.holes(), seconds=15)
                assert replayed(lane.name) == in_store(lane.name)
            except AssertionError as error:
                error.add_note(f"seed {seed} of {lane.name}")
                raise
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.timeout(60 + 6 * RUNS)
def test_the_store_becomes_true_again_after_every_bad_day(emptied: None) -> None:
    with contextlib.ExitStack() as stack:
        lanes = []
        for number in range(min(LANES, RUNS)):
            server = stack.enter_context(running_cluster(controllers=False, kubelet=False))
            network = stack.enter_context(bad_network(server))
            registry.register(name=f"shaky-{number}", kubeconfig_text=network.kubeconfig_yaml)
            lanes.append(Lane(f"shaky-{number}", server, network))
        options = quick(
            lease=10.0,
            watch={"relist": 0.8, "silence": 1.0, "page": 5},
            intervals={"exclude": _others(lanes[0].server), "discovery": 1.0},
        )
        with collecting(options), ThreadPoolExecutor(len(lanes)) as threads:
            days = [
                range(FIRST_SEED + number, FIRST_SEED + RUNS, len(lanes))
                for number in range(len(lanes))
            ]
            for lane in lanes:
                wait_true(lane.server, lane.name, only=KINDS, seconds=60)
            list(threads.map(_live_through, lanes, days))
        struck = {fault for lane in lanes for fault in lane.network.struck}
        assert struck >= {*ANSWERS, *FRAMES} or RUNS < LANES, struck
