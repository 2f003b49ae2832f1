"""Telemetry: one trace from a click to the cluster and into the worker, without what is secret; off, it is not even loaded."""

import gzip
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from access.tokens import create_api_token
from clusters.models import Cluster
from kubegale import env
from launcher.programs import ROOT
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests import workers
from tests.caller import Caller
from tests.launcher.watching import eventually
from tests.storeserver import running_store

TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRET = "query-word-that-nobody-may-see"


@dataclass
class Collector:
    """An OTLP collector on loopback: what was sent to it."""

    address: str = ""
    # (service, trace id in hex, span name, kind, attributes)
    spans: list[tuple[str, str, str, int, dict[str, str]]] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)
    raw: bytes = b""

    def take(self, path: str, body: bytes) -> None:
        """Keep one request."""
        self.raw += body
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _attributes(resource.resource)["service.name"]
                self.spans += [
                    (service, span.trace_id.hex(), span.name, span.kind, _attributes(span))
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in metrics.scope_metrics:
                    self.metrics |= {metric.name for metric in scope.metrics}

    def traced(self, service: str) -> list[str]:
        """The names of a service's spans in our trace."""
        return [span[2] for span in self.spans if span[:2] == (service, TRACE)]


def _attributes(owner: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in owner.attributes}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """The collector for the length of a block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()


def scale(port: int, token: str, cluster: Cluster, space: str) -> dict[str, Any]:
    """Ask for a rollout, as part of TRACE and with a word in the query."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request(
        "POST",
        f"/api/v1/kubernetes/deployments/traced/restart?cluster_id={cluster.pk}&namespace={space}",
        json.dumps({}),
        {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        },
    )
    answer: dict[str, Any] = json.loads(client.getresponse().read())
    client.request(
        "GET",
        f"/api/v1/kubernetes/pods?cluster_id={cluster.pk}&keyword={SECRET}&fresh=true",
        headers={
            "Authorization": f"Bearer {token}",
            "traceparent": f"00-{TRACE}-b7ad6b7169203332-01",
        },
    )
    assert json.loads(client.getresponse().read())["code"] == 0
    return answer


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_one_trace_goes_from_the_click_to_the_cluster_and_into_the_worker(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": "traced-space"}
    namespace = {"metadata": {"name": "traced-space"}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": namespace})
    content = deployment("traced-space", "traced")
    admin.data("POST", "deployments", {**where, "content": content})
    token = create_api_token(get_user_model().objects.get(username="admin"), "traced")[1]
    apiserver.requests.clear()
    with running_collector() as collector:
        otel = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        environ = workers.environment(os.environ["REDIS_URL"], LOG_LEVEL="WARNING", **otel)
        words = ("worker", "-c", "1", "-l", "WARNING", "--without-gossip", "--without-mingle")
        with (
            running_store(str(connection.settings_dict["NAME"]), **otel) as web,
            workers.running(*words, environ=environ) as worker,
        ):
            answer = scale(web.port, token, cluster, "traced-space")
            operation = Operation.objects.get(pk=answer["data"]["operation_id"])
            assert operation.trace.startswith(f"00-{TRACE}-")
            assert eventually(
                lambda: "operation rollout" in collector.traced("kubegale-worker"), seconds=60
            ), (worker.text(), collector.spans)
            assert eventually(lambda: "GET" in collector.traced("kubegale-worker"), seconds=30), (
                collector.traced("kubegale-worker")
            )
            assert eventually(lambda: "http.server.duration" in collector.metrics, seconds=30)
    web_spans = collector.traced("kubegale-web")
    assert "apply_async/operations.run_operation" in web_spans
    # The click, its statements, and the call to the cluster, which is told of the trace too.
    assert any(name.startswith("POST api/v1/kubernetes/") for name in web_spans), web_spans
    assert {"SELECT", "INSERT", "PATCH"} <= set(web_spans), web_spans
    patched = [request for request in apiserver.requests if request.method == "PATCH"]
    assert TRACE in str(patched[0].headers)
    for secret in (SECRET, token, cluster.kubeconfig[:40] or "none", "cluster_id="):
        assert secret.encode() not in collector.raw
    assert b"db.statement" not in collector.raw


def deployment(namespace: str, name: str) -> dict[str, Any]:
    """A Deployment of no pods."""
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def test_off_nothing_of_it_is_loaded() -> None:
    check = (
        "import sys, kubegale.wsgi, kubegale.celery;"
        # The client of Redis looks for OpenTelemetry's metrics by itself, where they are installed.
        "ours = ('opentelemetry.instrumentation', 'opentelemetry.exporter', 'opentelemetry.sdk.trace');"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "kubegale.settings"}
    environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "address", ["collector:4317", "ftp://collector:4317", "http://user:word@collector:4317"]
)
def test_an_address_that_cannot_be_meant_is_refused_without_being_quoted(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    with pytest.raises(env.SettingError, match="must be an address") as refused:
        env.http_address("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert "4317" not in str(refused.value)
