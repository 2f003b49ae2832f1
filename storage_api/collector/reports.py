"""Events of Kubernetes as the event store of the bcs-storage document keeps them."""

from datetime import UTC, datetime
from typing import Any

import orjson

from clusters import event_series
from clusters.kinds import KINDS
from storage_api.collector.documents import stored_document
from storage_api.services.events import EventReport


def event_report(raw: bytes, cluster_name: str) -> EventReport:
    """The report that the originals' watcher sends to /events for an Event.

    Its id is the Event's uid and resourceVersion, as each count of an Event is a report.
    """
    text = stored_document(raw, KINDS["events"], cluster_name).text
    event = orjson.loads(text)
    metadata = _object_member(event, "metadata")
    involved = _object_member(event, "involvedObject")
    source = _object_member(event, "source")
    extra = {
        "namespace": _text_member(involved, "namespace"),
        "name": _text_member(involved, "name"),
        "kind": _text_member(involved, "kind"),
    }
    uid = _text_member(metadata, "uid")
    version = _text_member(metadata, "resourceVersion")
    # Events written through events.k8s.io have a reporting component and no source.
    component = _text_member(source, "component") or _text_member(event, "reportingComponent")
    return EventReport(
        event_id=f"{uid}/{version}",
        env="k8s",
        kind=_text_member(involved, "kind"),
        level=_text_member(event, "type"),
        component=component,
        type=_text_member(event, "reason"),
        describe=_text_member(event, "message"),
        cluster_id=cluster_name,
        event_time=_event_time(event),
        extra_info=orjson.dumps(extra).decode(),
        data=text.decode(),
    )


def _object_member(event: dict[str, Any], name: str) -> dict[str, Any]:
    member = event.get(name)
    return member if isinstance(member, dict) else {}


def _text_member(obj: dict[str, Any], name: str) -> str:
    member = obj.get(name)
    return member if isinstance(member, str) else ""


def _event_time(event: dict[str, Any]) -> datetime:
    """When the Event was last seen; now when it does not say."""
    time = event_series.moment(event_series.last_time(event))
    return datetime.now(UTC) if time == event_series.LONG_AGO else time
