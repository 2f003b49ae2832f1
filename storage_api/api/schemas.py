"""What the store's routes take and answer, for the OpenAPI schema."""

from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    Schema,
    array,
    record,
)
from storage_api.query.filters import Op, ParameterFilter, TypedQuery


def optional(**properties: Schema) -> Schema:
    """A JSON object without required members."""
    return {"type": "object", "properties": properties}


NULL: Schema = {
    "nullable": True,
    "description": "null (profile doc) or an empty object (profile go).",
}
ONE: Schema = {
    "oneOf": [array(OBJECT), OBJECT],
    "description": "A list of the one document (profile doc) or the document (profile go).",
}
NAMES = array(TEXT)
DOCUMENTS = array(OBJECT)
DATA = optional(data=ANYTHING)
UNIX_SECONDS: Schema = {"type": "integer", "format": "int64", "description": "Unix seconds."}
EXTRA = QueryParameter(
    "extra",
    TEXT,
    description='Base64 of a JSON object {"dotted.path": value}; all must hold.'
    " A dot inside a key is written U+FF0E.",
)
FIELD = QueryParameter(
    "field",
    TEXT,
    description="Comma list of dotted paths from the document's root;"
    " only these and _id are given.",
)
SLICE = (
    QueryParameter("offset", INTEGER),
    QueryParameter(
        "limit",
        INTEGER,
        description="Missing or 0 is no limit.",
    ),
)
LISTING = (FIELD, EXTRA, *SLICE)
FILTERS = (
    QueryParameter(
        "labelSelector",
        TEXT,
        description="As Kubernetes' own, on data.metadata.labels.",
    ),
    QueryParameter(
        "updateTimeBefore", TEXT, description="Unix seconds or RFC 3339: last updated before that."
    ),
    QueryParameter(
        "resourceName",
        TEXT,
        description="Comma list. Any other path of the document filters so too:"
        " data.status.phase=Failed, a dot inside a key written U+FF0E;"
        " an empty value asks that the path exists.",
    ),
)
USED = QueryParameter(
    "used",
    BOOLEAN,
    description="1: the names of the namespaces that are in use.",
)
FILTER_NAMES = frozenset(query.name for query in FILTERS)
PAGE = (
    QueryParameter("timeBegin", UNIX_SECONDS),
    QueryParameter("timeEnd", UNIX_SECONDS),
    QueryParameter("offset", INTEGER),
    QueryParameter(
        "length",
        INTEGER,
        description="Missing is no limit, 0 and less are 1000.",
    ),
    QueryParameter(
        "limit",
        INTEGER,
        description="Another name of length, which wins.",
    ),
    FIELD,
    EXTRA,
)

ONE_OPERATIONS = {
    # The Go server's SDK sends a limit with the name of one, too.
    "get": OperationSchema(
        "One document.",
        ONE,
        (FIELD, EXTRA, QueryParameter("limit", INTEGER)),
    ),
    "put": OperationSchema(
        "Create a document or replace its data.",
        NULL,
        body=DATA,
    ),
    "delete": OperationSchema(
        "Delete a document; one that is not there is no failure.", NULL, (EXTRA, FIELD)
    ),
}
SWEEP = optional(updateTimeBegin=UNIX_SECONDS, updateTimeEnd=UNIX_SECONDS)
SWEEP_QUERY = (
    QueryParameter("updateTimeBegin", UNIX_SECONDS),
    QueryParameter("updateTimeEnd", UNIX_SECONDS),
)
LIST_OPERATIONS = {
    "get": OperationSchema(
        "Documents of a type, oldest first.",
        DOCUMENTS,
        (*LISTING, *FILTERS),
    ),
    "delete": OperationSchema(
        "Delete the documents of a type updated within an open range.",
        NULL,
        (EXTRA, FIELD, *SWEEP_QUERY, *FILTERS),
        SWEEP,
    ),
}
NAMESPACE_OPERATIONS = {
    method: OperationSchema(
        "The namespaces that a cluster uses.",
        NAMES,
        (QueryParameter("name", TEXT), QueryParameter("namespace", TEXT), *LISTING),
    )
    for method in ("get", "post")
}
BATCH_OPERATIONS = {
    "post": OperationSchema(
        "Apply lines of {op, namespace, resourceType, resourceName, data}, all or none.",
        record(
            added=INTEGER,
            changed=INTEGER,
            unchanged=INTEGER,
            stale=INTEGER,
            deleted=INTEGER,
        ),
        (
            QueryParameter(
                "guard",
                BOOLEAN,
                description="Keep documents whose stored resourceVersion is newer.",
            ),
        ),
        TEXT,
        body_types=("application/x-ndjson",),
    )
}
MULTICLUSTER_OPERATIONS = {
    "post": OperationSchema(
        "Documents of a type in several clusters and namespaces, newest first.",
        DOCUMENTS,
        body=record(
            required=("clusteredNamespaces",),
            clusteredNamespaces=array(optional(clusterId=TEXT, namespaces=array(TEXT))),
            labelSelector=TEXT,
            field=TEXT,
            offset=INTEGER,
            limit=INTEGER,
            conditions=array(optional(Op=TEXT, Value=OBJECT, Children=array(OBJECT))),
            sort=OBJECT,
        ),
        paged=True,
    )
}
CUSTOM_OPERATIONS = {
    "get": OperationSchema(
        "Documents of a type in any cluster or in none; `total` counts all that match.",
        DOCUMENTS,
        (
            *LISTING,
            *FILTERS,
            QueryParameter("clusterId", TEXT, description="Comma list."),
        ),
        paged=True,
    ),
    "put": OperationSchema(
        "Store a document of any members;"
        " one with the same values of the type's index is replaced.",
        NULL,
        body=OBJECT,
    ),
    "delete": OperationSchema(
        "Delete the documents of a type that every parameter fits; without any, all of them.",
        NULL,
        (
            EXTRA,
            FIELD,
            *FILTERS,
            QueryParameter("clusterId", TEXT, description="Comma list."),
        ),
    ),
}
CUSTOM_INDEX_OPERATIONS = {
    "put": OperationSchema(
        'The values of these paths name a document of the type: {"path": 1}.', NULL, body=OBJECT
    ),
    "delete": OperationSchema("Forget an index; one that is not there is no failure.", NULL),
}
CLUSTER_INFO_OPERATIONS = {
    "put": OperationSchema(
        "Tell of a cluster: create or replace its data.",
        NULL,
        body=DATA,
    ),
    "delete": OperationSchema("Forget what was told of a cluster.", NULL),
}
_EVENT_TEXTS = dict.fromkeys(
    ("id", "env", "kind", "level", "component", "type", "describe", "clusterId"), TEXT
)
EVENT_OPERATIONS = {
    "get": OperationSchema(
        "Events, newest first; `total` counts all that match.",
        DOCUMENTS,
        (
            *(
                QueryParameter(name, TEXT)
                for name in ("id", "env", "kind", "level", "component", "type", "clusterId")
            ),
            *(QueryParameter(f"extraInfo.{name}", TEXT) for name in ("name", "namespace", "kind")),
            *PAGE,
            QueryParameter(
                "extra_contain",
                TEXT,
                description="As extra, values are substrings.",
            ),
        ),
        paged=True,
    ),
    "post": OperationSchema(
        "Events, newest first; the parameters as a JSON object of texts.",
        DOCUMENTS,
        body=OBJECT,
        paged=True,
    ),
    "put": OperationSchema(
        "Report an event.",
        NULL,
        body=optional(
            **_EVENT_TEXTS,
            eventTime=UNIX_SECONDS,
            extraInfo=OBJECT,
            data=ANYTHING,
        ),
    ),
}
_ALARM_TEXTS = dict.fromkeys(
    ("clusterId", "namespace", "message", "source", "module", "type"), TEXT
)
ALARM_OPERATIONS = {
    "get": OperationSchema(
        "Alarms, newest first; `total` counts all that match, `type` matches parts.",
        DOCUMENTS,
        (
            *(
                QueryParameter(name, TEXT)
                for name in ("clusterId", "namespace", "source", "module", "type")
            ),
            *PAGE,
        ),
        paged=True,
    ),
    "post": OperationSchema(
        "Report an alarm.",
        NULL,
        body=optional(
            **_ALARM_TEXTS,
            receivedTime=UNIX_SECONDS,
            data=ANYTHING,
        ),
    ),
}
METRIC_OPERATIONS = {
    "get": OperationSchema("One metric.", OBJECT, (FIELD,)),
    "put": OperationSchema(
        "Create a metric or replace its report.",
        NULL,
        body=DATA,
    ),
    "delete": OperationSchema("Delete a metric; one that is not there is no failure.", NULL),
}
METRIC_LIST_OPERATIONS = {
    "get": OperationSchema(
        "Metrics of a cluster.",
        DOCUMENTS,
        (*(QueryParameter(name, TEXT) for name in ("namespace", "type", "name")), *LISTING),
    )
}
METRIC_CLUSTER_OPERATIONS = {"get": OperationSchema("Clusters that have metrics.", NAMES)}
HOST_OPERATIONS = {
    "get": OperationSchema("One host, as a list.", DOCUMENTS, (FIELD,)),
    "put": OperationSchema(
        "Create a host or replace its report.",
        NULL,
        body=optional(ip=TEXT, clusterId=TEXT, data=ANYTHING),
    ),
    "delete": OperationSchema("Delete a host; one that is not there is no failure.", NULL),
}
IPS = record(ips=array(TEXT))
CLUSTER_HOST_OPERATIONS = {
    "get": OperationSchema("Hosts of a cluster.", DOCUMENTS, LISTING),
    "put": OperationSchema(
        "The cluster has exactly these hosts.",
        NULL,
        body=IPS,
    ),
    "post": OperationSchema("The cluster has these hosts too.", NULL, body=IPS),
}
NODE_OPERATIONS = {
    "get": OperationSchema(
        "The watched object with its updateTime.",
        OBJECT,
        (FIELD,),
    ),
    "put": OperationSchema(
        "Create or replace a watched object.",
        NULL,
        body=record(data=OBJECT),
    ),
    "delete": OperationSchema(
        "Delete a watched object; one that is not there is no failure.", NULL
    ),
}
NODE_LIST_OPERATIONS = {
    "get": OperationSchema(
        "Watched objects of a type in a namespace.",
        DOCUMENTS,
        LISTING,
    )
}
_FEED = OperationSchema(
    "Changes of a type as they happen, one JSON object after another.",
    record(
        type={"type": "integer", "enum": [1, 2, 3, -1]},
        value=OBJECT,
        seq=INTEGER,
    ),
    (
        QueryParameter(
            "since",
            INTEGER,
            description="The seq to go on from; 0 is the oldest kept, absent is now.",
        ),
    ),
    optional(
        selfOnly=BOOLEAN,
        maxEvents=INTEGER,
        timeout=INTEGER,
        mustDiff=TEXT,
        since=INTEGER,
    ),
)
_METRIC_FEED = OperationSchema(
    "Changes of the metrics of a type as they happen, one JSON object after another.",
    _FEED.answer,
    _FEED.query,
    _FEED.body,
)
METRIC_FEED_OPERATIONS = {
    "post": _METRIC_FEED,
    "get": OperationSchema(
        _METRIC_FEED.summary,
        _METRIC_FEED.answer,
        _METRIC_FEED.query,
    ),
}
FEED_OPERATIONS = {
    "post": _FEED,
    "get": OperationSchema(_FEED.summary, _FEED.answer, _FEED.query),
}

_SCHEMAS = {
    Op.TEXT: TEXT,
    Op.INTEGER: INTEGER,
    Op.BOOLEAN: BOOLEAN,
    Op.SINCE: UNIX_SECONDS,
    Op.UNTIL: UNIX_SECONDS,
}


def _parameter(item: ParameterFilter) -> QueryParameter:
    rules = {Op.TEXT: "Comma list, any of it.", Op.SINCE: "At or after.", Op.UNTIL: "Before."}
    return QueryParameter(
        item.param, _SCHEMAS[item.op], description=f"{item.path}. {rules.get(item.op, '')}".strip()
    )


def typed_operations(typed: TypedQuery) -> dict[str, OperationSchema]:
    """The operations of a typed query, as its table has them."""
    parameters = (*(_parameter(item) for item in typed.filters), *LISTING, *FILTERS)
    if typed.name == "namespace":
        parameters = (*parameters, USED)
    return {
        "get": OperationSchema(
            f"Documents of type {typed.name}.",
            DOCUMENTS,
            parameters,
        ),
        "post": OperationSchema(
            f"Documents of type {typed.name}, parameters as a JSON object of texts.",
            DOCUMENTS,
            body=OBJECT,
        ),
    }
