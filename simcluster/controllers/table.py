"""The table of controllers: what each reconciles, and what wakes it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simcluster import kubelet, scheduler
from simcluster.cluster import Cluster
from simcluster.controllers import (
    autoscaler,
    budget,
    cron_job,
    daemon_set,
    definition,
    deployment,
    event,
    garbage,
    ingress,
    job,
    namespace,
    node,
    quota,
    replica_set,
    replication_controller,
    service,
    stateful_set,
    volumes,
)
from simcluster.crds import STORAGE as DEFINITIONS
from simcluster.resources import Object
from simcluster.selectors import selector_test
from simcluster.store import Change, Store

Reconcile = Callable[[Cluster, Object], float | None]
Mapper = Callable[[Store, Change], Iterable[str]]


@dataclass(frozen=True)
class Controller:
    """A function over the store.

    `reconcile` gets one object of `storage` (or `{"key": ...}` when `storage` is empty) and returns
    after how many (simulated) seconds to look again. `triggers` say which keys a change of a
    collection (`*`: of any) concerns.
    """

    name: str
    storage: str
    reconcile: Reconcile
    triggers: dict[str, Mapper]
    part: str = "controllers"

    def enabled(self, *, kubelet: bool, controllers: bool) -> bool:
        """Whether it runs in a cluster with these parts."""
        # What the API server itself does runs in every cluster.
        return {"kubelet": kubelet, "controllers": controllers, "apiserver": True}[self.part]


def itself(store: Store, change: Change) -> Iterable[str]:
    """The changed object."""
    return (change.record.key,)


def owner_in(storage: str) -> Mapper:
    """The object of a collection that controls the changed one."""

    def keys(store: Store, change: Change) -> Iterable[str]:
        uids = {
            record.owner
            for record in (change.record, change.previous)
            if record is not None and record.owner
        }
        # The usual case, decided without parsing the object.
        if not uids:
            return ()
        references = (
            reference
            for record in (change.record, change.previous)
            if record
            for reference in record.obj["metadata"].get("ownerReferences") or ()
        )
        names = {reference["name"] for reference in references if reference["uid"] in uids}
        owners = (store.get(storage, change.record.namespace, name) for name in names)
        return [record.key for record in owners if record is not None and record.uid in uids]

    return keys


def same_namespace(storage: str) -> Mapper:
    """Every object of a collection in the namespace of the changed one."""
    return lambda store, change: [
        record.key for record in store.list(storage, change.record.namespace)
    ]


def everything_in(storage: str) -> Mapper:
    """Every object of a collection."""
    return lambda store, change: [record.key for record in store.list(storage)]


def unscheduled_pods(store: Store, change: Change) -> Iterable[str]:
    """The pods that wait for a node."""
    return [record.key for record in store.list("pods") if not record.field("spec.nodeName")]


def selecting(storage: str, selector: Callable[[Object], Object | None]) -> Mapper:
    """The objects in the pod's namespace whose selector matches its labels, before or now."""

    def keys(store: Store, change: Change) -> Iterable[str]:
        matching_keys = []
        for record in store.list(storage, change.record.namespace):
            test = selector_test(selector(record.obj))
            if test(change.record.labels) or (
                change.previous is not None and test(change.previous.labels)
            ):
                matching_keys.append(record.key)
        return matching_keys

    return keys


def _service_selector(obj: Object) -> Object | None:
    pairs = obj["spec"].get("selector")
    return {"matchLabels": pairs} if pairs else None


def _spec_selector(obj: Object) -> Object | None:
    selector: Object | None = (obj.get("spec") or {}).get("selector")
    return selector


def named_claim(store: Store, change: Change) -> Iterable[str]:
    """The claim that a volume is bound to."""
    claim = change.record.obj["spec"].get("claimRef") or {}
    return (f"{claim.get('namespace', '')}/{claim.get('name', '')}",)


def named_volume(store: Store, change: Change) -> Iterable[str]:
    """The volume that a claim is bound to."""
    return (f"/{change.record.field('spec.volumeName')}",)


def node_of_pod(store: Store, change: Change) -> Iterable[str]:
    """The node of a new pod, where that node expels pods."""
    name = change.record.field("spec.nodeName")
    record = store.get("nodes", "", name) if name and change.previous is None else None
    return (record.key,) if record is not None and b'"NoExecute"' in record.raw else ()


_COUNTED = (
    "pods",
    "services",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "deployments.apps",
    "jobs.batch",
    "statefulsets.apps",
)

CONTROLLERS: tuple[Controller, ...] = (
    Controller(
        "scheduler",
        "pods",
        scheduler.reconcile,
        {
            "pods": itself,
            "nodes": unscheduled_pods,
            "persistentvolumeclaims": unscheduled_pods,
        },
    ),
    Controller("kubelet", "pods", kubelet.reconcile, {"pods": itself}, part="kubelet"),
    Controller(
        "deployment",
        "deployments.apps",
        deployment.reconcile,
        {
            "deployments.apps": itself,
            "replicasets.apps": owner_in("deployments.apps"),
        },
    ),
    Controller(
        "replicaset",
        "replicasets.apps",
        replica_set.reconcile,
        {"replicasets.apps": itself, "pods": owner_in("replicasets.apps")},
    ),
    Controller(
        "replicationcontroller",
        "replicationcontrollers",
        replication_controller.reconcile,
        {
            "replicationcontrollers": itself,
            "pods": owner_in("replicationcontrollers"),
        },
    ),
    Controller(
        "statefulset",
        "statefulsets.apps",
        stateful_set.reconcile,
        {"statefulsets.apps": itself, "pods": owner_in("statefulsets.apps")},
    ),
    Controller(
        "daemonset",
        "daemonsets.apps",
        daemon_set.reconcile,
        {
            "daemonsets.apps": itself,
            "pods": owner_in("daemonsets.apps"),
            "nodes": everything_in("daemonsets.apps"),
        },
    ),
    Controller(
        "job",
        "jobs.batch",
        job.reconcile,
        {"jobs.batch": itself, "pods": owner_in("jobs.batch")},
    ),
    Controller(
        "cronjob",
        "cronjobs.batch",
        cron_job.reconcile,
        {"cronjobs.batch": itself, "jobs.batch": owner_in("cronjobs.batch")},
    ),
    Controller(
        "service",
        "services",
        service.reconcile,
        {"services": itself, "pods": selecting("services", _service_selector)},
    ),
    Controller(
        "definition",
        DEFINITIONS,
        definition.reconcile,
        {DEFINITIONS: itself},
        part="apiserver",
    ),
    Controller(
        "ingress",
        "ingresses.networking.k8s.io",
        ingress.reconcile,
        {"ingresses.networking.k8s.io": itself},
    ),
    Controller(
        "claim",
        "persistentvolumeclaims",
        volumes.reconcile_claim,
        {"persistentvolumeclaims": itself, "persistentvolumes": named_claim},
    ),
    Controller(
        "volume",
        "persistentvolumes",
        volumes.reconcile_volume,
        {"persistentvolumes": itself, "persistentvolumeclaims": named_volume},
    ),
    Controller(
        "quota",
        "resourcequotas",
        quota.reconcile,
        {"resourcequotas": itself} | dict.fromkeys(_COUNTED, same_namespace("resourcequotas")),
    ),
    Controller(
        "budget",
        "poddisruptionbudgets.policy",
        budget.reconcile,
        {
            "poddisruptionbudgets.policy": itself,
            "pods": selecting("poddisruptionbudgets.policy", _spec_selector),
        },
    ),
    Controller(
        "autoscaler",
        "horizontalpodautoscalers.autoscaling",
        autoscaler.reconcile,
        {"horizontalpodautoscalers.autoscaling": itself},
    ),
    Controller("node", "nodes", node.reconcile, {"nodes": itself, "pods": node_of_pod}),
    Controller("namespace", "namespaces", namespace.reconcile, {"namespaces": itself}),
    Controller("event", "events", event.reconcile, {"events": itself}),
    Controller("garbage", "", garbage.reconcile, {"*": garbage.keys}),
)
