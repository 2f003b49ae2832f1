"""The table of controllers: what each reconciles, and what wakes it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simcluster import kubelet, scheduler
from simcluster.controllers import deployment, replica_set
from simcluster.resources import Object
from simcluster.store import Change, Store

if TYPE_CHECKING:
    from simcluster.cluster import Cluster

Reconcile = Callable[["Cluster", Object], float | None]
Mapper = Callable[[Store, Change], Iterable[str]]


@dataclass(frozen=True)
class Controller:
    """A function over the store: `reconcile` gets one object of `storage` and returns after how many (simulated) seconds to look again."""

    name: str
    storage: str
    reconcile: Reconcile
    triggers: dict[str, Mapper]
    part: str = "controllers"

    def enabled(self, *, kubelet: bool, controllers: bool) -> bool:
        """Whether it runs in a cluster with these parts."""
        return {"kubelet": kubelet, "controllers": controllers}[self.part]


def itself(store: Store, change: Change) -> Iterable[str]:
    """The changed object."""
    return (change.record.key,)


def owner_in(storage: str) -> Mapper:
    """The object of a collection that controls the changed one."""

    def keys(store: Store, change: Change) -> Iterable[str]:
        uids = {record.owner for record in (change.record, change.previous) if record is not None and record.owner}
        if not uids:
            return ()
        references = (
            reference
            for record in (change.record, change.previous)
            if record
            for reference in record.obj["metadata"].get("ownerReferences") or ()
        )
        names = {reference["name"] for reference in references if reference["uid"] in uids}
        found = (store.get(storage, change.record.namespace, name) for name in names)
        return [record.key for record in found if record is not None and record.uid in uids]

    return keys


def same_namespace(storage: str) -> Mapper:
    """Every object of a collection in the namespace of the changed one."""
    return lambda store, change: [record.key for record in store.list(storage, change.record.namespace)]


def everything_in(storage: str) -> Mapper:
    """Every object of a collection."""
    return lambda store, change: [record.key for record in store.list(storage)]


def unscheduled_pods(store: Store, change: Change) -> Iterable[str]:
    """The pods that wait for a node."""
    return [record.key for record in store.list("pods") if not record.field("spec.nodeName")]


CONTROLLERS: tuple[Controller, ...] = (
    Controller("scheduler", "pods", scheduler.reconcile, {"pods": itself, "nodes": unscheduled_pods}),
    Controller("kubelet", "pods", kubelet.reconcile, {"pods": itself}, part="kubelet"),
    Controller(
        "deployment",
        "deployments.apps",
        deployment.reconcile,
        {"deployments.apps": itself, "replicasets.apps": owner_in("deployments.apps")},
    ),
    Controller("replicaset", "replicasets.apps", replica_set.reconcile, {"replicasets.apps": itself, "pods": owner_in("replicasets.apps")}),
)
