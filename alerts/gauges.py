"""What Prometheus sees of alerts, read out of the database at each scrape."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alerts import evaluation
from alerts.models import Alert, Delivery, Rule
from core import clock


class AlertGauges(Collector):
    """How far the evaluation is behind, what fires, and what became of notifications.

    Without a database there are no samples.
    """

    def describe(self) -> Iterator[Metric]:
        """Nothing: registration must not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        try:
            yield from [*_evaluation(), _alerts(), _failing_rules(), _notifications(), _late()]
        except DatabaseError:
            # The other metrics of the process are still of use.
            return


def _evaluation() -> list[Metric]:
    lag = evaluation.position_lag()
    return [
        CounterMetricFamily(
            "kubegale_alert_evaluations", "Turns of the evaluation", value=lag["turns"]
        ),
        GaugeMetricFamily(
            "kubegale_alert_evaluation_age_seconds",
            "Seconds since the last turn of the evaluation",
            value=lag["seconds"],
        ),
        GaugeMetricFamily(
            "kubegale_alert_evaluation_seconds",
            "How long the last turn of the evaluation took",
            value=lag["turn_seconds"],
        ),
        GaugeMetricFamily(
            "kubegale_alert_changes_waiting",
            "Changes of the store that no turn has read yet",
            value=lag["changes"],
        ),
    ]


def _alerts() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "kubegale_alerts",
        "Alerts that are pending or fire",
        labels=["state", "severity"],
    )
    rows = Alert.objects.exclude(state=Alert.State.RESOLVED).order_by()
    for state, severity, count in rows.values_list("state", "severity").annotate(Count("pk")):
        gauge.add_metric([state, severity], count)
    return gauge


def _failing_rules() -> GaugeMetricFamily:
    failing = Rule.objects.filter(enabled=True).exclude(last_error="")
    return GaugeMetricFamily(
        "kubegale_alert_rules_failing",
        "Rules that are on and could not be evaluated at the last turn",
        value=failing.count(),
    )


def _notifications() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "kubegale_alert_notifications",
        "Notifications of the last day by the kind of channel: pending, delivered or failed",
        labels=["kind", "state"],
    )
    rows = Delivery.objects.filter(created_at__gt=clock.now() - timedelta(days=1)).order_by()
    for kind, state, count in rows.values_list("channel__kind", "state").annotate(Count("pk")):
        gauge.add_metric([kind, state], count)
    return gauge


def _late() -> GaugeMetricFamily:
    # What failed waits for its next attempt; so late it is where no worker sends.
    late = clock.now() - timedelta(seconds=settings.ALERT_LATE_SECONDS)
    return GaugeMetricFamily(
        "kubegale_alert_notifications_overdue",
        "Notifications that nobody sends",
        value=Delivery.objects.filter(state="pending", due_at__lt=late).count(),
    )
