"""Events of Kubernetes as the event store of the bcs-storage document keeps them."""

from datetime import UTC, datetime
from typing import Any

import orjson

from clusters import event_series
from clusters.kinds import KINDS
from storage_api.collector.documents import stored_document
from storage_api.services.events import EventReport


def report(raw: bytes, cluster_name: str) -> EventReport:
    """What the originals' watcher puts to /events; the id is the Event's uid and resourceVersion, as each count of it is a report."""
    text = stored_document(raw, KINDS["events"], cluster_name).text
    event = orjson.loads(text)
    metadata, involved, source = (
        _object(event, part) for part in ("metadata", "involvedObject", "source")
    )
    extra = {
        "namespace": _text(involved, "namespace"),
        "name": _text(involved, "name"),
        "kind": _text(involved, "kind"),
    }
    return EventReport(
        event_id=f"{_text(metadata, 'uid')}/{_text(metadata, 'resourceVersion')}",
        env="k8s",
        kind=_text(involved, "kind"),
        level=_text(event, "type"),
        component=_text(source, "component") or _text(event, "reportingComponent"),
        type=_text(event, "reason"),
        describe=_text(event, "message"),
        cluster_id=cluster_name,
        event_time=_moment(event),
        extra_info=orjson.dumps(extra).decode(),
        data=text.decode(),
    )


def _object(event: dict[str, Any], part: str) -> dict[str, Any]:
    found = event.get(part)
    return found if isinstance(found, dict) else {}


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _moment(event: dict[str, Any]) -> datetime:
    time = event_series.moment(event_series.last_seen(event))
    return datetime.now(UTC) if time == event_series.LONG_AGO else time
