"""What a cluster uses over time.

From its Prometheus, or else from samples that a periodic task takes and stores.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from clusters import prometheus
from clusters.models import Cluster
from core.errors import DomainError, Invalid
from workloads.metrics import documents
from workloads.metrics.metrics_sources import WINDOW, quoted_label
from workloads.models import Sample

DURATION = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d|w)\Z")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_POINTS = 11_000
DEFAULT_POINTS = 120
MAX_SECONDS = 366 * 86_400
INVALID_RANGE = "the time must begin before it ends, and last a year at most"
QUERIES = {
    "cpu": 'sum(rate(container_cpu_usage_seconds_total{id="/"}[5m]))',
    "memory": 'sum(container_memory_working_set_bytes{id="/"})',
    "pods": "sum(kubelet_running_pods)",
}


@dataclass(frozen=True, slots=True)
class UsageScope:
    """One node, or one pod in its namespace; all empty for the whole cluster."""

    node: str = ""
    namespace: str = ""
    pod: str = ""

    @property
    def queries(self) -> Mapping[str, str]:
        """The PromQL queries by the name of their series."""
        if self.node:
            # The cgroup "/" is the sum of all processes on a node.
            matchers = f'id="/",node={quoted_label(self.node)}'
        elif self.pod:
            matchers = (
                'container!="",container!="POD",'
                f"namespace={quoted_label(self.namespace)},pod={quoted_label(self.pod)}"
            )
        else:
            return QUERIES
        rate = f"rate(container_cpu_usage_seconds_total{{{matchers}}}[{WINDOW}])"
        return {
            "cpu": f"sum({rate})",
            "memory": f"sum(container_memory_working_set_bytes{{{matchers}}})",
        }


WHOLE_CLUSTER = UsageScope()


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From when to when (UTC), and the seconds between two points."""

    start: datetime
    end: datetime
    step: int


def _duration_seconds(text: str, name: str) -> int:
    match = DURATION.match(text)
    if match is None:
        raise Invalid(
            f"{name} must look like 15m, 1h, 6h, 24h or 7d",
            field=name,
        )
    return int(match[1]) * UNITS[match[2]]


def _parse_time(text: str, name: str) -> datetime:
    """A time (UTC) from epoch seconds or RFC 3339; Invalid for anything else."""
    try:
        if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text):
            return datetime.fromtimestamp(float(text), UTC)
        time = parse_datetime(text)
    except (ValueError, OverflowError):
        time = None
    if time is None or time.tzinfo is None:
        raise Invalid(
            f"{name} must be epoch seconds or an RFC 3339 time with a zone",
            field=name,
        )
    try:
        return time.astimezone(UTC)
    except OverflowError:
        # Outside of the years 1 to 9999 in UTC.
        raise Invalid(INVALID_RANGE, field="time_range") from None


def time_range(*, span: str = "", start: str = "", end: str = "", step: str = "") -> TimeRange:
    """A time range from texts.

    Either `span` such as 1h (the default) until now, or `start` and `end`; `step` in seconds or as
    a duration. Invalid for a range without points, of more than a year or with too many points.
    """
    if span and (start or end):
        raise Invalid(
            "time_range and start/end are mutually exclusive",
            field="time_range",
        )
    last = _parse_time(end, "end") if end else timezone.now().astimezone(UTC)
    first = _first_time(last, span, start)
    seconds = (last - first).total_seconds()
    if seconds <= 0 or seconds > MAX_SECONDS:
        raise Invalid(INVALID_RANGE, field="time_range")
    # Prometheus scrapes every 15 s or less often: smaller steps would only repeat values.
    step_seconds = _step_seconds(step) if step else max(round(seconds / DEFAULT_POINTS), 15)
    # Prometheus refuses more points than this in a series.
    if seconds / step_seconds > MAX_POINTS:
        raise Invalid(
            f"step is too small: more than {MAX_POINTS} points",
            field="step",
        )
    return TimeRange(
        first.replace(microsecond=0),
        last.replace(microsecond=0),
        step_seconds,
    )


def _first_time(last: datetime, span: str, start: str) -> datetime:
    if start:
        return _parse_time(start, "start")
    seconds = _duration_seconds(span or "1h", "time_range")
    try:
        return last - timedelta(seconds=seconds)
    except OverflowError:
        # Before the year 1.
        raise Invalid(INVALID_RANGE, field="time_range") from None


def _step_seconds(text: str) -> int:
    if re.fullmatch(r"[1-9][0-9]{0,6}", text):
        return int(text)
    return _duration_seconds(text, "step")


# --- samples ------------------------------------------------------------------
def take_sample(cluster: Cluster) -> Sample:
    """Store what the cluster uses now; null for what is not measured or may not be read.

    Forbidden when the credentials may read neither usage nor pods.
    """
    usage = list(documents.measured_nodes(cluster).usage.values())
    counts = documents.ClusterCounts(cluster)
    pods = counts.census("pods")
    if counts.refusal and not usage:
        raise counts.refusal
    cpu = None
    memory = None
    if usage:
        cpu = sum(node.cpu or 0.0 for node in usage)
        memory = sum(node.memory or 0.0 for node in usage)
    return Sample.objects.create(
        cluster=cluster,
        at=timezone.now(),
        cpu=cpu,
        memory=memory,
        pods=None if pods is None else pods.total,
    )


def delete_expired() -> int:
    """Delete samples older than METRIC_RETENTION_DAYS; how many."""
    limit = timezone.now() - timedelta(days=settings.METRIC_RETENTION_DAYS)
    return Sample.objects.filter(at__lt=limit).delete()[0]


# --- statistics ---------------------------------------------------------------
def statistics(
    cluster: Cluster,
    time_range: TimeRange,
    scope: UsageScope = WHOLE_CLUSTER,
) -> dict[str, Any]:
    """{"time_range","series","summary","source"}.

    The series are cpu, memory and pods, each a list of [epoch seconds, value].

    Only a Prometheus has the history of a node or pod; without one their series are empty and the
    source is none.
    """
    source, series = _read_series(cluster, time_range, scope)
    return {
        "source": source,
        "time_range": {
            "start": _format_time(time_range.start),
            "end": _format_time(time_range.end),
            "step": time_range.step,
        },
        "series": series,
        "summary": {name: _summary(points) for name, points in series.items()},
    }


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


Series = Mapping[str, list[list[float]]]


def _read_series(cluster: Cluster, time_range: TimeRange, scope: UsageScope) -> tuple[str, Series]:
    """(source, series): from Prometheus, else from our samples."""
    if cluster.prometheus:
        try:
            series = {
                name: _read_prometheus(cluster, expression, time_range)
                for name, expression in scope.queries.items()
            }
        except DomainError:
            # It is unavailable: our own samples serve instead.
            series = {}
        if any(series.values()):
            return "prometheus", series
    if scope != WHOLE_CLUSTER:
        return "none", {name: [] for name in scope.queries}
    samples = _read_samples(cluster, time_range)
    return ("samples" if any(samples.values()) else "none"), samples


def _read_prometheus(cluster: Cluster, expression: str, time_range: TimeRange) -> list[list[float]]:
    results = prometheus.over_time(
        cluster,
        expression,
        start=time_range.start.timestamp(),
        end=time_range.end.timestamp(),
        step=time_range.step,
    )
    if not results:
        return []
    # The expressions sum over everything, so there is one result at most.
    return [[int(time), float(value)] for time, value in results[0]["values"]]


SAMPLES_SQL = """
    SELECT extract(epoch FROM date_bin(make_interval(secs => %s), at, %s))::bigint AS moment,
           avg(cpu), avg(memory), avg(pods)
    FROM workloads_sample
    WHERE cluster_id = %s AND at >= %s AND at <= %s
    GROUP BY moment ORDER BY moment
"""


def _read_samples(cluster: Cluster, time_range: TimeRange) -> Series:
    """Our samples, averaged over each step."""
    start = time_range.start
    with connection.cursor() as cursor:
        cursor.execute(
            SAMPLES_SQL,
            [time_range.step, start, cluster.pk, start, time_range.end],
        )
        rows = cursor.fetchall()
    columns = {"cpu": 1, "memory": 2, "pods": 3}
    return {
        name: [[row[0], float(row[column])] for row in rows if row[column] is not None]
        for name, column in columns.items()
    }


def _summary(points: list[list[float]]) -> dict[str, float | None]:
    values = [value for _, value in points]
    if not values:
        return {"avg": None, "max": None, "min": None}
    return {
        "avg": sum(values) / len(values),
        "max": max(values),
        "min": min(values),
    }
