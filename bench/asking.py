"""`python -m bench.asking page|search|chain CLUSTER…`: how long the database takes for a question to the store; prints milliseconds."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 31


def _measured(call: Callable[[], object]) -> float:
    """The median time in the database of one call, in milliseconds."""
    from django.db import connection

    taken: list[float] = []

    def timing(execute: Any, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            taken[-1] += time.perf_counter() - started

    with connection.execute_wrapper(timing):
        for _ in range(ROUNDS):
            taken.append(0.0)
            call()
    return statistics.median(taken) * 1000


def _page(name: str, keyword: str = "") -> Callable[[], object]:
    """Page 3 of 20, with an exact total."""
    from clusters import registry
    from clusters.kinds import KINDS
    from clusters.lists import ListQuery
    from workloads.objects.services import list_objects

    cluster = registry.find(name)
    return lambda: list_objects(
        cluster, KINDS["pods"], ListQuery(keyword=keyword, offset=40, size=20)
    )


def _search(name: str) -> Callable[[], object]:
    """The same of the pods with a part of a name that all of them have."""
    return _page(name, "load")


def _chain(*names: str) -> Callable[[], object]:
    """The pods under a Deployment, two owners away, over the named clusters."""
    from clusters.kinds import KINDS
    from storage_api.services import multicluster

    places = [multicluster.Place(number, name) for number, name in enumerate(names)]
    search = multicluster.Search(places=places, kind=KINDS["pods"], owner="top-1-1")

    def ask() -> None:
        found, _ = multicluster.page(search, multicluster.Slice(size=20))
        assert len(found) == 20, len(found)

    return ask


def main(question: str, *names: str) -> None:
    """Print the median."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
    import django

    django.setup()
    print(_measured({"page": _page, "search": _search, "chain": _chain}[question](*names)))


if __name__ == "__main__":
    main(*sys.argv[1:])
