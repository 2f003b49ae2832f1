"""The tables of an object's page: what `kubectl describe` shows beyond single facts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from console.locations import Location, find_kind, resolve_reference
from console.rendering import html
from console.rendering.health import Object, collect_regular, get, rows

Title = str | Promise
# Fields of a schema, and rows of any table, that a page shows.
MAX_ROWS = 300
MAX_SCHEMA_DEPTH = 4


@dataclass(frozen=True, slots=True)
class DescribeTable:
    """A table: its title, heads, and rows of finished HTML; `more` rows are left out."""

    title: Title
    heads: Sequence[Title]
    rows: Sequence[Sequence[SafeString]]
    more: int = 0


Describer = Callable[[Object, Location], Iterator[DescribeTable]]


def describe_tables(item: Object, location: Location) -> list[DescribeTable]:
    """The tables of an object, without empty ones."""
    kind = find_kind(location.plural)
    key = location.plural if location.plural in DESCRIBERS else f"{kind.plural}.{kind.group}"
    describer = DESCRIBERS.get(key)
    if describer is None:
        return []
    return [table for table in collect_regular(describer(item, location)) if table.rows]


def _table(
    title: Title,
    heads: Sequence[Title],
    lines: Sequence[Sequence[str]],
) -> DescribeTable:
    finished = [[html.mark_safe(cell) for cell in line] for line in lines[:MAX_ROWS]]
    return DescribeTable(title, heads, finished, max(len(lines) - MAX_ROWS, 0))


def _join(values: Any) -> str:
    """The elements of a list as small labels; a dash for none."""
    return html.chips(values, 40) if isinstance(values, list) else html.text(None)


def selector_words(selector: Any) -> str:
    """A LabelSelector as kubectl prints it; `<all>` for an empty one."""
    if not isinstance(selector, Mapping):
        return html.text(None)
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in rows(selector.get("matchExpressions")):
        values = ", ".join(str(value) for value in expression.get("values") or ())
        words = f"{expression.get('key')} {expression.get('operator')}"
        terms.append(f"{words} ({values})" if values else words)
    return html.chips(terms, 12) if terms else html.text("<all>")


# --- access ---------------------------------------------------------------------------------------
def rule_cells(rule: Mapping[str, Any]) -> list[str]:
    """A rule of a role as cells: API groups, resources, names, verbs."""
    groups = ["core" if group == "" else group for group in rule.get("apiGroups") or ()]
    resources = [*(rule.get("resources") or ()), *(rule.get("nonResourceURLs") or ())]
    return [
        _join(groups),
        _join(resources),
        _join(rule.get("resourceNames")),
        _join(rule.get("verbs")),
    ]


RULE_HEADS = (_("API groups"), _("Resources"), _("Resource names"), _("Verbs"))


def _role(item: Object, location: Location) -> Iterator[DescribeTable]:
    selectors = rows(get(item, "aggregationRule", "clusterRoleSelectors"))
    yield _table(
        _("Aggregated from cluster roles with"),
        (_("Labels"),),
        [[selector_words(selector)] for selector in selectors],
    )
    yield _table(
        _("Rules"),
        RULE_HEADS,
        [rule_cells(rule) for rule in rows(item.get("rules"))],
    )


def subject_link(location: Location, subject: Mapping[str, Any]) -> str:
    """A subject's name; a service account leads to its page."""
    name = str(subject.get("name", ""))
    if subject.get("kind") != "ServiceAccount":
        return html.escape(name)
    namespace = str(subject.get("namespace") or location.namespace)
    return html.link(
        location.other("serviceaccounts", name, namespace).address,
        name,
    )


def _binding(item: Object, location: Location) -> Iterator[DescribeTable]:
    lines = [
        [
            html.text(subject.get("kind")),
            subject_link(location, subject),
            html.text(subject.get("namespace")),
        ]
        for subject in rows(item.get("subjects"))
    ]
    yield _table(_("Subjects"), (_("Kind"), _("Name"), _("Namespace")), lines)


# --- scaling and limits ---------------------------------------------------------------------------
def _metric_words(metric: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(what is measured, the part of the metric that has its target or current value)."""
    match str(metric.get("type")):
        case "Resource":
            part = metric.get("resource") or {}
            return f"resource {part.get('name')} on pods", part
        case "ContainerResource":
            part = metric.get("containerResource") or {}
            return f"resource {part.get('name')} of container {part.get('container')}", part
        case "Pods":
            part = metric.get("pods") or {}
            return f"{get(part, 'metric', 'name')} on pods", part
        case "Object":
            part = metric.get("object") or {}
            about = f"{get(part, 'describedObject', 'kind')}/{get(part, 'describedObject', 'name')}"
            return f"{get(part, 'metric', 'name')} on {about}", part
        case "External":
            part = metric.get("external") or {}
            return f"{get(part, 'metric', 'name')} (external)", part
    return str(metric.get("type")), {}


def _metric_value(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "<unknown>"
    if value.get("averageUtilization") is not None:
        average = value.get("averageValue")
        return f"{value['averageUtilization']}%" + (f" ({average})" if average else "")
    return str(value.get("averageValue") or value.get("value") or "<unknown>")


def _autoscaler(item: Object, location: Location) -> Iterator[DescribeTable]:
    current = {}
    for metric in rows(get(item, "status", "currentMetrics")):
        words, part = _metric_words(metric)
        current[words] = _metric_value(part.get("current"))
    lines = []
    for metric in rows(get(item, "spec", "metrics")):
        words, part = _metric_words(metric)
        lines.append(
            [
                html.text(words),
                html.text(current.get(words, "<unknown>")),
                html.text(_metric_value(part.get("target"))),
            ]
        )
    yield _table(_("Metrics"), (_("Metric"), _("Current"), _("Target")), lines)
    behaviors = []
    for direction in ("scaleUp", "scaleDown"):
        behavior = get(item, "spec", "behavior", direction) or {}
        for policy in rows(behavior.get("policies")):
            words = f"{policy.get('type')} {policy.get('value')} / {policy.get('periodSeconds')}s"
            window = behavior.get("stabilizationWindowSeconds")
            behaviors.append(
                [
                    html.text(direction),
                    html.text(words),
                    html.text(behavior.get("selectPolicy")),
                    html.text(None if window is None else f"{window}s"),
                ]
            )
    heads = (_("Direction"), _("Policy"), _("Select policy"), _("Stabilization window"))
    yield _table(_("Behavior"), heads, behaviors)


def _limit_range(item: Object, location: Location) -> Iterator[DescribeTable]:
    lines = []
    fields = ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
    for limit in rows(get(item, "spec", "limits")):
        names = sorted({name for field in fields for name in limit.get(field) or {}})
        for name in names:
            amounts = [html.text((limit.get(field) or {}).get(name)) for field in fields]
            lines.append([html.text(limit.get("type")), html.text(name), *amounts])
    heads = (
        _("Type"),
        _("Resource"),
        _("Min"),
        _("Max"),
        _("Default request"),
        _("Default limit"),
        _("Max limit/request ratio"),
    )
    yield _table(_("Limits"), heads, lines)


def _quota(item: Object, location: Location) -> Iterator[DescribeTable]:
    used = get(item, "status", "used") or {}
    hard = get(item, "status", "hard") or get(item, "spec", "hard") or {}
    lines = [
        [html.text(name), html.text(used.get(name, "0")), html.text(limit)]
        for name, limit in hard.items()
    ]
    yield _table(_("Quota"), (_("Resource"), _("Used"), _("Hard")), lines)


# --- network --------------------------------------------------------------------------------------
def _peer_words(peer: Mapping[str, Any]) -> str:
    block = peer.get("ipBlock")
    if isinstance(block, Mapping):
        excluded = ", ".join(str(cidr) for cidr in block.get("except") or ())
        return html.text(f"{block.get('cidr')}" + (f" except {excluded}" if excluded else ""))
    parts = []
    for title, field in (("namespaces", "namespaceSelector"), ("pods", "podSelector")):
        if field in peer:
            parts.append(f"{title} {selector_words(peer[field])}")
    return " ".join(parts)


def _network_policy(item: Object, location: Location) -> Iterator[DescribeTable]:
    for title, field, peers_field in (
        (_("Allowed ingress"), "ingress", "from"),
        (_("Allowed egress"), "egress", "to"),
    ):
        lines = []
        for rule in rows(get(item, "spec", field)):
            ports = []
            for port in rows(rule.get("ports")):
                end = f"-{port['endPort']}" if port.get("endPort") else ""
                ports.append(f"{port.get('port', '<any>')}{end}/{port.get('protocol', 'TCP')}")
            peers = [_peer_words(peer) for peer in rows(rule.get(peers_field))]
            # A rule without peers or ports allows all of them.
            lines.append(
                [
                    "<br>".join(peers) or html.text("<any>"),
                    html.chips(ports, 20) if ports else html.text("<any>"),
                ]
            )
        yield _table(title, (_("Peers"), _("Ports")), lines)


def _ingress(item: Object, location: Location) -> Iterator[DescribeTable]:
    lines = []
    for rule in rows(get(item, "spec", "rules")):
        for path in rows(get(rule, "http", "paths")):
            service = get(path, "backend", "service") or {}
            port = (
                get(
                    service,
                    "port",
                    "number",
                )
                or get(service, "port", "name")
                or ""
            )
            name = str(service.get("name") or "")
            backend = html.text(get(path, "backend", "resource", "name"))
            if name:
                address = location.other("services", name).address
                backend = html.link(address, f"{name}:{port}")
            lines.append(
                [
                    html.text(rule.get("host") or "*"),
                    html.text(path.get("path") or "/"),
                    html.text(path.get("pathType")),
                    backend,
                ]
            )
    yield _table(
        _("Rules"),
        (_("Host"), _("Path"), _("Path type"), _("Backend")),
        lines,
    )
    certificates = []
    for entry in rows(get(item, "spec", "tls")):
        name = str(entry.get("secretName") or "")
        secret = html.text(None)
        if name:
            secret = html.link(location.other("secrets", name).address, name)
        certificates.append([_join(entry.get("hosts")), secret])
    yield _table("TLS", (_("Hosts"), _("Secret")), certificates)


def _target_link(location: Location, reference: Any) -> str:
    if not isinstance(reference, Mapping):
        return html.text(None)
    target = resolve_reference(location, reference)
    name = reference.get("name")
    return html.link(target.address, name) if target else html.text(name)


ADDRESS_HEADS = (_("Address"), _("Ready"), _("Target"), _("Node"))


def _address_cells(
    location: Location,
    address: object,
    entry: Mapping[str, Any],
    *,
    is_ready: bool,
) -> list[str]:
    return [
        html.text(address),
        html.yes_no(is_ready),
        _target_link(location, entry.get("targetRef")),
        html.text(entry.get("nodeName")),
    ]


def _endpoint_slice(item: Object, location: Location) -> Iterator[DescribeTable]:
    lines = []
    for endpoint in rows(item.get("endpoints")):
        # Without the condition an endpoint counts as ready.
        is_ready = get(endpoint, "conditions", "ready") is not False
        lines += [
            _address_cells(location, address, endpoint, is_ready=is_ready)
            for address in endpoint.get("addresses") or ()
        ]
    yield _table(_("Endpoints"), ADDRESS_HEADS, lines)
    yield _ports_table(rows(item.get("ports")))


def _ports_table(ports: Sequence[Mapping[str, Any]]) -> DescribeTable:
    lines = [
        [html.text(port.get("name")), html.text(port.get("port")), html.text(port.get("protocol"))]
        for port in ports
    ]
    return _table(_("Ports"), (_("Name"), _("Port"), _("Protocol")), lines)


def _endpoints(item: Object, location: Location) -> Iterator[DescribeTable]:
    lines = []
    ports: list[Mapping[str, Any]] = []
    for subset in rows(item.get("subsets")):
        ports += [port for port in rows(subset.get("ports")) if port not in ports]
        for field, is_ready in (("addresses", True), ("notReadyAddresses", False)):
            lines += [
                _address_cells(
                    location,
                    address.get("ip"),
                    address,
                    is_ready=is_ready,
                )
                for address in rows(subset.get(field))
            ]
    yield _table(_("Endpoints"), ADDRESS_HEADS, lines)
    yield _ports_table(ports)


def _webhooks(item: Object, location: Location) -> Iterator[DescribeTable]:
    lines = []
    for webhook in rows(item.get("webhooks")):
        service = get(webhook, "clientConfig", "service")
        place = html.text(get(webhook, "clientConfig", "url"))
        if isinstance(service, Mapping):
            target = location.other(
                "services", str(service.get("name")), str(service.get("namespace"))
            )
            place = html.link(target.address, f"{target.namespace}/{target.name}")
        rules = []
        for rule in rows(webhook.get("rules")):
            operations = ",".join(str(word) for word in rule.get("operations") or ())
            resources = ",".join(str(word) for word in rule.get("resources") or ())
            rules.append(f"{operations} {resources}")
        lines.append(
            [
                html.text(webhook.get("name")),
                place,
                html.chips(rules, 10),
                html.text(webhook.get("failurePolicy")),
                html.text(webhook.get("timeoutSeconds")),
            ]
        )
    heads = (_("Name"), _("Client"), _("Rules"), _("Failure policy"), _("Timeout in seconds"))
    yield _table(_("Webhooks"), heads, lines)


# --- pods and what makes them ---------------------------------------------------------------------
def _volume_words(volume: Mapping[str, Any]) -> tuple[str, str, str]:
    """(source type, plural that it leads to, name) of a volume."""
    for source, plural, field in (
        ("configMap", "configmaps", "name"),
        ("secret", "secrets", "secretName"),
        ("persistentVolumeClaim", "persistentvolumeclaims", "claimName"),
    ):
        if isinstance(volume.get(source), Mapping):
            return source, plural, str(volume[source].get(field) or "")
    source = next((name for name in volume if name != "name"), "")
    value = volume.get(source)
    details = ""
    if isinstance(value, Mapping):
        details = ", ".join(
            f"{name} {detail}"
            for name, detail in value.items()
            if isinstance(detail, str | int | bool)
        )
    return source, "", details


def volume_tables(spec: Mapping[str, Any], location: Location) -> Iterator[DescribeTable]:
    """Volumes and tolerations of a pod spec."""
    lines = []
    for volume in rows(spec.get("volumes")):
        source, plural, name = _volume_words(volume)
        place = html.text(name)
        if plural and name:
            place = html.link(location.other(plural, name).address, name)
        lines.append([html.text(volume.get("name")), html.text(source), place])
    yield _table(_("Volumes"), (_("Name"), _("Type"), _("Source")), lines)
    tolerations = []
    for toleration in rows(spec.get("tolerations")):
        seconds = toleration.get("tolerationSeconds")
        tolerations.append(
            [
                html.text(toleration.get("key") or "<all>"),
                html.text(toleration.get("operator", "Equal")),
                html.text(toleration.get("value")),
                html.text(toleration.get("effect") or "<all>"),
                html.text(None if seconds is None else f"{seconds}s"),
            ]
        )
    heads = (_("Key"), _("Operator"), _("Value"), _("Effect"), _("For"))
    yield _table(_("Tolerations"), heads, tolerations)


def _pod_maker(item: Object, location: Location) -> Iterator[DescribeTable]:
    for path in (
        ("spec", "template", "spec"),
        ("spec", "jobTemplate", "spec", "template", "spec"),
        ("spec",),
    ):
        spec = get(item, *path)
        if isinstance(spec, Mapping) and "containers" in spec:
            yield from volume_tables(spec, location)
            break
    claims = [
        [
            html.text(get(claim, "metadata", "name")),
            html.text(get(claim, "spec", "storageClassName")),
            html.text(get(claim, "spec", "resources", "requests", "storage")),
            _join(get(claim, "spec", "accessModes")),
        ]
        for claim in rows(get(item, "spec", "volumeClaimTemplates"))
    ]
    heads = (_("Name"), _("Storage class"), _("Requested"), _("Access modes"))
    yield _table(_("Volume claim templates"), heads, claims)


# --- definitions of custom kinds ------------------------------------------------------------------
def _definition(item: Object, location: Location) -> Iterator[DescribeTable]:
    group = get(item, "spec", "group")
    plural = get(item, "spec", "names", "plural")
    versions = rows(get(item, "spec", "versions"))
    lines = []
    for version in versions:
        name = str(version.get("name", ""))
        objects = html.text(None)
        if version.get("served"):
            base = f"/clusters/{location.cluster}/"
            address = base + html.path_segment(f"{plural}.{name}.{group}")
            objects = html.link(address, plural)
        lines.append(
            [
                html.text(name),
                html.yes_no(version.get("served")),
                html.yes_no(version.get("storage")),
                html.yes_no(version.get("deprecated")),
                objects,
            ]
        )
    heads = (_("Version"), _("Served"), _("Stored"), _("Deprecated"), _("Objects"))
    yield _table(_("Versions"), heads, lines)
    stored = next((version for version in versions if version.get("storage")), {})
    schema = get(stored, "schema", "openAPIV3Schema")
    fields = [
        [html.text(path), html.text(kind), html.escape(description)]
        for path, kind, description in _schema_fields(schema, "", MAX_SCHEMA_DEPTH)
    ]
    title = _("Schema of %(version)s") % {
        "version": html.clean(
            stored.get(
                "name",
                "",
            )
        )
    }
    yield _table(title, (_("Field"), _("Type"), _("Description")), fields)


def _schema_fields(
    schema: Any,
    path: str,
    depth: int,
) -> Iterator[tuple[str, str, str]]:
    """(path, type, description) of each field, as deep as `depth`."""
    if not isinstance(schema, Mapping) or not depth:
        return
    for name, field in (schema.get("properties") or {}).items():
        # Every kind has these, and they are described elsewhere.
        if not path and name in ("apiVersion", "kind", "metadata"):
            continue
        if not isinstance(field, Mapping):
            continue
        inner = f"{path}.{name}" if path else str(name)
        elements = field.get("items")
        kind = str(field.get("type", "object"))
        if isinstance(elements, Mapping):
            kind = f"[]{elements.get('type', 'object')}"
            inner_schema, inner_path = elements, f"{inner}[]"
        else:
            inner_schema, inner_path = field, inner
        if name in (schema.get("required") or ()):
            kind += " *"
        yield inner, kind, str(field.get("description") or "")[:300]
        yield from _schema_fields(inner_schema, inner_path, depth - 1)


# --- storage --------------------------------------------------------------------------------------
def _parameters(item: Object, location: Location) -> Iterator[DescribeTable]:
    parameters = item.get("parameters") or {}
    lines = [[html.text(name), html.text(value)] for name, value in parameters.items()]
    yield _table(_("Parameters"), (_("Name"), _("Value")), lines)


def _volume(item: Object, location: Location) -> Iterator[DescribeTable]:
    spec = get(item, "spec") or {}
    known = {"capacity", "accessModes", "claimRef", "nodeAffinity", "mountOptions"}
    sources = [
        (name, value)
        for name, value in spec.items()
        if isinstance(value, Mapping) and name not in known
    ]
    lines = []
    for name, value in sources:
        for field, detail in value.items():
            words = detail
            if isinstance(detail, Mapping):
                words = ", ".join(f"{key} {word}" for key, word in detail.items())
            lines.append([html.text(name), html.text(field), html.text(words)])
    yield _table(_("Source"), (_("Type"), _("Field"), _("Value")), lines)


DESCRIBERS: Mapping[str, Describer] = {
    "pods": _pod_maker,
    "deployments": _pod_maker,
    "statefulsets": _pod_maker,
    "daemonsets": _pod_maker,
    "replicasets": _pod_maker,
    "jobs": _pod_maker,
    "cronjobs": _pod_maker,
    "roles": _role,
    "clusterroles": _role,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
    "horizontalpodautoscalers": _autoscaler,
    "limitranges": _limit_range,
    "resourcequotas": _quota,
    "networkpolicies": _network_policy,
    "ingresses": _ingress,
    "endpoints": _endpoints,
    "endpointslices": _endpoint_slice,
    "customresourcedefinitions": _definition,
    "storageclasses": _parameters,
    "persistentvolumes": _volume,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _webhooks,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _webhooks,
}
