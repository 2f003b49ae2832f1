"""200 rules over 100,000 pods while 50 changes a second arrive; then 1,000 pods that fail at once.

The worker is a process of its own that does what beat asks for; its processor time, and that of its
session in PostgreSQL, are its alone. Notifications end at a receiver in this process.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.processes import migrated, processor_seconds, until
from bench.storage import SCALE, session

RULES = 200
PODS = int(os.environ.get("BENCH_PODS", "100000"))
CLUSTERS = 10
CHANGES_A_SECOND = 50
SECONDS = 40
BURST = 1000
# What beat asks of workers, at beat's intervals; it prints its session's process first.
WORKER = """
import time, django
django.setup()
from django.conf import settings
from django.db import connection
from alerts import evaluation
from alerts.notifications import deliveries, dispatch
with connection.cursor() as cursor:
    cursor.execute("SELECT pg_backend_pid()")
    print(cursor.fetchone()[0], flush=True)
evaluated = 0.0
while True:
    if time.monotonic() - evaluated >= settings.ALERT_INTERVAL_SECONDS:
        evaluated = time.monotonic()
        evaluation.evaluate()
    dispatch.dispatch_due()
    for pk in deliveries.due_channels():
        deliveries.deliver_due(pk)
    time.sleep(settings.ALERT_DISPATCH_SECONDS)
"""
SETUP = """
import sys, django
django.setup()
from django.contrib.auth import get_user_model
from alerts.models import Channel, Rule
from clusters.models import Cluster
from storage_api.models import ClusterSync
from django.utils import timezone
later = timezone.now() + timezone.timedelta(days=1)
user = get_user_model().objects.create_superuser("bench", "b@example.com", None)
channel = Channel.objects.create(
    name="bench", kind="webhook", owner=user,
    config='{"url": "%s", "secret": "bench", "language": "en"}' % sys.argv[1],
)
for number in range(1, int(sys.argv[2]) + 1):
    cluster = Cluster.objects.create(name=f"scale-{number}", server="https://127.0.0.1:1")
    ClusterSync.objects.create(
        cluster=cluster, stored_as=cluster.name, expires_at=later, beaten_at=later
    )
for number in range(int(sys.argv[3])):
    term = {"path": "status.reason", "op": "eq", "value": f"Failing{number}"}
    rule = Rule.objects.create(
        name=f"rule {number}", source="state", owner=user,
        condition={"kind": "Pod", "where": [term]},
    )
    rule.channels.add(channel)
"""
CHANGE = """
WITH written AS (
  UPDATE storage_resource SET change_time = clock_timestamp(), update_time = clock_timestamp(),
    data = jsonb_set(data, '{status,reason}', to_jsonb(%s::text))
  WHERE cluster_id = 'scale-1' AND resource_type = 'Pod' AND resource_name = ANY (%s)
  RETURNING *
)
INSERT INTO storage_change (at, op, object_id, cluster_id, resource_type, namespace, resource_name,
  uid, resource_version, create_time, data)
SELECT update_time, 'update', object_id, cluster_id, resource_type, namespace, resource_name,
  uid, resource_version, create_time, data FROM written
"""


class Receiver:
    """A receiver of webhooks: when each payload came."""

    def __init__(self) -> None:
        self.came: list[tuple[float, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came.append((time.time(), json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def firing(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        """The notifications of a rule that say that it fires."""
        return [
            (at, body)
            for at, body in list(self.came)
            if body["groupLabels"].get("alertname") == name and body["status"] == "firing"
        ]


def pods(first: int, count: int) -> list[str]:
    """Names of pods of the first cluster; every tenth number is a Service."""
    numbers = (number for number in range(first, PODS) if number % 10)
    return [f"pod-{next(numbers)}" for _ in range(count)]


def run() -> None:
    """Print the load of 200 rules, the delay of notifications, and what a burst becomes."""
    receiver = Receiver()
    with migrated(WEBHOOK_ADDRESS_POLICY="private") as environ:
        environ["DJANGO_SETTINGS_MODULE"] = "kubegale.settings"
        setup = [sys.executable, "-c", SETUP, receiver.url, str(CLUSTERS), str(RULES)]
        subprocess.run(setup, env=environ, check=True)
        with session(environ) as cursor:
            each = PODS // CLUSTERS * 10 // 9
            cursor.execute(SCALE, {"first": 1, "last": CLUSTERS, "each": each})
            cursor.execute("VACUUM ANALYZE storage_resource")
            worker = subprocess.Popen(
                [sys.executable, "-c", WORKER], env=environ, stdout=subprocess.PIPE
            )
            try:
                assert worker.stdout is not None
                backend = int(worker.stdout.readline())
                until(lambda: _scanned(cursor) == RULES)
                _measure_load(cursor, receiver, worker.pid, backend)
                _measure_burst(cursor, receiver)
            finally:
                worker.kill()
                worker.wait()


def _scanned(cursor: Any) -> int:
    cursor.execute("SELECT count(*) FROM alerts_rule WHERE scanned_generation > 0")
    return int(cursor.fetchone()[0])


def _measure_load(cursor: Any, receiver: Receiver, worker: int, backend: int) -> None:
    """Change pods at a steady pace; each second one of them fails by a rule of its own."""
    names = pods(1, CHANGES_A_SECOND * SECONDS)
    began = processor_seconds(worker), processor_seconds(backend)
    started = time.time()
    failed: dict[str, float] = {}
    for second in range(SECONDS):
        batch = names[second * CHANGES_A_SECOND : (second + 1) * CHANGES_A_SECOND]
        cursor.execute(CHANGE, [f"Failing{second}", batch[:1]])
        failed[f"rule {second}"] = time.time()
        cursor.execute(CHANGE, ["Fine", batch[1:]])
        time.sleep(max(0.0, started + second + 1 - time.time()))
    elapsed = time.time() - started
    python = (processor_seconds(worker) - began[0]) / elapsed
    postgres = (processor_seconds(backend) - began[1]) / elapsed
    until(lambda: all(receiver.firing(name) for name in failed), 60)
    delays = sorted(receiver.firing(name)[0][0] - at for name, at in failed.items())
    print(
        f"{RULES} rules, {PODS:,} pods, {CHANGES_A_SECOND} changes/s: "
        f"{python:.1%} of a core in the worker, {postgres:.1%} in its session (aim: 5% in all)"
    )
    print(
        f"change to notification: median {statistics.median(delays):.1f} s, "
        f"p95 {delays[int(len(delays) * 0.95)]:.1f} s (aim: 5 s)"
    )


def _measure_burst(cursor: Any, receiver: Receiver) -> None:
    name = f"rule {RULES - 1}"
    cursor.execute(CHANGE, [f"Failing{RULES - 1}", pods(PODS // CLUSTERS // 2, BURST)])
    failed = time.time()
    until(lambda: receiver.firing(name), 60)
    # Another one would come within the shortest time between two of a group.
    time.sleep(15)
    told = receiver.firing(name)
    alerts = len(told[0][1]["alerts"]) + told[0][1]["truncatedAlerts"]
    print(
        f"{BURST} pods fail at once: {len(told)} notification of {alerts} alerts "
        f"after {told[0][0] - failed:.1f} s"
    )


if __name__ == "__main__":
    run()
