"""POST /bulk/{plural}: one action on many objects as an operation."""

from typing import Any

from rest_framework.request import Request

from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.audit import note
from core.api.confirmation import Guarded, confirm
from core.api.schema import BOOLEAN, INTEGER, TEXT, Described, array, record
from core.errors import Invalid
from operations import tasks
from workloads.actions import bulk, protection
from workloads.api.actions import caller, optional_integer
from workloads.api.objects import ObjectView, Target
from workloads.objects.services import PROPAGATION
from workloads.objects.subject import ObjectRef


class BulkView(ObjectView):
    """Delete, restart, scale … what a selector finds."""

    refused_as = "PUT"
    operations = {
        "post": Described(
            "Do one thing to many objects",
            record(
                required=("status", "total", "objects"),
                operation_id=INTEGER,
                status=TEXT,
                total=INTEGER,
                objects=array(TEXT),
            ),
            guarded=True,
            body=record(
                required=("cluster_id", "action"),
                cluster_id=INTEGER,
                namespace=TEXT,
                action=TEXT,
                labelSelector=TEXT,
                fieldSelector=TEXT,
                names=array(TEXT),
                all=BOOLEAN,
                replicas=INTEGER,
                grace_period=INTEGER,
                propagation=TEXT,
                dry_run=BOOLEAN,
            ),
            generic=True,
            answer_name="BulkResult",
            body_name="BulkChange",
        )
    }

    def post(self, request: Request) -> Any:
        """{"operation_id","status","total","objects"}; with dry_run only what would be chosen."""
        action = str(Target(self, request).given("action") or "")
        target, _ = self.resolve(request, action or "bulk")
        if self.kind.namespaced and "" in (target.given("namespace"), target.body.get("namespace")):
            # A script's empty variable; leaving the member out means every namespace.
            raise Invalid("namespace is empty; leave it out for every namespace", field="namespace")
        order, cluster = bulk.BulkAction(action, _options(target)), target.cluster()
        bulk.check_action(self.kind, order)
        choice = _choice(target)
        items = bulk.select_objects(cluster, self.kind, choice)
        chosen = [_named(item) for item in items]
        if target.flag("dry_run"):
            return {"status": "dry_run", "total": len(items), "objects": chosen}
        if action == "delete":
            self._guard(request, target, items)
        row = bulk.create(
            cluster,
            self.kind,
            order,
            items,
            namespace=choice.namespace,
            requested_by=caller(request),
        )
        note(request, details={"operation_id": row.pk, "total": len(items)})
        tasks.enqueue(row)
        return {"operation_id": row.pk, "status": row.state, "total": len(items), "objects": chosen}

    def _guard(self, request: Request, target: Target, items: list[dict[str, Any]]) -> None:
        cluster = target.cluster()
        reasons = (
            protection.protection_reason(_subject(cluster, self.kind, item), item) for item in items
        )
        guarded = Guarded(
            "bulk delete",
            self.kind.name,
            self.kind.plural,
            target.namespace,
            identity=bulk.fingerprint(items),
            protected=next(filter(None, reasons), ""),
            impact=lambda: {
                "children": len(items),
                "warnings": [_named(item) for item in items[:20]],
            },
        )
        confirm(request, guarded)


def _subject(cluster: Cluster, kind: Kind, item: dict[str, Any]) -> ObjectRef:
    return ObjectRef(cluster, kind, item["metadata"].get("namespace", ""), item["metadata"]["name"])


def _named(item: dict[str, Any]) -> str:
    namespace = item["metadata"].get("namespace", "")
    return f"{namespace}/{item['metadata']['name']}" if namespace else str(item["metadata"]["name"])


def _choice(target: Target) -> bulk.ObjectSelection:
    names = target.body.get("names")
    if names is not None and not (
        isinstance(names, list) and names and all(isinstance(name, str) and name for name in names)
    ):
        # An empty list is a mistake of whoever filled it, never a wish for everything.
        raise Invalid("names must be a list of names, at least one", field="names")
    return bulk.ObjectSelection(
        namespace=target.namespace,
        label_selector=_selector(target, "labelSelector"),
        field_selector=_selector(target, "fieldSelector"),
        names=tuple(names or ()),
        everything=target.flag("all"),
    )


def _selector(target: Target, name: str) -> str:
    """A selector out of query or body; Invalid for one that says nothing, which Kubernetes reads as everything."""
    value = target.given(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.strip(" \t\r\n,"):
        raise Invalid(f"{name} must select something; say all=true for all", field=name)
    return value


def _options(target: Target) -> dict[str, Any]:
    propagation = (target.option("propagation") or "background").lower()
    if propagation not in PROPAGATION:
        raise Invalid("propagation must be background, foreground or orphan", field="propagation")
    return {
        "replicas": optional_integer(target, "replicas"),
        "grace_period": optional_integer(target, "grace_period"),
        "propagation": PROPAGATION[propagation],
    }
