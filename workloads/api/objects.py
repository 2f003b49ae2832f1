"""Objects of any kind over JSON: one viewset for every kind and every dialect that shows objects."""

from typing import Any, ClassVar

import orjson
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSetMixin

from clusters import registry
from clusters.client import PATCH_TYPES
from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery
from clusters.models import Cluster
from core.api.audit import note
from core.api.auth import Act, Scope, authorise
from core.api.confirmation import Guarded, confirm
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, dry_run, integer, json_body, moment, raw_body
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    CLUSTER,
    DRY_RUN,
    INTEGER,
    KUBERNETES_OBJECT,
    MANIFEST,
    NAMESPACE,
    OBJECT,
    PAGING,
    SELECTORS,
    TEXT,
    Described,
    Query,
    array,
    record,
)
from core.errors import DomainError, Forbidden, Invalid, UnclearInput
from core.jsontext import Unrepresentable, loads
from storage_api.query.problems import TROUBLES
from storage_api.query.sorting import ORDERS
from workloads.actions import protection
from workloads.objects import services
from workloads.objects.manifests import content_namespace, is_secret, looks_at_values, masked_secret
from workloads.objects.subject import ObjectRef, require_namespace

MAX_GRACE = 2**31 - 1


class Target:
    """Which cluster and namespace a request means: from query and body, by every name the dialect allows."""

    def __init__(self, view: DialectView, request: Request) -> None:
        self.body, self.problem = self._body(request)
        self._names = view.dialect.params
        self._query = request.query_params
        self._aliases = view.aliases
        # What may stand beside the members of a bare object.
        self._said = {*self._names, *WRITE["properties"], *view.aliases, *view.dialect.spoken}
        self.cluster_text, self.namespace = self._value("cluster"), self._value("namespace")

    @staticmethod
    def _body(request: Request) -> tuple[dict[str, Any], DomainError | None]:
        """The body, or why it cannot be read: said only after the caller's rights were checked."""
        if request.method == "PATCH":
            return {}, None
        try:
            return json_body(request), None
        except DomainError as error:
            return {}, error

    def _values(self, wanted: str) -> list[str]:
        """Every value given under any of its names, as text."""
        names = [name for name, ours in self._names.items() if ours == wanted]
        given = [value for name in names for value in self._query.getlist(name)]
        given += [self.body[name] for name in names if self.body.get(name) is not None]
        return list(dict.fromkeys(str(value) for value in given if value != ""))

    def _value(self, wanted: str) -> str:
        values = self._values(wanted)
        return values[0] if values else ""

    def check(self) -> None:
        """Invalid when the body is no JSON object or something is said twice and differently."""
        if self.problem:
            raise self.problem
        for wanted in ("cluster", "namespace"):
            if len(self._values(wanted)) > 1:
                raise Invalid(f"{wanted} is given twice, and differently", field=wanted)
        if "\x00" in self.namespace:
            # It goes into rows of operations, also where the kind has no namespaces and no cluster judges it.
            raise Invalid("namespace holds a NUL character", field="namespace")

    def cluster(self) -> Cluster:
        """The registered cluster; Invalid without an id, ClusterNotFound for an unknown one."""
        if not self.cluster_text:
            raise Invalid("cluster_id is required", field="cluster_id")
        return registry.find(integer(self.cluster_text, "cluster_id", minimum=0))

    def content(self) -> object:
        """The manifest: `content`, or the bare body when that looks like one."""
        if "content" in self.body:
            return self.body["content"]
        if "metadata" in self.body or "kind" in self.body:
            return {key: value for key, value in self.body.items() if key not in self._said}
        raise Invalid("content is required", field="content")

    def given(self, name: str) -> object:
        """What query or body say under that name or another spelling of it, or None."""
        spellings = [name, *(other for other, ours in self._aliases.items() if ours == name)]
        for spelling in spellings:
            value = self._query.get(spelling, self.body.get(spelling))
            if value is not None:
                return value
        return None

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes or no out of query or body; `All` is Kubernetes' yes to a dry run."""
        value = self.given(name)
        if name == "dry_run" and value is not None:
            return value in ("All", ["All"]) or dry_run(value)
        return default if value is None else boolean(value, name)

    def option(self, *names: str) -> str:
        """A word out of query or body, or nothing."""
        return next((str(value) for name in names if (value := self.given(name))), "")


class ObjectView(DialectView):
    """What every route about objects shares: rights first, then the request's sense, then the cluster."""

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
    # The verbs that are answered as of a moment, when `at` names one.
    timely: ClassVar[tuple[str, ...]] = ()

    def resolve(
        self, request: Request, verb: str, *, name: str = "", namespace: str = ""
    ) -> tuple[Target, Scope]:
        """The target and what of it the caller may see; Forbidden before anything else is said."""
        target = Target(self, request)
        target.namespace = namespace or target.namespace or self._content_namespace(target)
        kind, space = self.kind, target.namespace if self.kind.namespaced else ""
        act = Act(
            verb,
            kind.plural,
            kind.group,
            target.cluster_text,
            space,
            name,
            cluster_scoped=not kind.namespaced,
        )
        scope = authorise(self, request, act)
        target.check()
        if request.query_params.get("at") and verb not in self.timely:
            raise Invalid("at: this is only answered as of now", field="at")
        if target.flag("dry_run"):
            note(request, details={"dry_run": True})
        return target, scope

    def _content_namespace(self, target: Target) -> str:
        if not self.kind.namespaced or not target.body:
            return ""
        return content_namespace(target.body.get("content", target.body))

    def shown(self, raw: bytes, scope: Scope) -> orjson.Fragment:
        """The object as it goes out: the values of a Secret only to those who may see them."""
        return orjson.Fragment(
            raw if scope.reveals or not is_secret(self.kind) else masked_secret(raw)
        )

    def scoped_kind(self, target: Target, *, item: bool) -> str:
        """The namespace to act in: none for cluster-wide kinds, required for items of the others."""
        if not self.kind.namespaced:
            return ""
        if item and not target.namespace:
            raise Invalid("namespace is required", field="namespace")
        return target.namespace


WRITE = record(
    required=("cluster_id", "content"),
    cluster_id=INTEGER,
    namespace=TEXT,
    content=MANIFEST,
    dry_run=BOOLEAN,
    # What the cluster does with fields that it does not know: Strict refuses them. Its own default is Warn.
    field_validation={"type": "string", "enum": list(services.VALIDATIONS)},
)
ITEM = (CLUSTER, NAMESPACE)
VALIDATION = Query("field_validation", WRITE["properties"]["field_validation"])
MANAGER = Query("fieldManager", TEXT, description="Who owns the fields; of a server-side apply.")
FORCE = Query("force", BOOLEAN, description="Take fields from others; of a server-side apply.")
AT = Query(
    "at",
    TEXT,
    description="The cluster as it was then, out of the store: RFC 3339 or unix seconds.",
)
FRESH = Query(
    "fresh",
    BOOLEAN,
    description="Ask the cluster itself, even if the store knows; X-Data-Age tells an answer out of the store.",
)
ORDERBY = Query(
    "orderby",
    TEXT,
    description=f"{', '.join(ORDERS)}; a minus before it for backwards. The cluster's own order when absent.",
)
TROUBLED = Query(
    "troubled", BOOLEAN, description=f"Only what is in trouble now: {', '.join(TROUBLES)}."
)
DELETE = (
    *ITEM,
    DRY_RUN,
    Query("propagation", {"type": "string", "enum": ["background", "foreground", "orphan"]}),
    Query("grace_period", {"type": "integer", "minimum": 0}),
)


class ObjectViewSet(ViewSetMixin, ObjectView):
    """List, read, create, change and delete objects of one kind."""

    timely = ("list", "get")

    operations = {
        "list": Described(
            "List objects",
            KUBERNETES_OBJECT,
            query=(*ITEM, *PAGING, *SELECTORS, FRESH, AT, ORDERBY, TROUBLED),
            paged=True,
            generic=True,
        ),
        "retrieve": Described("One object", KUBERNETES_OBJECT, query=(*ITEM, AT), generic=True),
        "create": Described(
            "Create an object",
            KUBERNETES_OBJECT,
            body=WRITE,
            bare=True,
            generic=True,
            body_name="ObjectToWrite",
        ),
        "update": Described(
            "Replace an object",
            KUBERNETES_OBJECT,
            body=WRITE,
            bare=True,
            generic=True,
            body_name="ObjectToWrite",
        ),
        "partial_update": Described(
            "Patch an object",
            KUBERNETES_OBJECT,
            query=(*ITEM, DRY_RUN, VALIDATION, MANAGER, FORCE),
            body=ANYTHING,
            body_types=tuple(PATCH_TYPES.values()),
            generic=True,
        ),
        "destroy": Described(
            "Delete an object; with dry_run say what would go with it",
            OBJECT,
            query=DELETE,
            # What a DeleteOptions says about itself.
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
            listing = services.list_past(target.cluster(), self.kind, query, at)
        else:
            listing = services.list_objects(
                target.cluster(), self.kind, query, live=target.flag("fresh")
            )
        found = Page(
            [orjson.Fragment(item) for item in listing.items], listing.total, page.page, page.size
        )
        return (
            found
            if listing.age is None
            else Response(found, headers={"X-Data-Age": f"{listing.age:.3f}"})
        )

    def query(
        self, request: Request, target: Target, scope: Scope, offset: int, size: int
    ) -> ListQuery:
        """The list parameters of the contract's LIST convention."""
        text = request.query_params
        return ListQuery(
            namespace=self.scoped_kind(target, item=False),
            keyword=text.get("keyword", ""),
            label_selector=target.option("labelSelector"),
            field_selector=target.option("fieldSelector"),
            offset=offset,
            size=size,
            namespaces=scope.namespaces,
            order=text.get("orderby", ""),
            troubled=boolean(text.get("troubled", "false"), "troubled"),
        )

    def retrieve(self, request: Request, name: str, namespace: str = "") -> Any:
        """The raw object."""
        target, scope = self.resolve(request, "get", name=name, namespace=namespace)
        space = self.scoped_kind(target, item=True)
        if at := moment(request.query_params.get("at", ""), "at"):
            return orjson.Fragment(
                services.get_past(target.cluster(), self.kind, name, namespace=space, at=at)
            )
        return self.shown(
            services.get_object(target.cluster(), self.kind, name, namespace=space), scope
        )

    def create(self, request: Request) -> Any:
        """The created object."""
        target, scope = self.resolve(request, "create")
        content, space = target.content(), self.scoped_kind(target, item=False)
        dry, validation = target.flag("dry_run"), target.option("field_validation")
        made = services.create_object(
            target.cluster(),
            self.kind,
            content,
            namespace=space,
            dry_run=dry,
            validation=validation,
            unbounded=scope.unbounded,
        )
        note(request, name=services.name_of(made), before=None, after=made)
        return self.shown(made, scope)

    def update(self, request: Request, name: str, namespace: str = "") -> Any:
        """The replaced object."""
        target, scope = self.resolve(request, "update", name=name, namespace=namespace)
        content, space = target.content(), self.scoped_kind(target, item=False)
        before = services.peek(target.cluster(), self.kind, name, namespace=space)
        dry, validation = target.flag("dry_run"), target.option("field_validation")
        made = services.update_object(
            target.cluster(),
            self.kind,
            name,
            content,
            namespace=space,
            dry_run=dry,
            validation=validation,
            unbounded=scope.unbounded,
        )
        note(request, before=before, after=made)
        return self.shown(made, scope)

    def partial_update(self, request: Request, name: str, namespace: str = "") -> Any:
        """The patched object; the Content-Type says which patch the body is."""
        target, scope = self.resolve(request, "patch", name=name, namespace=namespace)
        space = self.scoped_kind(target, item=True)
        options = {
            "dryRun": "All" if target.flag("dry_run") else "",
            "fieldValidation": services.check_validation(target.option("field_validation")),
            "fieldManager": target.option("fieldManager"),
            "force": "true" if target.flag("force") else "",
        }
        patch = _patch_type(request.content_type or "")
        if patch != "apply":
            _check_patch(raw_body(request))
        if patch == "json" and is_secret(self.kind) and not scope.reveals:
            _check_steps(raw_body(request))
        before = services.peek(target.cluster(), self.kind, name, namespace=space)
        made = services.patch_object(
            target.cluster(),
            self.kind,
            name,
            raw_body(request),
            patch=patch,
            namespace=space,
            options=options,
            unbounded=scope.unbounded,
        )
        note(request, before=before, after=made)
        return self.shown(made, scope)

    def destroy(self, request: Request, name: str, namespace: str = "") -> Any:
        """{}: the object is going. With dry_run what would go with it: {"impact","protected","require_name"}."""
        target, _ = self.resolve(request, "delete", name=name, namespace=namespace)
        ref = ObjectRef(target.cluster(), self.kind, self.scoped_kind(target, item=True), name)
        grace = target.given("grace_period")
        if not target.flag("dry_run"):
            require_confirmation(request, ref, "delete")
        services.delete_object(
            ref.cluster,
            self.kind,
            name,
            namespace=ref.namespace,
            propagation=target.option("propagation") or "background",
            dry_run=target.flag("dry_run"),
            grace=None
            if grace in (None, "")
            else integer(grace, "grace_period", minimum=0, maximum=MAX_GRACE),
        )
        if target.flag("dry_run"):
            return deletion_forecast(ref)
        note(request, before=ref.seen.get("before"), after=None)
        return {}


def deletion_forecast(ref: ObjectRef) -> dict[str, Any]:
    """What deleting the object would take along, and whether and why it would have to be confirmed."""
    item = ref.read()
    return {
        "impact": {
            "pods": None,
            "pvcs": None,
            "children": None,
            "warnings": [],
            **protection.impact(ref, item),
        },
        "protected": protection.protection_reason(ref, item),
        "require_name": ref.kind.plural in protection.NEEDS_NAME,
    }


def require_confirmation(
    request: Request, ref: ObjectRef, action: str, *, protected: str = ""
) -> None:
    """ConfirmationRequired unless the action on that object needs no confirmation or has it."""
    if settings.CONFIRMATION_LEVEL == "off":
        return
    item = ref.read()
    guarded = Guarded(
        action,
        ref.kind.name,
        ref.name,
        ref.namespace,
        identity=item["metadata"].get("uid", ""),
        protected=protected or protection.protection_reason(ref, item),
        require_name=ref.kind.plural in protection.NEEDS_NAME,
        impact=lambda: protection.impact(ref, item),
    )
    confirm(request, guarded)


def _check_patch(body: bytes) -> None:
    """UnclearInput for a member that is given twice and differently, Unrepresentable for a value that would not arrive as it is.

    All else is the API server's to judge: that one would make a rounded number, or another letter, of the latter in silence.
    """
    try:
        loads(body)
    except (UnclearInput, Unrepresentable):
        raise
    except Invalid:
        return


def _check_steps(body: bytes) -> None:
    """Forbidden for a JSON patch that would compare or copy values that its sender may not see.

    Invalid for one that is not strict JSON: an API server forgives more than a look at its steps could see through.
    """
    if looks_at_values(loads(body)):
        raise Forbidden("you may not compare, copy or move the values of secrets here")


def _patch_type(content_type: str) -> str:
    given = content_type.partition(";")[0].strip().lower()
    for patch, known in PATCH_TYPES.items():
        if given == known:
            return patch
    raise Invalid(
        f"the Content-Type of a patch must be one of {', '.join(PATCH_TYPES.values())}",
        field="Content-Type",
    )


class EventViewSet(ObjectViewSet):
    """Events: listed newest first, and by the object they are about (contract 1.10)."""

    operations = {
        **ObjectViewSet.operations,
        "list": Described(
            "List events, newest first",
            KUBERNETES_OBJECT,
            query=(
                *ITEM,
                *PAGING,
                *SELECTORS,
                Query("resource_type", TEXT),
                Query("resource_name", TEXT),
                AT,
            ),
            # Always the cluster's own, and always newest first.
            also_query=("fresh", "orderby"),
            paged=True,
        ),
    }

    def list(self, request: Request) -> Any:
        """One page of events."""
        target, scope = self.resolve(request, "list")
        page, text = page_request(request.query_params), request.query_params
        query = self.query(request, target, scope, page.offset, page.size)
        about: dict[str, Any] = {
            "involved_kind": text.get("resource_type", ""),
            "involved_name": text.get("resource_name", ""),
        }
        if at := moment(text.get("at", ""), "at"):
            listing = services.list_past_events(target.cluster(), query, at, **about)
        else:
            listing = services.list_events(target.cluster(), query, **about)
        return Page(
            [orjson.Fragment(item) for item in listing.items], listing.total, page.page, page.size
        )


class AnyObjectViewSet(ObjectViewSet):
    """Any kind that the cluster serves, custom resources too: /resources/{group}/{version}/{plural}."""

    def dispatch(
        self, request: HttpRequest, *args: Any, group: str, version: str, plural: str, **kwargs: Any
    ) -> HttpResponseBase:
        """Keep the kind's address apart from what every other kind's routes are called with."""
        self.address = (group, version, plural)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the kind by discovery, once the caller is known to have the right."""
        super().initial(request, *args, **kwargs)
        (group, version, plural), target = self.address, Target(self, request)
        verb = {
            "GET": "get" if "name" in kwargs else "list",
            "POST": "create",
            "PUT": "update",
            "PATCH": "patch",
            "DELETE": "delete",
        }
        group = "" if group == "core" else group
        act = Act(
            verb.get(request.method or "GET", "get"),
            plural,
            group,
            target.cluster_text,
            target.namespace,
            kwargs.get("name", ""),
        )
        authorise(self, request, act)
        target.check()
        self.kind = services.discover(target.cluster(), group, version, plural)  # type: ignore[misc]


class NamespaceNames(ObjectView):
    """GET /clusters/{id}/namespaces: every namespace, not paged (contract 1.1)."""

    kind = KINDS["namespaces"]
    operations = {
        "get": Described(
            "Every namespace of a cluster", record(namespaces=array(OBJECT)), query=(AT,)
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """{"namespaces":[{"metadata":{"name","uid","creationTimestamp"},"status":{"phase"}}]}."""
        scope = authorise(self, request, Act("list", "namespaces", cluster=pk))
        cluster, query = registry.find(integer(pk, "id", minimum=0)), ListQuery(size=100_000)
        at = moment(request.query_params.get("at", ""), "at")
        listing = (
            services.list_past(cluster, self.kind, query, at)
            if at
            else services.list_objects(cluster, self.kind, query)
        )
        objects = [orjson.loads(item) for item in listing.items]
        return {
            "namespaces": [
                _namespace(item)
                for item in objects
                if scope.namespaces is None or item["metadata"]["name"] in scope.namespaces
            ]
        }


def _namespace(item: dict[str, Any]) -> dict[str, Any]:
    metadata = item["metadata"]
    return {
        "metadata": {
            key: metadata.get(key)
            for key in ("name", "uid", "creationTimestamp", "labels")
            if metadata.get(key) is not None
        },
        "status": {"phase": (item.get("status") or {}).get("phase", "")},
    }


class NamespaceContents(ObjectView):
    """GET /namespaces/{name}/resourcequotas and /limitranges (contract 1.9)."""

    timely = ("list",)
    operations = {
        "get": Described(
            "What is set on a namespace", KUBERNETES_OBJECT, query=(CLUSTER, AT), paged=True
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """{"items":[…]}; NamespaceNotFound for a namespace that does not exist."""
        target, _ = self.resolve(request, "list", namespace=name)
        cluster, query = target.cluster(), ListQuery(namespace=name, size=10_000)
        if at := moment(request.query_params.get("at", ""), "at"):
            listing = services.list_past(cluster, self.kind, query, at)
        else:
            require_namespace(registry.client(cluster), name)
            listing = services.list_objects(cluster, self.kind, query)
        return Page(
            [orjson.Fragment(item) for item in listing.items],
            listing.total,
            1,
            max(listing.total, 1),
        )
