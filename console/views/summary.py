"""What the page of an object says in its summary, by kind."""

from collections.abc import Mapping

from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, collect_regular
from console.views.facts import access, cluster, network, storage, workloads
from console.views.facts.other import plain_facts
from console.views.facts.rows import Facts, Row
from console.views.pod_templates import containers, pod_spec

# The containers are a part of what a page says about an object.
__all__ = ["containers", "for_object", "pod_spec"]

FACTS_BY_KIND: Mapping[str, Facts] = {
    **workloads.FACTS,
    **network.FACTS,
    **storage.FACTS,
    **access.FACTS,
    **cluster.FACTS,
}


def for_object(item: Object, location: Location) -> list[Row]:
    """The rows of an object's summary."""
    rows = FACTS_BY_KIND.get(location.plural, plain_facts)(item, location)
    return [(title, html.mark_safe(piece)) for title, piece in collect_regular(rows)]
