"""Values that are the same in every deployment: one place to change them, app by app.

They are Django settings like the others. `KUBEGALE_TUNING`, a JSON object such as
`{"DRAIN_POLL_SECONDS": 0.2}`, overrides some of them for one process, for tests and measurements.
"""

# The collector (storage_api/collector)
COLLECTOR_LEASE_SECONDS: float = 8.0
COLLECTOR_BEAT_SECONDS: float = 2.0
COLLECTOR_DISCOVERY_SECONDS: float = 60.0
COLLECTOR_RELIST_SECONDS: float = 6 * 3600.0
COLLECTOR_WATCH_SECONDS: int = 300
COLLECTOR_SILENCE_SECONDS: float = 150.0
COLLECTOR_MAX_DELAY: float = 30.0
COLLECTOR_PAGE: int = 500
COLLECTOR_PAGE_BYTES: int = 1024 * 1024
COLLECTOR_BATCH: int = 250
COLLECTOR_QUEUE_BYTES: int = 64 * 1024 * 1024
COLLECTOR_WRITERS: int = 4
COLLECTOR_LISTS: int = 2

# Calls to clusters
CLUSTER_CIRCUIT_SECONDS: float = 10.0
CLUSTER_POOL_SIZE: int = 16
CLUSTER_CHECK_INTERVAL: float = 30.0

# Lists out of the store
STORE_FRESH_SECONDS: float = 10.0

# Drains
DRAIN_POLL_SECONDS: float = 1.0
DRAIN_RETRY_SECONDS: float = 5.0
DRAIN_UNKNOWN_SECONDS: float = 10.0

# Rollouts
ROLLOUT_POLL_SECONDS: float = 1.0

# Operations
OPERATION_STALE_SECONDS: float = 45.0
OPERATION_MAX_SECONDS: int = 6 * 3600
OPERATION_RESUME_INTERVAL: float = 15.0

# Celery tasks
TASK_SOFT_TIME_LIMIT: int = 3300
TASK_TIME_LIMIT: int = 3600

# Periodic samples
METRIC_INTERVAL: float = 60.0
TENANT_USAGE_INTERVAL: float = 300.0
# How long what the pods of a cluster request and use counts before it is computed again.
USAGE_CACHE_SECONDS: float = 15.0

# Sockets and followed logs
STREAM_PING_SECONDS: float = 20.0
STREAM_REAUTHORISE_SECONDS: float = 15.0
STREAM_GIVE_UP_SECONDS: float = 120.0
LOG_BUFFER_BYTES: int = 512 * 1024
LOG_STALL_SECONDS: float = 5.0
LOG_SOURCES_PER_STREAM: int = 50
LOG_FOLLOW_SECONDS: float = 3600.0
TICKET_SECONDS: int = 60
TICKETS_PER_USER: int = 200

# The gateway
GATEWAY_HEAD_SECONDS: float = 15.0
GATEWAY_IDLE_SECONDS: float = 120.0
GATEWAY_BODY_IDLE_SECONDS: float = 60.0
GATEWAY_ANSWER_SECONDS: float = 75.0
GATEWAY_FAREWELL_SECONDS: float = 2.0
GATEWAY_CONNECTIONS: int = 8192
GATEWAY_WAITING_PER_CLUSTER: int = 256
GATEWAY_REQUESTS_PER_USER: int = 4096
# Of links that open a port in a browser.
PORT_LINK_SECONDS: int = 3600
PORT_LINKS_PER_USER: int = 50
PORT_LINK_REQUESTS_PER_USER: int = 64

# Recordings of terminals that one search for a text reads
TERMINAL_RECORDING_SEARCH_ROWS: int = 5000

# Watches and feeds of the store
STORAGE_WATCH_HEARTBEAT: float = 15.0
STORAGE_WATCH_POLL: float = 0.5
STORAGE_WATCH_SECONDS: float = 3600.0

# Alerts: how often rules are evaluated, how much a turn takes, and when a copy counts as stale
ALERT_INTERVAL_SECONDS: float = 3.0
ALERT_TURN_SECONDS: float = 20.0
ALERT_BATCH: int = 2000
ALERT_LIMIT_PER_RULE: int = 10_000
ALERT_STATEMENT_SECONDS: float = 10.0
ALERT_STALE_SECONDS: float = 30.0
ALERT_METRIC_SECONDS: float = 15.0
ALERT_CONTEXTS_PER_TURN: int = 50
ALERT_RETENTION_DAYS: int = 90
# Notifications: how often groups are looked at, how long changes may gather (since the latest and
# since the first), the shortest time between two, and the waits of deliveries that failed
ALERT_DISPATCH_SECONDS: float = 1.0
ALERT_GROUP_WAIT_SECONDS: float = 0.8
ALERT_GROUP_WAIT_LONGEST_SECONDS: float = 4.0
ALERT_GROUP_INTERVAL_SECONDS: float = 10.0
ALERT_QUIET_RECHECK_SECONDS: float = 15.0
ALERT_BACKOFF_SECONDS: tuple[int, ...] = (
    2,
    10,
    30,
    120,
    600,
    1800,
    3600,
)
ALERT_DELIVERY_RETENTION_DAYS: int = 30
# A notification that is so long overdue is sent by nobody (in /metrics)
ALERT_LATE_SECONDS: float = 120.0
# Queries of rules to the clusters' Prometheus: how often, how long, how many, and their answers
ALERT_PROMQL_SECONDS: float = 15.0
ALERT_PROMQL_SERIES: int = 1000

# Tasks: how often the clock is looked at, the wait before a step's second attempt (it doubles, up
# to the longest), how long an approval is waited for, how long runs are kept, and how much output
# of exec and http
TASK_TICK_SECONDS: float = 2.0
TASK_RETRY_SECONDS: float = 5.0
TASK_RETRY_LONGEST_SECONDS: float = 300.0
TASK_APPROVAL_DAYS: int = 7
TASK_RUN_RETENTION_DAYS: int = 90
TASK_OUTPUT_BYTES: int = 64 * 1024

# Orders and webhooks (billing)
IMAGE_CACHE_SECONDS: int = 60
IMAGE_REGISTRY_TIMEOUT: float = 5.0
WEBHOOK_INTERVAL_SECONDS: float = 10.0
WEBHOOK_TIMEOUT: float = 10.0
WEBHOOK_BACKOFF_SECONDS: tuple[int, ...] = (
    5,
    60,
    300,
    1800,
    7200,
    18000,
    36000,
)
VKUBE_LOG_BYTES: int = 1 << 20
VKUBE_LOG_STREAMS: int = 4
VKUBE_READY_SECONDS: int = 600
VKUBE_REGION_CACHE_SECONDS: float = 1.0
VKUBE_SETTLE_SECONDS: int = 3600
VKUBE_STRAY_SECONDS: int = 900
VKUBE_SURVEY_SECONDS: float = 5.0
VKUBE_SAMPLE_INTERVAL_SECONDS: float = 60.0

# Kept database connections: after so long without use they are asked whether they still live
DATABASE_IDLE_CHECK_SECONDS: float = 10.0

# Sign-in
OIDC_RENEW_SECONDS: int = 900

# --- Files of containers --------------------------------------------------------------------------
# Of a silent command, of a whole small call, of a debug container and of its start (seconds).
FILES_IDLE_SECONDS: float = 60.0
FILES_COMMAND_SECONDS: float = 30.0
# Of the sum of one file in an operation: below the time limit of a task.
FILES_DIGEST_SECONDS: float = 200.0
FILES_DEBUG_SECONDS: int = 3600
FILES_DEBUG_START_SECONDS: float = 60.0

# --- Agents ---------------------------------------------------------------------------------------
# The body of one request: its bytes, and the seconds in which it must have come.
AGENT_BODY_BYTES: int = 1 << 20
AGENT_BODY_SECONDS: float = 30.0
# How long one call may take.
AGENT_CALL_SECONDS: float = 120.0
# Tools that one process answers at once, and of these for one person.
AGENT_THREADS: int = 8
AGENT_CALLS_PER_USER: int = 16
