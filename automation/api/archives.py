"""Backups: the archives of a run, and restoring them through the manifests' apply."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rest_framework.request import Request

from automation.api import rights
from automation.backups import archives, comparing, restoring
from automation.backups.restoring import Restore
from clusters import registry
from clusters.kinds import Kind
from clusters.models import Cluster
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise, is_allowed
from core.api.dialect import DialectView
from core.api.parsing import dry_run, integer, json_body
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.errors import Forbidden, Invalid, NotFound
from workloads.api.manifests.applying import AdmittedTarget, ApplyView
from workloads.api.manifests.base import CHANGE, DOCUMENT, object_act
from workloads.manifests import preview
from workloads.manifests.apply import ApplyOptions
from workloads.manifests.documents import read_manifests, require_readable
from workloads.manifests.operation import ApplyTarget
from workloads.objects.manifests import is_secret

ARCHIVE = record(
    id=INTEGER,
    run_id=INTEGER,
    cluster_id=INTEGER,
    cluster=TEXT,
    namespace=TEXT,
    objects=array(record(kind=TEXT, name=TEXT)),
    left_out=array(record(kind=TEXT, reason=TEXT)),
    size=INTEGER,
    sha256=TEXT,
    has_secrets=BOOLEAN,
    created_at=TEXT,
)
RESTORED = record(
    dry_run=BOOLEAN,
    documents=array(
        record(
            required=("cluster_id", *DOCUMENT, "action"),
            cluster_id=INTEGER,
            **DOCUMENT,
            action=TEXT,
            diff=TEXT,
            changes=array(CHANGE),
            error=TEXT,
            code=INTEGER,
            msg=TEXT,
        )
    ),
)


COMPARED = record(
    **{"with": INTEGER},
    run_id=INTEGER,
    documents=array(
        record(
            cluster_id=INTEGER,
            **DOCUMENT,
            action={
                "type": "string",
                "enum": ["create", "configure", "delete", "unchanged"],
            },
            diff=TEXT,
            changes=array(CHANGE),
        )
    ),
    left_out=array(
        record(
            run_id=INTEGER,
            cluster_id=INTEGER,
            namespace=TEXT,
            kind=TEXT,
            reason=TEXT,
        )
    ),
    hidden=INTEGER,
)


class RunArchives(DialectView):
    """GET /task-runs/{id}/archives."""

    operations = {
        "get": OperationSchema(
            "The archives of a backup: what is in them, not their content",
            record(items=array(ARCHIVE), total=INTEGER),
            answer_name="NamespaceArchives",
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """{"items","total"}; NotFound for a run without a backup."""
        _, run = rights.visible_run(self, request, pk)
        rows = [archives.represent(row) for row in archives.archives_of(run)]
        return {"items": rows, "total": len(rows)}


class CompareRuns(DialectView):
    """GET /task-runs/{id}/compare."""

    operations = {
        "get": OperationSchema(
            "What a backup has other than another one, Secrets masked",
            COMPARED,
            query=(
                QueryParameter(
                    "with",
                    INTEGER,
                    required=True,
                    description="The run whose backup is compared with, as what was before.",
                ),
                QueryParameter("namespace", TEXT),
            ),
            answer_name="ComparedBackups",
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """{"run_id","with","documents","left_out","hidden"}.

        NotFound for a run without a backup, or that the caller may not see.
        """
        _, after = rights.visible_run(self, request, pk)
        other = request.query_params.get("with", "")
        if not other:
            raise Invalid("with is required: the id of another run", field="with")
        integer(other, "with", minimum=0, maximum=2**63 - 1)
        _, before = rights.visible_run(self, request, other)
        compared = comparing.compare_runs(
            before,
            after,
            (archives.archives_of(before), archives.archives_of(after)),
            namespace=request.query_params.get("namespace", ""),
            may_read=_ObjectReader(self, request).may_read,
        )
        return {
            "run_id": after.pk,
            "with": before.pk,
            "documents": compared.documents,
            "left_out": compared.left_out,
            "hidden": compared.hidden,
        }


class _ObjectReader:
    """Which kinds the caller may read now, asked once for each kind and namespace."""

    def __init__(self, view: DialectView, request: Request) -> None:
        self._view = view
        self._request = request
        self._answers: dict[AccessAttributes, bool] = {}

    def may_read(self, cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
        """Whether the caller may read the object; a read of Secrets is audited."""
        act = object_act("get", cluster, kind, namespace, name)
        right = act.without_name()
        if right not in self._answers:
            is_readable = is_allowed(self._view, self._request, act) and _is_served(
                cluster, kind, namespace, name
            )
            self._answers[right] = is_readable
            if is_readable and is_secret(kind):
                authorise(self._view, self._request, act)
        return self._answers[right]


def _is_served(cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
    """Whether the cluster lets the caller read it, where that is the cluster's to decide.

    Its backup was made with the rights of the task's owner.
    """
    if not cluster.impersonate:
        return True
    client = registry.client(cluster)
    try:
        if kind.namespaced:
            client.request("GET", kind.path(namespace=namespace), query={"limit": 1})
        else:
            client.get(kind, name)
    except Forbidden:
        return False
    except NotFound:
        # It is gone, or its kind is: the cluster says so to those alone who may read it.
        return True
    return True


class RestoreRun(ApplyView):
    """POST /task-runs/{id}/restore."""

    operations = {
        "post": OperationSchema(
            "Apply what a backup holds, with the rights of the caller; a dry run is the diff",
            RESTORED,
            body=record(
                required=(),
                namespace=TEXT,
                cluster_id=INTEGER,
                dry_run=BOOLEAN,
            ),
            answer_name="RestoredBackup",
            body_name="BackupToRestore",
        )
    }

    def post(self, request: Request, pk: str) -> Any:
        """{"dry_run","documents"}: as in a diff for a dry run, else as applying answers."""
        authorise(
            self,
            request,
            AccessAttributes("apply", "tasks", name=pk[:100]),
        )
        _, run = rights.visible_run(self, request, pk)
        self.check_input(request)
        body = json_body(request)
        is_dry = dry_run(body.get("dry_run", False))
        rows = restoring.choose(
            archives.archives_of(run),
            _namespace(body),
            _cluster(body),
        )
        for row, namespace in rows:
            self._require_secrets(request, row, namespace)
        annotate(
            request,
            name=run.task.name,
            details={"run": run.pk, "dry_run": is_dry},
        )
        # An archive is read whole here, so that a damaged one stops everything at the start.
        restores = [restoring.prepare(row, namespace) for row, namespace in rows]
        options = ApplyOptions(
            dry_run=is_dry,
            # What was there at the time of the backup wins.
            force_conflicts=True,
            stop_at_failure=False,
        )
        admitted = [
            each
            for restore in restores
            for each in self._admit(
                request,
                restore,
                options,
            )
        ]
        if is_dry:
            documents = self._compare(
                request,
                admitted,
                options,
            )
        else:
            documents = self._apply(
                admitted,
                options,
                {"restored_from_run": run.pk},
            )
        return {"dry_run": is_dry, "documents": documents}

    def _require_secrets(
        self,
        request: Request,
        row: Any,
        namespace: str,
    ) -> None:
        """Who restores Secrets could read them: that is a right of its own, at both ends."""
        if not row.has_secrets:
            return
        for place in dict.fromkeys((row.namespace, namespace)):
            act = AccessAttributes(
                "reveal",
                "secrets",
                "",
                str(row.cluster_id),
                place,
            )
            authorise(self, request, act)

    def _admit(
        self,
        request: Request,
        restore: Restore,
        options: ApplyOptions,
    ) -> list[AdmittedTarget]:
        target = ApplyTarget(restore.archive.cluster, restore.namespace)
        admitted: list[AdmittedTarget] = []
        for text in restore.texts:
            manifests = read_manifests(text)
            require_readable(manifests)
            allowed, _ = self.admit(
                request,
                manifests,
                [target],
                options,
            )
            admitted += allowed
        if restore.namespace != restore.archive.namespace:
            self._require_source(request, restore, admitted)
        return admitted

    def _require_source(
        self,
        request: Request,
        restore: Restore,
        admitted: Iterable[AdmittedTarget],
    ) -> None:
        """Who takes objects to another namespace could read them where they come from."""
        archive = restore.archive
        kinds = {row.planned.kind for _, rows in admitted for row in rows}
        for kind in sorted(filter(None, kinds), key=lambda each: each.plural):
            act = object_act("get", archive.cluster, kind, archive.namespace)
            authorise(self, request, act)
            if not _is_served(archive.cluster, kind, archive.namespace, archive.namespace):
                raise Forbidden(
                    f"the cluster does not let you read {kind.plural} in {archive.namespace}"
                )

    def _compare(
        self,
        request: Request,
        admitted: Sequence[AdmittedTarget],
        options: ApplyOptions,
    ) -> list[dict[str, Any]]:
        documents = []
        for target, rows in admitted:
            planned = [row.planned for row in rows]
            # Both sides of a diff may have values of Secrets.
            compared = preview.compare_with_cluster(
                target.cluster,
                planned,
                options,
                reveals=False,
            )
            documents += [{"cluster_id": target.cluster.pk, **row} for row in compared]
        return documents

    def _apply(
        self,
        admitted: Sequence[AdmittedTarget],
        options: ApplyOptions,
        details: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        documents = []
        for target, rows in admitted:
            answer = self.apply_now(
                target,
                rows,
                options,
                details,
            )
            documents += [{"cluster_id": target.cluster.pk, **row} for row in answer["documents"]]
        return documents


def _namespace(body: Mapping[str, Any]) -> str:
    value = body.get("namespace")
    if value is not None and (not isinstance(value, str) or not value):
        raise Invalid("namespace must be the name of a namespace", field="namespace")
    return value or ""


def _cluster(body: Mapping[str, Any]) -> int | None:
    value = body.get("cluster_id")
    return (
        None
        if value is None
        else integer(
            value,
            "cluster_id",
            minimum=0,
        )
    )
