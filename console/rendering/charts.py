"""Amounts as bars and lines: how much of a quota is used, how something went over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

RESOURCES: Mapping[str, tuple[str | Promise, str]] = {
    "limitCpu": (_("CPU limit"), ""),
    "requestsCpu": (_("CPU request"), ""),
    "limitMemory": (_("Memory limit"), "Mi"),
    "requestsMemory": (_("Memory request"), "Mi"),
    "requestsStorage": (_("Storage"), "Gi"),
    "pods": (_("Pods"), ""),
}
NEARLY_FULL = 0.8
FULL = 1.0
MIN_BARS = 24


@dataclass(frozen=True, slots=True)
class Gauge:
    """One bar: used out of hard, in words too."""

    title: str | Promise
    used: float
    hard: float
    text: str
    severity: str
    points: str = ""

    @property
    def high(self) -> float:
        """The usage from which on the quota is nearly full."""
        return self.hard * NEARLY_FULL


def amount(value: float, unit: str) -> str:
    """A number and its unit, thousands of Mi as Gi."""
    if unit == "Mi" and value >= 1024:
        value /= 1024
        unit = "Gi"
    digits = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{digits} {unit}" if unit else digits


def usage_gauges(
    usage: Mapping[str, Mapping[str, float]],
    samples: Sequence[Mapping[str, Mapping[str, float]]] = (),
) -> list[Gauge]:
    """A bar for every resource with a quota, and its line over time when there are samples."""
    gauges = []
    for name, (title, unit) in RESOURCES.items():
        hard = usage["hard"].get(name, 0)
        used = usage["used"].get(name, 0)
        if not hard and not used:
            continue
        text = f"{amount(used, unit)} / {amount(hard, unit)}"
        history = [sample["used"].get(name, 0) for sample in samples]
        points = polyline_points(history, top=hard)
        gauges.append(
            Gauge(
                title,
                used,
                hard,
                text,
                _gauge_severity(used, hard),
                points,
            )
        )
    return gauges


def _gauge_severity(used: float, hard: float) -> str:
    # Usage without a quota is as good as full: nothing more is allowed.
    share = used / hard if hard else FULL
    if share >= FULL:
        return "bad"
    return "warn" if share >= NEARLY_FULL else "good"


def polyline_points(
    values: Sequence[float],
    *,
    top: float = 0,
    width: int = 300,
    height: int = 40,
) -> str:
    """The points of an SVG polyline, in pixels; "" for fewer than two values."""
    if len(values) < 2:
        return ""
    most = max(top, *values) or 1
    step = width / (len(values) - 1)
    return " ".join(
        f"{place * step:.1f},{height - value / most * (height - 2) - 1:.1f}"
        for place, value in enumerate(values)
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """One column of a chart, in the chart's own units."""

    x: float
    y: float
    width: float
    height: float
    title: str


def bars(
    values: Sequence[tuple[str, float]],
    *,
    width: int = 600,
    height: int = 100,
) -> list[Bar]:
    """The columns of a chart, the highest as high as the chart."""
    most = max((value for _title, value in values), default=0) or 1
    # A few columns stay columns, instead of filling the chart.
    step = width / max(len(values), MIN_BARS)
    return [
        Bar(
            place * step,
            height - value / most * height,
            max(step - 1, 1),
            value / most * height,
            title,
        )
        for place, (title, value) in enumerate(values)
    ]
