"""What templates need of `console.rendering.html`: text made harmless, ages, moments, states."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from clusters.kinds import KINDS
from console import messages, navigation
from console.rendering import health, html, state_labels

register = template.Library()


@register.filter
def printable(value: object) -> SafeString:
    """Text of a cluster: escaped, control characters visible."""
    return SafeString(html.escape("" if value is None else value))


@register.filter
def path_segment(value: object) -> str:
    """A name as one segment of an address."""
    return html.path_segment(value)


@register.simple_tag(takes_context=True)
def age(context: Context, moment: object) -> SafeString:
    """How long ago; the page's script keeps it up to date."""
    return SafeString(html.age(moment, html.zone_of(context.get("request")), datetime.now(UTC)))


@register.simple_tag(takes_context=True)
def moment(context: Context, value: object) -> SafeString:
    """A moment in the viewer's zone."""
    return SafeString(html.moment(value, html.zone_of(context.get("request"))))


@register.simple_tag
def status(word: str, severity: str) -> SafeString:
    """A dot and its word."""
    return SafeString(html.status(word, severity))


@register.simple_tag
def state(plural: str, item: Any) -> SafeString:
    """How an object of a kind is doing."""
    return SafeString(html.status(*health.for_kind(plural, item)))


@register.filter
def translate_state(word: str) -> str:
    """A state in the viewer's language."""
    return state_labels.translate_state(word)


@register.filter
def problem_message(item: Any) -> str:
    """What an object says about its trouble."""
    return html.clean(health.problem_message(item))


@register.filter
def object_address(item: Any, plural: str) -> str:
    """The page of an object that came out of /multicluster/resources.

    The page of its cluster for what an agent has stored without a name.
    """
    cluster = item["cluster_id"]
    name = health.get(item, "metadata", "name")
    if not isinstance(name, str) or not name:
        return f"/clusters/{cluster}"
    namespace = str(health.get(item, "metadata", "namespace") or "")
    group = KINDS[plural].group
    place = {"plural": plural, "group": group, "namespace": namespace, "name": name}
    return navigation.object_address(cluster, place)


@register.filter
def kind_title(plural: str) -> str:
    """What a kind is called in lists."""
    return navigation.kind_title(plural)


@register.filter
def translate_message(text: str) -> str:
    """What an operation or a drain says, in the viewer's language."""
    return messages.translate_message(text)


@register.filter
def count_of(plural: str, count: int) -> str:
    """`1 Job`, `2 Jobs`: so many objects of a kind."""
    return navigation.kind_count(plural, count)


@register.filter
def binary_size(count: object) -> str:
    """Bytes in Kubernetes' units: 103079215104 is `96 GiB`."""
    return html.binary_size(count)


@register.filter
def image_chip(reference: object) -> SafeString:
    """An image whose name and tag are never cut."""
    return SafeString(html.image(reference))


@register.filter
def unlocalised(value: object) -> str:
    """A number as attributes of HTML and SVG need it, in every language."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@register.filter
def field(values: Any, name: str) -> str:
    """What was entered under a name that no template could spell."""
    return str(values.get(name, "")) if values else ""


@register.simple_tag
def entry(entered: dict[str, str], name: str, current: str) -> str:
    """What was entered under a name; before anything was, the current value."""
    return html.clean(entered.get(name, current))


@register.simple_tag
def amount_title(key: str) -> str:
    """The title of `requests.cpu` and the like."""
    titles = {
        "requests.cpu": _("CPU request"),
        "limits.cpu": _("CPU limit"),
        "requests.memory": _("Memory request"),
        "limits.memory": _("Memory limit"),
    }
    return titles[key]


@register.simple_tag
def gibibytes(size: float) -> str:
    """Bytes as GiB, which is what is paid for."""
    return f"{size / 2**30:.2f} GiB"
