"""Lists: selectors, pages over a consistent snapshot, and the three forms of an answer."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping

import orjson

from simcluster import conversion, tables
from simcluster.errors import ApiError, bad_request, expired
from simcluster.registry import Registry
from simcluster.requests import Accepted, Target, integer
from simcluster.resources import Object, Resource
from simcluster.selectors import RecordTest, combined
from simcluster.store import Record, continue_token, read_continue
from simcluster.tables.cells import Column


class Page:
    """One page of records and the list's metadata."""

    def __init__(self, records: list[Record], metadata: Object) -> None:
        self.records = records
        self.metadata = metadata


def page(registry: Registry, target: Target, query: Mapping[str, str]) -> Page:
    """The page that the query asks for; 400, 410 or 504 as the API server says."""
    store = registry.store
    resource = target.resource
    test = combined(resource, query)
    limit = max(integer(query, "limit") or 0, 0)
    revision = store.revision
    after = ""
    if query.get("continue"):
        revision, after = read_continue(query["continue"])
        if query.get("resourceVersion") not in (None, "", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        # A token with revision 0 is one that goes on at the newest state.
        revision = revision or store.revision
    elif query.get("resourceVersionMatch") == "Exact":
        revision = _exact(query, store.revision)
    else:
        # A cache that is behind makes the client wait; this store never is, so it answers at once.
        check_not_too_new(query, store.revision)
    records, keys = _snapshot(registry, resource, revision, target.scope)
    start = bisect_right(keys, after) if after else 0
    return _cut(records, keys, start, limit=limit, test=test, revision=revision)


def _exact(query: Mapping[str, str], current: int) -> int:
    revision = integer(query, "resourceVersion")
    if not revision:
        raise bad_request('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    check_not_too_new(query, current)
    return revision


def check_not_too_new(query: Mapping[str, str], current: int) -> None:
    """504 for a resourceVersion that has not happened yet."""
    revision = integer(query, "resourceVersion")
    if revision is not None and revision > current:
        details = {
            "causes": [
                {
                    "reason": "ResourceVersionTooLarge",
                    "message": "Too large resource version",
                }
            ],
            "retryAfterSeconds": 1,
        }
        message = f"Timeout: Too large resource version: {revision}, current: {current}"
        raise ApiError(504, "Timeout", message, details=details, headers={"Retry-After": "1"})


def _snapshot(
    registry: Registry, resource: Resource, revision: int, scope: str | None
) -> tuple[dict[str, Record], list[str]]:
    collection = registry.store.collection(resource.storage)
    if revision < collection.compacted and revision != registry.store.revision:
        raise expired("list")
    records = registry.store.as_of(resource.storage, revision)
    # The newest state has its keys sorted already; an old one is rebuilt from the history.
    keys = collection.keys if records is collection.records else sorted(records)
    if scope is None:
        return records, keys
    # "0" is the character after "/": the range holds exactly the keys of the namespace.
    return records, keys[bisect_left(keys, f"{scope}/") : bisect_left(keys, f"{scope}0")]


def _cut(
    records: dict[str, Record],
    keys: list[str],
    start: int,
    *,
    limit: int,
    test: RecordTest | None,
    revision: int,
) -> Page:
    metadata: Object = {"resourceVersion": str(revision)}
    if test is None:
        end = start + limit if limit else len(keys)
        chosen = [records[key] for key in keys[start:end]]
        if limit and end < len(keys):
            metadata["continue"] = continue_token(revision, keys[end - 1])
            # Only without selectors: the API server does not count what it has not tested.
            metadata["remainingItemCount"] = len(keys) - end
        return Page(chosen, metadata)
    chosen = []
    for key in keys[start:]:
        record = records[key]
        if test(record):
            if limit and len(chosen) == limit:
                metadata["continue"] = continue_token(revision, chosen[-1].key)
                break
            chosen.append(record)
    return Page(chosen, metadata)


def render(
    target: Target,
    content: Page,
    accept: Accepted,
    *,
    include: str,
    columns: tuple[Column, ...],
) -> bytes:
    """The bytes of the list in the asked form; `include` is the query's includeObject."""
    resource = target.resource
    if accept.form == "Table":
        rows = [
            tables.row(conversion.from_storage(resource, record.obj), columns, include)
            for record in content.records
        ]
        return orjson.dumps(tables.table(rows, columns, content.metadata))
    if accept.partial:
        items = [orjson.dumps(tables.partial(record.obj)) for record in content.records]
        return _joined("PartialObjectMetadataList", "meta.k8s.io/v1", content.metadata, items)
    return _joined(
        f"{resource.kind}List",
        resource.group_version,
        content.metadata,
        [item(resource, record) for record in content.records],
    )


def item(resource: Resource, record: Record) -> bytes:
    """One item of a plain list."""
    ready = conversion.item_bytes(resource, record)
    if ready is not None:
        return ready
    obj = conversion.from_storage(resource, record.obj)
    return orjson.dumps(
        obj
        if resource.custom
        else {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    )


def _joined(kind: str, api_version: str, metadata: Object, items: list[bytes]) -> bytes:
    head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join(items) + b"]}"
