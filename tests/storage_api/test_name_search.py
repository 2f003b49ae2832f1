"""The search by a part of a name: the same answer, however many names match."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clusters.kinds import KINDS
from storage_api.services.multicluster import ClusterScope
from storage_api.services.name_search import FEW_MATCHES, count_by_name, find_by_name

pytestmark = pytest.mark.usefixtures("emptied")
# More names than are looked at one by one, in both cases of letters.
NAMES = [f"shop-{number}-api" for number in range(FEW_MATCHES + 200)]
RARE = ["SHOP", "Shop-7-Rare", "api", "old-shop-7-rare", "a%b", "under_score", "back\\slash"]
FILL = """
INSERT INTO storage_resource
  (object_id, cluster_id, resource_type, namespace, resource_name, data,
   create_time, update_time, change_time)
SELECT md5(name), 'names', 'Pod', 'ns', name, '{}', now(), now(), now()
FROM unnest(%s) AS name
"""


def best(text: str, size: int) -> list[str]:
    """The answer as its definition says it."""
    word = text.lower()
    matches = [name for name in NAMES + RARE if word in name.lower()]

    def nearness(name: str) -> tuple[bool, bool, str, str]:
        lower = name.lower()
        return lower != word, not lower.startswith(word), lower, name

    return sorted(matches, key=nearness)[:size]


@pytest.mark.django_db
def test_the_nearest_names_come_first_whether_few_match_or_many() -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [NAMES + RARE])
    scopes = [(KINDS["pods"], [ClusterScope(1, "names")])]
    texts = ("shop", "-api", "API", "p-7", "-rare", "i", "op", "%", "r_s", "\\", "nothing-has-this")
    for text in texts:
        for size in (3, 200):
            with CaptureQueriesContext(connection) as queries:
                rows = find_by_name(scopes, text, size)
            assert [row["name"] for row in rows] == best(text, size), text
            assert len(queries) == 1
        assert count_by_name(scopes, text) == len(best(text, 10_000)), text


@pytest.mark.django_db
def test_of_many_matches_only_the_first_are_read() -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [[f"many-{number}" for number in range(10_000)]])
        cursor.execute("ANALYZE storage_resource")
        scopes = [(KINDS["pods"], [ClusterScope(1, "names")])]
        with CaptureQueriesContext(connection) as queries:
            assert len(find_by_name(scopes, "many", 20)) == 20
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {queries[0]['sql']}")
        plan = cursor.fetchone()[0][0]["Plan"]

    def rows_read(node: dict[str, object]) -> int:
        children = node.get("Plans", [])
        assert isinstance(children, list)
        own = 0
        if "storage_resource" in str(node.get("Relation Name")):
            rows = int(str(node["Actual Rows"])) + int(str(node.get("Rows Removed by Filter", 0)))
            own = rows * int(str(node["Actual Loops"]))
        return own + sum(rows_read(child) for child in children)

    assert rows_read(plan) < 100
