"""The cluster: storage, rules, watchers and controllers put together."""

from dataclasses import dataclass, field
from datetime import datetime

from simcluster import clock, crds, demo, resources
from simcluster.authentication import MASTERS, Tokens, User
from simcluster.faults import Faults
from simcluster.nodes import Addresses, bootstrap
from simcluster.placement import Load, Nodes
from simcluster.registry import Registry
from simcluster.resources import Object, ResourceTable
from simcluster.shell import FileSystem
from simcluster.snapshots import REVISION_GAP, Snapshot
from simcluster.store import DELETED, HISTORY, Change, Store
from simcluster.watches import Hub


@dataclass(frozen=True)
class Settings:
    """How a cluster is set up."""

    nodes: int = 3
    pods_per_node: int = 110
    time_scale: float = 1.0
    kubelet: bool = True
    controllers: bool = True
    metrics: bool = True
    demo: bool = False
    history: int = HISTORY
    faults: Object = field(default_factory=dict)
    record_requests: bool = False


class Cluster:
    """One simulated cluster. Everything in it belongs to one event loop."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        token: str = "",
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock.Clock(self.settings.time_scale)
        self.store = Store(history=self.settings.history)
        self.table = ResourceTable(resources.built_in())
        self.registry = Registry(self.store, self.table, self.clock)
        self.hub = Hub()
        self.tokens = Tokens()
        self.faults = Faults(self.settings.faults)
        self.admin_token = self.tokens.issue(
            User("kubernetes-admin", (MASTERS, "system:authenticated")), token
        )
        self.authority = ""
        self.load = Load()
        self.nodes = Nodes()
        self.addresses = Addresses()
        self.known_events: dict[int, str] = {}
        self.file_systems: dict[tuple[str, str], FileSystem] = {}
        self.cron_runs: dict[str, datetime] = {}
        self.store.listeners.append(self._changed)

    def populate(self, snapshot: Snapshot | None) -> None:
        """Fill the empty cluster: from a snapshot, or with new nodes and the demo's objects.

        A component that needs to see these objects adds its listener to the store first.
        """
        if snapshot is not None:
            self._restore(snapshot)
            return
        bootstrap(self.registry, self.settings.nodes, self.settings.pods_per_node)
        if self.settings.demo:
            demo.fill(self.registry)

    def _restore(self, snapshot: Snapshot) -> None:
        """Go on where an earlier process stopped."""
        self.tokens.users = {**snapshot.users, **self.tokens.users}
        # Definitions first: what serves a custom kind comes before its objects.
        records = sorted(snapshot.records, key=lambda pair: pair[0] != crds.STORAGE)
        self.store.restore(snapshot.revision + REVISION_GAP, records)
        for record in self.store.list("pods"):
            self.addresses.reserve(record.field("status.podIP"))
        for record in self.store.list("events"):
            event = record.obj
            uid = (event.get("involvedObject") or {}).get("uid", "")
            occurrence = (uid, event.get("reason", ""), event.get("message", ""))
            self.known_events[hash(occurrence)] = record.name

    def _changed(self, change: Change) -> None:
        if change.storage == crds.STORAGE:
            crds.changed(self.registry, change)
        if change.type == DELETED:
            self._forget(change.record.uid)
        self.load.changed(change)
        self.nodes.changed(change)
        self.hub.publish(change)

    def _forget(self, uid: str) -> None:
        self.cron_runs.pop(uid, None)
        for key in list(self.file_systems):
            if key[0] == uid:
                del self.file_systems[key]

    def object(self, storage: str, namespace: str, name: str) -> Object | None:
        """One object of a collection (`pods`, `deployments.apps`), or None."""
        record = self.store.get(storage, namespace, name)
        return record.obj if record else None
