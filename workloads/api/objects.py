"""Objects of any kind over JSON: one viewset for every kind and every dialect with objects."""

from typing import Any, ClassVar

import orjson
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSetMixin

from clusters.kinds import Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.wire import PATCH_TYPES
from core.api.audit import annotate
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import PageRequest, page_request
from core.api.parsing import boolean, integer, moment, raw_body
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    CLUSTER,
    DRY_RUN,
    KUBERNETES_OBJECT,
    NAMESPACE,
    OBJECT,
    PAGING,
    SELECTORS,
    TEXT,
    OperationSchema,
    QueryParameter,
)
from core.errors import Forbidden, Invalid, UnclearInput
from core.jsontext import Unrepresentable, loads
from storage_api.query import sorting
from storage_api.query.problems import PROBLEM_RULES
from storage_api.query.sorting import ORDERS
from workloads.api.confirmations import (
    confirm_object_action,
    deletion_forecast,
)
from workloads.api.request_target import WRITE, RequestTarget
from workloads.metrics import pod_resources
from workloads.objects import lists, past, writes
from workloads.objects.discovery import discover
from workloads.objects.manifests import (
    content_namespace,
    is_secret,
    looks_at_values,
    masked_secret,
)
from workloads.objects.object_ref import ObjectRef

MAX_GRACE = 2**31 - 1
MAX_NAMESPACES = 200
# Lists that can be sorted by what the objects use.
KINDS_WITH_USE = ("pods", "nodes", *pod_resources.WORKLOADS)


class ObjectView(DialectView):
    """What every route about objects shares.

    It checks the rights first, then the request, then the cluster.
    """

    either = True
    aliases = {
        "clusterId": "cluster_id",
        "dryRun": "dry_run",
        "fieldValidation": "field_validation",
        "propagationPolicy": "propagation",
        "gracePeriodSeconds": "grace_period",
        "label_selector": "labelSelector",
        "field_selector": "fieldSelector",
    }

    kind: ClassVar[Kind] = None  # type: ignore[assignment]  # bound per route by as_view
    # The verbs that are answered as of a moment when `at` names one.
    historic_verbs: ClassVar[tuple[str, ...]] = ()

    def resolve(
        self,
        request: Request,
        verb: str,
        *,
        name: str = "",
        namespace: str = "",
    ) -> tuple[RequestTarget, Scope]:
        """The request's target and what of it the caller may see.

        Forbidden before anything about the request itself is reported.
        """
        target = RequestTarget(self, request)
        target.namespace = namespace or target.namespace or self._manifest_namespace(target)
        act = AccessAttributes(
            verb,
            self.kind.plural,
            self.kind.group,
            target.cluster_text,
            target.namespace if self.kind.namespaced else "",
            name,
            cluster_scoped=not self.kind.namespaced,
        )
        scope = authorise(self, request, act)
        target.check()
        # Silently answering with the present would look like the past.
        if request.query_params.get("at") and verb not in self.historic_verbs:
            raise Invalid("at: this is only answered as of now", field="at")
        if target.flag("dry_run"):
            annotate(request, details={"dry_run": True})
        return target, scope

    def _manifest_namespace(self, target: RequestTarget) -> str:
        """metadata.namespace of the manifest in the body: rights are checked there too."""
        if not self.kind.namespaced or not target.body:
            return ""
        return content_namespace(target.body.get("content", target.body))

    def visible_object(self, raw: bytes, scope: Scope) -> orjson.Fragment:
        """The object as it goes out: the values of a Secret only to callers who may see them."""
        # The caller may write Secrets without the right to read their values.
        if is_secret(self.kind) and not scope.reveals:
            raw = masked_secret(raw)
        return orjson.Fragment(raw)

    def scoped_namespace(self, target: RequestTarget, *, item: bool) -> str:
        """The namespace to act in: "" for cluster-wide kinds, required for items of the others."""
        if not self.kind.namespaced:
            return ""
        if item and not target.namespace:
            raise Invalid("namespace is required", field="namespace")
        return target.namespace


def aged(answer: Any, age: float | None) -> Any:
    """The answer, with X-Data-Age when it is out of the store: only the store's copy has an age."""
    if age is None:
        return answer
    return Response(answer, headers={"X-Data-Age": f"{age:.3f}"})


def raw_page(listing: ObjectPage, page: PageRequest) -> Page:
    """A page of raw objects, which go out without being parsed."""
    items = [orjson.Fragment(item) for item in listing.items]
    return Page(items, listing.total, page.page, page.size)


ITEM = (CLUSTER, NAMESPACE)
VALIDATION = QueryParameter("field_validation", WRITE["properties"]["field_validation"])
MANAGER = QueryParameter(
    "fieldManager",
    TEXT,
    description="Who owns the fields; of a server-side apply.",
)
FORCE = QueryParameter(
    "force",
    BOOLEAN,
    description="Take fields from others; of a server-side apply.",
)
AT = QueryParameter(
    "at",
    TEXT,
    description="The cluster as it was then, out of the store: RFC 3339 or unix seconds.",
)
NAMESPACES = QueryParameter(
    "namespace_in",
    TEXT,
    description="Several namespaces, as a comma list; excludes namespace.",
)
FRESH = QueryParameter(
    "fresh",
    BOOLEAN,
    description="Ask the cluster itself, even if the store knows; "
    "X-Data-Age tells an answer out of the store.",
)
ORDERBY = QueryParameter(
    "orderby",
    TEXT,
    description=f"{', '.join(ORDERS)}; a minus before it for backwards. "
    f"Of {', '.join(KINDS_WITH_USE)} also what they use: {', '.join(pod_resources.RESOURCES)}. "
    "The cluster's own order when absent.",
)
TROUBLED = QueryParameter(
    "troubled",
    BOOLEAN,
    description=f"Only what is in trouble now: {', '.join(PROBLEM_RULES)}.",
)
DELETE = (
    *ITEM,
    DRY_RUN,
    QueryParameter(
        "propagation",
        {"type": "string", "enum": ["background", "foreground", "orphan"]},
    ),
    QueryParameter("grace_period", {"type": "integer", "minimum": 0}),
)


class ObjectViewSet(ViewSetMixin, ObjectView):
    """List, read, create, change and delete objects of one kind."""

    historic_verbs = ("list", "get")

    operations = {
        "list": OperationSchema(
            "List objects",
            KUBERNETES_OBJECT,
            query=(
                *ITEM,
                NAMESPACES,
                *PAGING,
                *SELECTORS,
                FRESH,
                AT,
                ORDERBY,
                TROUBLED,
            ),
            paged=True,
            generic=True,
        ),
        "retrieve": OperationSchema(
            "One object", KUBERNETES_OBJECT, query=(*ITEM, FRESH, AT), generic=True
        ),
        "create": OperationSchema(
            "Create an object",
            KUBERNETES_OBJECT,
            body=WRITE,
            bare=True,
            generic=True,
            body_name="ObjectToWrite",
        ),
        "update": OperationSchema(
            "Replace an object",
            KUBERNETES_OBJECT,
            body=WRITE,
            bare=True,
            generic=True,
            body_name="ObjectToWrite",
        ),
        "partial_update": OperationSchema(
            "Patch an object",
            KUBERNETES_OBJECT,
            query=(*ITEM, DRY_RUN, VALIDATION, MANAGER, FORCE),
            body=ANYTHING,
            body_types=tuple(PATCH_TYPES.values()),
            generic=True,
        ),
        "destroy": OperationSchema(
            "Delete an object; with dry_run say what would go with it",
            OBJECT,
            query=DELETE,
            # The members of a DeleteOptions that name its own type.
            also_body=("kind", "apiVersion"),
            generic=True,
            guarded=True,
        ),
    }

    def list(self, request: Request) -> Any:
        """One page of raw objects with an exact total."""
        target, scope = self.resolve(request, "list")
        page = page_request(request.query_params)
        query = self.query(request, target, scope, page.offset, page.size)
        if at := moment(request.query_params.get("at", ""), "at"):
            listing = past.list_past(target.cluster(), self.kind, query, at)
        else:
            listing = lists.list_objects(
                target.cluster(),
                self.kind,
                query,
                live=target.flag("fresh"),
            )
        return aged(raw_page(listing, page), listing.age)

    def query(
        self,
        request: Request,
        target: RequestTarget,
        scope: Scope,
        offset: int,
        size: int,
    ) -> ListQuery:
        """The list parameters of the contract's LIST convention."""
        parameters = request.query_params
        order = parameters.get("orderby", "")
        resource = order.removeprefix("-")
        ranks = None
        if resource in pod_resources.RESOURCES and self.kind.plural in KINDS_WITH_USE:
            ranks = pod_resources.rank_by_use(target.cluster(), self.kind.plural, resource)
            order = order.replace(resource, sorting.RANK)
        return ListQuery(
            namespace=self.scoped_namespace(target, item=False),
            keyword=parameters.get("keyword", ""),
            label_selector=target.option("labelSelector"),
            field_selector=target.option("fieldSelector"),
            offset=offset,
            size=size,
            namespaces=self._chosen_namespaces(target, scope),
            order=order,
            troubled=boolean(parameters.get("troubled", "false"), "troubled"),
            ranks=ranks,
        )

    def _chosen_namespaces(self, target: RequestTarget, scope: Scope) -> frozenset[str] | None:
        """The namespaces that the caller chose, as far as they may see them; None is all."""
        chosen = target.option("namespace_in")
        if not chosen or not self.kind.namespaced:
            return scope.namespaces
        if target.namespace:
            raise Invalid("namespace and namespace_in are mutually exclusive", field="namespace_in")
        names = frozenset(name.strip() for name in chosen.split(",")) - {""}
        if len(names) > MAX_NAMESPACES:
            raise Invalid(f"more than {MAX_NAMESPACES} namespaces", field="namespace_in")
        return names if scope.namespaces is None else names & scope.namespaces

    def retrieve(self, request: Request, name: str, namespace: str = "") -> Any:
        """The raw object."""
        target, scope = self.resolve(request, "get", name=name, namespace=namespace)
        namespace = self.scoped_namespace(target, item=True)
        if at := moment(request.query_params.get("at", ""), "at"):
            return orjson.Fragment(
                past.get_past(
                    target.cluster(),
                    self.kind,
                    name,
                    namespace=namespace,
                    at=at,
                )
            )
        raw, age = lists.read_object(
            target.cluster(),
            self.kind,
            name,
            namespace=namespace,
            live=target.flag("fresh"),
        )
        return aged(self.visible_object(raw, scope), age)

    def create(self, request: Request) -> Any:
        """The created object."""
        target, scope = self.resolve(request, "create")
        content = target.content()
        namespace = self.scoped_namespace(target, item=False)
        created = writes.create_object(
            target.cluster(),
            self.kind,
            content,
            namespace=namespace,
            dry_run=target.flag("dry_run"),
            validation=target.option("field_validation"),
            unbounded=scope.unbounded,
        )
        annotate(
            request,
            name=lists.name_of(created),
            before=None,
            after=created,
        )
        return self.visible_object(created, scope)

    def update(self, request: Request, name: str, namespace: str = "") -> Any:
        """The replaced object."""
        target, scope = self.resolve(request, "update", name=name, namespace=namespace)
        content = target.content()
        namespace = self.scoped_namespace(target, item=False)
        # Read before the write: its answer has only the new state, and the audit trail has both.
        before = lists.peek(target.cluster(), self.kind, name, namespace=namespace)
        updated = writes.update_object(
            target.cluster(),
            self.kind,
            name,
            content,
            namespace=namespace,
            dry_run=target.flag("dry_run"),
            validation=target.option("field_validation"),
            unbounded=scope.unbounded,
        )
        annotate(request, before=before, after=updated)
        return self.visible_object(updated, scope)

    def partial_update(self, request: Request, name: str, namespace: str = "") -> Any:
        """The patched object; the Content-Type says which kind of patch the body is."""
        target, scope = self.resolve(request, "patch", name=name, namespace=namespace)
        namespace = self.scoped_namespace(target, item=True)
        options = {
            "dryRun": "All" if target.flag("dry_run") else "",
            "fieldValidation": writes.check_validation(target.option("field_validation")),
            "fieldManager": target.option("fieldManager"),
            "force": "true" if target.flag("force") else "",
        }
        patch = _patch_type(request.content_type or "")
        # An apply patch is YAML: `patch_object` reads and checks it.
        if patch != "apply":
            _check_patch(raw_body(request))
        if patch == "json" and is_secret(self.kind) and not scope.reveals:
            _check_secret_patch(raw_body(request))
        before = lists.peek(target.cluster(), self.kind, name, namespace=namespace)
        patched = writes.patch_object(
            target.cluster(),
            self.kind,
            name,
            raw_body(request),
            patch=patch,
            namespace=namespace,
            options=options,
            unbounded=scope.unbounded,
        )
        annotate(request, before=before, after=patched)
        return self.visible_object(patched, scope)

    def destroy(self, request: Request, name: str, namespace: str = "") -> Any:
        """{}: the deletion has begun.

        With dry_run what would be deleted too: {"impact","protected","require_name"}.
        """
        target, _ = self.resolve(request, "delete", name=name, namespace=namespace)
        namespace = self.scoped_namespace(target, item=True)
        ref = ObjectRef(target.cluster(), self.kind, namespace, name)
        dry_run = target.flag("dry_run")
        grace = target.parameter("grace_period")
        if not dry_run:
            # Before the call, so that an unconfirmed deletion never reaches the cluster.
            confirm_object_action(request, ref, "delete")
        # With dry_run too: the API server may refuse, and checks whether the object exists.
        writes.delete_object(
            ref.cluster,
            self.kind,
            name,
            namespace=ref.namespace,
            propagation=target.option("propagation") or "background",
            dry_run=dry_run,
            grace=None if grace in (None, "") else _grace_seconds(grace),
        )
        if dry_run:
            return deletion_forecast(ref)
        # Only a deletion that was accepted has a version before it in the audit trail.
        annotate(request, before=ref.versions.get("before"), after=None)
        return {}


def _grace_seconds(value: object) -> int:
    return integer(value, "grace_period", minimum=0, maximum=MAX_GRACE)


def _check_patch(body: bytes) -> None:
    """Refuse patches that the API server would silently read in another way.

    UnclearInput for a member with two different values, Unrepresentable for a number or
    character that would not arrive as it is. The API server judges all other mistakes.
    """
    try:
        loads(body)
    except (UnclearInput, Unrepresentable):
        raise
    except Invalid:
        return


def _check_secret_patch(body: bytes) -> None:
    """Forbidden for a JSON patch that compares or copies values which its sender may not see.

    Invalid for one that is not strict JSON: the API server is more lenient, so its reading of the
    steps could differ from ours.
    """
    if looks_at_values(loads(body)):
        raise Forbidden("you may not compare, copy or move the values of secrets here")


def _patch_type(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    for patch, patch_media_type in PATCH_TYPES.items():
        if media_type == patch_media_type:
            return patch
    raise Invalid(
        f"the Content-Type of a patch must be one of {', '.join(PATCH_TYPES.values())}",
        field="Content-Type",
    )


class AnyObjectViewSet(ObjectViewSet):
    """Any kind that the cluster serves: /resources/{group}/{version}/{plural}."""

    def dispatch(
        self,
        request: HttpRequest,
        *args: Any,
        group: str,
        version: str,
        plural: str,
        **kwargs: Any,
    ) -> HttpResponseBase:
        """Take the kind's address out of the arguments: the methods of all kinds have the same."""
        self.address = (group, version, plural)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the kind by discovery, after the caller's right was checked."""
        super().initial(request, *args, **kwargs)
        group, version, plural = self.address
        target = RequestTarget(self, request)
        verbs = {
            "GET": "get" if "name" in kwargs else "list",
            "POST": "create",
            "PUT": "update",
            "PATCH": "patch",
            "DELETE": "delete",
        }
        group = "" if group == "core" else group
        act = AccessAttributes(
            verbs.get(request.method or "GET", "get"),
            plural,
            group,
            target.cluster_text,
            target.namespace,
            kwargs.get("name", ""),
        )
        # Before discovery, which would tell which kinds the cluster serves.
        authorise(self, request, act)
        target.check()
        self.kind = discover(target.cluster(), group, version, plural)  # type: ignore[misc]
