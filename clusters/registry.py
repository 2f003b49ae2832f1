"""Registering clusters, finding them, and keeping one client each."""

import hashlib
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, cast

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from clusters import kubeconfig, request_cache, tls
from clusters.address_policy import check_prometheus
from clusters.call_limits import Share
from clusters.client import ClusterClient, Limits
from clusters.kinds import KINDS
from clusters.manifests import MASK
from clusters.models import Cluster
from core.errors import ClusterNotFound, ClusterUnavailable, DomainError, Forbidden, Invalid

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_. ]{0,98}[A-Za-z0-9])?\Z")
EDITABLE = ("description", "labels", "protected", "impersonate", "prometheus", "namespaces")
UID = re.compile(r"[-A-Za-z0-9._]{1,64}\Z")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
MAX_NAMESPACES = 200
FLAGS = {"protected", "impersonate"}
EXPIRY_NOTICE = timedelta(days=30)

_clients: dict[int, tuple[str, ClusterClient]] = {}
_lock = threading.Lock()
# Kubeconfigs that are only tried have no cluster yet to count for: they share this.
_trials = Share(4)


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
    if known := request_cache.known(text):
        return known
    is_id = text.isascii() and text.isdigit() and len(text) < 18
    named = Q(pk=int(text)) if is_id else Q(name__iexact=text)
    if "\x00" in text or (found := clusters().filter(named).first()) is None:
        raise ClusterNotFound(f"cluster {text[:60]!r} does not exist")
    return request_cache.keep(text, found)


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
        concurrency=settings.CLUSTER_CONCURRENCY,
        circuit=settings.CLUSTER_CIRCUIT_SECONDS,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        impersonate=impersonate,
    )


def connect(text: str, *, impersonate: bool = False, share: Share | None = None) -> ClusterClient:
    """A new client for a kubeconfig, with a share of its own unless one is given; Invalid when the kubeconfig is refused."""
    access = kubeconfig.access(
        text,
        policy=settings.CLUSTER_ADDRESS_POLICY,
        allow_insecure=settings.CLUSTER_ALLOW_INSECURE_TLS,
    )
    return ClusterClient(access, limits(impersonate=impersonate), share)


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


def check_name(name: object, *, own: int = 0) -> str:
    """The name as it may be saved; Invalid when it is none, or that of a cluster with another id than `own`."""
    checked = _check_name(name)
    if clusters().filter(name__iexact=checked).exclude(pk=own).exists():
        raise _taken(checked)
    return checked


def _check_text(value: object, field: str) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise Invalid(f"{field} must be text", field=field)
    return value


def check_labels(value: object) -> dict[str, str]:
    """The labels as they may be saved; Invalid when they are anything else than text by text."""
    if not isinstance(value, dict) or not all(
        isinstance(item, str) for pair in value.items() for item in pair
    ):
        raise Invalid("labels must map text to text", field="labels")
    return value


def _check_namespaces(value: object) -> list[str]:
    if (
        not isinstance(value, list)
        or len(value) > MAX_NAMESPACES
        or not all(isinstance(name, str) and NAMESPACE.match(name) for name in value)
    ):
        raise Invalid(
            f"namespaces must be a list of at most {MAX_NAMESPACES} names of namespaces",
            field="namespaces",
        )
    return sorted(set(value))


def _checked(field: str, value: object) -> Any:
    if field == "labels":
        return check_labels(value)
    if field in FLAGS and not isinstance(value, bool):
        raise Invalid(f"{field} must be true or false", field=field)
    if field == "namespaces":
        return _check_namespaces(value)
    if field == "prometheus":
        return check_prometheus(_check_text(value, field), settings.CLUSTER_ADDRESS_POLICY)
    return value if field in FLAGS else _check_text(value, field)


def draft(
    *, name: object, kubeconfig_text: object, context: object = "", **fields: object
) -> Cluster:
    """A cluster that is not saved yet, after its connection was tried; Invalid, Conflict or ClusterUnavailable otherwise."""
    checked = _check_name(name)
    text = kubeconfig.with_context(
        _check_text(kubeconfig_text, "kubeconfig"), _check_text(context, "context")
    )
    check_name(checked)
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
    kubeconfig.check(text)
    fresh = connect(text, share=_trials)
    cluster.server = fresh.access.server
    cluster.version = probe(fresh)
    for field, value in kubeconfig_facts(fresh, text).items():
        setattr(cluster, field, value)
    if not cluster.namespaces:
        cluster.namespaces = own_namespaces(fresh, text)
    cluster.status, cluster.status_reason = Cluster.Status.ACTIVE, ""
    cluster.last_seen_at = timezone.now()


def kubeconfig_facts(fresh: ClusterClient, text: str) -> dict[str, Any]:
    """What may be shown of a kubeconfig: its contexts, the one in use, its end, and whose API server it leads to."""
    config = kubeconfig.parse(text)
    return {
        "context": kubeconfig.context_name(config)[:500],
        "contexts": kubeconfig.contexts(config)[: kubeconfig.MAX_CONTEXTS],
        "credentials_expire_at": tls.expiry(fresh.access),
        "system_uid": system_uid(fresh),
    }


def own_namespaces(fresh: ClusterClient, text: str) -> list[str]:
    """Where credentials that may not list namespaces are at home: the context's namespace, if they may list something in it."""
    namespace = kubeconfig.context_namespace(kubeconfig.parse(text))
    if not NAMESPACE.match(namespace):
        return []
    try:
        if _review(fresh, "selfsubjectaccessreviews", SELF_REVIEW).get("allowed"):
            return []
        rules = _review(fresh, "selfsubjectrulesreviews", {"spec": {"namespace": namespace}})
    except (DomainError, orjson.JSONDecodeError):
        return []
    verbs = {verb for rule in rules.get("resourceRules") or [] for verb in rule.get("verbs") or []}
    return [namespace] if verbs & {"list", "*"} else []


def _review(fresh: ClusterClient, plural: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status of a review of the credentials' own rights."""
    path = f"/apis/authorization.k8s.io/v1/{plural}"
    review = orjson.loads(fresh.request("POST", path, body=body))
    status = review.get("status") if isinstance(review, dict) else None
    return status if isinstance(status, dict) else {}


def system_uid(fresh: ClusterClient) -> str:
    """The uid of the namespace kube-system, by which an API server is known under any address; "" when it may not be read."""
    try:
        namespace = orjson.loads(fresh.get(KINDS["namespaces"], "kube-system"))
        uid = str(namespace["metadata"]["uid"])
        return uid if UID.match(uid) else ""
    except (DomainError, orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def expiry_warnings(cluster: Cluster) -> list[str]:
    """A sentence when the kubeconfig's credentials have expired, or will within 30 days."""
    moment = cluster.credentials_expire_at
    if moment is None or moment > timezone.now() + EXPIRY_NOTICE:
        return []
    verb = "expired" if moment <= timezone.now() else "expire"
    return [f"the kubeconfig's credentials {verb} on {moment:%Y-%m-%d at %H:%M} UTC"]


def double_warnings(
    cluster: Cluster, same: Mapping[str, Mapping[int, str]], readable: Collection[int] | None
) -> list[str]:
    """A sentence when the API server is registered under other names, too (`same` as of `registrations`).

    Only clusters of `readable` (ids; None is all) are named.
    """
    others = {pk: name for pk, name in same.get(cluster.system_uid, {}).items() if pk != cluster.pk}
    names = [name for pk, name in others.items() if readable is None or pk in readable]
    if not others:
        return []
    listing = f"as {', '.join(names[:5])}" if names else "under another name"
    return [f"the same API server is registered {listing}, too: its objects are counted twice"]


def registrations(rows: Iterable[Cluster]) -> dict[str, dict[int, str]]:
    """For the API server of each cluster all its registrations: kube-system's uid → id → name."""
    uids = {row.system_uid for row in rows if row.system_uid}
    same: dict[str, dict[int, str]] = {}
    if uids:
        registered = clusters().filter(system_uid__in=uids)
        for uid, pk, name in registered.values_list("system_uid", "pk", "name"):
            same.setdefault(uid, {})[pk] = name
    return same


def probe(fresh: ClusterClient) -> str:
    """The server's version, reached with the credentials; ClusterUnavailable names the cause."""
    try:
        return _probe(fresh)
    except ClusterUnavailable as error:
        if not _may_be_credentials(error):
            raise
        moment = tls.expiry(fresh.access)
        if moment and moment <= timezone.now():
            raise ClusterUnavailable(
                f"the kubeconfig's credentials expired on {moment:%Y-%m-%d at %H:%M} UTC",
                reason="credential_invalid",
                expired_at=f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            ) from error
        moment = tls.beginning(fresh.access)
        if moment and moment > timezone.now():
            raise ClusterUnavailable(
                f"the kubeconfig's credentials are valid from {moment:%Y-%m-%d at %H:%M} UTC on",
                reason="credential_invalid",
            ) from error
        raise


def _may_be_credentials(error: ClusterUnavailable) -> bool:
    """Whether the server refused them, or hung up: in TLS 1.3 its word on our certificate may get lost in that."""
    details = error.details
    return details.get("cause") in ("credentials", "broken") or details.get("tls") == "handshake"


def _probe(fresh: ClusterClient) -> str:
    version = ""
    refusal: Forbidden | None = None
    try:
        version = fresh.version()
    except Forbidden as error:
        # Hardened clusters tell it to nobody but administrators; what comes next decides.
        refusal = error
    try:
        # /version answers anyone on most clusters; this answers only those whose credentials are good.
        fresh.request(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=SELF_REVIEW
        )
    except Forbidden as error:
        raise _powerless(error) from error
    except DomainError as error:
        if refusal:
            raise _powerless(refusal) from error
        if isinstance(error, ClusterUnavailable):
            raise
    return version


def _powerless(refusal: Forbidden) -> ClusterUnavailable:
    """Credentials that may not even ask what they may do."""
    if "system:anonymous" in refusal.message:
        return ClusterUnavailable(
            "the cluster takes the caller for system:anonymous:"
            " the kubeconfig has no credentials that it knows",
            reason="credential_invalid",
        )
    return ClusterUnavailable(
        "the cluster knows these credentials but allows them nothing", reason="forbidden"
    )


SELF_REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "list", "resource": "namespaces"}},
}


def update(cluster: Cluster, fields: Mapping[str, object]) -> Cluster:
    """Change some fields; a new kubeconfig is tried first, and the mask written back means unchanged."""
    request_cache.forget()
    default = fields.get("is_default")
    if default is not None and not isinstance(default, bool):
        raise Invalid("is_default must be true or false", field="is_default")
    if "name" in fields:
        cluster.name = _check_name(fields["name"])
    for field in EDITABLE:
        if field in fields:
            setattr(cluster, field, _checked(field, fields[field]))
    if text := _new_kubeconfig(cluster, fields):
        cluster.kubeconfig = text
        examine(cluster, text)
    try:
        with transaction.atomic():
            cluster.save()
            if default:
                make_default(cluster)
    except IntegrityError:
        raise _taken(cluster.name) from None
    return cluster


def _new_kubeconfig(cluster: Cluster, fields: Mapping[str, object]) -> str:
    """The kubeconfig to try and keep, when another one or another of its contexts is asked for; "" otherwise."""
    text = _check_text(fields.get("kubeconfig", MASK), "kubeconfig")
    context = _check_text(fields.get("context", cluster.context), "context")
    if text == MASK:
        changed = context != cluster.context
        return kubeconfig.with_context(cluster.kubeconfig, context) if changed else ""
    config = kubeconfig.parse(text)
    remembered = context == cluster.context
    # The name of the old kubeconfig's context, written back, is no choice in one that does not have it or says its own.
    if remembered and (
        context not in kubeconfig.contexts(config)
        or ("context" not in fields and config.get("current-context"))
    ):
        context = ""
    return kubeconfig.with_context(text, context)


def make_default(cluster: Cluster) -> None:
    """From now on, dialects that name no cluster act on this one."""
    request_cache.forget()
    clusters().filter(is_default=True).exclude(pk=cluster.pk).update(is_default=False)
    Cluster.objects.filter(pk=cluster.pk).update(is_default=True)
    cluster.is_default = True


def remove(cluster: Cluster) -> None:
    """Forget the cluster: its credentials are wiped, its objects are left alone, the row stays for history."""
    request_cache.forget()
    Cluster.objects.filter(pk=cluster.pk).update(
        deleted_at=timezone.now(), kubeconfig="", is_default=False
    )
    with _lock:
        _clients.pop(cluster.pk, None)


def check(cluster: Cluster) -> Cluster.Status:
    """Look at the cluster again and note its state."""
    request_cache.forget()
    try:
        fresh = client(cluster)
        found: dict[str, Any] = {
            "version": probe(fresh),
            "status": Cluster.Status.ACTIVE,
            "status_reason": "",
            "last_seen_at": timezone.now(),
        }
        if not cluster.context:  # registered before these facts were kept
            found |= kubeconfig_facts(fresh, cluster.kubeconfig)
    except ClusterUnavailable as error:
        refused = error.details.get("reason") in {"credential_invalid", "forbidden", "bad_answer"}
        found = {
            "status": Cluster.Status.ERROR if refused else Cluster.Status.UNREACHABLE,
            "status_reason": _storable(error.message),
        }
    except (DomainError, ValueError) as error:
        found = {"status": Cluster.Status.ERROR, "status_reason": _storable(str(error))}
    Cluster.objects.filter(pk=cluster.pk, deleted_at=None).update(**found)
    return Cluster.Status(found["status"])


def _storable(text: str) -> str:
    """What a cluster says, as the column takes it."""
    return text.replace("\0", "")[:300]


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
