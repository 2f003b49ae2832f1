"""What the store's routes take and answer, for the OpenAPI schema."""

from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    OBJECT,
    TEXT,
    Described,
    Query,
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
EXTRA = Query(
    "extra",
    TEXT,
    description='Base64 of a JSON object {"dotted.path": value}; all must hold.'
    " A dot inside a key is written U+FF0E.",
)
FIELD = Query(
    "field",
    TEXT,
    description="Comma list of dotted paths from the document's root;"
    " only these and _id are given.",
)
SLICE = (
    Query("offset", INTEGER),
    Query(
        "limit",
        INTEGER,
        description="Missing or 0 is no limit.",
    ),
)
LISTING = (FIELD, EXTRA, *SLICE)
FILTERS = (
    Query(
        "labelSelector",
        TEXT,
        description="As Kubernetes' own, on data.metadata.labels.",
    ),
    Query(
        "updateTimeBefore", TEXT, description="Unix seconds or RFC 3339: last updated before that."
    ),
    Query(
        "resourceName",
        TEXT,
        description="Comma list. Any other path of the document filters so too:"
        " data.status.phase=Failed, a dot inside a key written U+FF0E;"
        " an empty value asks that the path exists.",
    ),
)
USED = Query(
    "used",
    BOOLEAN,
    description="1: the names of the namespaces that are in use.",
)
FILTER_NAMES = frozenset(query.name for query in FILTERS)
PAGE = (
    Query("timeBegin", UNIX_SECONDS),
    Query("timeEnd", UNIX_SECONDS),
    Query("offset", INTEGER),
    Query(
        "length",
        INTEGER,
        description="Missing is no limit, 0 and less are 1000.",
    ),
    Query(
        "limit",
        INTEGER,
        description="Another name of length, which wins.",
    ),
    FIELD,
    EXTRA,
)

ONE_OPERATIONS = {
    # The Go server's SDK sends a limit with the name of one, too.
    "get": Described(
        "One document.",
        ONE,
        (FIELD, EXTRA, Query("limit", INTEGER)),
    ),
    "put": Described(
        "Create a document or replace its data.",
        NULL,
        body=DATA,
    ),
    "delete": Described(
        "Delete a document; one that is not there is no failure.", NULL, (EXTRA, FIELD)
    ),
}
SWEEP = optional(updateTimeBegin=UNIX_SECONDS, updateTimeEnd=UNIX_SECONDS)
SWEEP_QUERY = (Query("updateTimeBegin", UNIX_SECONDS), Query("updateTimeEnd", UNIX_SECONDS))
LIST_OPERATIONS = {
    "get": Described(
        "Documents of a type, oldest first.",
        DOCUMENTS,
        (*LISTING, *FILTERS),
    ),
    "delete": Described(
        "Delete the documents of a type updated within an open range.",
        NULL,
        (EXTRA, FIELD, *SWEEP_QUERY, *FILTERS),
        SWEEP,
    ),
}
NAMESPACE_OPERATIONS = {
    method: Described(
        "The namespaces that a cluster uses.",
        NAMES,
        (Query("name", TEXT), Query("namespace", TEXT), *LISTING),
    )
    for method in ("get", "post")
}
BATCH_OPERATIONS = {
    "post": Described(
        "Apply lines of {op, namespace, resourceType, resourceName, data}, all or none.",
        record(
            added=INTEGER,
            changed=INTEGER,
            unchanged=INTEGER,
            stale=INTEGER,
            deleted=INTEGER,
        ),
        (
            Query(
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
    "post": Described(
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
    "get": Described(
        "Documents of a type in any cluster or in none; `total` counts all that match.",
        DOCUMENTS,
        (
            *LISTING,
            *FILTERS,
            Query("clusterId", TEXT, description="Comma list."),
        ),
        paged=True,
    ),
    "put": Described(
        "Store a document of any members;"
        " one with the same values of the type's index is replaced.",
        NULL,
        body=OBJECT,
    ),
    "delete": Described(
        "Delete the documents of a type that every parameter fits; without any, all of them.",
        NULL,
        (
            EXTRA,
            FIELD,
            *FILTERS,
            Query("clusterId", TEXT, description="Comma list."),
        ),
    ),
}
CUSTOM_INDEX_OPERATIONS = {
    "put": Described(
        'The values of these paths name a document of the type: {"path": 1}.', NULL, body=OBJECT
    ),
    "delete": Described("Forget an index; one that is not there is no failure.", NULL),
}
CLUSTER_INFO_OPERATIONS = {
    "put": Described(
        "Tell of a cluster: create or replace its data.",
        NULL,
        body=DATA,
    ),
    "delete": Described("Forget what was told of a cluster.", NULL),
}
_EVENT_TEXTS = dict.fromkeys(
    ("id", "env", "kind", "level", "component", "type", "describe", "clusterId"), TEXT
)
EVENT_OPERATIONS = {
    "get": Described(
        "Events, newest first; `total` counts all that match.",
        DOCUMENTS,
        (
            *(
                Query(name, TEXT)
                for name in ("id", "env", "kind", "level", "component", "type", "clusterId")
            ),
            *(Query(f"extraInfo.{name}", TEXT) for name in ("name", "namespace", "kind")),
            *PAGE,
            Query(
                "extra_contain",
                TEXT,
                description="As extra, values are substrings.",
            ),
        ),
        paged=True,
    ),
    "post": Described(
        "Events, newest first; the parameters as a JSON object of texts.",
        DOCUMENTS,
        body=OBJECT,
        paged=True,
    ),
    "put": Described(
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
    "get": Described(
        "Alarms, newest first; `total` counts all that match, `type` matches parts.",
        DOCUMENTS,
        (
            *(Query(name, TEXT) for name in ("clusterId", "namespace", "source", "module", "type")),
            *PAGE,
        ),
        paged=True,
    ),
    "post": Described(
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
    "get": Described("One metric.", OBJECT, (FIELD,)),
    "put": Described(
        "Create a metric or replace its report.",
        NULL,
        body=DATA,
    ),
    "delete": Described("Delete a metric; one that is not there is no failure.", NULL),
}
METRIC_LIST_OPERATIONS = {
    "get": Described(
        "Metrics of a cluster.",
        DOCUMENTS,
        (*(Query(name, TEXT) for name in ("namespace", "type", "name")), *LISTING),
    )
}
METRIC_CLUSTER_OPERATIONS = {"get": Described("Clusters that have metrics.", NAMES)}
HOST_OPERATIONS = {
    "get": Described("One host, as a list.", DOCUMENTS, (FIELD,)),
    "put": Described(
        "Create a host or replace its report.",
        NULL,
        body=optional(ip=TEXT, clusterId=TEXT, data=ANYTHING),
    ),
    "delete": Described("Delete a host; one that is not there is no failure.", NULL),
}
IPS = record(ips=array(TEXT))
CLUSTER_HOST_OPERATIONS = {
    "get": Described("Hosts of a cluster.", DOCUMENTS, LISTING),
    "put": Described(
        "The cluster has exactly these hosts.",
        NULL,
        body=IPS,
    ),
    "post": Described("The cluster has these hosts too.", NULL, body=IPS),
}
NODE_OPERATIONS = {
    "get": Described(
        "The watched object with its updateTime.",
        OBJECT,
        (FIELD,),
    ),
    "put": Described(
        "Create or replace a watched object.",
        NULL,
        body=record(data=OBJECT),
    ),
    "delete": Described("Delete a watched object; one that is not there is no failure.", NULL),
}
NODE_LIST_OPERATIONS = {
    "get": Described(
        "Watched objects of a type in a namespace.",
        DOCUMENTS,
        LISTING,
    )
}
_FEED = Described(
    "Changes of a type as they happen, one JSON object after another.",
    record(
        type={"type": "integer", "enum": [1, 2, 3, -1]},
        value=OBJECT,
        seq=INTEGER,
    ),
    (
        Query(
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
_METRIC_FEED = Described(
    "Changes of the metrics of a type as they happen, one JSON object after another.",
    _FEED.answer,
    _FEED.query,
    _FEED.body,
)
METRIC_FEED_OPERATIONS = {
    "post": _METRIC_FEED,
    "get": Described(
        _METRIC_FEED.summary,
        _METRIC_FEED.answer,
        _METRIC_FEED.query,
    ),
}
FEED_OPERATIONS = {
    "post": _FEED,
    "get": Described(_FEED.summary, _FEED.answer, _FEED.query),
}

_SCHEMAS = {
    Op.TEXT: TEXT,
    Op.INTEGER: INTEGER,
    Op.BOOLEAN: BOOLEAN,
    Op.SINCE: UNIX_SECONDS,
    Op.UNTIL: UNIX_SECONDS,
}


def _parameter(item: ParameterFilter) -> Query:
    rules = {Op.TEXT: "Comma list, any of it.", Op.SINCE: "At or after.", Op.UNTIL: "Before."}
    return Query(
        item.param, _SCHEMAS[item.op], description=f"{item.path}. {rules.get(item.op, '')}".strip()
    )


def typed_operations(typed: TypedQuery) -> dict[str, Described]:
    """The operations of a typed query, as its table has them."""
    parameters = (*(_parameter(item) for item in typed.filters), *LISTING, *FILTERS)
    if typed.name == "namespace":
        parameters = (*parameters, USED)
    return {
        "get": Described(
            f"Documents of type {typed.name}.",
            DOCUMENTS,
            parameters,
        ),
        "post": Described(
            f"Documents of type {typed.name}, parameters as a JSON object of texts.",
            DOCUMENTS,
            body=OBJECT,
        ),
    }
