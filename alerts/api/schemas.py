"""The shapes of rules, alerts and silences in the OpenAPI document."""

from alerts.models import Alert, Rule, Severity
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    array,
    nullable,
    record,
)

TEXTS = {"type": "object", "additionalProperties": TEXT}
SEVERITY = {"type": "string", "enum": list(Severity.values)}
STATE = {"type": "string", "enum": list(Alert.State.values)}
DURATION = {
    "oneOf": [TEXT, INTEGER],
    "description": "Such as 30s, 5m or 1h30m; a number is seconds.",
}
SCOPE = record(
    required=(),
    clusters=nullable(array(INTEGER)),
    namespaces=nullable(array(TEXT)),
    labelSelector=nullable(TEXT),
)
RULE_BODY = record(
    required=(),
    name=TEXT,
    description=TEXT,
    severity=SEVERITY,
    scope=nullable(SCOPE),
    source={"type": "string", "enum": list(Rule.Source.values)},
    condition=OBJECT,
    labels=nullable(TEXTS),
    annotations=nullable(TEXTS),
    no_data={"type": "string", "enum": list(Rule.NoData.values)},
    channels=nullable(array(INTEGER)),
    tasks=nullable(array(INTEGER)),
    group_by=nullable(array(TEXT)),
    repeat=DURATION,
    enabled=BOOLEAN,
    preset=TEXT,
    tenant_id=nullable(INTEGER),
    **{"for": DURATION},
)
RULE = record(
    id=INTEGER,
    name=TEXT,
    description=TEXT,
    severity=SEVERITY,
    scope=SCOPE,
    source={"type": "string", "enum": list(Rule.Source.values)},
    condition=OBJECT,
    labels=TEXTS,
    annotations=TEXTS,
    no_data={"type": "string", "enum": list(Rule.NoData.values)},
    channels=array(INTEGER),
    tasks=array(INTEGER),
    group_by=array(TEXT),
    repeat=TEXT,
    enabled=BOOLEAN,
    preset=TEXT,
    tenant_id=nullable(INTEGER),
    owner=TEXT,
    state={"type": "string", "enum": ["inactive", "pending", "firing"]},
    pending=INTEGER,
    firing=INTEGER,
    created_at=TEXT,
    updated_at=TEXT,
    last_evaluated_at=nullable(TEXT),
    last_error=TEXT,
    **{"for": TEXT},
)
# Members of the answer that a client may send back with the rest, without changing them.
RULE_READ_ONLY = tuple(name for name in RULE["properties"] if name not in RULE_BODY["properties"])
TRIAL = record(
    matches=array(record(labels=TEXTS, value=nullable(NUMBER), since=TEXT, annotations=TEXTS)),
    took_ms=NUMBER,
)
PRESET = record(
    id=TEXT,
    name=TEXT,
    description=TEXT,
    severity=SEVERITY,
    source=TEXT,
    condition=OBJECT,
    annotations=TEXTS,
    **{"for": TEXT},
)
ALERT = record(
    id=INTEGER,
    rule_id=nullable(INTEGER),
    rule_name=TEXT,
    fingerprint=TEXT,
    state=STATE,
    severity=SEVERITY,
    labels=TEXTS,
    annotations=TEXTS,
    value=nullable(NUMBER),
    source=TEXT,
    started_at=TEXT,
    fired_at=nullable(TEXT),
    resolved_at=nullable(TEXT),
    resolved_because=TEXT,
    acked_by=nullable(TEXT),
    acked_at=nullable(TEXT),
    ack_comment=TEXT,
    silenced_by=array(INTEGER),
    target=record(cluster_id=nullable(INTEGER), kind=TEXT, namespace=TEXT, name=TEXT),
)
ALERT_DETAIL = record(**ALERT["properties"], context=ANYTHING)
MATCHER = record(
    required=("name", "value"),
    name=TEXT,
    value=TEXT,
    regex=BOOLEAN,
    equal=BOOLEAN,
    isRegex=BOOLEAN,
    isEqual=BOOLEAN,
)
SILENCE_BODY = record(
    required=("matchers", "ends_at"),
    matchers=array(MATCHER),
    starts_at=TEXT,
    ends_at=TEXT,
    comment=TEXT,
)
SILENCE = record(
    id=INTEGER,
    matchers=array(record(name=TEXT, value=TEXT, regex=BOOLEAN, equal=BOOLEAN)),
    starts_at=TEXT,
    ends_at=TEXT,
    comment=TEXT,
    created_by=TEXT,
    created_at=TEXT,
    state={"type": "string", "enum": ["pending", "active", "expired"]},
)
