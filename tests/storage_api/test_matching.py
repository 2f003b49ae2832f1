"""Random documents and questions: the database's answer is the answer of the plain rules."""

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_api.query import conditions, extra, filters, paths
from storage_api.query.conditions import Clause
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.query.times import TimeStyle
from storage_api.services import bulk, resources
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.storage_api import matcher

pytestmark = pytest.mark.django_db
STYLE = TimeStyle("Asia/Shanghai")
CLUSTER = 'matching "c" / $1'
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

KEYS = st.sampled_from(["a", "b", "0", "1", "x.y", "", '"', "$", "é😀"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 1.0, 1.5, -0.5, 10**25, 2**53 + 1]),
    st.sampled_from(["", "x", "1", "true", "\\", '"', "%s", "é😀"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
PATHS = st.lists(KEYS, min_size=0, max_size=4)


def store(documents: list[Any]) -> None:
    """Exactly these documents, named by their place."""
    resources.delete(DocumentQuery(RESOURCE, resources.type_clauses(CLUSTER, "Pod")))
    bulk.write(
        WriteRecord(Key(CLUSTER, "Pod", "ns", str(place)), json.dumps(data).encode())
        for place, data in enumerate(documents)
    )


def found(*clauses: Clause) -> list[int]:
    """The places of the documents that match."""
    query = DocumentQuery(RESOURCE, (*resources.type_clauses(CLUSTER, "Pod"), *clauses))
    texts = (
        text
        for chunk in resources.read_chunks(query, paths.fields("resourceName"), STYLE)
        for text in chunk
    )
    return sorted(int(json.loads(text)["resourceName"]) for text in texts)


def spelled(steps: list[str]) -> str:
    """A dotted path as a client writes it."""
    return ".".join(step.replace(".", "．") for step in steps)


def reaching(value: Any) -> Any:
    """Paths that lead into a document; an array right inside an array is reached by its place alone."""
    steps: list[str] = []
    while isinstance(value, dict | list) and value:
        if isinstance(value, list):
            if isinstance(value[0], list) or len(steps) % 2:
                steps.append("0")
            value = value[0]
        else:
            key = next(iter(value))
            steps.append(key)
            value = value[key]
    return steps, value


@QUICK
@given(
    documents=st.lists(VALUES, min_size=1, max_size=5),
    steps=PATHS,
    wanted=st.lists(VALUES, min_size=1, max_size=3),
    any_of=st.booleans(),
    own=st.booleans(),
)
def test_extra_matches_as_mongo_would(
    documents: list[Any], steps: list[str], wanted: list[Any], any_of: bool, own: bool
) -> None:
    store(documents)
    if own:
        steps, value = reaching(documents[0])
        wanted = [value, *wanted]
    condition = extra.Equals(
        paths.parse(spelled(["data", *steps])), tuple(wanted if any_of else wanted[:1])
    )
    answer = found(
        *conditions.equality_clauses(
            resources.condition_context(CLUSTER, ("pod",), STYLE), [condition]
        )
    )
    expected = [
        place
        for place, data in enumerate(documents)
        if matcher.matches(data, steps, list(condition.values))
    ]
    assert answer == expected
    assert not own or 0 in answer


@QUICK
@given(
    documents=st.lists(VALUES, min_size=1, max_size=3),
    asked=st.lists(PATHS.map(lambda steps: ["data", *steps]), min_size=1, max_size=3),
)
def test_projection_keeps_exactly_the_asked_paths(
    documents: list[Any], asked: list[list[str]]
) -> None:
    store(documents)
    fields = paths.fields(",".join(map(spelled, asked)))
    query = DocumentQuery(RESOURCE, resources.type_clauses(CLUSTER, "Pod"))
    texts = [
        json.loads(text) for chunk in resources.read_chunks(query, fields, STYLE) for text in chunk
    ]
    for text in texts:
        assert text.pop("_id")
    assert texts == [matcher.projected({"data": data}, asked) for data in documents]


MOMENTS = st.one_of(
    st.sampled_from(
        [
            "2017-10-09T15:37:44+08:00",
            "2017-10-09T07:37:44Z",
            "2017-10-09T07:37:44.999999999Z",
            "2017-10-09T07:37:45.000001-0130",
            "2016-02-29T00:00:00Z",
            "2017-02-29T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59-14:00",
            "2017-10-09 15:37:44",
            "2017-10-09T24:00:00Z",
            "",
        ]
    ),
    st.sampled_from([0, 1507534664, 1507534664.5, -1, 10**30, True, None]),
    st.just([1507534664]),
)
BOUNDS = st.sampled_from(
    [
        0,
        1,
        1507534664,
        1507534665,
        -62135596800,
        2**62,
        "2017-10-09 15:37:44",
        "2017-10-09 07:37:45",
        "2016-02-29 08:00:00",
    ]
)


@QUICK
@given(
    moments=st.lists(MOMENTS, min_size=1, max_size=6),
    bound=BOUNDS,
    typed=st.sampled_from(["startTime", "createTime"]),
)
def test_time_ranges_part_the_moments(moments: list[Any], bound: int | str, typed: str) -> None:
    """A path of its own and one with a stored column answer alike."""
    path = ["status", "startTime"] if typed == "startTime" else ["metadata", "creationTimestamp"]
    store([{path[0]: {path[1]: moment}} for moment in moments])
    (pod,) = [item for item in filters.K8S if item.name == "pod"]
    context = resources.condition_context(CLUSTER, pod.types, STYLE)
    verdicts = [matcher.not_before(moment, bound) for moment in moments]
    if typed == "createTime":
        # The stored column holds the years 1 to 9999.
        verdicts = [
            None if moment == 10**30 and isinstance(bound, int) else verdict
            for moment, verdict in zip(moments, verdicts, strict=True)
        ]
    for name, wanted in ((f"{typed}Begin", True), (f"{typed}End", False)):
        answer = found(*conditions.typed_clauses(context, pod.filters, {name: str(bound)}))
        assert answer == [place for place, verdict in enumerate(verdicts) if verdict is wanted], (
            name
        )


ALL_FILTERS = [
    pytest.param(env, typed, item, id=f"{env}-{typed.name}-{item.param}")
    for env, queries in filters.QUERIES.items()
    for typed in queries
    for item in typed.filters
    if item.path.startswith("data.")
]
SAMPLES: dict[filters.Op, tuple[Any, Any, str]] = {
    filters.Op.TEXT: ("yes, %", "no", "other,yes"),
    filters.Op.INTEGER: (7, 8, "7"),
    filters.Op.BOOLEAN: (True, False, "true"),
    filters.Op.SINCE: ("2017-10-09T07:37:44Z", "2017-10-09T07:37:43Z", "1507534664"),
    filters.Op.UNTIL: ("2017-10-09T07:37:43Z", "2017-10-09T07:37:44Z", "1507534664"),
}


def holding(path: str, value: Any) -> dict[str, Any]:
    """A document with one value."""
    for step in reversed(path.split(".")[1:]):
        value = {step: value}
    return value  # type: ignore[no-any-return]


@pytest.mark.parametrize(("env", "typed", "item"), ALL_FILTERS)
def test_every_parameter_of_every_typed_query(
    env: str, typed: filters.TypedQuery, item: filters.ParameterFilter
) -> None:
    """It finds the document with the value; not another value, the value as another type, or no value."""
    good, bad, asked = SAMPLES[item.op]
    good = "yes" if item.op is filters.Op.TEXT else good
    foreign = 7 if item.op is filters.Op.TEXT else "7" if item.op is filters.Op.INTEGER else "true"
    kind = {"kind": "process"} if typed.name == "process" else {}
    documents = [{**holding(item.path, value), **kind} for value in (good, bad, foreign, None)] + [
        dict(kind)
    ]
    key = typed.types[-1]
    bulk.write(
        WriteRecord(Key(CLUSTER, key, "ns", str(place)), json.dumps(data).encode())
        for place, data in enumerate(documents)
    )
    clauses = (
        *resources.query_type_clauses(CLUSTER, typed),
        *conditions.typed_clauses(
            resources.condition_context(CLUSTER, typed.types, STYLE),
            typed.filters,
            {item.param: asked},
        ),
    )
    texts = [
        text
        for chunk in resources.read_chunks(
            DocumentQuery(RESOURCE, clauses), paths.fields("resourceName"), STYLE
        )
        for text in chunk
    ]
    assert [json.loads(text)["resourceName"] for text in texts] == ["0"]


def test_a_long_text_is_found_beyond_what_a_column_holds() -> None:
    store([{"status": {"phase": "p" * 3000}}, {"status": {"phase": "q" * 3000}}])
    (pod,) = [item for item in filters.K8S if item.name == "pod"]
    context = resources.condition_context(CLUSTER, pod.types, STYLE)
    assert found(
        *conditions.typed_clauses(context, pod.filters, {"status": "x," + "p" * 3000})
    ) == [0]


def test_a_dump_restores_without_a_search_path() -> None:
    """The functions behind stored columns name nothing that a restore could not find."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = pg_catalog")
        cursor.execute(
            "INSERT INTO public.storage_resource"
            " (object_id, cluster_id, resource_type, namespace, resource_name, data, create_time, update_time, change_time)"
            " VALUES ('x', 'restored', 'Pod', '', 'n', %s, now(), now(), now()) RETURNING created",
            ['{"metadata": {"creationTimestamp": "2017-10-09T07:37:44Z"}}'],
        )
        assert cursor.fetchone()[0].year == 2017


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ('"web"', "web"),
        ('""', ""),
        ("null", None),
        ("12", None),
        ('{"a": 1}', None),
        (f'"{"ü" * 128}"', "ü" * 128),
        (f'"{"ü" * 129}"', None),
    ],
)
def test_a_computed_column_has_texts_of_256_bytes_and_nothing_else(
    value: str, column: str | None
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT storage_text(%s::jsonb), storage_text(NULL)", [value])
        assert cursor.fetchone() == (column, None)
