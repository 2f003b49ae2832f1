"""The lasting door to a cluster that says nothing."""

import time

import pytest

from clusters.client import ClientLimits
from clusters.kubeconfig import Access
from clusters.streams import StreamClient
from core.errors import ClusterUnavailable
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
