"""A cluster in a thread, for tests."""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from simcluster import clock, kubeconfig, samples
from simcluster.authentication import User
from simcluster.cluster import Cluster, Settings
from simcluster.faults import Faults
from simcluster.nodes import address
from simcluster.resources import Object
from simcluster.server import RecordedRequest
from simcluster.serving import Running
from simcluster.store import HISTORY, Store
from simcluster.write_options import WriteOptions

T = TypeVar("T")


class RunningCluster:
    """A simulated cluster that listens on loopback, run by a thread of its own."""

    def __init__(self, running: Running, loop: asyncio.AbstractEventLoop) -> None:
        self._running = running
        self._loop = loop

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return self._running.url

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return self.cluster.admin_token

    @property
    def kubeconfig(self) -> Object:
        """The administrator's kubeconfig."""
        return self._running.kubeconfig

    @property
    def kubeconfig_yaml(self) -> str:
        """The administrator's kubeconfig as YAML."""
        return kubeconfig.text(self.kubeconfig)

    @property
    def authority(self) -> str:
        """The certificate authority (PEM)."""
        return self.cluster.authority

    @property
    def cluster(self) -> Cluster:
        """The cluster itself; touch it through `call` when the touch changes something."""
        return self._running.cluster

    @property
    def store(self) -> Store:
        """The storage; for reading. Changes go through `call`, `load` or the API."""
        return self.cluster.store

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request that came in, in order: method, path, query, headers, body."""
        return self._running.server.requests

    @property
    def faults(self) -> Faults:
        """The faults in force: `cluster.faults.add(path=..., action=...)`."""
        return self.cluster.faults

    @property
    def is_settled(self) -> bool:
        """Whether the controllers have nothing queued (timers may be pending)."""
        return self.call(lambda: self._running.manager.idle)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return self.cluster.hub.count

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function in the cluster's own thread and return what it returns."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(function(*arguments))
            # The caller waits in another thread and must get whatever ended the call.
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(timeout=120)

    def get(self, storage: str, name: str, namespace: str = "") -> Object | None:
        """One object of a collection (`pods`, `deployments.apps`), or None."""
        return self.call(self.cluster.object, storage, namespace, name)

    def list(self, storage: str, namespace: str | None = None) -> "list[Object]":
        """The objects of a collection."""
        return self.call(lambda: [record.obj for record in self.store.list(storage, namespace)])

    def load(self, storage: str, objects: Iterable[Object]) -> int:
        """Store objects without validation, with their namespaces; returns how many."""
        return self.call(_load, self.cluster, storage, list(objects))

    def load_pods(self, count: int, *, namespace: str = "default", prefix: str = "load") -> int:
        """Store many running pods of 3 to 5 KB each."""
        nodes = self.call(
            lambda: {record.name: address(record.obj) for record in self.store.list("nodes")}
        ) or {"node-00": "10.1.0.1"}
        return self.load(
            "pods",
            samples.pods(count, namespace=namespace, prefix=prefix, nodes=nodes),
        )

    def add_user(self, name: str, groups: Iterable[str] = ("system:authenticated",)) -> Object:
        """A kubeconfig for another user, who may do what RBAC objects say."""
        token = self.call(self.cluster.tokens.issue, User(name, tuple(groups)))
        return kubeconfig.make(self.url, self.authority.encode(), token)

    def compact(self) -> None:
        """Forget history: older resourceVersions are Expired from now on."""
        self.call(self.store.compact)

    def cut_watches(self) -> None:
        """End every open watch."""
        self.call(self.cluster.hub.cut)

    def wait(self, condition: Callable[[], Any], *, seconds: float = 10.0) -> Any:
        """Poll until the condition returns something true, and return that; else AssertionError."""
        deadline = time.monotonic() + seconds
        while True:
            outcome = condition()
            if outcome:
                return outcome
            if time.monotonic() > deadline:
                raise AssertionError("the simulated cluster did not get there in time")
            time.sleep(0.02)


def _load(cluster: Cluster, storage: str, objects: "list[Object]") -> int:
    resource = cluster.table.of_storage(storage)
    now = clock.timestamp()
    missing = (
        {obj["metadata"].get("namespace", "") for obj in objects} if resource.namespaced else set()
    )
    for name in sorted(missing):
        if name and cluster.object("namespaces", "", name) is None:
            body = {
                "kind": "Namespace",
                "apiVersion": "v1",
                "metadata": {"name": name},
            }
            _write_namespace(cluster, body)
    ready = []
    for obj in objects:
        meta = {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now,
            **obj["metadata"],
        }
        head = {"kind": resource.kind, "apiVersion": resource.group_version}
        ready.append(
            {
                **head,
                **{key: value for key, value in obj.items() if key not in head},
                "metadata": meta,
            }
        )
    return cluster.store.load(storage, ready)


def _write_namespace(cluster: Cluster, body: Object) -> None:
    cluster.registry.create(
        cluster.table.of_storage("namespaces"),
        "",
        body,
        WriteOptions("kube-apiserver"),
    )


@contextlib.contextmanager
def running_cluster(
    *,
    nodes: int = 3,
    pods_per_node: int = 110,
    time_scale: float = 20.0,
    kubelet: bool = True,
    controllers: bool = True,
    metrics: bool = True,
    demo: bool = False,
    history: int = HISTORY,
    faults: Object | None = None,
    port: int = 0,
    token: str = "",
    folder: Path | None = None,
) -> Iterator[RunningCluster]:
    """Run a cluster in a thread; it is gone when the block ends, but for what it keeps in `folder`.

    Controllers run `time_scale` times as fast as in life."""
    settings = Settings(
        nodes=nodes,
        pods_per_node=pods_per_node,
        time_scale=time_scale,
        kubelet=kubelet,
        controllers=controllers,
        metrics=metrics,
        demo=demo,
        history=history,
        faults=faults or {},
        record_requests=True,
    )
    started: concurrent.futures.Future[RunningCluster] = concurrent.futures.Future()
    stop: list[Callable[[], object]] = []

    async def main() -> None:
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ending.set))
        try:
            async with Running(settings, port=port, token=token, folder=folder) as running:
                started.set_result(RunningCluster(running, loop))
                await ending.wait()
        except BaseException as error:
            # A failure before the start would leave the caller waiting for its time-out.
            if not started.done():
                started.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="simcluster", daemon=True)
    thread.start()
    cluster = started.result(timeout=30)
    try:
        yield cluster
    finally:
        stop[0]()
        thread.join(timeout=10)
