"""Objects of every kind, in every cluster, by a part of their name: for API, console and agents.

One statement each. Few matches come out of an index of the parts of names; of many, the first are
read in the order of the answer.
"""

from collections.abc import Sequence
from string import Formatter
from typing import Any

from django.db import connection
from psycopg2 import sql

from clusters.kinds import Kind
from storage_api.query.conditions import MATCH_NONE, Clause
from storage_api.services.multicluster import ClusterScope, rows_of_kinds

# Shorter texts are in no part of a name.
PART_LENGTH = 3
# Up to so many matches are all read and sorted; more are so dense that a walk soon meets them.
FEW_MATCHES = 500
MATCH_COLUMNS = (
    "cluster",
    "type",
    "namespace",
    "name",
    "uid",
    "created",
    "status",
    "deleted",
    "seq",
)
_KEYS = "r.id, r.resource_name, r.resource_type, r.cluster_id, r.namespace"
_MATCHES = "position({text} IN lower(r.resource_name)) > 0"
_PARTS = "storage_name_parts(r.resource_name) @> storage_name_parts({text})"
# As in the index storage_resource_names.
_ORDER = "lower(r.resource_name), r.resource_name, r.resource_type, r.cluster_id, r.namespace"
# Behind every name that begins with the text stands the text with the greatest character.
_BEGINS = "lower(r.resource_name) > {text} AND lower(r.resource_name) < {text} || U&'\\+10FFFF'"
# Names that are the text, names that begin with it, all others. Each is read only when those
# before it do not fill the answer, and the others in their order only when they are many.
_BEST = """
WITH same AS MATERIALIZED (
  SELECT {keys} FROM storage_resource r WHERE lower(r.resource_name) = {text} AND {visible}
  ORDER BY {order} LIMIT {size}
), begins AS MATERIALIZED (
  SELECT {keys} FROM storage_resource r
  WHERE (SELECT count(*) FROM same) < {size} AND {begins} AND {visible}
  ORDER BY {order} LIMIT {size}
), first AS MATERIALIZED (
  SELECT * FROM same UNION ALL SELECT * FROM begins
), few AS MATERIALIZED (
  SELECT {keys} FROM storage_resource r
  WHERE (SELECT count(*) FROM first) < {size}
    AND {parts} AND position({text} IN lower(r.resource_name)) > 1 AND {visible}
  LIMIT {limit}
), many AS MATERIALIZED (
  SELECT {is_short} OR count(*) = {limit} AS there FROM few
), others AS MATERIALIZED (
  SELECT {keys} FROM storage_resource r
  WHERE (SELECT there FROM many) AND (SELECT count(*) FROM first) < {size}
    AND position({text} IN lower(r.resource_name)) > 1 AND {visible}
  ORDER BY {order} LIMIT {size}
), best AS MATERIALIZED (
  SELECT r.id FROM (
    SELECT * FROM first
    UNION ALL SELECT * FROM few WHERE NOT (SELECT there FROM many)
    UNION ALL SELECT * FROM others
  ) r
  ORDER BY lower(r.resource_name) <> {text}, position({text} IN lower(r.resource_name)) > 1, {order}
  LIMIT {size}
)
SELECT * FROM (
  SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name, r.uid, r.created, r.status,
         NULL::timestamptz AS deleted, NULL::bigint AS seq
  FROM best JOIN storage_resource r ON r.id = best.id
  {deleted}
) r
ORDER BY lower(r.resource_name) <> {text}, r.deleted IS NOT NULL,
         position({text} IN lower(r.resource_name)) > 1, {order}
LIMIT {size}
"""
# A deleted object by its last line in the log.
_DELETED = """
UNION ALL
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name, r.uid,
       storage_moment(r.data #> '{{metadata,creationTimestamp}}'), r.data #>> '{{status,phase}}',
       r.at, r.seq
FROM storage_change r WHERE r.op = 'delete' AND {matches} AND {visible} AND NOT EXISTS (
  SELECT 1 FROM storage_change n
  WHERE n.cluster_id = r.cluster_id AND n.resource_type = r.resource_type
    AND n.namespace = r.namespace AND n.resource_name = r.resource_name AND n.seq > r.seq)
"""
_COUNT = """
WITH few AS MATERIALIZED (
  SELECT r.id FROM storage_resource r WHERE {parts} AND {matches} AND {visible} LIMIT {limit}
)
SELECT CASE WHEN NOT {is_short} AND (SELECT count(*) FROM few) < {limit}
  THEN (SELECT count(*) FROM few)
  ELSE (SELECT count(*) FROM storage_resource r WHERE {matches} AND {visible})
END + (SELECT count(*) FROM (
  SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::timestamptz, NULL::text,
         NULL::timestamptz, NULL::bigint WHERE false
  {deleted}
) r)
"""


def _compose(template: str, **parts: Clause) -> Clause:
    """The template with a clause at each name, and their values in the order of the text."""
    params: list[Any] = []
    for _, name, _, _ in Formatter().parse(template):
        if name:
            params += parts[name].params
    texts = {name: clause.text for name, clause in parts.items()}
    return Clause(sql.SQL(template).format(**texts), tuple(params))


def _conditions(
    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]], text: str, *, deleted: bool
) -> dict[str, Clause]:
    """What stands in the statements, by name."""
    visible = rows_of_kinds(scopes)
    parts = {
        "text": Clause(sql.SQL('lower(%s COLLATE "C")'), (text,)),
        "visible": Clause(sql.SQL("({})").format(visible.text), visible.params),
    }
    is_short = len(text) < PART_LENGTH
    text_only = parts["text"]
    # An index on parts of names knows nothing of a shorter text: all of it would be read.
    parts["parts"] = MATCH_NONE if is_short else _compose(_PARTS, text=text_only)
    parts["is_short"] = Clause(sql.Literal(is_short))
    parts["matches"] = _compose(_MATCHES, text=text_only)
    parts["begins"] = _compose(_BEGINS, text=text_only)
    parts["limit"] = Clause(sql.Literal(FEW_MATCHES + 1))
    parts["deleted"] = Clause(sql.SQL(""))
    if deleted:
        parts["deleted"] = _compose(_DELETED, matches=parts["matches"], visible=parts["visible"])
    return parts


def find_by_name(
    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]],
    text: str,
    size: int,
    *,
    deleted: bool = False,
) -> list[dict[str, Any]]:
    """Objects of any of the kinds whose names contain the text, best matches first.

    Each as {"cluster","type","namespace","name","uid","created","status","deleted","seq"}; the
    last two are None for what exists. `deleted`: also what was deleted. Names that are the text
    come first, then those that begin with it, in any case of letters.
    """
    statement = _compose(
        _BEST,
        **_conditions(scopes, text, deleted=deleted),
        order=Clause(sql.SQL(_ORDER)),
        size=Clause(sql.SQL("%s"), (size,)),
        keys=Clause(sql.SQL(_KEYS)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.params)
        return [dict(zip(MATCH_COLUMNS, row, strict=True)) for row in cursor.fetchall()]


def count_by_name(
    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]],
    text: str,
    *,
    deleted: bool = False,
) -> int:
    """How many objects `find_by_name` would return if it had no limit."""
    statement = _compose(_COUNT, **_conditions(scopes, text, deleted=deleted))
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.params)
        return int(cursor.fetchone()[0])
