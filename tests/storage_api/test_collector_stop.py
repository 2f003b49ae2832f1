"""How the collection of one cluster ends."""

import asyncio

import pytest

from storage_api.collector.process import collect_cluster


async def fail_when_cancelled(started: asyncio.Event) -> None:
    """As a write whose database goes away while the process has to stop."""
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        raise ConnectionError("the server closed the connection")


@pytest.mark.parametrize("siblings", [1, 2])
def test_a_collection_ends_whose_tasks_fail_while_it_is_cancelled(siblings: int) -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(siblings):
                tasks.create_task(fail_when_cancelled(started))

    async def main() -> bool:
        collection = asyncio.create_task(collect_cluster("gone", run))
        await started.wait()
        collection.cancel()
        done, _ = await asyncio.wait([collection], timeout=30)
        collection.cancel()
        return collection in done

    started = asyncio.Event()
    assert asyncio.run(main())
