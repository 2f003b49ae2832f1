"""POST /bulk/{plural}: one action on many objects as an operation."""

from typing import Any

from rest_framework.request import Request

from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.audit import annotate
from core.api.confirmation import ConfirmationRequest, require_confirmation
from core.api.schema import BOOLEAN, INTEGER, TEXT, OperationSchema, array, record
from core.errors import Invalid
from operations import tasks
from workloads.actions import bulk, protection
from workloads.api.actions import caller, optional_integer
from workloads.api.objects import ObjectView
from workloads.api.request_target import RequestTarget
from workloads.objects.object_ref import ObjectRef
from workloads.objects.writes import PROPAGATION


class BulkView(ObjectView):
    """Delete, restart, scale … the objects that a selector matches."""

    refused_as = "PUT"
    operations = {
        "post": OperationSchema(
            "Do one thing to many objects",
            record(
                required=("status", "total", "objects"),
                operation_id=INTEGER,
                status=TEXT,
                total=INTEGER,
                objects=array(TEXT),
                protected=TEXT,
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
        """{"operation_id","status","total","objects"}; with dry_run only what would be selected.

        `protected` of a dry run says why some of them are protected, "" when none is.
        """
        # The right depends on the action, so it is read before the rest is checked.
        verb = str(RequestTarget(self, request).parameter("action") or "")
        target, _ = self.resolve(request, verb or "bulk")
        namespaces = (
            target.parameter("namespace"),
            target.body.get("namespace"),
        )
        if self.kind.namespaced and "" in namespaces:
            # A script's empty variable; leaving the member out means every namespace.
            raise Invalid(
                "namespace is empty; leave it out for every namespace",
                field="namespace",
            )
        action = bulk.BulkAction(verb, _action_options(target))
        cluster = target.cluster()
        bulk.check_action(self.kind, action)
        selection = _selection(target)
        items = bulk.select_objects(cluster, self.kind, selection)
        names = [_qualified_name(item) for item in items]
        if target.flag("dry_run"):
            return {
                "status": "dry_run",
                "total": len(items),
                "objects": names,
                "protected": self._protection(cluster, items),
            }
        if verb == "delete":
            self._require_confirmation(request, target, items)
        row = bulk.create(
            cluster,
            self.kind,
            action,
            items,
            namespace=selection.namespace,
            requested_by=caller(request),
        )
        annotate(request, details={"operation_id": row.pk, "total": len(items)})
        tasks.enqueue(row)
        return {
            "operation_id": row.pk,
            "status": row.state,
            "total": len(items),
            "objects": names,
        }

    def _protection(self, cluster: Cluster, items: list[dict[str, Any]]) -> str:
        """Why the first protected object is; "" when none is."""
        reasons = (
            protection.protection_reason(_object_ref(cluster, self.kind, item), item)
            for item in items
        )
        return next(filter(None, reasons), "")

    def _require_confirmation(
        self, request: Request, target: RequestTarget, items: list[dict[str, Any]]
    ) -> None:
        """ConfirmationRequired unless the deletion of exactly these objects is confirmed."""
        guarded = ConfirmationRequest(
            "bulk delete",
            self.kind.name,
            self.kind.plural,
            target.namespace,
            # The confirmation is void when the selector matches other objects by then.
            identity=bulk.fingerprint(items),
            protected=self._protection(target.cluster(), items),
            impact=lambda: {
                "children": len(items),
                "warnings": [_qualified_name(item) for item in items[:20]],
            },
        )
        require_confirmation(request, guarded)


def _object_ref(cluster: Cluster, kind: Kind, item: dict[str, Any]) -> ObjectRef:
    metadata = item["metadata"]
    return ObjectRef(cluster, kind, metadata.get("namespace", ""), metadata["name"])


def _qualified_name(item: dict[str, Any]) -> str:
    """`namespace/name`, or `name` of a cluster-wide object."""
    namespace = item["metadata"].get("namespace", "")
    name = str(item["metadata"]["name"])
    return f"{namespace}/{name}" if namespace else name


def _is_name_list(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(name, str) and name for name in value)


def _selection(target: RequestTarget) -> bulk.ObjectSelection:
    names = target.body.get("names")
    # An empty list is a mistake of the sender, never a request for everything.
    if names is not None and not _is_name_list(names):
        raise Invalid("names must be a list of names, at least one", field="names")
    return bulk.ObjectSelection(
        namespace=target.namespace,
        label_selector=_selector(target, "labelSelector"),
        field_selector=_selector(target, "fieldSelector"),
        names=tuple(names or ()),
        everything=target.flag("all"),
    )


def _selector(target: RequestTarget, name: str) -> str:
    """A selector out of query or body; "" without one.

    Invalid for a blank one, which Kubernetes would read as everything.
    """
    value = target.parameter(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.strip(" \t\r\n,"):
        raise Invalid(
            f"{name} must select something; set all=true for all objects",
            field=name,
        )
    return value


def _action_options(target: RequestTarget) -> dict[str, Any]:
    propagation = (target.option("propagation") or "background").lower()
    if propagation not in PROPAGATION:
        raise Invalid(
            "propagation must be background, foreground or orphan",
            field="propagation",
        )
    return {
        "replicas": optional_integer(target, "replicas"),
        "grace_period": optional_integer(target, "grace_period"),
        "propagation": PROPAGATION[propagation],
    }
