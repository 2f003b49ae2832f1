"""Registering clusters, finding them, and keeping one client each."""

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from clusters import kubeconfig, lookups
from clusters.addresses import check_prometheus
from clusters.client import ClusterClient, Limits
from clusters.models import Cluster
from kubegale.errors import ClusterNotFound, ClusterUnavailable, DomainError, Forbidden, Invalid

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_. ]{0,98}[A-Za-z0-9])?\Z")
MASK = "***"
EDITABLE = ("description", "labels", "protected", "impersonate", "prometheus")
FLAGS = {"protected", "impersonate"}

_clients: dict[int, tuple[str, ClusterClient]] = {}
_lock = threading.Lock()


def clusters() -> QuerySet[Cluster]:
    """Every registered cluster, oldest first."""
    return Cluster.objects.filter(deleted_at=None)


def search(keyword: str = "") -> QuerySet[Cluster]:
    """Clusters whose name or description holds the keyword, whatever its case."""
    found = clusters()
    return (
        found.filter(Q(name__icontains=keyword) | Q(description__icontains=keyword))
        if keyword
        else found
    )


def find(reference: object) -> Cluster:
    """A cluster by id or name; ClusterNotFound when there is none."""
    text = str(reference)
    if known := lookups.known(text):
        return known
    is_id = text.isascii() and text.isdigit() and len(text) < 18
    named = Q(pk=int(text)) if is_id else Q(name__iexact=text)
    if "\x00" in text or (found := clusters().filter(named).first()) is None:
        raise ClusterNotFound(f"cluster {text[:60]!r} does not exist")
    return lookups.keep(text, found)


def default() -> Cluster:
    """The cluster that dialects without a cluster parameter act on; ClusterNotFound while none is registered."""
    if (found := clusters().order_by("-is_default", "id").first()) is None:
        raise ClusterNotFound("no cluster is registered")
    return found


def default_reference() -> str:
    """The default cluster's id as text; "" while none is registered."""
    return str(clusters().order_by("-is_default", "id").values_list("pk", flat=True).first() or "")


def limits(*, impersonate: bool = False) -> Limits:
    """Time-outs and policy out of the settings."""
    return Limits(
        connect=settings.CLUSTER_CONNECT_TIMEOUT,
        read=settings.CLUSTER_READ_TIMEOUT,
        pool=settings.CLUSTER_POOL_SIZE,
        circuit=settings.CLUSTER_CIRCUIT_SECONDS,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        impersonate=impersonate,
    )


def connect(text: str, *, impersonate: bool = False) -> ClusterClient:
    """A new client for a kubeconfig; Invalid when the kubeconfig is refused."""
    access = kubeconfig.access(
        text,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        allow_insecure=settings.CLUSTER_ALLOW_INSECURE_TLS,
    )
    return ClusterClient(access, limits(impersonate=impersonate))


@lru_cache(maxsize=1)
def _observer(dotted: str) -> Callable[[int, str], None]:
    """Who wants to know, by cluster id and path, that objects were changed through us (a dotted string: it lives in a layer above)."""
    return cast(Callable[[int, str], None], import_string(dotted))


def client(cluster: Cluster) -> ClusterClient:
    """This process's client for the cluster, with its kept connections; new when the kubeconfig has changed."""
    digest = hashlib.sha256(f"{cluster.impersonate}\0{cluster.kubeconfig}".encode()).hexdigest()
    with _lock:
        if (kept := _clients.get(cluster.pk)) and kept[0] == digest:
            return kept[1]
    fresh = connect(cluster.kubeconfig, impersonate=cluster.impersonate)
    fresh.wrote = partial(_observer(settings.CLUSTER_WRITE_OBSERVER), cluster.pk)
    with _lock:
        _clients[cluster.pk] = (digest, fresh)
    return fresh


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not NAME.match(name):
        raise Invalid(
            "name must be 1 to 100 letters, digits, spaces, '-', '_' or '.'", field="name"
        )
    if name.isdigit():
        raise Invalid("name must not be a number: it could be taken for an id", field="name")
    return name


def _check_text(value: object, field: str) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise Invalid(f"{field} must be text", field=field)
    return value


def _check_labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        raise Invalid("labels must map text to text", field="labels")
    return value


def _checked(field: str, value: object) -> Any:
    if field == "labels":
        return _check_labels(value)
    if field in FLAGS and not isinstance(value, bool):
        raise Invalid(f"{field} must be true or false", field=field)
    if field == "prometheus":
        return check_prometheus(_check_text(value, field), settings.CLUSTER_ADDRESS_POLICY)
    return value if field in FLAGS else _check_text(value, field)


def draft(*, name: object, kubeconfig_text: object, **fields: object) -> Cluster:
    """A cluster that is not saved yet, after its connection was tried; Invalid, Conflict or ClusterUnavailable otherwise."""
    checked = _check_name(name)
    text = _check_text(kubeconfig_text, "kubeconfig")
    if clusters().filter(name__iexact=checked).exists():
        raise _taken(checked)
    cluster = Cluster(
        name=checked,
        kubeconfig=text,
        **{field: _checked(field, value) for field, value in fields.items()},
    )
    examine(cluster, text)
    return cluster


def register(
    *, name: object, kubeconfig_text: object, default: bool = False, **fields: object
) -> Cluster:
    """A new cluster, after its connection was tried; Invalid, Conflict or ClusterUnavailable and nothing saved otherwise."""
    cluster = draft(name=name, kubeconfig_text=kubeconfig_text, **fields)
    try:
        with transaction.atomic():
            cluster.save()
            if default:
                make_default(cluster)
    except IntegrityError:
        raise _taken(cluster.name) from None
    return cluster


def _taken(name: str) -> Invalid:
    return Invalid(f"a cluster named {name!r} exists already", field="name", reason="AlreadyExists")


def examine(cluster: Cluster, text: str) -> None:
    """Try the connection and note what was found; also proves that the credentials may list something."""
    fresh = connect(text)
    cluster.server = fresh.access.server
    cluster.version = probe(fresh)
    cluster.status, cluster.status_reason = Cluster.Status.ACTIVE, ""
    cluster.last_seen_at = timezone.now()


def probe(fresh: ClusterClient) -> str:
    """The server's version, reached with the credentials; ClusterUnavailable names the cause."""
    version = fresh.version()
    try:
        # /version answers anyone on most clusters; this answers only those whose credentials are good.
        fresh.request(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=SELF_REVIEW
        )
    except Forbidden as error:
        raise ClusterUnavailable(
            "the cluster knows these credentials but allows them nothing", reason="forbidden"
        ) from error
    except DomainError as error:
        if isinstance(error, ClusterUnavailable):
            raise
    return version


SELF_REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "list", "resource": "namespaces"}},
}


def update(cluster: Cluster, fields: Mapping[str, object]) -> Cluster:
    """Change some fields; a new kubeconfig is tried first, and the mask written back means unchanged."""
    lookups.forget()
    if "name" in fields:
        cluster.name = _check_name(fields["name"])
    for field in EDITABLE:
        if field in fields:
            setattr(cluster, field, _checked(field, fields[field]))
    given = fields.get("kubeconfig", MASK)
    if given != MASK:
        cluster.kubeconfig = _check_text(given, "kubeconfig")
        examine(cluster, cluster.kubeconfig)
    try:
        with transaction.atomic():
            cluster.save()
            if fields.get("is_default") is True:
                make_default(cluster)
    except IntegrityError:
        raise _taken(cluster.name) from None
    return cluster


def make_default(cluster: Cluster) -> None:
    """From now on, dialects that name no cluster act on this one."""
    lookups.forget()
    clusters().filter(is_default=True).exclude(pk=cluster.pk).update(is_default=False)
    Cluster.objects.filter(pk=cluster.pk).update(is_default=True)
    cluster.is_default = True


def remove(cluster: Cluster) -> None:
    """Forget the cluster: its credentials are wiped, its objects are left alone, the row stays for history."""
    lookups.forget()
    Cluster.objects.filter(pk=cluster.pk).update(
        deleted_at=timezone.now(), kubeconfig="", is_default=False
    )
    with _lock:
        _clients.pop(cluster.pk, None)


def check(cluster: Cluster) -> Cluster.Status:
    """Look at the cluster again and note its state."""
    lookups.forget()
    try:
        found: dict[str, Any] = {
            "version": probe(client(cluster)),
            "status": Cluster.Status.ACTIVE,
            "status_reason": "",
            "last_seen_at": timezone.now(),
        }
    except ClusterUnavailable as error:
        refused = error.details.get("reason") in {"credential_invalid", "forbidden", "bad_answer"}
        found = {
            "status": Cluster.Status.ERROR if refused else Cluster.Status.UNREACHABLE,
            "status_reason": error.message[:300],
        }
    except (DomainError, ValueError) as error:
        found = {"status": Cluster.Status.ERROR, "status_reason": str(error)[:300]}
    Cluster.objects.filter(pk=cluster.pk, deleted_at=None).update(**found)
    return Cluster.Status(found["status"])


def ready(cluster: Cluster, *, seconds: float = 5.0) -> None:
    """ClusterUnavailable unless the API server calls itself ready (or, without the right to ask that, tells its version)."""
    for path in ("/readyz", "/version"):
        response = client(cluster).open("GET", path, accept="*/*", read_timeout=seconds)
        status = response.status
        response.close()
        if status < 300:
            return
        if status not in {403, 404}:
            break
    raise ClusterUnavailable(
        f"the API server answers {path} with HTTP {status}", reason="not_ready", status=status
    )
