"""What a run knows and may do: the task's targets, inside its owner's rights as they are now.

The rights are asked of the same policy as everything else, with the API token that made the task,
if one did: a task never reaches further than who made it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User

from access import audit_sink, streams
from automation.models import Memory, Run, Task
from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import Kind
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.api.attributes import AccessAttributes, Scope
from core.api.audit import AuditEvent
from core.errors import (
    ClusterNotFound,
    ClusterUnavailable,
    DomainError,
    Forbidden,
    Invalid,
    Unauthenticated,
)

# Objects that one run may choose.
MAX_OBJECTS = 5000


@dataclass(frozen=True, slots=True)
class Targets:
    """Where a task acts; `clusters` None and `namespaces` None are all that the owner may reach.

    An empty `label_selector` and empty `names` choose every object there.
    """

    clusters: tuple[int, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    label_selector: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster, and the namespaces of it in which the owner may act; None is all of them."""

    cluster: Cluster
    namespaces: tuple[str, ...] | None = None

    def covers(self, namespace: str) -> bool:
        """Whether the namespace is one of these."""
        return self.namespaces is None or namespace in self.namespaces


@dataclass(slots=True)
class RunContext:
    """The task that runs, its checked parameters, and what its owner may do at this moment.

    `run` is the id of the run, None for a dry run that nobody keeps. `beat` says that the worker is
    alive, and raises when the run was cancelled or the owner's rights are gone: call it between two
    calls to a cluster. `problems` are the clusters that could not be asked while choosing, with the
    reason: each becomes a failed step.
    """

    task: int
    task_name: str
    run: int | None
    params: Mapping[str, Any]
    targets: Targets
    owner: User
    credential: Mapping[str, Any]
    dry_run: bool = False
    on_failure: str = "stop"
    beat: Callable[[], None] = lambda: None
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def owner_name(self) -> str:
        """The owner's username: who the audit trail and operations name."""
        return self.owner.get_username()

    # --- rights -----------------------------------------------------------------------------------
    def scope(self, act: AccessAttributes) -> Scope | None:
        """What the owner sees of the act as of now; None when they may not do it.

        Unauthenticated when the owner was switched off, or the task's API token revoked.
        """
        return streams.scopes(self.credential, [act])[0]

    def may(
        self,
        verb: str,
        kind: Kind,
        cluster: Cluster,
        namespace: str = "",
        name: str = "",
    ) -> bool:
        """Whether the owner may do this now; namespace "" asks for the whole cluster."""
        return (
            self.scope(
                attributes(
                    verb,
                    kind,
                    cluster,
                    namespace,
                    name,
                )
            )
            is not None
        )

    def require(
        self,
        verb: str,
        kind: Kind,
        cluster: Cluster,
        namespace: str = "",
        name: str = "",
    ) -> Scope:
        """The owner's scope for the act; Forbidden when they may not do it now."""
        try:
            scope = self.scope(attributes(verb, kind, cluster, namespace, name))
        except Unauthenticated as error:
            raise Forbidden(
                f"{self.owner_name} may no longer do this: {error.message}",
                reason="RightLost",
            ) from None
        if scope is None:
            place = f"in namespace {namespace} of " if namespace else "in "
            raise Forbidden(
                f"{self.owner_name} may not {verb} {kind.plural} {place}{cluster.name}",
                reason="RightLost",
            )
        return scope

    @contextmanager
    def acting(
        self,
        verb: str,
        kind: Kind,
        cluster: Cluster | None,
        namespace: str = "",
        name: str = "",
    ) -> Iterator[dict[str, Any]]:
        """Do something in the owner's name: the right is asked first, the audit trail told after.

        Yields the facts of the audit line; `before` and `after` are JSON of an object. A call that
        concerns no cluster asks for no right. Forbidden as `require` raises it.
        """
        if cluster is None:
            act = AccessAttributes(verb, kind.plural, kind.group, name=name)
        else:
            act = attributes(verb, kind, cluster, namespace, name)
        event = AuditEvent(act)
        event.facts["details"] = {"via": "task", "task": self.task, "run": self.run}
        try:
            if cluster is not None:
                self.require(verb, kind, cluster, namespace, name)
            yield event.facts
        except DomainError as error:
            event.allowed = not isinstance(error, Forbidden)
            self._write_audit(event, error)
            raise
        self._write_audit(event, None)

    def _write_audit(
        self,
        event: AuditEvent,
        error: DomainError | None,
    ) -> None:
        if not self.dry_run:
            audit_sink.write_entry_of(self.credential, "kubegale", event, error)

    # --- choosing ---------------------------------------------------------------------------------
    def clusters(self) -> list[Cluster]:
        """The clusters that the targets choose and the owner sees, by id.

        Forbidden when one that they name is not the owner's to see.
        """
        scope = self.scope(AccessAttributes("list", "clusters"))
        if scope is None:
            raise Forbidden(
                f"{self.owner_name} may not see any cluster",
                reason="RightLost",
            )
        visible = scope.clusters
        if self.targets.clusters is None:
            rows = registry.clusters().order_by("pk")
            return [row for row in rows if visible is None or row.pk in visible]
        chosen = []
        for pk in self.targets.clusters:
            # A cluster that is gone and one that is hidden are refused in the same words.
            try:
                cluster = registry.find(pk)
            except ClusterNotFound:
                cluster = None
            if cluster is None or (visible is not None and pk not in visible):
                raise Forbidden(
                    f"{self.owner_name} may not see a cluster {pk}",
                    reason="RightLost",
                )
            chosen.append(cluster)
        return chosen

    def places(self, verb: str, kind: Kind) -> list[Place]:
        """Where the targets let the owner do this.

        What the targets name has to be allowed: Forbidden otherwise. Where they name nothing, only
        the places in which the owner may do it are left.
        """
        found = []
        for cluster in self.clusters():
            try:
                place = self._place(verb, kind, cluster)
            except ClusterUnavailable as error:
                self.problems[cluster.pk] = error.message
                continue
            if place is not None:
                found.append(place)
        return found

    def _place(
        self,
        verb: str,
        kind: Kind,
        cluster: Cluster,
    ) -> Place | None:
        is_named = self.targets.clusters is not None
        if not kind.namespaced:
            if is_named:
                self.require(verb, kind, cluster)
                return Place(cluster)
            return Place(cluster) if self.may(verb, kind, cluster) else None
        if self.targets.namespaces is not None:
            if is_named:
                for namespace in self.targets.namespaces:
                    self.require(verb, kind, cluster, namespace)
                return Place(cluster, self.targets.namespaces)
            return self._allowed(verb, kind, cluster, self.targets.namespaces)
        whole = self.scope(attributes(verb, kind, cluster))
        # A list of the whole cluster is allowed to who may read some namespaces: those are meant.
        if whole is not None and whole.namespaces is None:
            return Place(cluster)
        listed = self.scope(attributes("list", kind, cluster))
        place = None
        if listed is not None and listed.namespaces:
            place = self._allowed(verb, kind, cluster, sorted(listed.namespaces))
        if place is None and is_named:
            self.require(verb, kind, cluster)
        return place

    def _allowed(
        self,
        verb: str,
        kind: Kind,
        cluster: Cluster,
        namespaces: Iterable[str],
    ) -> Place | None:
        allowed = tuple(
            namespace
            for namespace in namespaces
            if self.may(
                verb,
                kind,
                cluster,
                namespace,
            )
        )
        return Place(cluster, allowed) if allowed else None

    def objects(
        self,
        verb: str,
        kind: Kind,
    ) -> list[tuple[Cluster, Object]]:
        """The objects of a kind that the targets choose and the owner may do this to.

        By cluster, namespace and name. A cluster that cannot be asked stands in `problems`. Raises
        as `places`, and Invalid for more than MAX_OBJECTS.
        """
        chosen: list[tuple[Cluster, Object]] = []
        for place in self.places(verb, kind):
            self.beat()
            try:
                items = self._list(place, kind)
            except (Forbidden, ClusterUnavailable) as error:
                self.problems[place.cluster.pk] = error.message
                continue
            chosen += [(place.cluster, item) for item in items]
            if len(chosen) > MAX_OBJECTS:
                raise Invalid(f"the targets choose more than {MAX_OBJECTS} {kind.plural}")
        return chosen

    def _list(self, place: Place, kind: Kind) -> list[Object]:
        namespaces = place.namespaces if kind.namespaced and place.namespaces else ("",)
        client = registry.client(place.cluster)
        items: list[Object] = []
        for namespace in namespaces:
            items += list_all(
                client,
                kind,
                namespace,
                labelSelector=self.targets.label_selector,
            )
        names = frozenset(self.targets.names)
        items = [item for item in items if not names or item["metadata"]["name"] in names]
        return sorted(
            items,
            key=lambda item: (
                item["metadata"].get(
                    "namespace",
                    "",
                ),
                item["metadata"]["name"],
            ),
        )

    # --- what the task remembers ------------------------------------------------------------------
    def recall(self, key: str) -> Any:
        """What the task kept under the key, in this run or an earlier one; None for nothing."""
        row = Memory.objects.filter(task=self.task, key=key).first()
        return row.value if row else None

    def keep(self, key: str, value: Any) -> None:
        """Keep a value (JSON) for later runs; None forgets it. A dry run keeps nothing."""
        if self.dry_run:
            return
        if value is None:
            Memory.objects.filter(task=self.task, key=key).delete()
        else:
            Memory.objects.update_or_create(
                task_id=self.task,
                key=key,
                defaults={"value": value},
            )

    def last_result(self) -> dict[str, Any] | None:
        """The result of the task's last run before this one that succeeded; None without one."""
        rows = Run.objects.filter(
            task=self.task,
            state=Run.State.SUCCEEDED,
            dry_run=False,
        )
        if self.run is not None:
            rows = rows.filter(pk__lt=self.run)
        row = rows.order_by("-pk").first()
        return dict(row.result) if row and row.result else None

    # --- clusters ---------------------------------------------------------------------------------
    @staticmethod
    def cluster(pk: int | None) -> Cluster:
        """The cluster of a step; ClusterNotFound when it was removed."""
        return registry.find(pk if pk is not None else "")

    def client(self, pk: int | None) -> ClusterClient:
        """The client of a step's cluster."""
        return registry.client(self.cluster(pk))


def attributes(
    verb: str,
    kind: Kind,
    cluster: Cluster,
    namespace: str = "",
    name: str = "",
) -> AccessAttributes:
    """The act as the policy reads it."""
    return AccessAttributes(
        verb,
        kind.plural,
        kind.group,
        str(cluster.pk),
        namespace,
        name,
        cluster_scoped=not kind.namespaced,
    )


def targets_of(value: Mapping[str, Any]) -> Targets:
    """The targets as a task or a run stores them."""
    clusters = value.get("clusters")
    namespaces = value.get("namespaces")
    return Targets(
        clusters=tuple(clusters) if clusters else None,
        namespaces=tuple(namespaces) if namespaces else None,
        label_selector=value.get("label_selector", ""),
        names=tuple(value.get("names", ())),
    )


def of_task(
    task: Task,
    params: Mapping[str, Any],
    *,
    credential: Mapping[str, Any] | None = None,
) -> RunContext:
    """What a dry run of the task knows; with a `credential`, what its holder may do."""
    return RunContext(
        task=task.pk,
        task_name=task.name,
        run=None,
        params=params,
        targets=targets_of(task.targets),
        owner=task.owner,
        credential=task.credential if credential is None else credential,
        dry_run=True,
        on_failure=task.on_failure,
    )


def of_run(
    run: Run,
    params: Mapping[str, Any],
    beat: Callable[[], None],
) -> RunContext:
    """What a run knows: its own definition, with the rights that its owner has now.

    Forbidden when that user does not exist any more.
    """
    owner = User.objects.filter(pk=run.owner_id).first()
    if owner is None:
        raise Forbidden(f"its owner {run.owner_name} does not exist any more", reason="RightLost")
    return RunContext(
        task=run.task_id,
        task_name=run.task.name,
        run=run.pk,
        params=params,
        targets=targets_of(run.definition["targets"]),
        owner=owner,
        credential=run.credential,
        on_failure=run.definition["on_failure"],
        beat=beat,
    )
