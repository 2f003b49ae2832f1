"""Amounts as bars and lines: how much of a quota is used, how something went over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

RESOURCES: Mapping[str, tuple[str | Promise, str]] = {
    "limitCpu": (_("Processors, at most"), ""),
    "requestsCpu": (_("Processors, asked for"), ""),
    "limitMemory": (_("Memory, at most"), "Mi"),
    "requestsMemory": (_("Memory, asked for"), "Mi"),
    "requestsStorage": (_("Storage"), "Gi"),
    "pods": (_("Pods"), ""),
}
NEARLY, FULL = 0.8, 1.0
FEWEST_BARS = 24


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
        """From where on it is nearly full."""
        return self.hard * NEARLY


def amount(value: float, unit: str) -> str:
    """A number and its unit, thousands of Mi as Gi."""
    if unit == "Mi" and value >= 1024:
        value, unit = value / 1024, "Gi"
    return f"{value:.2f}".rstrip("0").rstrip(".") + (f" {unit}" if unit else "")


def usage_gauges(
    usage: Mapping[str, Mapping[str, float]],
    samples: Sequence[Mapping[str, Mapping[str, float]]] = (),
) -> list[Gauge]:
    """A bar for every resource that is limited, with its line over time when there are samples."""
    gauges = []
    for name, (title, unit) in RESOURCES.items():
        hard, used = usage["hard"].get(name, 0), usage["used"].get(name, 0)
        if hard or used:
            share = used / hard if hard else FULL
            severity = "bad" if share >= FULL else "warn" if share >= NEARLY else "good"
            text = f"{amount(used, unit)} / {amount(hard, unit)}"
            gauges.append(
                Gauge(
                    title,
                    used,
                    hard,
                    text,
                    severity,
                    polyline_points([sample["used"].get(name, 0) for sample in samples], top=hard),
                )
            )
    return gauges


def polyline_points(
    values: Sequence[float], *, top: float = 0, width: int = 300, height: int = 40
) -> str:
    """The points of a polyline; nothing for fewer than two values."""
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


def bars(values: Sequence[tuple[str, float]], *, width: int = 600, height: int = 100) -> list[Bar]:
    """The columns of a chart, the highest as high as the chart."""
    most = max((value for _title, value in values), default=0) or 1
    # A few columns stay columns, instead of filling the chart.
    step = width / max(len(values), FEWEST_BARS)
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
