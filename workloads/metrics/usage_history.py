"""A cluster's use over time: taken by a beat task and kept for a while, or asked of its Prometheus."""

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
from workloads.metrics import documents, metrics_sources
from workloads.models import Sample

DURATION = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d|w)\Z")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_POINTS, POINTS, LONGEST = 11_000, 120, 366 * 86_400
UNFIT = "the time must begin before it ends, and last a year at most"
QUERIES = {
    "cpu": 'sum(rate(container_cpu_usage_seconds_total{id="/"}[5m]))',
    "memory": 'sum(container_memory_working_set_bytes{id="/"})',
    "pods": "sum(kubelet_running_pods)",
}


@dataclass(frozen=True, slots=True)
class UsageScope:
    """One node, or one pod in its namespace; nothing for the whole cluster."""

    node: str = ""
    namespace: str = ""
    pod: str = ""

    @property
    def queries(self) -> Mapping[str, str]:
        """What Prometheus is asked; names go in as quoted texts."""
        if self.node:
            within = f'id="/",node={_quoted(self.node)}'
        elif self.pod:
            within = f'container!="",container!="POD",namespace={_quoted(self.namespace)},pod={_quoted(self.pod)}'
        else:
            return QUERIES
        return {
            "cpu": f"sum(rate(container_cpu_usage_seconds_total{{{within}}}[{metrics_sources.WINDOW}]))",
            "memory": f"sum(container_memory_working_set_bytes{{{within}}})",
        }


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


WHOLE_CLUSTER = UsageScope()


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From when to when (UTC), and the seconds between two points."""

    start: datetime
    end: datetime
    step: int


def _duration(text: str, name: str) -> int:
    found = DURATION.match(text)
    if found is None:
        raise Invalid(f"{name} must look like 15m, 1h, 6h, 24h or 7d", field=name)
    return int(found[1]) * UNITS[found[2]]


def _moment(text: str, name: str) -> datetime:
    """A moment as epoch seconds or RFC 3339."""
    try:
        if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text):
            return datetime.fromtimestamp(float(text), UTC)
        found = parse_datetime(text)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None:
        raise Invalid(f"{name} must be epoch seconds or an RFC 3339 time with a zone", field=name)
    return found.astimezone(UTC)


def time_range(*, span: str = "", start: str = "", end: str = "", step: str = "") -> TimeRange:
    """`span` such as 1h (the default), or `start` and `end`; `step` in seconds or as a duration. Invalid for what makes no sense."""
    if span and (start or end):
        raise Invalid("time_range and start/end exclude one another", field="time_range")
    last = _moment(end, "end") if end else timezone.now().astimezone(UTC)
    try:
        first = (
            _moment(start, "start")
            if start
            else last - timedelta(seconds=_duration(span or "1h", "time_range"))
        )
    except OverflowError:
        raise Invalid(UNFIT, field="time_range") from None
    seconds = (last - first).total_seconds()
    if seconds <= 0 or seconds > LONGEST:
        raise Invalid(UNFIT, field="time_range")
    width = _step(step) if step else max(round(seconds / POINTS), 15)
    if seconds / width > MAX_POINTS:
        raise Invalid(f"step is too small: more than {MAX_POINTS} points", field="step")
    return TimeRange(first.replace(microsecond=0), last.replace(microsecond=0), width)


def _step(text: str) -> int:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,6}", text) else _duration(text, "step")


# --- taking ---------------------------------------------------------------------------------------------------------
def take_sample(cluster: Cluster) -> Sample:
    """Note what the cluster uses now; null where nobody measures it, or the credentials may not look at it.

    Forbidden when they may look at nothing of it.
    """
    uses = list(documents.measured_nodes(cluster).uses.values())
    holdings = documents.ClusterCounts(cluster)
    census = holdings.census("pods")
    if holdings.refusal and not uses:
        raise holdings.refusal
    cpu = sum(use.cpu or 0.0 for use in uses) if uses else None
    memory = sum(use.memory or 0.0 for use in uses) if uses else None
    return Sample.objects.create(
        cluster=cluster,
        at=timezone.now(),
        cpu=cpu,
        memory=memory,
        pods=None if census is None else census.total,
    )


def delete_expired() -> int:
    """Drop samples older than METRIC_RETENTION_DAYS; how many."""
    limit = timezone.now() - timedelta(days=settings.METRIC_RETENTION_DAYS)
    return Sample.objects.filter(at__lt=limit).delete()[0]


# --- reading --------------------------------------------------------------------------------------------------------
def statistics(
    cluster: Cluster, span: TimeRange, about: UsageScope = WHOLE_CLUSTER
) -> dict[str, Any]:
    """{"time_range", "series":{cpu, memory, pods: [[epoch seconds, value], …]}, "summary", "source"}.

    Of one node or pod only a Prometheus knows the past; without one its series are empty and the source is none.
    """
    source, series = _series(cluster, span, about)
    return {
        "source": source,
        "time_range": {"start": _text(span.start), "end": _text(span.end), "step": span.step},
        "series": series,
        "summary": {name: _summary(points) for name, points in series.items()},
    }


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


Series = Mapping[str, list[list[float]]]


def _series(cluster: Cluster, span: TimeRange, about: UsageScope) -> tuple[str, Series]:
    if cluster.prometheus:
        try:
            found = {
                name: _asked(cluster, expression, span)
                for name, expression in about.queries.items()
            }
        except DomainError:
            found = {}
        if any(found.values()):
            return "prometheus", found
    if about != WHOLE_CLUSTER:
        return "none", {name: [] for name in about.queries}
    kept = _kept(cluster, span)
    return ("samples" if any(kept.values()) else "none"), kept


def _asked(cluster: Cluster, expression: str, span: TimeRange) -> list[list[float]]:
    start, end = span.start.timestamp(), span.end.timestamp()
    found = prometheus.over_time(cluster, expression, start=start, end=end, step=span.step)
    return [[int(moment), float(value)] for moment, value in found[0]["values"]] if found else []


def _kept(cluster: Cluster, span: TimeRange) -> Series:
    """Our samples, averaged over each step."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM date_bin(make_interval(secs => %s), at, %s))::bigint AS moment, avg(cpu), avg(memory), avg(pods) "
            "FROM workloads_sample WHERE cluster_id = %s AND at >= %s AND at <= %s GROUP BY moment ORDER BY moment",
            [span.step, span.start, cluster.pk, span.start, span.end],
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
    return {"avg": sum(values) / len(values), "max": max(values), "min": min(values)}
