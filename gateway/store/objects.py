"""One object out of the store."""

from collections.abc import Sequence

import orjson
from django.utils import timezone

from clusters.kinds import Kind
from clusters.manifests import to_yaml
from core.errors import Conflict, Expired, Invalid, NotFound
from gateway.messages import Request, Response
from gateway.store.kinds import is_events
from gateway.store.lists import (
    NAME_IS,
    cluster_of,
    formatter,
    known_places,
)
from gateway.store.negotiation import Form, MediaType
from gateway.store.notices import notices
from gateway.store.views import StoreView
from storage_api.history import as_of, past_events
from storage_api.history.listing import Moment
from storage_api.query.conditions import Clause
from storage_api.services import change_log, multicluster
from storage_api.services.multicluster import (
    ClusterScope,
    Search,
    Slice,
)

# So many clusters are named when a name is in several of them.
MAX_MATCHES = 20


def read_object(
    request: Request,
    view: StoreView,
    kind: Kind,
    places: Sequence[ClusterScope],
    media: MediaType,
) -> Response:
    """The object that a request names.

    Raises NotFound; Conflict, naming the clusters, when several of them have one of the name;
    Expired when the log does not go back to the view's moment.
    """
    info = request.info
    namespace = info.namespace if kind.namespaced else ""
    if "\0" in info.name + namespace:
        raise Invalid("a name contains a NUL character")
    moment = Moment(change_log.horizon(), view.at)
    known = known_places(view, kind, places, namespace)
    matches = _find(view, kind, known, namespace, info.name)
    if not matches:
        raise NotFound("not found")
    if len(matches) > 1:
        names = ", ".join(sorted(cluster for cluster, _ in matches))
        raise Conflict(
            f'{kind.plural} "{info.name}" exists in several clusters: {names}; ask one of them at '
            "its own address, or list with -l kubegale.io/cluster=NAME"
        )
    cluster, data = matches[0]
    version = str(moment.seq) if view.fleet and view.at is None else ""
    write = formatter(request, view, kind, known, media, moment)
    if media.form is Form.TABLE:
        row = write.row(data, cluster, version)
        body = write.table(
            [row],
            {"resourceVersion": version} if version else {},
        )
    else:
        body = write.object(data, cluster, version) + b"\n"
    if media.is_yaml:
        body = to_yaml(orjson.loads(body)).encode()
    warnings = notices(view, kind, places, known, namespace)
    return Response(
        200,
        body,
        (("content-type", media.content_type), *warnings),
    )


def _find(
    view: StoreView, kind: Kind, places: Sequence[ClusterScope], namespace: str, name: str
) -> list[tuple[str, bytes]]:
    """(cluster, object) of every object of the name."""
    if is_events(kind):
        return _find_events(view, places, namespace, name)
    if view.at is not None and not view.fleet:
        # It knows, of each object, whether the log goes back to its beginning.
        cluster = view.clusters[0]
        return [
            (
                cluster.name,
                as_of.get(
                    cluster,
                    kind,
                    name,
                    namespace=namespace,
                    at=view.at,
                ),
            )
            for _ in places
        ]
    search = Search(
        places=places,
        kind=kind,
        clauses=[Clause(NAME_IS, (name,))],
        namespaces=[namespace] if namespace else [],
        at=view.at,
    )
    objects, _ = multicluster.page(
        search,
        Slice(order="cluster", size=MAX_MATCHES),
    )
    return [(cluster, text.encode()) for cluster, text in objects]


def _find_events(
    view: StoreView, places: Sequence[ClusterScope], namespace: str, name: str
) -> list[tuple[str, bytes]]:
    events = []
    for place in places:
        cluster = cluster_of(view, place)
        at = view.at or timezone.now()
        try:
            event = past_events.get(
                cluster,
                name,
                namespace=namespace,
                at=at,
            )
        except (NotFound, Expired):
            continue
        events.append((place.name, event))
    return events
