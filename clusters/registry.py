"""The registry of clusters: registering, finding and changing them, and one client for each."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from clusters import kubeconfig, request_cache
from clusters.call_limits import CallLimiter
from clusters.client import ClientLimits, ClusterClient
from clusters.cluster_fields import EDITABLE, check_field, check_name_form, check_text
from clusters.manifests import MASK
from clusters.models import Cluster
from clusters.probing import kubeconfig_facts, own_namespaces, probe
from core import row_cache
from core.errors import ClusterNotFound, ClusterUnavailable, DomainError, Invalid
from core.row_cache import Topic

_NO_LABELS: dict[str, str] = {}
_NO_NAMESPACES: list[str] = []
# How long before credentials expire a warning is shown.
EXPIRY_NOTICE = timedelta(days=30)

# The client of each cluster by its id, with what it was made from: impersonation and kubeconfig.
_clients: dict[int, tuple[tuple[bool, str], ClusterClient]] = {}
_lock = threading.Lock()
# A kubeconfig that is only tried has no cluster yet that its calls could count for.
_trial_limiter = CallLimiter(4)


def clusters() -> QuerySet[Cluster]:
    """Every registered cluster, oldest first."""
    return Cluster.objects.filter(deleted_at=None)


def search(keyword: str = "") -> QuerySet[Cluster]:
    """Clusters whose name or description contains the keyword, case-insensitively."""
    rows = clusters()
    if not keyword:
        return rows
    return rows.filter(Q(name__icontains=keyword) | Q(description__icontains=keyword))


def find(reference: object) -> Cluster:
    """A cluster by id or name; ClusterNotFound when there is none."""
    text = str(reference)
    if cached := request_cache.get(text):
        return cached
    # PostgreSQL takes no NUL in a text, and no id of more digits than a bigint has.
    if "\x00" in text:
        raise ClusterNotFound(f"cluster {text[:60]!r} does not exist")

    def read() -> Cluster | None:
        is_id = text.isascii() and text.isdigit() and len(text) < 18
        condition = Q(pk=int(text)) if is_id else Q(name__iexact=text)
        return clusters().filter(condition).first()

    cluster = row_cache.read_row(Topic.CLUSTERS, ("cluster", text), read)
    if cluster is None:
        raise ClusterNotFound(f"cluster {text[:60]!r} does not exist")
    return request_cache.put(text, cluster)


def ids_by_name() -> Mapping[str, int]:
    """The id of every registered cluster by its name."""

    def read() -> dict[str, int]:
        return dict(clusters().values_list("name", "pk"))

    return row_cache.read(Topic.CLUSTERS, "ids by name", read)


def find_by_exact_name(name: str) -> Cluster | None:
    """The cluster of exactly this name, or None; for the store's clusterIds, which are any text."""
    pk = ids_by_name().get(name)
    try:
        return None if pk is None else find(pk)
    except ClusterNotFound:
        # Removed meanwhile.
        return None


def default() -> Cluster:
    """The cluster that dialects without a cluster parameter act on.

    The first registered cluster while none is marked; ClusterNotFound while there is none.
    """

    def read() -> Cluster | None:
        return clusters().order_by("-is_default", "id").first()

    cluster = row_cache.read_row(Topic.CLUSTERS, "default", read)
    if cluster is None:
        raise ClusterNotFound("no cluster is registered")
    return cluster


def default_reference() -> str:
    """The default cluster's id as text; "" while none is registered."""
    try:
        return str(default().pk)
    except ClusterNotFound:
        return ""


def client_limits(*, impersonate: bool = False) -> ClientLimits:
    """Time-outs, limits and address policy from the settings."""
    return ClientLimits(
        connect=settings.CLUSTER_CONNECT_TIMEOUT,
        read=settings.CLUSTER_READ_TIMEOUT,
        pool=settings.CLUSTER_POOL_SIZE,
        concurrency=settings.CLUSTER_CONCURRENCY,
        circuit=settings.CLUSTER_CIRCUIT_SECONDS,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        impersonate=impersonate,
    )


def read_access(text: str) -> kubeconfig.Access:
    """How to reach the server of a kubeconfig; Invalid when the settings do not allow it."""
    return kubeconfig.access(
        text,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        allow_insecure=settings.CLUSTER_ALLOW_INSECURE_TLS,
    )


def connect(
    text: str, *, impersonate: bool = False, call_limiter: CallLimiter | None = None
) -> ClusterClient:
    """A new client for a kubeconfig, with a call limiter of its own by default.

    Nothing is sent yet. Invalid when the kubeconfig is refused.
    """
    return ClusterClient(read_access(text), client_limits(impersonate=impersonate), call_limiter)


@lru_cache(maxsize=1)
def _write_observer(dotted: str) -> Callable[[int, str], None]:
    """The function to call, with cluster id and path, after a write to a cluster.

    A dotted string, since it lives in an app that stands above this one.
    """
    return cast(Callable[[int, str], None], import_string(dotted))


def note_write(cluster: int, path: str) -> None:
    """Tell that a call to an API path of a cluster (by id) may have changed something.

    `client` tells it by itself; the gateway's bytes do not pass through that.
    """
    _write_observer(settings.CLUSTER_WRITE_OBSERVER)(cluster, path)


def client(cluster: Cluster) -> ClusterClient:
    """This process's client for the cluster, with its open connections.

    It is replaced when the kubeconfig has changed; Invalid when the kubeconfig is refused.
    """
    made_from = (cluster.impersonate, cluster.kubeconfig)
    with _lock:
        cached_from, cached = _clients.get(cluster.pk, ((False, ""), None))
    if cached is not None and cached_from == made_from:
        return cached
    # Outside of the lock, as it parses certificates. Two threads may do it: the last one stays.
    new_client = connect(cluster.kubeconfig, impersonate=cluster.impersonate)
    new_client.on_write = partial(_write_observer(settings.CLUSTER_WRITE_OBSERVER), cluster.pk)
    with _lock:
        _clients[cluster.pk] = (made_from, new_client)
    return new_client


def check_name(name: object, *, own: int = 0) -> str:
    """The name as it may be saved; Invalid when it is malformed or another cluster has it.

    `own` is the id of the cluster that is to bear it, 0 for a new one.
    """
    checked = check_name_form(name)
    if clusters().filter(name__iexact=checked).exclude(pk=own).exists():
        raise _already_exists(checked)
    return checked


def _already_exists(name: str) -> Invalid:
    return Invalid(
        f"a cluster named {name!r} exists already",
        field="name",
        reason="AlreadyExists",
    )


# --- registering ---------------------------------------------------------------------------------
def draft(
    *,
    name: object,
    kubeconfig_text: object,
    context: object = "",
    description: object = "",
    labels: object = _NO_LABELS,
    protected: object = False,
    impersonate: object = False,
    prometheus: object = "",
    namespaces: object = _NO_NAMESPACES,
) -> Cluster:
    """A cluster that is not saved yet, after its connection was tried.

    Values come as a caller sends them and are checked here. `context` is one of the kubeconfig's
    contexts, "" for its current one. Raises Invalid or ClusterUnavailable.
    """
    # What needs neither database nor cluster is checked first.
    checked_name = check_name_form(name)
    text = kubeconfig.with_context(
        check_text(kubeconfig_text, "kubeconfig"), check_text(context, "context")
    )
    check_name(checked_name)
    cluster = Cluster(
        name=checked_name,
        kubeconfig=text,
        description=check_field("description", description),
        labels=check_field("labels", labels),
        protected=check_field("protected", protected),
        impersonate=check_field("impersonate", impersonate),
        prometheus=check_field("prometheus", prometheus),
        namespaces=check_field("namespaces", namespaces),
    )
    examine(cluster, text)
    return cluster


def register(
    *,
    name: object,
    kubeconfig_text: object,
    context: object = "",
    default: bool = False,
    description: object = "",
    labels: object = _NO_LABELS,
    protected: object = False,
    impersonate: object = False,
    prometheus: object = "",
    namespaces: object = _NO_NAMESPACES,
) -> Cluster:
    """A new cluster, after its connection was tried; arguments as of `draft`.

    With `default` it becomes the default cluster. Raises Invalid or ClusterUnavailable, and then
    nothing is saved.
    """
    cluster = draft(
        name=name,
        kubeconfig_text=kubeconfig_text,
        context=context,
        description=description,
        labels=labels,
        protected=protected,
        impersonate=impersonate,
        prometheus=prometheus,
        namespaces=namespaces,
    )
    _save(cluster, default=default)
    return cluster


def _save(cluster: Cluster, *, default: bool) -> None:
    """Write the row, and make it the default in the same transaction when it is to be that."""
    try:
        with transaction.atomic():
            cluster.save()
            if default:
                make_default(cluster)
    # Another request took the name while the connection was tried.
    except IntegrityError:
        raise _already_exists(cluster.name) from None


def examine(cluster: Cluster, text: str) -> None:
    """Try the connection, and set what it says on the cluster, which is not saved.

    Raises ClusterUnavailable, also for credentials that the API server does not accept.
    """
    kubeconfig.check(text)
    trial_client = connect(text, call_limiter=_trial_limiter)
    cluster.server = trial_client.access.server
    cluster.version = probe(trial_client)
    for field, value in kubeconfig_facts(trial_client, text).items():
        setattr(cluster, field, value)
    if not cluster.namespaces:
        cluster.namespaces = own_namespaces(trial_client, text)
    cluster.status = Cluster.Status.ACTIVE
    cluster.status_reason = ""
    cluster.last_seen_at = timezone.now()


# --- warnings ------------------------------------------------------------------------------------
def expiry_warnings(cluster: Cluster) -> list[str]:
    """A sentence when the kubeconfig's credentials have expired, or will within 30 days."""
    moment = cluster.credentials_expire_at
    if moment is None or moment > timezone.now() + EXPIRY_NOTICE:
        return []
    verb = "expired" if moment <= timezone.now() else "expire"
    return [f"the kubeconfig's credentials {verb} on {moment:%Y-%m-%d at %H:%M} UTC"]


def duplicate_warnings(
    cluster: Cluster,
    registrations_by_uid: Mapping[str, Mapping[int, str]],
    readable: Collection[int] | None,
) -> list[str]:
    """A sentence when the API server is registered under other names, too.

    `registrations_by_uid` is what `registrations` returns. Only clusters of `readable` (ids; None
    is all) are named.
    """
    same_server = registrations_by_uid.get(cluster.system_uid, {})
    others = {pk: name for pk, name in same_server.items() if pk != cluster.pk}
    if not others:
        return []
    names = [name for pk, name in others.items() if readable is None or pk in readable]
    listing = f"as {', '.join(names[:5])}" if names else "under another name"
    return [f"the same API server is registered {listing}, too: its objects are counted twice"]


def registrations(listed: Iterable[Cluster]) -> dict[str, dict[int, str]]:
    """For the API server of each cluster all its registrations: kube-system's uid → id → name."""
    uids = {cluster.system_uid for cluster in listed if cluster.system_uid}
    if not uids:
        return {}
    registrations_by_uid: dict[str, dict[int, str]] = {}
    rows = clusters().filter(system_uid__in=uids)
    for uid, pk, name in rows.values_list("system_uid", "pk", "name"):
        registrations_by_uid.setdefault(uid, {})[pk] = name
    return registrations_by_uid


# --- changing ------------------------------------------------------------------------------------
def update(cluster: Cluster, fields: Mapping[str, object]) -> Cluster:
    """Change some fields: EDITABLE ones, "name", "kubeconfig", "context" and "is_default".

    A new kubeconfig is tried first; the mask written back means unchanged. Raises Invalid or
    ClusterUnavailable, and then nothing is saved.
    """
    request_cache.clear()
    default = fields.get("is_default")
    if default is not None and not isinstance(default, bool):
        raise Invalid("is_default must be true or false", field="is_default")
    if "name" in fields:
        cluster.name = check_name_form(fields["name"])
    for field in EDITABLE:
        if field in fields:
            setattr(cluster, field, check_field(field, fields[field]))
    text = _new_kubeconfig(cluster, fields)
    if text:
        cluster.kubeconfig = text
        examine(cluster, text)
    _save(cluster, default=bool(default))
    return cluster


def move(cluster: Cluster, server: str, *, dry_run: bool = False) -> None:
    """Reach the cluster at another address of its API server from now on.

    Nothing else of it changes. Raises Invalid when another cluster answers there, or when nothing
    tells which one does, ClusterUnavailable when none answers; then nothing is saved.
    """
    request_cache.clear()
    uid = cluster.system_uid
    text = kubeconfig.with_server(cluster.kubeconfig, server)
    cluster.kubeconfig = text
    examine(cluster, text)
    if not uid or not cluster.system_uid:
        raise Invalid(
            "whether it is the same cluster is not known, as its credentials may not read the"
            " namespace kube-system; give it a new kubeconfig instead"
        )
    if cluster.system_uid != uid:
        raise Invalid(f"another cluster answers at {cluster.server}")
    if not dry_run:
        _save(cluster, default=False)


def _new_kubeconfig(cluster: Cluster, fields: Mapping[str, object]) -> str:
    """The kubeconfig to try and save; "" when neither it nor its context changes."""
    text = check_text(fields.get("kubeconfig", MASK), "kubeconfig")
    context = check_text(fields.get("context", cluster.context), "context")
    is_same_context = context == cluster.context
    if text == MASK:
        if is_same_context:
            return ""
        return kubeconfig.with_context(cluster.kubeconfig, context)
    config = kubeconfig.parse(text)
    # A client that sends the old context back with a new kubeconfig has not chosen it there: it
    # does not count when the new one lacks it, or has a current-context and none was sent.
    is_in_config = context in kubeconfig.contexts(config)
    is_implied = "context" not in fields and bool(config.get("current-context"))
    if is_same_context and (not is_in_config or is_implied):
        context = ""
    return kubeconfig.with_context(text, context)


def make_default(cluster: Cluster) -> None:
    """Let dialects that name no cluster act on this one from now on."""
    request_cache.clear()
    # First the others: a constraint allows one default cluster.
    clusters().filter(is_default=True).exclude(pk=cluster.pk).update(is_default=False)
    Cluster.objects.filter(pk=cluster.pk).update(is_default=True)
    cluster.is_default = True


def remove(cluster: Cluster) -> None:
    """Remove the cluster from the registry; its objects stay as they are.

    The credentials are wiped; the row stays, so that history and audit still name it.
    """
    request_cache.clear()
    Cluster.objects.filter(pk=cluster.pk).update(
        deleted_at=timezone.now(), kubeconfig="", is_default=False
    )
    with _lock:
        _clients.pop(cluster.pk, None)


def check(cluster: Cluster) -> Cluster.Status:
    """Try the connection again and save the cluster's status, which is returned."""
    request_cache.clear()
    columns: dict[str, Any]
    try:
        cluster_client = client(cluster)
        columns = {
            "version": probe(cluster_client),
            "status": Cluster.Status.ACTIVE,
            "status_reason": "",
            "last_seen_at": timezone.now(),
        }
        # Registered before these columns existed.
        if not cluster.context:
            columns |= kubeconfig_facts(cluster_client, cluster.kubeconfig)
    except ClusterUnavailable as error:
        # It answers, but trying again later will not help.
        refused = error.details.get("reason") in {"credential_invalid", "forbidden", "bad_answer"}
        columns = {
            "status": Cluster.Status.ERROR if refused else Cluster.Status.UNREACHABLE,
            "status_reason": _storable(error.message),
        }
    except (DomainError, ValueError) as error:
        columns = {"status": Cluster.Status.ERROR, "status_reason": _storable(str(error))}
    # The cluster may have been removed meanwhile.
    Cluster.objects.filter(pk=cluster.pk, deleted_at=None).update(**columns)
    return Cluster.Status(columns["status"])


def _storable(text: str) -> str:
    """A cluster's text as the column status_reason takes it: PostgreSQL stores no NUL."""
    return text.replace("\0", "")[:300]


def check_ready(cluster: Cluster, *, seconds: float = 5.0) -> None:
    """Raise ClusterUnavailable unless the API server says that it is ready.

    Where /readyz may not be read, an answer to /version will do. `seconds` limits each call.
    """
    for path in ("/readyz", "/version"):
        response = client(cluster).open(
            "GET",
            path,
            accept="*/*",
            read_timeout=seconds,
        )
        status = response.status
        response.close()
        if status < 300:
            return
        # Without the right to read /readyz, or behind a gateway without it, ask for the version.
        if status not in {403, 404}:
            break
    raise ClusterUnavailable(
        f"the API server answers {path} with HTTP {status}",
        reason="not_ready",
        status=status,
    )
