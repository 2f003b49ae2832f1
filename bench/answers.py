"""What large answers leave behind in a web process: 2,000 of 4 MB, by the worker it has.

Over one kept connection; the memory of the worker after each fifth of them.
`BENCH_ANSWERS` sets how many.
"""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from bench.processes import migrated, peak, proportional, web

ANSWERS = int(os.environ.get("BENCH_ANSWERS", "2000"))
SIZE = 4 * 1024 * 1024
DOCUMENT = "/bcsstorage/v1/k8s/dynamic/namespace_resources/clusters/c/namespaces/n/ConfigMap/large"
PARTS = 5
BOUND = 200


def _worker(master: int) -> int:
    """The process that answers."""
    return int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])


def _ask(pool: urllib3.HTTPConnectionPool) -> None:
    answer = pool.request("GET", DOCUMENT)
    assert answer.status == 200, answer.data[:200]
    assert len(answer.data) > SIZE


def _measure(address: str, worker: int) -> None:
    """Print the memory after each part of the answers."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", urlsplit(address).port, timeout=300)
    sizes = []
    for _ in range(PARTS):
        for _ in range(ANSWERS // PARTS):
            _ask(pool)
        sizes.append(f"{proportional(worker):.0f}")
    print(
        f"{ANSWERS} answers of 4 MB: {', '.join(sizes)} MB after each fifth,"
        f" at most {peak(worker):.0f} MB (bound: {BOUND})",
        flush=True,
    )


def run() -> None:
    """A few minutes."""
    with migrated(OPEN_DIALECTS="bcs") as environ, web(environ) as (address, master):
        body = json.dumps({"data": {"data": {"text": "x" * SIZE}}})
        headers = {"Content-Type": "application/json"}
        answer = urllib3.request("PUT", address + DOCUMENT, body=body, headers=headers)
        assert answer.status == 200, answer.data[:200]
        _measure(address, _worker(master.pid))
