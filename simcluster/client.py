"""The client of controllers, scheduler and kubelet: the rules of the API without HTTP."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from simcluster import clock
from simcluster.cluster import Cluster
from simcluster.errors import ApiError
from simcluster.resources import Object
from simcluster.write_options import WriteOptions

# Components that are not part of the controller manager and own fields by their own name.
_OWN_MANAGERS = {"kubelet", "default-scheduler", "ingress-nginx"}


class Client:
    """Reads and writes in the name of one component."""

    def __init__(self, cluster: Cluster, component: str) -> None:
        self.cluster = cluster
        self.component = component

    def _options(self, subresource: str = "") -> WriteOptions:
        manager = self.component if self.component in _OWN_MANAGERS else "kube-controller-manager"
        return WriteOptions(manager, validation="Ignore", subresource=subresource)

    def get(self, storage: str, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        return self.cluster.object(storage, namespace, name)

    def owned(self, storage: str, owner: Object) -> list[Object]:
        """The objects of a kind that an owner controls, oldest first."""
        controlled = [
            record.obj
            for record in self.cluster.store.owned(storage, owner["metadata"]["uid"])
            if record.owner == owner["metadata"]["uid"]
        ]
        return sorted(
            controlled,
            key=lambda obj: (
                obj["metadata"]["creationTimestamp"],
                obj["metadata"]["name"],
            ),
        )

    def create(self, storage: str, obj: Object) -> Object:
        """Create an object; raises ApiError as the API server refuses."""
        resource = self.cluster.table.of_storage(storage)
        body = {
            "kind": resource.kind,
            "apiVersion": resource.group_version,
            **obj,
        }
        return self.cluster.registry.create(
            resource, obj["metadata"].get("namespace", ""), body, self._options()
        )

    def update(self, storage: str, obj: Object) -> Object:
        """Write an object that was read before."""
        return self._rewrite(storage, obj, "")

    def update_status(self, storage: str, obj: Object) -> Object:
        """Write the status of an object that was read before."""
        return self._rewrite(storage, obj, "status")

    def _rewrite(self, storage: str, obj: Object, subresource: str) -> Object:
        resource = self.cluster.table.of_storage(storage)
        meta = obj["metadata"]
        old = self.cluster.registry.record(resource, meta.get("namespace", ""), meta["name"]).obj
        return self.cluster.registry.rewrite(
            resource,
            old,
            {**obj, "metadata": dict(meta)},
            self._options(subresource),
        )

    def delete(self, storage: str, obj: Object, **options: Any) -> None:
        """Delete an object; one that is gone already is fine."""
        resource = self.cluster.table.of_storage(storage)
        meta = obj["metadata"]
        try:
            self.cluster.registry.delete(
                resource,
                meta.get("namespace", ""),
                meta["name"],
                options,
                self._options(),
            )
        except ApiError as error:
            if error.code != 404:
                raise

    def event(
        self,
        about: Object,
        reason: str,
        message: str,
        *,
        warning: bool = False,
        field: str = "",
        host: str = "",
        action: str = "",
    ) -> None:
        """Write an event about an object; a repeated one counts up the first.

        With an `action` it is an event of events.k8s.io, as the scheduler writes it: no count and
        no times but eventTime, and a series once it happens again.
        """
        meta = about["metadata"]
        namespace = meta.get("namespace") or "default"
        kind = "Warning" if warning else "Normal"
        store = self.cluster.store
        key = hash((meta["uid"], reason, message))
        record = store.get("events", namespace, self.cluster.known_events.get(key, ""))
        if record is not None:
            existing = record.obj
            if action:
                count = (existing.get("series") or {}).get("count", 1) + 1
                existing["series"] = {
                    "count": count,
                    "lastObservedTime": clock.micro_timestamp(),
                }
            else:
                existing["count"] = existing.get("count", 1) + 1
                existing["lastTimestamp"] = clock.timestamp()
            store.put("events", existing)
            return
        new_event = self._new_event(
            about, namespace, reason, message, kind=kind, field=field, host=host
        )
        if action:
            new_event |= {
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": clock.micro_timestamp(),
                "action": action,
                "reportingInstance": f"{self.component}-node-00",
            }
            del new_event["count"]
        self.cluster.known_events[key] = new_event["metadata"]["name"]
        store.put("events", new_event)

    def _new_event(
        self,
        about: Object,
        namespace: str,
        reason: str,
        message: str,
        *,
        kind: str,
        field: str,
        host: str,
    ) -> Object:
        meta = about["metadata"]
        now = datetime.now(UTC)
        regarding = {
            "kind": about["kind"],
            "name": meta["name"],
            "uid": meta["uid"],
            "apiVersion": about["apiVersion"],
        }
        if meta.get("namespace"):
            regarding["namespace"] = meta["namespace"]
        if meta.get("resourceVersion"):
            regarding["resourceVersion"] = meta["resourceVersion"]
        if field:
            regarding["fieldPath"] = field
        stamp = clock.timestamp(now)
        name = f"{meta['name']}.{time.time_ns():x}"
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": stamp,
            },
            "involvedObject": regarding,
            "reason": reason,
            "message": message,
            "source": {
                "component": self.component,
                **({"host": host} if host else {}),
            },
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": self.component,
            "reportingInstance": host,
        }
