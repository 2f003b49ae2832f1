"""`python -m bench.asking page|search|chain CLUSTER…`: milliseconds in the database for a read.

Prints the median of many calls.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 31


def _median_in_database(call: Callable[[], object]) -> float:
    """The median time in the database of one call, in milliseconds."""
    from django.db import connection

    seconds: list[float] = []

    def measure(execute: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            # A call may run several statements.
            seconds[-1] += time.perf_counter() - started

    with connection.execute_wrapper(measure):
        for _ in range(ROUNDS):
            seconds.append(0.0)
            call()
    return statistics.median(seconds) * 1000


def _read_page(name: str, keyword: str = "") -> Callable[[], object]:
    """Page 3 of 20, with an exact total."""
    from clusters import registry
    from clusters.kinds import KINDS
    from clusters.lists import ListQuery
    from workloads.objects.lists import list_objects

    cluster = registry.find(name)
    query = ListQuery(keyword=keyword, offset=40, size=20)
    return lambda: list_objects(cluster, KINDS["pods"], query)


def _search_page(name: str) -> Callable[[], object]:
    """The same of the pods with a part of a name that all of them have."""
    return _read_page(name, "load")


def _follow_owners(*names: str) -> Callable[[], object]:
    """The pods under a Deployment, two owners away, over the named clusters."""
    from clusters.kinds import KINDS
    from storage_api.services import multicluster

    places = [multicluster.ClusterScope(number, name) for number, name in enumerate(names)]
    search = multicluster.Search(places=places, kind=KINDS["pods"], owner="top-1-1")

    def read() -> None:
        pods, _ = multicluster.page(search, multicluster.Slice(size=20))
        assert len(pods) == 20, len(pods)

    return read


READS = {
    "page": _read_page,
    "search": _search_page,
    "chain": _follow_owners,
}


def main(read: str, *names: str) -> None:
    """Print the median."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
    import django

    django.setup()
    print(_median_in_database(READS[read](*names)))


if __name__ == "__main__":
    main(*sys.argv[1:])
