"""Small pieces of HTML, made fast: text of a cluster is escaped, its control characters visible."""

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from console.rendering import state_labels

# C0 and DEL get their control pictures. C1 controls, marks that change the direction of text, and
# Unicode line breaks become the replacement character.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
_VISIBLE |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_VISIBLE |= dict.fromkeys(
    (
        *range(
            0x202A,
            0x202F,
        ),
        *range(0x2066, 0x206A),
        0x200E,
        0x200F,
        0x061C,
        0x2028,
        0x2029,
    ),
    0xFFFD,
)
SEVERITIES = ("good", "busy", "warn", "bad", "idle")


def clean(text: object) -> str:
    """Text with visible control characters, so that it cannot change the direction of a line."""
    plain = str(text)
    return plain if plain.isprintable() else plain.translate(_VISIBLE)


# What needs neither cleaning nor escaping, as nearly everything.
_PLAIN = re.compile(r"[ !#-%(-;=?-~]*").fullmatch


def escape(text: object) -> str:
    """Clean text, ready for HTML."""
    plain = str(text)
    return plain if _PLAIN(plain) else html.escape(clean(plain))


def text(value: object) -> str:
    """A value, or a dash when there is none."""
    if value in (None, ""):
        return '<span class="none">–</span>'
    return escape(value)


def link(address: str, label: object) -> str:
    """A link to a page of the console; `address` is quoted already."""
    return f'<a href="{html.escape(address)}">{escape(label)}</a>'


def status(word: str, severity: str) -> str:
    """A dot and its word; the severity is one of SEVERITIES."""
    css_class = severity if severity in SEVERITIES else "idle"
    label = escape(state_labels.translate_state(word))
    return f'<span class="status {css_class}">{label}</span>'


def code(value: object) -> str:
    """Something technical that may be long: shortened by the style, whole in the title."""
    if value in (None, ""):
        return text(None)
    content = escape(value)
    return f'<span class="clip" title="{content}">{content}</span>'


def chips(values: Sequence[object], most: int = 3) -> str:
    """A few small labels, and how many more there are."""
    labels = "".join(
        f'<span class="chip" title="{escape(value)}">{escape(value)}</span>'
        for value in values[:most]
    )
    more = len(values) - most
    return (labels + (f'<span class="chip more">+{more}</span>' if more > 0 else "")) or text(None)


def parse_time(moment: object) -> datetime | None:
    """RFC 3339 as Kubernetes and KubeGale write it, in UTC; None for anything else."""
    try:
        parsed_time = (
            moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
        )
        return (
            parsed_time.astimezone(UTC) if parsed_time.tzinfo else parsed_time.replace(tzinfo=UTC)
        )
    except (ValueError, OverflowError):
        return None


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment in the viewer's zone; in UTC where that overflows, as year 9999 for "never"."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def short_age(seconds: float) -> str:
    """`12s`, `5m`, `3h`, `12d`, `2y`; two units where the first is small, as kubectl has it."""
    # The steps are those of duration.HumanDuration in apimachinery.
    left = max(int(seconds), 0)
    if left < 120:
        return f"{left}s"
    minutes = left // 60
    if minutes < 10:
        return f"{minutes}m{left % 60}s" if left % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def zone_of(request: HttpRequest | None) -> ZoneInfo:
    """The viewer's zone, out of the cookie that the page's script keeps; UTC until then."""
    try:
        return ZoneInfo(request.COOKIES.get("zone", "UTC") if request else "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def age(moment: object, zone: ZoneInfo, now: datetime) -> str:
    """How long ago, with the moment itself in the title; the page's script keeps it going."""
    if not isinstance(moment, str | datetime):
        return text(None)
    past, opening = _time_tag(moment, zone)
    if past is None:
        return text(None)
    return f"{opening}{short_age((now - past).total_seconds())}</time>"


@lru_cache(maxsize=8192)
def _time_tag(
    moment: str | datetime,
    zone: ZoneInfo,
) -> tuple[datetime | None, str]:
    """(the moment in UTC, its opening tag); cached, since formatting dates is slow."""
    parsed_time = parse_time(moment)
    if parsed_time is None:
        return None, ""
    stamp = f"{parsed_time:%Y-%m-%dT%H:%M:%SZ}"
    local = f"{_in_zone(parsed_time, zone):%Y-%m-%d %H:%M:%S %Z}"
    return parsed_time, f'<time datetime="{stamp}" title="{local}" data-age>'


def moment(value: object, zone: ZoneInfo) -> str:
    """A moment in the viewer's zone."""
    parsed_time = parse_time(value)
    if parsed_time is None:
        return text(None)
    stamp = f"{parsed_time:%Y-%m-%dT%H:%M:%SZ}"
    local = f"{_in_zone(parsed_time, zone):%Y-%m-%d %H:%M:%S}"
    return f'<time datetime="{stamp}" data-moment>{local}</time>'


@lru_cache(maxsize=16384)
def path_segment(name: object) -> str:
    """A name as one segment of an address."""
    return quote(str(name), safe=":@~-._")


def binary_size(count: object) -> str:
    """A number of bytes in the largest unit below it, as `1.5 GiB`; "" for what is no number."""
    if isinstance(count, bool) or not isinstance(count, int | float):
        return ""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            return f"{size:.1f}".removesuffix(".0") + f" {unit}"
        size /= 1024
    return f"{size:.1f}".removesuffix(".0") + " PiB"


def image(reference: object) -> str:
    """An image: its registry and path may be cut, its name and tag never are."""
    whole = str(reference)
    front, slash, name = whole.rpartition("/")
    # A digest is told apart by its first digits.
    tail, at, digest = name.partition("@")
    shown = f"{tail}@{digest[:15]}…" if at else name
    title = escape(whole)
    return (
        f'<span class="chip image" title="{title}"><span class="front">{escape(front + slash)}'
        f'</span><span class="tail">{escape(shown)}</span></span>'
    )


def mark_safe(piece: str) -> SafeString:
    """A piece made by this module, for a template."""
    return SafeString(piece)


def yes_no(value: object) -> str:
    """A truth in the viewer's language."""
    return escape(_("yes") if value else _("no"))
