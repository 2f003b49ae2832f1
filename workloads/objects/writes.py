"""Create, replace, patch and delete objects of any kind in a cluster."""

from collections.abc import Callable, Mapping

import orjson

from clusters import escalation, registry
from clusters.client import ClusterClient
from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.wire import PATCH_TYPES
from core.errors import Invalid
from core.retry import retry_on_conflict
from workloads.objects.manifests import complete, manifest, patch_body
from workloads.objects.object_ref import call_with_namespace_check

# Kubernetes' values of propagationPolicy, by the words of the API.
PROPAGATION = {
    "background": "Background",
    "foreground": "Foreground",
    "orphan": "Orphan",
}
VALIDATIONS = ("Strict", "Warn", "Ignore")


def check_validation(validation: str) -> str:
    """How the API server treats unknown fields: one of VALIDATIONS or "" (its default).

    Invalid for anything else.
    """
    if validation and validation not in VALIDATIONS:
        raise Invalid(
            f"field_validation must be one of {', '.join(VALIDATIONS)}",
            field="field_validation",
        )
    return validation


def _write_query(dry_run: bool, validation: str) -> dict[str, object]:
    """The query parameters of a create or replace."""
    check_validation(validation)
    query: dict[str, object] = {}
    if dry_run:
        query["dryRun"] = "All"
    if validation:
        query["fieldValidation"] = validation
    return query


def create_object(
    cluster: Cluster,
    kind: Kind,
    content: object,
    *,
    namespace: str = "",
    dry_run: bool = False,
    validation: str = "",
    unbounded: bool = False,
) -> bytes:
    """The created object's JSON; `content` is a manifest as a mapping or as YAML text.

    `unbounded` lets the caller grant rights beyond those of a namespace's admin (else Forbidden).
    Invalid for a manifest that contradicts the request, Conflict when the object exists.
    """
    query = _write_query(dry_run, validation)
    body = complete(manifest(content), kind, namespace=namespace)
    namespace = _target_namespace(kind, body, namespace)
    client = registry.client(cluster)
    # Kubernetes compares a new role with the rights of our credentials, not with the caller's.
    if not unbounded:
        escalation.check(client, kind, body, namespace)
    return client.create(kind, body, namespace=namespace or None, **query)


def _target_namespace(kind: Kind, body: Object, namespace: str) -> str:
    """The namespace to write to: the request's, else the manifest's; "" for cluster-wide kinds."""
    if not kind.namespaced:
        return ""
    name = namespace or body["metadata"].get("namespace") or ""
    if not isinstance(name, str) or not name:
        raise Invalid("namespace is required", field="namespace")
    return name


def update_object(
    cluster: Cluster,
    kind: Kind,
    name: str,
    content: object,
    *,
    namespace: str = "",
    dry_run: bool = False,
    validation: str = "",
    unbounded: bool = False,
) -> bytes:
    """The replaced object's JSON.

    A resourceVersion in the content must still be current (else Conflict); without one the latest
    version is replaced. `unbounded` as for `create_object`.
    """
    query = _write_query(dry_run, validation)
    body = complete(manifest(content), kind, namespace=namespace, name=name)
    namespace = _target_namespace(kind, body, namespace)
    client = registry.client(cluster)
    if not unbounded:
        escalation.check(client, kind, body, namespace)

    def put() -> bytes:
        return client.replace(kind, name, body, namespace=namespace or None, **query)

    if body["metadata"].get("resourceVersion"):
        return call_with_namespace_check(client, kind, namespace, put)
    return call_with_namespace_check(
        client,
        kind,
        namespace,
        lambda: _put_over_latest(client, kind, body, put),
    )


def _put_over_latest(
    client: ClusterClient,
    kind: Kind,
    body: Object,
    put: Callable[[], bytes],
) -> bytes:
    metadata = body["metadata"]

    def write() -> bytes:
        # Many kinds refuse a replace without resourceVersion, so the current one is read each time.
        current = orjson.loads(
            client.get(kind, metadata["name"], namespace=metadata.get("namespace"))
        )
        metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
        return put()

    return retry_on_conflict(write)


def patch_object(
    cluster: Cluster,
    kind: Kind,
    name: str,
    body: bytes,
    *,
    patch: str,
    namespace: str = "",
    options: Mapping[str, object] | None = None,
    unbounded: bool = False,
) -> bytes:
    """The patched object's JSON.

    `patch` is json, merge, strategic or apply; `options` are the API server's parameters dryRun,
    fieldValidation, fieldManager and force. `unbounded` as for `create_object`.
    """
    if patch not in PATCH_TYPES:
        raise Invalid(f"the patch must be one of {', '.join(PATCH_TYPES)}")
    body = patch_body(body, patch)
    client = registry.client(cluster)
    query = {name: value for name, value in (options or {}).items() if value}
    if patch == "apply":
        # Server-side apply refuses a request without a field manager.
        query.setdefault("fieldManager", "kubegale")

    def send(content: bytes, dry_run: bool) -> bytes:
        return client.patch(
            kind,
            name,
            content,
            patch=patch,
            namespace=namespace or None,
            query={**query, "dryRun": "All"} if dry_run else query,
        )

    def send_checked() -> bytes:
        return escalation.checked_patch(client, kind, name, namespace, body, patch=patch, send=send)

    if unbounded:
        return call_with_namespace_check(client, kind, namespace, lambda: send(body, False))
    return call_with_namespace_check(client, kind, namespace, send_checked)


def delete_object(
    cluster: Cluster,
    kind: Kind,
    name: str,
    *,
    namespace: str = "",
    propagation: str = "background",
    dry_run: bool = False,
    grace: int | None = None,
) -> bytes:
    """Delete an object; the API server's answer.

    Dependents are deleted too unless `propagation` is orphan; `grace` is the grace period in
    seconds, None leaves it to the object. NotFound or NamespaceNotFound for what does not exist.
    """
    policy = PROPAGATION.get(propagation.lower())
    if policy is None:
        raise Invalid(
            "propagation must be background, foreground or orphan",
            field="propagation",
        )
    options: Object = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": policy,
    }
    if dry_run:
        options["dryRun"] = ["All"]
    # 0 is a value too: it deletes at once.
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    client = registry.client(cluster)
    return call_with_namespace_check(
        client,
        kind,
        namespace,
        lambda: client.delete(kind, name, namespace=namespace or None, options=options),
    )
