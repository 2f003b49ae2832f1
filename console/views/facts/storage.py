"""Facts of claims, volumes and their classes."""

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext_lazy as _

from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get, rows
from console.views.facts.rows import Facts, Row, labels_row, link_row, text_row


def _claim(item: Object, location: Location) -> Iterator[Row]:
    yield from link_row(
        _("Volume"),
        location.other(
            "persistentvolumes",
            str(get(item, "spec", "volumeName") or ""),
        ),
    )
    yield from link_row(
        _("Storage class"),
        location.other(
            "storageclasses",
            str(get(item, "spec", "storageClassName") or ""),
        ),
    )
    yield from text_row(
        _("Requested"),
        item,
        "spec",
        "resources",
        "requests",
        "storage",
    )
    yield from text_row(_("Capacity"), item, "status", "capacity", "storage")
    yield _("Access modes"), html.chips(get(item, "spec", "accessModes") or [], 4)
    yield from text_row(_("Volume mode"), item, "spec", "volumeMode")
    yield from labels_row(_("Selector"), get(item, "spec", "selector", "matchLabels"))
    source = (
        get(
            item,
            "spec",
            "dataSourceRef",
        )
        or get(item, "spec", "dataSource")
        or {}
    )
    if source.get("name"):
        yield _("Data source"), html.text(f"{source.get('kind')} {source['name']}")


def _volume(item: Object, location: Location) -> Iterator[Row]:
    claim = get(item, "spec", "claimRef") or {}
    yield from link_row(
        _("Claim"),
        location.other(
            "persistentvolumeclaims",
            str(claim.get("name") or ""),
            str(claim.get("namespace") or ""),
        ),
    )
    yield from link_row(
        _("Storage class"),
        location.other(
            "storageclasses",
            str(get(item, "spec", "storageClassName") or ""),
        ),
    )
    yield from text_row(_("Capacity"), item, "spec", "capacity", "storage")
    yield _("Access modes"), html.chips(get(item, "spec", "accessModes") or [], 4)
    yield from text_row(
        _("Reclaim policy"),
        item,
        "spec",
        "persistentVolumeReclaimPolicy",
    )
    yield from text_row(_("Volume mode"), item, "spec", "volumeMode")
    yield from text_row(_("Reason"), item, "status", "reason")
    yield from text_row(_("Message"), item, "status", "message")
    for term in rows(
        get(
            item,
            "spec",
            "nodeAffinity",
            "required",
            "nodeSelectorTerms",
        )
    ):
        words = [
            f"{entry.get('key')} {entry.get('operator')} ({', '.join(entry.get('values') or ())})"
            for entry in rows(term.get("matchExpressions"))
        ]
        yield _("Node affinity"), html.chips(words, 8)


def _storage_class(item: Object, location: Location) -> Iterator[Row]:
    default = "storageclass.kubernetes.io/is-default-class"
    is_default = (get(item, "metadata", "annotations") or {}).get(default) == "true"
    yield _("Default"), html.yes_no(is_default)
    yield from text_row(_("Provisioner"), item, "provisioner")
    yield from text_row(_("Reclaim policy"), item, "reclaimPolicy")
    yield from text_row(_("Volume binding mode"), item, "volumeBindingMode")
    yield _("Allows volume expansion"), html.yes_no(item.get("allowVolumeExpansion"))
    if item.get("mountOptions"):
        yield _("Mount options"), html.chips(item["mountOptions"], 8)


FACTS: Mapping[str, Facts] = {
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "storageclasses": _storage_class,
}
