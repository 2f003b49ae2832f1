"""Facts of Services, Ingresses and what is behind them."""

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext_lazy as _

from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get, rows
from console.views import describe
from console.views.facts.rows import Facts, Row, labels_row, link_row, no_facts, text_row


def _service(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Type"), item, "spec", "type")
    yield from text_row(_("Cluster IP"), item, "spec", "clusterIP")
    yield from text_row(_("IP family policy"), item, "spec", "ipFamilyPolicy")
    yield from text_row(_("External name"), item, "spec", "externalName")
    yield from text_row(_("Session affinity"), item, "spec", "sessionAffinity")
    yield from text_row(
        _("External traffic policy"),
        item,
        "spec",
        "externalTrafficPolicy",
    )
    balancers = [
        str(entry.get("ip") or entry.get("hostname") or "")
        for entry in rows(get(item, "status", "loadBalancer", "ingress"))
    ]
    if addresses := [*balancers, *(get(item, "spec", "externalIPs") or [])]:
        yield _("External addresses"), html.chips(addresses, 8)
    yield from labels_row(_("Selector"), get(item, "spec", "selector"))
    ports = []
    for port in rows(get(item, "spec", "ports")):
        # targetPort defaults to port, and protocol to TCP, as in the API.
        target = f"{port.get('targetPort', port.get('port'))}/{port.get('protocol', 'TCP')}"
        ports.append(f"{port.get('name') or ''} {port.get('port')} → {target}".strip())
    if ports:
        yield _("Ports"), html.chips(ports, 8)


def _ingress(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Class"), item, "spec", "ingressClassName")
    backend = str(get(item, "spec", "defaultBackend", "service", "name") or "")
    yield from link_row(_("Default backend"), location.other("services", backend))
    addresses = [
        str(entry.get("ip") or entry.get("hostname") or "")
        for entry in rows(get(item, "status", "loadBalancer", "ingress"))
    ]
    if addresses:
        yield _("Address"), html.chips(addresses, 8)


def _network_policy(item: Object, location: Location) -> Iterator[Row]:
    yield (
        _("Pod selector"),
        describe.selector_words(
            get(
                item,
                "spec",
                "podSelector",
            )
        ),
    )
    yield _("Policy types"), html.chips(get(item, "spec", "policyTypes") or [], 2)


def _endpoint_slice(item: Object, location: Location) -> Iterator[Row]:
    yield from text_row(_("Address type"), item, "addressType")
    service = (
        get(
            item,
            "metadata",
            "labels",
        )
        or {}
    ).get("kubernetes.io/service-name")
    yield from link_row(_("Service"), location.other("services", str(service or "")))


FACTS: Mapping[str, Facts] = {
    "services": _service,
    "ingresses": _ingress,
    "networkpolicies": _network_policy,
    "endpoints": no_facts,
    "endpointslices": _endpoint_slice,
}
