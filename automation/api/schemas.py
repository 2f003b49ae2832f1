"""The shapes of tasks and runs in the OpenAPI document."""

from automation.models import Run, Task
from automation.types import TYPES
from core.api.schema import BOOLEAN, INTEGER, OBJECT, TEXT, array, nullable, record

DURATION = {
    "oneOf": [TEXT, INTEGER],
    "description": "Such as 30s, 5m or 1h30m; a number is seconds.",
}
TYPE = {"type": "string", "enum": list(TYPES)}
CONCURRENCY = {"type": "string", "enum": list(Task.Concurrency.values)}
ON_FAILURE = {"type": "string", "enum": list(Task.OnFailure.values)}
STATE = {"type": "string", "enum": list(Run.State.values)}
TRIGGER = {"type": "string", "enum": list(Run.Trigger.values)}
TARGETS = record(
    required=(),
    clusters=nullable(array(INTEGER)),
    namespaces=nullable(array(TEXT)),
    label_selector=nullable(TEXT),
    names=nullable(array(TEXT)),
)
SCHEDULE = record(required=(), cron=TEXT, timezone=TEXT, at=TEXT)
TASK_BODY = record(
    required=(),
    name=TEXT,
    description=TEXT,
    type=TYPE,
    params=nullable(OBJECT),
    targets=nullable(OBJECT),
    schedule=nullable(OBJECT),
    concurrency=CONCURRENCY,
    deadline=DURATION,
    timeout=DURATION,
    retries=INTEGER,
    approval=BOOLEAN,
    on_failure=ON_FAILURE,
    notify=nullable(array(INTEGER)),
    enabled=BOOLEAN,
)
TASK = record(
    id=INTEGER,
    name=TEXT,
    description=TEXT,
    type=TEXT,
    params=OBJECT,
    targets=TARGETS,
    schedule=nullable(SCHEDULE),
    concurrency=CONCURRENCY,
    deadline=TEXT,
    timeout=TEXT,
    retries=INTEGER,
    approval=BOOLEAN,
    on_failure=ON_FAILURE,
    notify=array(INTEGER),
    enabled=BOOLEAN,
    owner=TEXT,
    next_run_at=nullable(TEXT),
    stopped=BOOLEAN,
    stopped_reason=nullable(TEXT),
    last_run=nullable(
        record(
            id=INTEGER,
            state=STATE,
            scheduled_at=TEXT,
            finished_at=nullable(TEXT),
        )
    ),
    created_at=TEXT,
    updated_at=TEXT,
)
# Members of the answer that a client may send back with the rest, without changing them.
TASK_READ_ONLY = tuple(name for name in TASK["properties"] if name not in TASK_BODY["properties"])
STEP = record(
    cluster_id=nullable(INTEGER),
    namespace=TEXT,
    kind=TEXT,
    name=TEXT,
    state=TEXT,
    message=TEXT,
    rolled_back=BOOLEAN,
)
BRIEF_RUN = record(
    id=INTEGER,
    task_id=INTEGER,
    task=TEXT,
    type=TEXT,
    state=STATE,
    trigger=TRIGGER,
    dry_run=BOOLEAN,
    alert_id=nullable(INTEGER),
    owner=TEXT,
    requested_by=nullable(TEXT),
    retry_of=nullable(INTEGER),
    decided_by=nullable(TEXT),
    decided_at=nullable(TEXT),
    comment=TEXT,
    scheduled_at=TEXT,
    created_at=TEXT,
    started_at=nullable(TEXT),
    finished_at=nullable(TEXT),
    message=nullable(TEXT),
    reason=nullable(TEXT),
    operation_id=nullable(INTEGER),
)
DEFINITION = record(
    name=TEXT,
    type=TEXT,
    params=OBJECT,
    targets=TARGETS,
    on_failure=ON_FAILURE,
    retries=INTEGER,
    timeout=TEXT,
    approval=BOOLEAN,
)
RUN = record(
    **BRIEF_RUN["properties"], definition=DEFINITION, steps=array(STEP), result=nullable(OBJECT)
)
TYPE_DESCRIPTION = record(
    name=TEXT,
    title=TEXT,
    description=TEXT,
    params_schema=OBJECT,
    supports_rollback=BOOLEAN,
    has_targets=BOOLEAN,
)
MOMENT = record(task_id=INTEGER, name=TEXT, type=TEXT, at=TEXT)
