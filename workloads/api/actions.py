"""Actions on workloads, and their revisions, pods and Events (contract 1.3)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from clusters.lists import ListQuery
from clusters.manifests import prune
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import Page
from core.api.pagination import page_request
from core.api.parsing import integer
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    KUBERNETES_OBJECT,
    NAMESPACE,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from operations import tasks
from workloads.actions import ownership, revisions, rollouts, verbs
from workloads.api.objects import ObjectView, raw_page
from workloads.api.request_target import RequestTarget
from workloads.objects import events
from workloads.objects.object_ref import ObjectRef

MAX_REPLICAS = 2**31 - 1


def caller(request: Request) -> str:
    """The user's name, as operations and audit record it; "" without a user."""
    return request.user.get_username() if request.user.is_authenticated else ""


def optional_integer(
    target: RequestTarget,
    name: str,
    *,
    minimum: int = 0,
    maximum: int = MAX_REPLICAS,
) -> int | None:
    """A whole number out of body or query; None without one, Invalid out of bounds."""
    value = target.parameter(name)
    return None if value in (None, "") else integer(value, name, minimum=minimum, maximum=maximum)


def record_change(
    request: Request,
    ref: ObjectRef,
    *,
    dry_run: bool = False,
    **answer: Any,
) -> None:
    """Tell the audit trail how the object changed, and the simple members of the answer."""
    # The audit line names the object itself; lists and objects would be too long for it.
    details = {
        key: value
        for key, value in answer.items()
        if isinstance(value, str | int) and key not in {"kind", "name", "namespace"}
    }
    if dry_run:
        details["dry_run"] = True
    # Without "after" nothing was changed, so there is nothing to compare.
    versions = ref.versions if "after" in ref.versions else {}
    annotate(request, details=details, **versions)


class WorkloadView(ObjectView):
    """What the routes of one workload share."""

    def object_ref(self, request: Request, verb: str, name: str) -> tuple[RequestTarget, ObjectRef]:
        """The request's target and the workload.

        Checks the rights first, then the request, then the cluster.
        """
        target, _ = self.resolve(request, verb, name=name)
        namespace = self.scoped_namespace(target, item=True)
        return target, ObjectRef(target.cluster(), self.kind, namespace, name)


class ActionView(WorkloadView):
    """POST /{plural}/{name}/{verb}; for an action that a kind does not have, the reason."""

    verb: ClassVar[str] = ""
    refused_as = "PUT"
    operations = {
        "post": OperationSchema(
            "Act on a workload; "
            "a change that takes time is followed by the operation in the answer",
            record(
                required=(
                    "kind",
                    "name",
                    "namespace",
                    "changed",
                    "warnings",
                    "operation_id",
                ),
                kind=TEXT,
                name=TEXT,
                namespace=TEXT,
                changed=BOOLEAN,
                warnings=array(TEXT),
                operation_id=nullable(INTEGER),
                replicas=INTEGER,
                revision=INTEGER,
            ),
            body=record(
                required=("cluster_id", "namespace"),
                cluster_id=INTEGER,
                namespace=TEXT,
                dry_run=BOOLEAN,
                replicas=INTEGER,
                current_replicas=INTEGER,
                revision=INTEGER,
                name=TEXT,
                deadline_seconds=INTEGER,
            ),
            generic=True,
            answer_name="ActionResult",
            body_name="ActionOptions",
        )
    }

    @classmethod
    def is_offered(cls, **values: Any) -> bool:
        """Whether the action is in the OpenAPI document: it is for kinds that have the action."""
        return verbs.is_possible(values["kind"].plural, values["verb"])

    def post(self, request: Request, name: str) -> Any:
        """{"kind","name","namespace","changed","warnings","operation_id",…}."""
        target, ref = self.object_ref(request, self.verb, name)
        options = read_options(target)
        deadline = optional_integer(target, "deadline_seconds", minimum=1, maximum=86_400)
        outcome = verbs.run(ref, self.verb, options)
        record_change(request, ref, dry_run=options.dry_run, **outcome.data)
        data = {
            **outcome.data,
            "dry_run": options.dry_run,
            "warnings": outcome.warnings,
            "operation_id": None,
        }
        if outcome.rollout is None:
            return data
        operation = rollouts.create(
            ref,
            outcome.rollout,
            action=self.verb,
            change=_numbers_of_change(self.verb, options, outcome.data),
            requested_by=caller(request),
            deadline=deadline,
        )
        tasks.enqueue(operation)
        return {**data, "operation_id": operation.pk}


def _numbers_of_change(
    verb: str,
    options: verbs.ActionOptions,
    data: Mapping[str, Any],
) -> dict[str, int | None]:
    """The replicas before and after, or the revision that was rolled back to."""
    if verb == "rollback":
        return {"to": data.get("revision") or options.revision or None}
    return {"from": data.get("previous_replicas"), "to": data.get("replicas")}


def read_options(target: RequestTarget) -> verbs.ActionOptions:
    """The options of an action out of the request; Invalid for numbers out of bounds."""
    return verbs.ActionOptions(
        dry_run=target.flag("dry_run"),
        replicas=optional_integer(target, "replicas"),
        current_replicas=optional_integer(target, "current_replicas"),
        # Revisions are int64 in Kubernetes.
        revision=optional_integer(target, "revision", maximum=2**63 - 1) or 0,
        name=target.option("name"),
    )


REVISION_SCHEMA = record(
    required=(
        "revision",
        "name",
        "created_at",
        "change_cause",
        "images",
        "current",
        "template",
    ),
    revision=INTEGER,
    name=TEXT,
    created_at=nullable(TEXT),
    change_cause=TEXT,
    images=array(TEXT),
    current=BOOLEAN,
    template=OBJECT,
    status=OBJECT,
    diff_to=INTEGER,
    diff=TEXT,
)


class RevisionViewSet(ViewSetMixin, WorkloadView):
    """GET /{plural}/{name}/revisions and /revisions/{revision}."""

    operations = {
        "list": OperationSchema(
            "Revisions of a workload, newest first",
            REVISION_SCHEMA,
            query=(CLUSTER, NAMESPACE, *PAGING[:2]),
            paged=True,
            answer_name="Revision",
        ),
        "retrieve": OperationSchema(
            "One revision",
            REVISION_SCHEMA,
            query=(CLUSTER, NAMESPACE, QueryParameter("diff_to", INTEGER)),
            answer_name="Revision",
        ),
    }

    @classmethod
    def is_offered(cls, **values: Any) -> bool:
        """Jobs have no revisions."""
        return bool(values["kind"].plural != "jobs")

    def list(self, request: Request, name: str) -> Any:
        """A page of revisions, newest first, as REVISION_SCHEMA has them."""
        _, ref = self.object_ref(request, "revisions", name)
        page = page_request(request.query_params)
        rows = [revision.represent() for revision in revisions.history(ref)]
        return Page(
            rows[page.offset : page.offset + page.size],
            len(rows),
            page.page,
            page.size,
        )

    def retrieve(self, request: Request, name: str, revision: str) -> Any:
        """One revision; with `diff_to` also a unified diff to that revision, as YAML."""
        target, ref = self.object_ref(request, "revisions", name)
        number = integer(revision, "revision", minimum=0)
        base_number = optional_integer(target, "diff_to")
        history = revisions.history(ref)
        row = revisions.find(history, number)
        if base_number is None:
            return row.represent()
        base = revisions.find(history, base_number)
        return {
            **row.represent(),
            "diff_to": base.number,
            "diff": revisions.template_diff(row, base),
        }


class WorkloadPods(WorkloadView):
    """GET /{plural}/{name}/pods: the pods that the workload controls."""

    operations = {
        "get": OperationSchema(
            "The pods of a workload",
            KUBERNETES_OBJECT,
            query=(CLUSTER, NAMESPACE, *PAGING[:2]),
            paged=True,
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """A page of Pods."""
        target, ref = self.object_ref(request, "get", name)
        # Seeing the workload does not include seeing its pods.
        authorise(
            self,
            request,
            AccessAttributes("list", "pods", "", target.cluster_text, ref.namespace),
        )
        page = page_request(request.query_params)
        pods = ownership.list_pods(ref)
        # As in other lists.
        shown = [prune(pod) for pod in pods[page.offset : page.offset + page.size]]
        return Page(
            shown,
            len(pods),
            page.page,
            page.size,
        )


class WorkloadEvents(WorkloadView):
    """GET /{plural}/{name}/events: about the workload and all that it owns, newest first."""

    operations = {
        "get": OperationSchema(
            "The events of a workload",
            KUBERNETES_OBJECT,
            query=(CLUSTER, NAMESPACE, *PAGING[:2]),
            paged=True,
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """A page of Events."""
        _, ref = self.object_ref(request, "events", name)
        page = page_request(request.query_params)
        query = ListQuery(namespace=ref.namespace, offset=page.offset, size=page.size)
        listing = events.list_events(ref.cluster, query, uids=ownership.event_uids(ref))
        return raw_page(listing, page)
