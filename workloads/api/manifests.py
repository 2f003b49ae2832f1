"""Many manifests at once: /manifests/validate, diff, apply, export, copy; /multicluster/compare."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import Kind, lookup_kind, parse_reference
from clusters.manifests import Object, to_yaml
from clusters.models import Cluster
from core.api.audit import AuditEvent, record
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.confirmation import ConfirmationRequest, require_confirmation
from core.api.dialect import DialectView
from core.api.parsing import boolean, dry_run, integer
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    CLUSTER,
    INTEGER,
    MANIFEST,
    NAMESPACE,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
)
from core.api.schema import record as schema
from core.errors import ClusterNotFound, DomainError, Forbidden, Invalid, NotFound
from operations import tasks
from workloads.actions import protection
from workloads.api.actions import caller
from workloads.api.request_target import RequestTarget
from workloads.manifests import comparison, copying, export, operation, preview
from workloads.manifests.apply import (
    ApplyOptions,
    ApplyResult,
    StaleObject,
    apply_objects,
    check_field_manager,
    prunable,
    pruned_places,
)
from workloads.manifests.documents import (
    MAX_OBJECTS,
    PlannedObject,
    plan,
    read_manifests,
    require_readable,
)
from workloads.manifests.operation import ApplyTarget
from workloads.objects import lists
from workloads.objects.discovery import discover
from workloads.objects.manifests import is_secret
from workloads.objects.object_ref import ObjectRef

MAX_TARGETS = 100
# Objects times targets: each is asked of the policy before the first is sent.
MAX_WRITES = 5000
YAML_TYPE = "text/yaml; charset=utf-8"
ON_FAILURE = ("stop", "continue")
SECRETS_LEFT_OUT = "# Secrets are left out: you may not read their values here.\n"

CHANGE = schema(path=TEXT, before=ANYTHING, after=ANYTHING)
DOCUMENT = {"index": INTEGER, "kind": TEXT, "namespace": TEXT, "name": TEXT}
ERROR = schema(line=INTEGER, column=INTEGER, path=TEXT, message=TEXT)
TARGETS = array(schema(required=("cluster_id",), cluster_id=INTEGER, namespace=TEXT, patch=OBJECT))
CONTENT = {"cluster_id": INTEGER, "namespace": TEXT, "content": MANIFEST}
APPLY_ANSWER = schema(
    required=(),
    documents=array(
        schema(
            **DOCUMENT,
            action={
                "type": "string",
                "enum": [
                    "created",
                    "configured",
                    "unchanged",
                    "pruned",
                    "failed",
                    "skipped",
                ],
            },
            code=INTEGER,
            msg=TEXT,
        )
    ),
    operation_id=INTEGER,
)


@dataclass(frozen=True, slots=True)
class AuthorisedObject:
    """An object that the caller may write, with its line for the audit trail."""

    planned: PlannedObject
    event: AuditEvent | None
    scope: Scope


def may_give_any_right(rows: Iterable[AuthorisedObject]) -> bool:
    """Whether the caller administers the whole cluster, and so may write any role.

    Objects without a place are never sent, and nobody was asked about them.
    """
    return all(row.scope.unbounded for row in rows if row.planned.kind is not None)


class ManifestView(DialectView):
    """What the routes about texts of manifests share: rights first, then the text."""

    aliases = {"clusterId": "cluster_id", "dryRun": "dry_run"}

    def cluster(self, request: Request, reference: object) -> Cluster:
        """A cluster that the caller may see; Invalid without a reference."""
        text = "" if reference is None else str(reference)
        authorise(self, request, AccessAttributes("get", "clusters", cluster=text))
        if not text:
            raise Invalid("cluster_id is required", field="cluster_id")
        return registry.find(integer(text, "cluster_id", minimum=0))

    def begin(self, request: Request, verb: str) -> RequestTarget:
        """The request's members, for callers who may write something in the cluster it names."""
        target = RequestTarget(self, request)
        cluster = _first_cluster(target.body)
        authorise(self, request, AccessAttributes(verb, "manifests", cluster=cluster))
        self.check_input(request)
        target.check()
        return target

    def authorise_objects(
        self,
        request: Request,
        cluster: Cluster,
        planned: Iterable[PlannedObject],
        verb: str,
    ) -> list[AuthorisedObject]:
        """Ask the policy for each object; Forbidden before anything is sent.

        An object without a place in the cluster is never sent, so nobody is asked.
        """
        allowed = []
        for item in planned:
            if item.kind is None:
                allowed.append(AuthorisedObject(item, None, Scope()))
                continue
            act = object_act(verb, cluster, item.kind, item.namespace, item.name)
            scope = authorise(self, request, act)
            allowed.append(AuthorisedObject(item, record(request, act), scope))
        return allowed

    def plan_content(
        self, request: Request, target: RequestTarget
    ) -> tuple[Cluster, list[PlannedObject]]:
        """The cluster of `cluster_id`, and where the objects of `content` go in it."""
        cluster = self.cluster(request, target.body.get("cluster_id"))
        if "content" not in target.body:
            raise Invalid("content is required", field="content")
        manifests = read_manifests(target.body["content"])
        return cluster, plan(cluster, manifests, namespace=target.namespace)


def _first_cluster(body: Mapping[str, Any]) -> str:
    """The first cluster that a body names, as text; "" for none. It may be malformed still."""
    targets = body.get("targets")
    places = [body, body.get("from"), *(targets if isinstance(targets, list) else [])]
    for place in places:
        reference = place.get("cluster_id") if isinstance(place, dict) else None
        if reference is not None:
            return str(reference)
    return ""


def object_act(
    verb: str, cluster: Cluster, kind: Kind, namespace: str, name: str = ""
) -> AccessAttributes:
    """The act on one object, as the policy is asked."""
    return AccessAttributes(
        verb,
        kind.plural,
        kind.group,
        str(cluster.pk),
        namespace if kind.namespaced else "",
        name,
        cluster_scoped=not kind.namespaced,
    )


class ValidateManifests(ManifestView):
    """POST /manifests/validate."""

    operations = {
        "post": OperationSchema(
            "Check manifests: syntax, the cluster's schemas, a dry run",
            schema(
                valid=BOOLEAN,
                documents=array(
                    schema(**DOCUMENT, line=INTEGER, apiVersion=TEXT, errors=array(ERROR))
                ),
            ),
            body=schema(required=("cluster_id", "content"), **CONTENT),
            answer_name="ManifestValidation",
            body_name="ManifestsToCheck",
        )
    }

    def post(self, request: Request) -> Any:
        """{"valid","documents"}: a text with errors is a successful answer."""
        target = self.begin(request, "check")
        cluster, planned = self.plan_content(request, target)
        allowed = self.authorise_objects(request, cluster, planned, "check")
        documents = preview.validate(cluster, planned, unbounded=may_give_any_right(allowed))
        return {
            "valid": not any(document["errors"] for document in documents),
            "documents": documents,
        }


class DiffManifests(ManifestView):
    """POST /manifests/diff."""

    operations = {
        "post": OperationSchema(
            "Compare manifests with what the cluster has",
            schema(
                documents=array(
                    schema(
                        required=(*DOCUMENT, "action", "diff", "changes"),
                        **DOCUMENT,
                        action={
                            "type": "string",
                            "enum": ["create", "configure", "unchanged", "error"],
                        },
                        diff=TEXT,
                        changes=array(CHANGE),
                        error=TEXT,
                    )
                )
            ),
            body=schema(required=("cluster_id", "content"), **CONTENT),
            answer_name="ManifestComparison",
            body_name="ManifestsToCompare",
        )
    }

    def post(self, request: Request) -> Any:
        """{"documents"}: each object beside what the API server would store."""
        target = self.begin(request, "check")
        cluster, planned = self.plan_content(request, target)
        require_readable(item.manifest for item in planned)
        # It shows what the cluster has, and a dry run is a write for admission webhooks.
        readable = self.authorise_objects(request, cluster, planned, "get")
        writable = self.authorise_objects(request, cluster, planned, "check")
        options = ApplyOptions(dry_run=True, unbounded=may_give_any_right(writable))
        reveals = all(item.scope.reveals for item in readable)
        rows = preview.compare_with_cluster(cluster, planned, options, reveals=reveals)
        return {"documents": rows}


class ApplyView(ManifestView):
    """What applying a text and copying an object share."""

    def apply_to(
        self,
        request: Request,
        text: str,
        targets: Sequence[ApplyTarget],
        options: ApplyOptions,
        *,
        wait: bool = False,
    ) -> Any:
        """Apply at once to a single target, else as an operation."""
        manifests = read_manifests(text)
        require_readable(manifests)
        if len(manifests) * len(targets) > MAX_WRITES:
            raise Invalid(
                f"more than {MAX_WRITES} objects over all targets; apply them in parts",
                field="targets",
            )
        allowed: list[tuple[ApplyTarget, list[AuthorisedObject]]] = []
        for target in targets:
            planned = plan(
                target.cluster, manifests, namespace=target.namespace, patch=target.patch
            )
            rows = self.authorise_objects(request, target.cluster, planned, "apply")
            if options.prune_selector:
                self._authorise_pruning(request, target.cluster, planned)
            allowed.append((replace(target, unbounded=may_give_any_right(rows)), rows))
        if options.prune_selector:
            # Read before anything is sent, so that a selector that is none changes nothing.
            stale = [
                (target, item)
                for target, rows in allowed
                for item in _prunable(target.cluster, rows, options.prune_selector)
            ]
            if not options.dry_run:
                self._confirm_pruning(request, stale, options)
                options = replace(options, prune_confirmed=True)
        details: dict[str, Any] = {"dry_run": True} if options.dry_run else {}
        if len(targets) == 1 and not wait:
            return self._apply_now(*allowed[0], options, details)
        row = operation.create(
            text,
            [target for target, _rows in allowed],
            options,
            wait=wait,
            requested_by=caller(request),
        )
        for _target, rows in allowed:
            for item in rows:
                _annotate(item.event, details={**details, "operation_id": row.pk})
        tasks.enqueue(row)
        return {"operation_id": row.pk}

    def _apply_now(
        self,
        target: ApplyTarget,
        rows: Sequence[AuthorisedObject],
        options: ApplyOptions,
        details: Mapping[str, Any],
    ) -> Any:
        events = {row.planned.manifest.index: row.event for row in rows}
        options = replace(options, unbounded=target.unbounded)
        documents = []
        for result in apply_objects(target.cluster, [row.planned for row in rows], options):
            event = events.get(result.planned.manifest.index)
            _annotate(event, details={**details, "action": result.action})
            if result.error is not None:
                _annotate(event, error=result.error)
            if result.after is not None and not options.dry_run:
                _annotate(event, before=result.before, after=result.after)
            documents.append({**result.summary(), "code": self._code(result)})
        return {"documents": sorted(documents, key=_document_place)}

    def _code(self, result: ApplyResult) -> int:
        """0, or the dialect's code for the failure."""
        if result.error is None:
            return 0
        _status, body = self.dialect.error(result.error, "PATCH")
        return int(body["code"]) if isinstance(body, dict) else -1

    def _authorise_pruning(
        self, request: Request, cluster: Cluster, planned: Sequence[PlannedObject]
    ) -> None:
        for kind, namespace in pruned_places(planned):
            authorise(self, request, object_act("list", cluster, kind, namespace))
            authorise(self, request, object_act("delete", cluster, kind, namespace))

    def _confirm_pruning(
        self,
        request: Request,
        stale: Sequence[tuple[ApplyTarget, StaleObject]],
        options: ApplyOptions,
    ) -> None:
        """ConfirmationRequired as for any deletion of exactly these objects."""
        names: list[str] = []
        uids: list[str] = []
        reasons: list[str] = []
        for target, item in stale:
            ref = ObjectRef(target.cluster, item.kind, item.namespace, item.name)
            names.append(f"{item.kind.plural}/{item.name}")
            uids.append(str(item.item["metadata"]["uid"]))
            reasons.append(protection.protection_reason(ref, item.item))
        if not names:
            return
        guarded = ConfirmationRequest(
            "prune",
            "objects",
            options.prune_selector,
            stale[0][0].namespace,
            # The confirmation is void when the selector matches other objects by then.
            identity=hashlib.sha256("".join(sorted(uids)).encode()).hexdigest(),
            protected=next(filter(None, reasons), ""),
            impact=lambda: {"children": len(names), "warnings": names[:20]},
        )
        require_confirmation(request, guarded)


def _prunable(
    cluster: Cluster, rows: Sequence[AuthorisedObject], selector: str
) -> list[StaleObject]:
    try:
        return prunable(cluster, [row.planned for row in rows], selector)
    except DomainError as error:
        raise _as_bad_selector(error, "prune_selector") from None


def _as_bad_selector(error: DomainError, field: str) -> DomainError:
    """What the API server says against a label selector as an error of that field."""
    if error.details.get("status") != 400:
        return error
    return Invalid(error.message, field=field)


def _annotate(
    event: AuditEvent | None, *, details: Mapping[str, Any] | None = None, **facts: Any
) -> None:
    """Add facts to the line of one object; the latest line may be another's."""
    if event is None:
        return
    event.facts |= facts
    if details:
        event.facts["details"] = {**(event.facts.get("details") or {}), **details}


def _document_place(document: Mapping[str, Any]) -> tuple[bool, int]:
    """In the order of the text, what was pruned last."""
    return document["index"] < 0, int(document["index"])


class ApplyManifests(ApplyView):
    """POST /manifests/apply."""

    operations = {
        "post": OperationSchema(
            "Apply manifests to one or many clusters",
            APPLY_ANSWER,
            guarded=True,
            body=schema(
                required=("content",),
                **CONTENT,
                targets=TARGETS,
                dry_run=BOOLEAN,
                field_manager=TEXT,
                force_conflicts=BOOLEAN,
                prune_selector=TEXT,
                wait=BOOLEAN,
                on_failure={"type": "string", "enum": list(ON_FAILURE)},
            ),
            answer_name="ApplyResult",
            body_name="ManifestsToApply",
        )
    }

    def post(self, request: Request) -> Any:
        """{"documents"} of one target, or {"operation_id"} for several or with `wait`."""
        target = self.begin(request, "apply")
        body = target.body
        targets = self.targets(request, body, default_namespace=target.namespace)
        if "content" not in body:
            raise Invalid("content is required", field="content")
        options = ApplyOptions(
            dry_run=_dry_run(body),
            field_manager=check_field_manager(body.get("field_manager")),
            force_conflicts=boolean(body.get("force_conflicts", False), "force_conflicts"),
            stop_at_failure=_on_failure(body) == "stop",
            prune_selector=_prune_selector(body),
        )
        wait = boolean(body.get("wait", False), "wait")
        return self.apply_to(request, _as_text(body["content"]), targets, options, wait=wait)

    def targets(
        self, request: Request, body: Mapping[str, Any], *, default_namespace: str
    ) -> list[ApplyTarget]:
        """The targets of the body: `targets`, or the one of `cluster_id`."""
        return read_targets(self, request, body, default_namespace)


def read_targets(
    view: ManifestView, request: Request, body: Mapping[str, Any], default_namespace: str
) -> list[ApplyTarget]:
    """Each target with a cluster that the caller may see; Invalid for none or too many."""
    rows = body.get("targets")
    if rows is None:
        cluster = view.cluster(request, body.get("cluster_id"))
        return [ApplyTarget(cluster, default_namespace)]
    if body.get("cluster_id") is not None:
        raise Invalid("give either cluster_id or targets", field="targets")
    if not isinstance(rows, list) or not rows:
        raise Invalid("targets must be a list, at least one", field="targets")
    if len(rows) > MAX_TARGETS:
        raise Invalid(f"at most {MAX_TARGETS} targets", field="targets")
    targets = []
    for place, row in enumerate(rows):
        field = f"targets[{place}]"
        if not isinstance(row, dict):
            raise Invalid(f"{field} must be an object", field=field)
        namespace = row.get("namespace", default_namespace)
        patch = row.get("patch")
        patch = {} if patch is None else patch
        if not isinstance(namespace, str) or "\x00" in namespace:
            raise Invalid(f"{field}.namespace must be text", field=f"{field}.namespace")
        if not isinstance(patch, dict):
            raise Invalid(f"{field}.patch must be a JSON merge patch", field=f"{field}.patch")
        cluster = view.cluster(request, row.get("cluster_id"))
        targets.append(ApplyTarget(cluster, namespace or default_namespace, patch))
    return targets


def _dry_run(body: Mapping[str, Any]) -> bool:
    value = body.get("dry_run", False)
    # Kubernetes' own spelling, as in the other calls.
    return value in ("All", ["All"]) or dry_run(value)


def _on_failure(body: Mapping[str, Any]) -> str:
    value = body.get("on_failure", "stop")
    if value not in ON_FAILURE:
        raise Invalid("on_failure must be stop or continue", field="on_failure")
    return str(value)


def _prune_selector(body: Mapping[str, Any]) -> str:
    """The selector, "" when absent; Invalid for a blank one, which would select everything."""
    if "prune_selector" not in body:
        return ""
    value = body["prune_selector"]
    if not isinstance(value, str) or not value.strip(" \t\r\n,"):
        raise Invalid("prune_selector must select something", field="prune_selector")
    return value


def _as_text(content: object) -> str:
    """The content as text: an operation keeps it, and reads it again."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict | list):
        values = content if isinstance(content, list) else [content]
        return "\n".join(orjson.dumps(value).decode() for value in values)
    raise Invalid("content must be text or an object", field="content")


class CopyManifest(ApplyView):
    """POST /manifests/copy."""

    operations = {
        "post": OperationSchema(
            "Copy an object to other namespaces or clusters",
            APPLY_ANSWER,
            body=schema(
                required=("from", "targets"),
                **{
                    "from": schema(
                        required=("cluster_id", "kind", "name"),
                        cluster_id=INTEGER,
                        namespace=TEXT,
                        kind=TEXT,
                        name=TEXT,
                    )
                },
                targets=TARGETS,
                with_references=BOOLEAN,
                dry_run=BOOLEAN,
            ),
            answer_name="ApplyResult",
            body_name="ObjectToCopy",
        )
    }

    def post(self, request: Request) -> Any:
        """As for apply: the object, and before it what it refers to."""
        body = self.begin(request, "apply").body
        source = body.get("from")
        if not isinstance(source, dict):
            raise Invalid("from is required", field="from")
        cluster = self.cluster(request, source.get("cluster_id"))
        kind = kind_in(cluster, str(source.get("kind") or ""), field="from.kind")
        namespace = str(source.get("namespace") or "") if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise Invalid("from.namespace is required", field="from.namespace")
        name = str(source.get("name") or "")
        if not name:
            raise Invalid("from.name is required", field="from.name")
        self._require_readable(request, cluster, kind, namespace, name)
        obj = orjson.loads(lists.get_object(cluster, kind, name, namespace=namespace))
        objects: list[Object] = []
        if boolean(body.get("with_references", True), "with_references"):
            for referenced_kind, referenced in copying.referenced_objects(cluster, kind, obj):
                self._require_readable(
                    request, cluster, referenced_kind, namespace, referenced["metadata"]["name"]
                )
                objects.append(referenced)
        objects.append(obj)
        text = "---\n".join(to_yaml(copying.as_manifest(item)) for item in objects)
        if body.get("targets") is None:
            raise Invalid("targets is required", field="targets")
        targets = read_targets(self, request, body, namespace)
        options = ApplyOptions(dry_run=_dry_run(body), force_conflicts=True)
        return self.apply_to(request, text, targets, options)

    def _require_readable(
        self, request: Request, cluster: Cluster, kind: Kind, namespace: str, name: str
    ) -> None:
        """Forbidden for what the caller may not read whole: a Secret without its values too."""
        scope = authorise(self, request, object_act("get", cluster, kind, namespace, name))
        if is_secret(kind) and not scope.reveals:
            raise Forbidden("you may not copy secrets here: their values would be readable there")


class ExportManifests(ManifestView):
    """GET /manifests/export."""

    operations = {
        "get": OperationSchema(
            "Objects as YAML that another cluster takes",
            TEXT,
            query=(
                CLUSTER,
                NAMESPACE,
                QueryParameter(
                    "kinds", TEXT, description="Comma list; what people make if absent."
                ),
                QueryParameter("labelSelector", TEXT),
            ),
            answer_types=("text/yaml",),
        )
    }

    def get(self, request: Request) -> Any:
        """YAML documents in apply order."""
        target = RequestTarget(self, request)
        cluster = self.cluster(request, request.query_params.get("cluster_id"))
        self.check_input(request)
        target.check()
        texts = [text.strip() for text in request.query_params.get("kinds", "").split(",")]
        references = [text for text in texts if text]
        if references:
            kinds = [kind_in(cluster, text, field="kinds") for text in references]
        else:
            kinds = export.default_kinds()
        places: list[tuple[Kind, str]] = []
        head = ""
        refusal: Forbidden | None = None
        for kind in dict.fromkeys(kinds):
            if not kind.namespaced and not references:
                continue
            try:
                places += self._places(request, cluster, kind, target.namespace)
            except Forbidden as error:
                if references:
                    raise
                refusal = error
                if is_secret(kind):
                    head = SECRETS_LEFT_OUT
        if refusal and not places:
            raise refusal
        selector = request.query_params.get("labelSelector", "")
        try:
            objects = export.read_objects(cluster, places, selector=selector)
        except DomainError as error:
            raise _as_bad_selector(error, "labelSelector") from None
        text = head + "".join(export.to_text(objects))
        return HttpResponse(text.encode(), content_type=YAML_TYPE)

    def _places(
        self, request: Request, cluster: Cluster, kind: Kind, namespace: str
    ) -> list[tuple[Kind, str]]:
        """Where the caller may read the kind; Forbidden for Secrets without their values."""
        scope = authorise(self, request, object_act("list", cluster, kind, namespace))
        if is_secret(kind) and not scope.reveals:
            raise Forbidden("you may not read the values of secrets here")
        if not kind.namespaced:
            return [(kind, "")]
        if namespace or scope.namespaces is None:
            return [(kind, namespace)]
        return [(kind, place) for place in sorted(scope.namespaces)]


class CompareObject(ManifestView):
    """GET /multicluster/compare."""

    operations = {
        "get": OperationSchema(
            "One object over several clusters",
            schema(
                base=nullable(INTEGER),
                clusters=array(
                    schema(
                        required=("cluster_id", "cluster", "found", "changes"),
                        cluster_id=INTEGER,
                        cluster=TEXT,
                        found=BOOLEAN,
                        changes=array(CHANGE),
                        error=TEXT,
                    )
                ),
            ),
            query=(
                QueryParameter("kind", TEXT, required=True),
                NAMESPACE,
                QueryParameter("name", TEXT, required=True),
                QueryParameter(
                    "clusters", TEXT, description="Comma list of ids or names; all if absent."
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"base","clusters"}: changes of each cluster's object against the first that has it."""
        visible = authorise(self, request, AccessAttributes("list", "clusters")).clusters
        self.check_input(request)
        query = request.query_params
        clusters, is_explicit = self._clusters(query.get("clusters", ""), visible)
        name = query.get("name", "")
        if not name or "\x00" in name:
            raise Invalid("name is required", field="name")
        kind = self._kind(clusters, query.get("kind", ""))
        namespace = query.get("namespace", "") if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise Invalid("namespace is required", field="namespace")
        readable: list[Cluster] = []
        reveals: list[bool] = []
        for cluster in clusters:
            try:
                act = object_act("get", cluster, kind, namespace, name)
                reveals.append(authorise(self, request, act).reveals)
                readable.append(cluster)
            except Forbidden:
                if is_explicit:
                    raise
        return comparison.compare(readable, kind, name, namespace=namespace, reveals=reveals)

    @staticmethod
    def _clusters(
        text: str, visible: Mapping[int, frozenset[str] | None] | None
    ) -> tuple[list[Cluster], bool]:
        """(the clusters, whether the caller named them)."""
        references = [part.strip() for part in text.split(",") if part.strip()]
        if not references:
            every = [
                cluster
                for cluster in registry.clusters().order_by("pk")
                if visible is None or cluster.pk in visible
            ]
            return every[: comparison.MAX_CLUSTERS], False
        if len(references) > comparison.MAX_CLUSTERS:
            raise Invalid(f"at most {comparison.MAX_CLUSTERS} clusters", field="clusters")
        clusters = []
        for reference in dict.fromkeys(references):
            cluster = registry.find(reference)
            if visible is not None and cluster.pk not in visible:
                # In the words for a cluster that does not exist.
                raise ClusterNotFound(f"cluster {reference[:60]!r} does not exist")
            clusters.append(cluster)
        return clusters, True

    @staticmethod
    def _kind(clusters: Sequence[Cluster], text: str) -> Kind:
        if not clusters:
            raise NotFound("there is no cluster to compare")
        return kind_in(clusters[0], text, field="kind")


def kind_in(cluster: Cluster, text: str, *, field: str) -> Kind:
    """A kind by any of its names, or `widgets.v1.example.com` as the cluster serves it.

    Invalid for no kind at all.
    """
    if kind := lookup_kind(text):
        return kind
    name, place = parse_reference(text)
    version, _, group = place.partition(".")
    if not name or not group:
        raise Invalid(
            f"{field} must name a kind, such as deployments or widgets.v1.example.com", field=field
        )
    return discover(cluster, group, version, name)


__all__ = [
    "MAX_OBJECTS",
    "ApplyManifests",
    "CompareObject",
    "CopyManifest",
    "DiffManifests",
    "ExportManifests",
    "ValidateManifests",
]
