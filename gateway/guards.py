"""What REST checks besides the policy.

Roles that give too much, protected objects, images of debug containers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import orjson
from django.conf import settings

from clusters import escalation, registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.wire import PATCH_TYPES, Chunk
from core.errors import ClusterUnavailable, DomainError, Forbidden, Invalid, NotFound
from gateway.messages import Request, Response
from gateway.request_info import RequestInfo
from gateway.sessions import refusal_of
from gateway.status import refusal
from workloads.actions.protection import annotation_protection, cluster_protection
from workloads.objects.manifests import patch_body
from workloads.streams.debug_containers import SUBRESOURCE, check_image

MAX_ROLE_BODY = 1024 * 1024
# A pod with all that is in it.
MAX_POD_BODY = 3 * 1024 * 1024
_ROLE_VERBS = frozenset({"create", "update", "patch"})
_PATCH_WORDS = {media: word for word, media in PATCH_TYPES.items()}


# --- protected objects ----------------------------------------------------------------------------
def is_delete(info: RequestInfo) -> bool:
    """Whether a request deletes objects themselves."""
    return info.is_resource and info.verb in {"delete", "deletecollection"} and not info.subresource


def refuse_protected(request: Request, cluster_id: int) -> Response | None:
    """403 for deleting what was protected on purpose; None otherwise.

    In the console one confirms such a deletion; kubectl has no way to ask. The header X-Confirm
    with the object's name confirms it, as for REST.
    """
    info = request.info
    confirmed = request.head.header("x-confirm")
    if settings.CONFIRMATION_LEVEL == "off" or (info.name and confirmed == info.name):
        return None
    cluster = registry.find(cluster_id)
    try:
        reason = cluster_protection(cluster) or _annotation(cluster, request)
    except DomainError as error:
        return refusal_of(error)
    if not reason:
        return None
    name = f' "{info.name}"' if info.name else ""
    message = (
        f"{info.resource}{name} {reason}: delete it in KubeGale, "
        "or confirm with the header X-Confirm and its name"
    )
    return refusal(403, message, info=info)


def _annotation(cluster: Cluster, request: Request) -> str:
    """Why an object is protected, or ""; what cannot be read raises, and is not deleted."""
    info = request.info
    if not info.name:
        return _annotation_in_collection(cluster, request)
    try:
        manifest = orjson.loads(registry.client(cluster).request("GET", info.path))
    except NotFound:
        return ""
    except orjson.JSONDecodeError:
        manifest = None
    if not isinstance(manifest, dict):
        raise ClusterUnavailable(f"the cluster's answer for {info.name} is no object")
    return annotation_protection(manifest)


def _annotation_in_collection(cluster: Cluster, request: Request) -> str:
    """Why one of the objects that a deletion of a collection selects is protected, or "".

    A list that cannot be read whole raises: deleting may still be possible where reading is not.
    """
    info = request.info
    kind = Kind("", info.resource, info.group, info.version, bool(info.namespace))
    selectors = {name: request.head.parameter(name) for name in ("labelSelector", "fieldSelector")}

    def read(chunks: Iterator[Chunk]) -> str:
        for chunk in chunks:
            for item in chunk.items or ():
                manifest: Object = orjson.loads(bytes(item))
                if reason := annotation_protection(manifest):
                    return f"hold {manifest['metadata']['name']}, which {reason}"
        return ""

    try:
        return registry.client(cluster).read_list(
            read, kind, namespace=info.namespace or None, query=selectors
        )
    except NotFound:
        return ""


# --- roles ----------------------------------------------------------------------------------------
def gives_rights(info: RequestInfo) -> bool:
    """Whether a request writes a role or binding, which REST compares with the role `admin`."""
    kind = KINDS.get(info.resource)
    return (
        info.is_resource
        and info.verb in _ROLE_VERBS
        and not info.subresource
        and kind is not None
        and kind.group == info.group
        and escalation.gives_rights(kind)
    )


def write_role(request: Request, cluster_id: int, body: bytes) -> bytes | Response:
    """The body to pass on, once the role in it is one that the caller may give; else the answer.

    A patch is judged by what a dry run makes of it, and sent by us.
    """
    info = request.info
    cluster = registry.find(cluster_id)
    if cluster.impersonate:
        # The cluster compares with the caller's own rights.
        return body
    kind = replace(KINDS[info.resource], version=info.version)
    try:
        if info.verb == "patch":
            return _patched(request, cluster, kind, body)
        client = registry.client(cluster)
        escalation.check(client, kind, _read_by_cluster(request, client, body), info.namespace)
    except DomainError as error:
        return refusal_of(error)
    return body


def _read_by_cluster(request: Request, client: ClusterClient, body: bytes) -> Object:
    """The object that a body is, in whichever encoding: as the cluster reads it in a dry run.

    So that it cannot be read in another way than it was checked.
    """
    query: dict[str, object] = {**dict(reversed(request.head.query)), "dryRun": "All"}
    answer = client.request(
        request.head.method,
        request.info.path,
        query=query,
        body=body,
        content_type=request.head.header("content-type") or "application/json",
    )
    manifest: Object = orjson.loads(answer)
    return manifest


def _patched(request: Request, cluster: Cluster, kind: Kind, body: bytes) -> Response:
    info = request.info
    media = request.head.header("content-type").partition(";")[0].strip().lower()
    patch = _PATCH_WORDS.get(media)
    if patch is None:
        raise Invalid("the type of the patch is not supported", status=415)
    client = registry.client(cluster)
    query: Mapping[str, object] = dict(reversed(request.head.query))

    def send(content: bytes, dry_run: bool) -> bytes:
        return client.patch(
            kind,
            info.name,
            content,
            patch=patch,
            namespace=info.namespace or None,
            query={**query, "dryRun": "All"} if dry_run else query,
        )

    content = patch_body(body, patch)
    try:
        answer = escalation.checked_patch(
            client, kind, info.name, info.namespace, content, patch=patch, send=send
        )
    except NotFound as error:
        return refusal(404, error.message, info=info)
    return Response(200, answer)


# --- debug containers -----------------------------------------------------------------------------
def starts_debug_container(info: RequestInfo) -> bool:
    """Whether a request may start a debug container, whose image DEBUG_IMAGES has to have."""
    is_write = info.is_resource and info.verb in {"update", "patch"}
    return is_write and info.subresource == SUBRESOURCE and bool(settings.DEBUG_IMAGES)


def refuse_debug_images(request: Request, cluster_id: int, body: bytes) -> Response | None:
    """403 for a container with an image that may not be started; None otherwise."""
    info = request.info
    client = registry.client(registry.find(cluster_id))
    media = request.head.header("content-type").partition(";")[0].strip().lower()
    try:
        if _PATCH_WORDS.get(media) == "json":
            # It may copy an image from elsewhere in the pod, which can change after the dry run.
            raise Invalid("send a strategic merge patch, as kubectl does", status=415)
        pod = orjson.loads(client.get(KINDS["pods"], info.name, namespace=info.namespace))
        names = {container["name"] for container in _debug_containers(pod)}
        for container in _debug_containers(_read_by_cluster(request, client, body)):
            if container["name"] not in names:
                check_image(str(container.get("image") or ""))
    except Forbidden as error:
        return refusal(403, error.message, info=info)
    except NotFound as error:
        return refusal(404, error.message, info=info)
    except DomainError as error:
        return refusal_of(error)
    return None


def _debug_containers(pod: Object) -> list[Object]:
    containers: list[Object] = pod["spec"].get("ephemeralContainers") or []
    return containers
