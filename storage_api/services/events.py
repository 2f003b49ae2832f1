"""Events and alarms: each report is stored as a new document and never changed."""

from dataclasses import dataclass
from datetime import datetime

from storage_api import objectids
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.services.write_errors import check_key, execute


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport:
    """One event; `extra_info` and `data` are JSON texts."""

    event_id: str
    env: str
    kind: str
    level: str
    component: str
    type: str
    describe: str
    cluster_id: str
    event_time: datetime
    extra_info: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReport:
    """One alarm; `data` is JSON text."""

    cluster_id: str
    namespace: str
    message: str
    source: str
    module: str
    type: str
    received_time: datetime
    data: str


_ADD_EVENT = """
INSERT INTO storage_event
  (object_id, event_id, env, kind, level, component, type, describe, cluster_id, event_time,
   extra_info, data, create_time)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb,
        date_trunc('milliseconds', clock_timestamp()))
"""
_ADD_ALARM = """
INSERT INTO storage_alarm
  (object_id, cluster_id, namespace, message, source, module, type, received_time, data,
   create_time)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, date_trunc('milliseconds', clock_timestamp()))
"""


def add_event(report: EventReport) -> None:
    """Store an event; Invalid when it cannot be stored."""
    check_key(clusterId=report.cluster_id)
    object_id = objectids.new_object_id()
    execute(
        _ADD_EVENT,
        object_id,
        report.event_id,
        report.env,
        report.kind,
        report.level,
        report.component,
        report.type,
        report.describe,
        report.cluster_id,
        report.event_time,
        report.extra_info,
        _seal(object_id, report.cluster_id, report.data),
    )


def add_alarm(report: AlarmReport) -> None:
    """Store an alarm; Invalid when it cannot be stored."""
    check_key(clusterId=report.cluster_id)
    object_id = objectids.new_object_id()
    execute(
        _ADD_ALARM,
        object_id,
        report.cluster_id,
        report.namespace,
        report.message,
        report.source,
        report.module,
        report.type,
        report.received_time,
        _seal(object_id, report.cluster_id, report.data),
    )


def _seal(object_id: str, cluster_id: str, data: str) -> str:
    """The document with the values of Secrets sealed."""
    return seal_secrets(DocumentPlace(cluster_id, "", "", object_id), data.encode()).decode()
