"""The lasting door to a cluster that says nothing."""

import asyncio
import gc
import time

import pytest
from django.conf import LazySettings
from django.db import connection

from clusters import handshakes, stream_clients
from clusters.client import ClientLimits
from clusters.kubeconfig import Access
from clusters.models import Cluster
from clusters.streams import StreamClient
from core.errors import ClusterUnavailable
from core.sockets.connections import close_database, in_database_thread
from tests.bad_servers import serving, silent
from tests.event_loops import run_in_thread

PATH = "/api/v1/pods"


def test_a_silent_cluster_answers_streams_at_once_after_its_first_silence() -> None:
    async def ask(server: str) -> tuple[list[str], float]:
        client = StreamClient(Access(server=server), ClientLimits(read=0.5, circuit=60.0))
        messages = []
        try:
            for _ in range(2):
                with pytest.raises(ClusterUnavailable) as caught:
                    await client.read("GET", PATH)
                messages.append(caught.value.message)
            started = time.monotonic()
            for _ in range(20):
                with pytest.raises(ClusterUnavailable) as caught:
                    await client.read("GET", PATH)
            messages.append(caught.value.message)
            return messages, time.monotonic() - started
        finally:
            await client.close()

    with serving(silent) as server:
        messages, seconds = run_in_thread(ask(server))
    assert "no answer in time" in messages[0]
    assert "no answer in time" in messages[1]
    assert "did not answer lately" in messages[2]
    assert seconds < 5


async def count_simultaneous_connections(clients: int, requests: int) -> int:
    """The most connections that were open at once to a server that never ends a TLS handshake."""
    open_now: set[asyncio.StreamWriter] = set()
    most = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        open_now.add(writer)
        most = max(most, len(open_now))
        await reader.read()
        open_now.discard(writer)
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        access = Access(server=f"https://127.0.0.1:{port}", verify=False)
        doors = [StreamClient(access, ClientLimits(connect=0.5)) for _ in range(clients)]
        calls = [door.read("GET", PATH) for door in doors for _ in range(requests)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for door in doors:
            await door.close()
    assert all(isinstance(answer, ClusterUnavailable) for answer in answers), answers
    return most


def test_connections_are_opened_in_turns() -> None:
    assert run_in_thread(count_simultaneous_connections(1, 40)) <= handshakes.PER_SERVER
    assert run_in_thread(count_simultaneous_connections(12, 10)) <= handshakes.PER_PROCESS


@pytest.mark.django_db(transaction=True)
def test_a_client_that_cannot_be_refreshed_leaves_no_traceback(
    cluster: Cluster, settings: LazySettings
) -> None:
    """As at the end of the process, when its threads are gone before its last stream."""
    settings.STREAM_REAUTHORISE_SECONDS = 0

    async def stream() -> list[object]:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: complaints.append(context["message"])
        )
        async with stream_clients.stream_client(cluster.pk, 0):
            # What the refresh will read cannot be decrypted.
            await in_database_thread(forget_keys)
        # Nobody awaits the refresh.
        refreshing = asyncio.all_tasks() - {asyncio.current_task()}
        assert refreshing
        await asyncio.wait(refreshing)
        del refreshing
        gc.collect()
        await stream_clients.close()
        await close_database()
        return complaints

    def forget_keys() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE clusters_cluster SET kubeconfig = 'gAAAA'")

    assert run_in_thread(stream()) == []
