"""What objects use, as cells of tables: kubectl's numbers, and a bar with requests and limits."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from console.rendering import html

# What /metrics/usage says of one object.
Usage = Mapping[str, Any]
UNITS = {"cpu": "cores", "memory": "bytes"}
# From here on a bar that has a limit is shown as nearly full.
NEARLY_FULL = 0.85
BAR_WIDTH = 100
MIB = 2**20


def format_cores(cores: float | None) -> str:
    """Cores as `kubectl top` has them: `250m`."""
    return "–" if cores is None else f"{round(cores * 1000)}m"


def format_memory(size: float | None) -> str:
    """Bytes as `kubectl top` has them: `128Mi`."""
    return "–" if size is None else f"{round(size / MIB)}Mi"


FORMATS = {"cpu": format_cores, "memory": format_memory}


def read_side(
    usage: Usage,
    resource: str,
    side: str,
) -> float | None:
    """The number of "used", "request" or "limit" of a resource; None when there is none."""
    value = (usage.get(resource) or {}).get(f"{side}_{UNITS[resource]}")
    return None if value is None else float(value)


def render_usage(
    usage: Usage,
    resource: str,
    allocatable: float | None = None,
) -> str:
    """The used amount over a bar that ends at the limit, with a mark at the request.

    Of a node the bar ends at what is `allocatable`, and the mark is the sum of its pods' requests.
    """
    used = read_side(usage, resource, "used")
    request = read_side(usage, resource, "request")
    limit = read_side(usage, resource, "limit")
    if used is None and request is None and limit is None and allocatable is None:
        return html.text(None)
    write = FORMATS[resource]
    title = _("used %(used)s · requests %(request)s · limits %(limit)s") % {
        "used": write(used),
        "request": write(request),
        "limit": write(limit),
    }
    if allocatable is not None:
        title += " · " + _("allocatable %(amount)s") % {"amount": write(allocatable)}
    end = allocatable or limit
    bar = _render_bar(used, request, end)
    return f'<span class="use" title="{html.escape(title)}">{html.escape(write(used))}{bar}</span>'


def _render_bar(
    used: float | None,
    request: float | None,
    end: float | None,
) -> str:
    """An SVG, since the pages' policy allows no style attributes; nothing without a scale."""
    scale = end or max(request or 0.0, used or 0.0)
    if not scale:
        return ""
    width = min((used or 0.0) / scale, 1.0) * BAR_WIDTH
    tone = "full" if end and (used or 0.0) >= end * NEARLY_FULL else "fine"
    parts = f'<rect class="{tone}" width="{width:.1f}" height="6"/>'
    if request is not None:
        # The mark stays inside the picture when requests exceed it.
        place = min(request / scale, 0.98) * BAR_WIDTH
        parts += f'<rect class="request" x="{place:.1f}" width="2" height="6"/>'
    return f'<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">{parts}</svg>'
