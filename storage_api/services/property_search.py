"""Objects of every kind, in every cluster, by what they have: labels, images, addresses, uids.

One statement for a search. Every expression is spelled as in its index.
"""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from clusters.kinds import Kind
from core.errors import Invalid
from storage_api.protection import mask_sealed
from storage_api.query.conditions import Clause, name_contains
from storage_api.services.multicluster import ClusterScope, rows_of_kinds
from storage_api.services.name_search import MATCH_COLUMNS

PREFIXES = ("label", "annotation", "image", "ip", "uid")
MIN_UID_LENGTH = 8
# Each may read an index from end to end.
MAX_TERMS = 10
# Of a part of a uid, so many objects are looked at.
MAX_UIDS = 1000
# Of more matches than this the first that are met are sorted, not all.
MAX_MATCHES = 5_000
UID_START = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{0,27}")
UID_PART = re.compile(r"[0-9A-Za-z._-]{8,128}")
LABEL = re.compile(r"[\w./-]+=[\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Term:
    """One property: `sort` is one of PREFIXES, or name for a part of a name."""

    sort: str
    text: str


def parse(text: str) -> list[Term]:
    """The terms of a search text; [] when it is nothing but a part of a name.

    `label:key=value` or `key=value`, `annotation:key=value`, `image:nginx`, `ip:10.0.0.1` or an
    address, `uid:…` or the beginning of one; several, with blanks between them, have to be true
    together, and other words are parts of the name. Invalid for a property that is none, and for
    more than MAX_TERMS.
    """
    terms = list(dict.fromkeys(_term(word) for word in text.split()))
    if all(term.sort == "name" for term in terms):
        return []
    if len(terms) > MAX_TERMS:
        raise Invalid(f"q has {len(terms)} properties: at most {MAX_TERMS}", field="q")
    return terms


def _term(word: str) -> Term:
    prefix, colon, rest = word.partition(":")
    if colon and prefix.lower() in PREFIXES:
        return _checked(Term(prefix.lower(), rest))
    if LABEL.fullmatch(word):
        return Term("label", word)
    if _address(word):
        return Term("ip", _address(word))
    # Names may contain uids, as those of PersistentVolumes do: they are searched by the name too.
    if UID_START.fullmatch(word.lower()):
        return Term("uid or name", word.lower())
    return Term("name", word)


def _checked(term: Term) -> Term:
    problem = ""
    match term.sort:
        case "label" | "annotation":
            if not term.text.partition("=")[0] or "=" not in term.text:
                problem = f"{term.sort}: needs key=value"
        case "ip":
            if not _address(term.text):
                problem = "ip: needs an IP address"
            term = Term("ip", _address(term.text))
        case "uid":
            if not UID_PART.fullmatch(term.text):
                problem = f"uid: needs {MIN_UID_LENGTH} or more characters of a uid"
        case "image":
            if not term.text:
                problem = "image: needs the name of an image"
    if problem:
        raise Invalid(problem, field="q")
    return term


def _address(text: str) -> str:
    """An IP address as Kubernetes writes it; "" for what is none."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return ""


_LABELS = "r.data #> '{{metadata,{}}}' @> %s::jsonb"
_ADDRESSES = "storage_addresses(r.data) @> %s::jsonb"
_IMAGES = "storage_image_names(r.data) @> ARRAY[%s]"
# Also true for images in a registry, below a path, and with a digest.
_IMAGE_PATH = """EXISTS (
  SELECT 1 FROM jsonb_path_query(
    coalesce(r.data #> '{spec,jobTemplate,spec,template,spec}',
             r.data #> '{spec,template,spec}', r.data -> 'spec'),
    'lax $.*[*].image ? (@.type() == "string")') AS image
  WHERE lower(image #>> '{}') ~ %s)"""
# The index alone is read for the uids that contain the text.
_UID = """r.uid = ANY (ARRAY(
  SELECT u.uid FROM storage_resource u
  WHERE u.uid IS NOT NULL AND position(%s IN u.uid) > 0 LIMIT %s))"""


def _clauses(term: Term) -> list[Clause]:
    match term.sort:
        case "label" | "annotation":
            key, _, value = term.text.partition("=")
            # As kubectl: two signs of equality mean the same.
            member = json.dumps({key: value.removeprefix("=")})
            return [Clause(sql.SQL(_LABELS.format(f"{term.sort}s")), (member,))]
        case "ip":
            return [Clause(sql.SQL(_ADDRESSES), (json.dumps([term.text]),))]
        case "image":
            return _image_clauses(term.text.lower())
        case "uid":
            return [Clause(sql.SQL(_UID), (term.text.lower(), MAX_UIDS))]
    by_name = name_contains("r.resource_name")
    if term.sort == "name":
        return [Clause(by_name, (term.text,))]
    either = sql.SQL("({} OR {})").format(sql.SQL(_UID), by_name)
    return [Clause(either, (term.text, MAX_UIDS, term.text))]


def _image_clauses(text: str) -> list[Clause]:
    name, _, digest = text.partition("@")
    last = name.rpartition("/")[2]
    clauses = [Clause(sql.SQL(_IMAGES), (last,))]
    if "/" in text or digest:
        tag = "" if ":" in last else "(:[^/@]+)?"
        ending = f"@{re.escape(digest)}" if digest else "(@.*)?"
        pattern = f"(^|/){re.escape(name)}{tag}{ending}$"
        clauses.append(Clause(sql.SQL(_IMAGE_PATH), (pattern,)))
    return clauses


_MATCHES = sql.SQL("SELECT r.id FROM storage_resource r WHERE {where} LIMIT %s")
_BEST = sql.SQL("""
WITH matches AS MATERIALIZED ({matches}), best AS (
  SELECT r.id FROM matches JOIN storage_resource r ON r.id = matches.id
  ORDER BY r.resource_name, r.resource_type, r.cluster_id, r.namespace LIMIT %s
)
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name, r.uid, r.created, r.status,
       NULL::timestamptz, NULL::bigint
FROM best JOIN storage_resource r ON r.id = best.id
ORDER BY r.resource_name, r.resource_type, r.cluster_id, r.namespace
""")


def _matching(
    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]], terms: Sequence[Term]
) -> tuple[sql.Composable, list[Any]]:
    clauses = [clause for term in terms for clause in _clauses(term)]
    clauses.append(rows_of_kinds(scopes))
    where = sql.SQL(" AND ").join([clause.text for clause in clauses])
    params = [param for clause in clauses for param in clause.params]
    return _MATCHES.format(where=where), [*params, MAX_MATCHES]


def find_by_property(
    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]],
    terms: Sequence[Term],
    size: int,
) -> list[dict[str, Any]]:
    """The objects for which all terms are true, in the order of their names.

    Each as `name_search.find_by_name` has it. Of more than MAX_MATCHES some are left out.
    """
    matches, params = _matching(scopes, terms)
    with connection.cursor() as cursor:
        cursor.execute(_BEST.format(matches=matches), [*params, size])
        return [dict(zip(MATCH_COLUMNS, row, strict=True)) for row in cursor.fetchall()]


def count_by_property(
    scopes: Sequence[tuple[Kind, Sequence[ClusterScope]]], terms: Sequence[Term]
) -> int:
    """How many objects match, at most MAX_MATCHES."""
    matches, params = _matching(scopes, terms)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM ({}) m").format(matches), params)
        return int(cursor.fetchone()[0])


_DOCUMENTS = """
SELECT r.cluster_id, r.resource_type, r.namespace, r.resource_name, r.data::text
FROM storage_resource r JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[])
  AS hit (cluster, type, namespace, name)
  ON r.cluster_id = hit.cluster AND r.resource_type = hit.type
 AND r.namespace = hit.namespace AND r.resource_name = hit.name
"""


def read_documents(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], Any]:
    """The objects of the rows of a search by (cluster, type, namespace, name); sealed as masks."""
    columns = ("cluster", "type", "namespace", "name")
    lists = [[row[column] for row in rows] for column in columns]
    with connection.cursor() as cursor:
        cursor.execute(_DOCUMENTS, lists)
        records = cursor.fetchall()
    documents = {}
    for *key, text in records:
        documents[tuple(key)] = json.loads(mask_sealed(text.encode()))
    return documents
