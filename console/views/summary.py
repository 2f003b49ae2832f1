"""The summary of an object: the main facts of each kind, as rows of a title and HTML."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from clusters import event_series
from console.locations import Location, resolve_reference
from console.rendering import health, html
from console.rendering.health import Object, get, rows
from console.views import describe

# How deep the facts of unknown kinds go, and how many there are at most.
MAX_OTHER_DEPTH = 3
MAX_OTHER_ROWS = 80
UTC = ZoneInfo("UTC")
Row = tuple[str | Promise, str]
Facts = Callable[[Object, Location], Iterator[Row]]


def _text(title: str | Promise, item: Object, *path: str) -> Iterator[Row]:
    value = get(item, *path)
    # 0 and false are facts, empty values are not.
    if value not in (None, "", [], {}):
        yield title, html.text(value)


def _moment(title: str | Promise, item: Object, *path: str) -> Iterator[Row]:
    if value := get(item, *path):
        # The page's script shows it in the viewer's zone.
        yield title, html.moment(value, UTC)


def _link(title: str | Promise, location: Location | None) -> Iterator[Row]:
    if location and location.name:
        yield title, html.link(location.address, location.name)


def _labels(title: str | Promise, labels: Any) -> Iterator[Row]:
    if isinstance(labels, Mapping) and labels:
        yield (
            title,
            html.chips(
                [f"{key}={value}" for key, value in labels.items()],
                12,
            ),
        )


def _pod(item: Object, location: Location) -> Iterator[Row]:
    spec = get(item, "spec") or {}
    yield from _link(
        _("Node"),
        location.other("nodes", str(spec.get("nodeName") or "")),
    )
    yield from _text(_("Pod IP"), item, "status", "podIP")
    yield from _text(_("Host IP"), item, "status", "hostIP")
    yield from _link(
        _("Service account"),
        location.other("serviceaccounts", str(spec.get("serviceAccountName") or "")),
    )
    yield from _text(_("QoS class"), item, "status", "qosClass")
    yield from _text(_("Restart policy"), item, "spec", "restartPolicy")
    yield from _text(_("Priority"), item, "spec", "priority")
    yield from _text(_("Priority class"), item, "spec", "priorityClassName")
    yield from _text(_("Nominated node"), item, "status", "nominatedNodeName")
    yield from _labels(_("Node selector"), spec.get("nodeSelector"))
    yield from _text(_("Reason"), item, "status", "reason")
    yield from _text(_("Message"), item, "status", "message")


def _workload(item: Object, location: Location) -> Iterator[Row]:
    ready_pods, desired = health.replicas(item)
    yield _("Replicas"), html.text(f"{ready_pods}/{desired}")
    kind = get(
        item,
        "spec",
        "strategy",
        "type",
    ) or get(item, "spec", "updateStrategy", "type")
    if kind:
        rolling = (
            get(item, "spec", "strategy", "rollingUpdate")
            or get(item, "spec", "updateStrategy", "rollingUpdate")
            or {}
        )
        yield (
            _("Strategy"),
            html.text(
                ", ".join([str(kind), *(f"{key} {value}" for key, value in rolling.items())])
            ),
        )
    yield from _link(
        _("Service"),
        location.other("services", str(get(item, "spec", "serviceName") or "")),
    )
    yield from _labels(_("Selector"), get(item, "spec", "selector", "matchLabels"))
    for title, name in (
        (_("Min ready seconds"), "minReadySeconds"),
        (_("Revision history limit"), "revisionHistoryLimit"),
        (_("Progress deadline seconds"), "progressDeadlineSeconds"),
        (_("Pod management policy"), "podManagementPolicy"),
    ):
        yield from _text(title, item, "spec", name)
    yield from _link(
        _("Service account"),
        location.other(
            "serviceaccounts",
            str(pod_spec(item).get("serviceAccountName") or ""),
        ),
    )
    yield from _text(_("Generation"), item, "metadata", "generation")


def _job(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Parallelism"), item, "spec", "parallelism")
    yield from _text(_("Completions"), item, "spec", "completions")
    for title, name in (
        (_("Active"), "active"),
        (_("Succeeded"), "succeeded"),
        (_("Failed"), "failed"),
    ):
        # The API server leaves out counts of zero; the page shows all three.
        yield title, html.text(health.number(get(item, "status", name)))
    yield from _text(_("Backoff limit"), item, "spec", "backoffLimit")
    yield from _text(
        _("Active deadline seconds"),
        item,
        "spec",
        "activeDeadlineSeconds",
    )
    yield from _text(_("Completion mode"), item, "spec", "completionMode")
    yield from _moment(_("Started"), item, "status", "startTime")
    yield from _moment(_("Completed"), item, "status", "completionTime")
    started = html.parse_time(get(item, "status", "startTime"))
    completed = html.parse_time(get(item, "status", "completionTime"))
    if started and completed:
        yield _("Duration"), html.text(html.short_age((completed - started).total_seconds()))


def _cronjob(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Schedule"), item, "spec", "schedule")
    yield from _text(_("Time zone"), item, "spec", "timeZone")
    yield from _text(_("Concurrency policy"), item, "spec", "concurrencyPolicy")
    yield _("Suspended"), html.yes_no(get(item, "spec", "suspend"))
    yield from _text(
        _("Starting deadline seconds"),
        item,
        "spec",
        "startingDeadlineSeconds",
    )
    yield from _text(
        _("Successful jobs kept"),
        item,
        "spec",
        "successfulJobsHistoryLimit",
    )
    yield from _text(_("Failed jobs kept"), item, "spec", "failedJobsHistoryLimit")
    yield from _moment(_("Last schedule"), item, "status", "lastScheduleTime")
    for reference in rows(get(item, "status", "active")):
        yield from _link(
            _("Running"),
            location.other("jobs", str(reference.get("name") or "")),
        )


def _service(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Type"), item, "spec", "type")
    yield from _text(_("Cluster IP"), item, "spec", "clusterIP")
    yield from _text(_("IP family policy"), item, "spec", "ipFamilyPolicy")
    yield from _text(_("External name"), item, "spec", "externalName")
    yield from _text(_("Session affinity"), item, "spec", "sessionAffinity")
    yield from _text(
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
    yield from _labels(_("Selector"), get(item, "spec", "selector"))
    ports = []
    for port in rows(get(item, "spec", "ports")):
        # targetPort defaults to port, and protocol to TCP, as in the API.
        target = f"{port.get('targetPort', port.get('port'))}/{port.get('protocol', 'TCP')}"
        ports.append(f"{port.get('name') or ''} {port.get('port')} → {target}".strip())
    if ports:
        yield _("Ports"), html.chips(ports, 8)


def _ingress(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Class"), item, "spec", "ingressClassName")
    backend = str(get(item, "spec", "defaultBackend", "service", "name") or "")
    yield from _link(_("Default backend"), location.other("services", backend))
    addresses = [
        str(entry.get("ip") or entry.get("hostname") or "")
        for entry in rows(get(item, "status", "loadBalancer", "ingress"))
    ]
    if addresses:
        yield _("Address"), html.chips(addresses, 8)


def _node(item: Object, location: Location) -> Iterator[Row]:
    yield _("Schedulable"), html.yes_no(not get(item, "spec", "unschedulable"))
    for entry in rows(get(item, "status", "addresses")):
        yield str(entry.get("type", "")), html.text(entry.get("address"))
    info = get(item, "status", "nodeInfo") or {}
    for title, name in (
        (_("Kubelet version"), "kubeletVersion"),
        (_("OS image"), "osImage"),
        (_("Kernel version"), "kernelVersion"),
    ):
        if info.get(name):
            yield title, html.text(info[name])
    for title, name in (
        (_("CPU"), "cpu"),
        (_("Memory"), "memory"),
        (_("Max pods"), "pods"),
    ):
        yield from _text(title, item, "status", "allocatable", name)
    taints = [
        f"{entry.get('key')}={entry.get('value') or ''}:{entry.get('effect')}"
        for entry in rows(get(item, "spec", "taints"))
    ]
    if taints:
        yield _("Taints"), html.chips(taints, 8)


def _claim(item: Object, location: Location) -> Iterator[Row]:
    yield from _link(
        _("Volume"),
        location.other(
            "persistentvolumes",
            str(get(item, "spec", "volumeName") or ""),
        ),
    )
    yield from _link(
        _("Storage class"),
        location.other(
            "storageclasses",
            str(get(item, "spec", "storageClassName") or ""),
        ),
    )
    yield from _text(
        _("Requested"),
        item,
        "spec",
        "resources",
        "requests",
        "storage",
    )
    yield from _text(_("Capacity"), item, "status", "capacity", "storage")
    yield _("Access modes"), html.chips(get(item, "spec", "accessModes") or [], 4)
    yield from _text(_("Volume mode"), item, "spec", "volumeMode")
    yield from _labels(_("Selector"), get(item, "spec", "selector", "matchLabels"))
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
    yield from _link(
        _("Claim"),
        location.other(
            "persistentvolumeclaims",
            str(claim.get("name") or ""),
            str(claim.get("namespace") or ""),
        ),
    )
    yield from _link(
        _("Storage class"),
        location.other(
            "storageclasses",
            str(get(item, "spec", "storageClassName") or ""),
        ),
    )
    yield from _text(_("Capacity"), item, "spec", "capacity", "storage")
    yield _("Access modes"), html.chips(get(item, "spec", "accessModes") or [], 4)
    yield from _text(
        _("Reclaim policy"),
        item,
        "spec",
        "persistentVolumeReclaimPolicy",
    )
    yield from _text(_("Volume mode"), item, "spec", "volumeMode")
    yield from _text(_("Reason"), item, "status", "reason")
    yield from _text(_("Message"), item, "status", "message")
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
    yield from _text(_("Provisioner"), item, "provisioner")
    yield from _text(_("Reclaim policy"), item, "reclaimPolicy")
    yield from _text(_("Volume binding mode"), item, "volumeBindingMode")
    yield _("Allows volume expansion"), html.yes_no(item.get("allowVolumeExpansion"))
    if item.get("mountOptions"):
        yield _("Mount options"), html.chips(item["mountOptions"], 8)


def _binding(item: Object, location: Location) -> Iterator[Row]:
    role = item.get("roleRef") or {}
    plural = "clusterroles" if role.get("kind") == "ClusterRole" else "roles"
    target = location.other(plural, str(role.get("name") or ""))
    yield _("Role"), html.link(target.address, f"{role.get('kind')}/{target.name}")


def _service_account(item: Object, location: Location) -> Iterator[Row]:
    for title, field in (
        (_("Mountable secrets"), "secrets"),
        (_("Image pull secrets"), "imagePullSecrets"),
    ):
        for reference in rows(item.get(field)):
            yield from _link(
                title,
                location.other("secrets", str(reference.get("name") or "")),
            )
    # Tokens are mounted unless it is switched off.
    mounts = item.get("automountServiceAccountToken") is not False
    yield _("Mounts its token"), html.yes_no(mounts)


def _disruption_budget(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Min available"), item, "spec", "minAvailable")
    yield from _text(_("Max unavailable"), item, "spec", "maxUnavailable")
    yield _("Selector"), describe.selector_words(get(item, "spec", "selector"))
    for title, name in (
        (_("Allowed disruptions"), "disruptionsAllowed"),
        (_("Current healthy"), "currentHealthy"),
        (_("Desired healthy"), "desiredHealthy"),
        (_("Total pods"), "expectedPods"),
    ):
        yield title, html.text(health.number(get(item, "status", name)))
    yield from _text(
        _("Unhealthy pod eviction"),
        item,
        "spec",
        "unhealthyPodEvictionPolicy",
    )


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
    yield from _text(_("Address type"), item, "addressType")
    service = (
        get(
            item,
            "metadata",
            "labels",
        )
        or {}
    ).get("kubernetes.io/service-name")
    yield from _link(_("Service"), location.other("services", str(service or "")))


def _definition(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Group"), item, "spec", "group")
    yield from _text(_("Scope"), item, "spec", "scope")
    yield from _text(_("Kind"), item, "spec", "names", "kind")
    yield from _text(_("List kind"), item, "spec", "names", "listKind")
    yield from _text(_("Plural"), item, "spec", "names", "plural")
    short_names = get(item, "spec", "names", "shortNames") or []
    if short_names:
        yield _("Short names"), html.chips(short_names, 8)
    yield from _text(_("Conversion"), item, "spec", "conversion", "strategy")
    stored = get(item, "status", "storedVersions") or []
    yield _("Stored versions"), html.chips(stored, 8)


def _event(item: Object, location: Location) -> Iterator[Row]:
    about = item.get("involvedObject") or item.get("regarding") or {}
    target = resolve_reference(location, about)
    words = f"{about.get('kind', '')} {about.get('name', '')}"
    yield (
        _("Object"),
        html.link(
            target.address,
            words,
        )
        if target
        else html.text(words),
    )
    yield from _text(_("Type"), item, "type")
    yield from _text(_("Reason"), item, "reason")
    yield _("Message"), html.text(item.get("message") or item.get("note"))
    yield _("Count"), html.text(event_series.count(item))
    first = item.get("firstTimestamp") or item.get("eventTime")
    yield _("First seen"), html.moment(first, UTC)
    yield _("Last seen"), html.moment(event_series.last_time(item), UTC)
    component = get(item, "source", "component") or item.get("reportingComponent")
    yield _("Source"), html.text(component)


def _lease(item: Object, location: Location) -> Iterator[Row]:
    for title, name in (
        (_("Holder"), "holderIdentity"),
        (_("Duration in seconds"), "leaseDurationSeconds"),
        (_("Transitions"), "leaseTransitions"),
    ):
        yield from _text(title, item, "spec", name)
    yield from _moment(_("Acquired"), item, "spec", "acquireTime")
    yield from _moment(_("Renewed"), item, "spec", "renewTime")


def _controller_revision(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Revision"), item, "revision")


def _autoscaler(item: Object, location: Location) -> Iterator[Row]:
    reference = get(item, "spec", "scaleTargetRef") or {}
    target = resolve_reference(location, reference)
    words = f"{reference.get('kind')}/{reference.get('name')}"
    yield (
        _("Target"),
        html.link(
            target.address,
            words,
        )
        if target
        else html.text(words),
    )
    yield from _text(_("Min replicas"), item, "spec", "minReplicas")
    yield from _text(_("Max replicas"), item, "spec", "maxReplicas")
    current = health.number(get(item, "status", "currentReplicas"))
    desired = health.number(get(item, "status", "desiredReplicas"))
    yield _("Replicas"), html.text(f"{current} current / {desired} desired")
    yield from _moment(_("Last scale"), item, "status", "lastScaleTime")


def _keys(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Type"), item, "type")
    names = [*(get(item, "data") or {}), *(get(item, "binaryData") or {})]
    yield _("Keys"), html.chips(names, 20)


def _quota(item: Object, location: Location) -> Iterator[Row]:
    if scopes := get(item, "spec", "scopes"):
        yield _("Scopes"), html.chips(scopes, 8)


def _other(item: Object, location: Location) -> Iterator[Row]:
    """What objects of other kinds say of themselves: their plain values, with paths to deep ones.

    Spec and status have no prefix, as in `kubectl get -o wide` columns.
    """
    hidden = ("apiVersion", "kind", "metadata", "spec", "status")
    top = {name: value for name, value in item.items() if name not in hidden}
    found: dict[str, str] = {}
    for part in (top, get(item, "spec"), get(item, "status")):
        for name, words in _plain_values(part, "", MAX_OTHER_DEPTH):
            # A status often repeats what the spec says.
            found.setdefault(name, words)
    for name, words in list(found.items())[:MAX_OTHER_ROWS]:
        yield name, html.text(words)


def _plain_values(
    value: Any,
    path: str,
    depth: int,
) -> Iterator[tuple[str, str]]:
    """(path, text) of the scalars in a mapping, and of lists of scalars."""
    if not isinstance(value, Mapping) or not depth:
        return
    for name, inner in value.items():
        inner_path = f"{path}.{name}" if path else str(name)
        # Conditions have a card of their own.
        if inner_path == "conditions":
            continue
        if isinstance(inner, Mapping):
            yield from _plain_values(inner, inner_path, depth - 1)
        elif isinstance(inner, list):
            words = ", ".join(str(element) for element in inner if not isinstance(element, dict))
            count = sum(isinstance(element, dict) for element in inner)
            yield inner_path, (words or f"× {count}")[:200]
        elif inner is not None:
            yield inner_path, str(inner)[:200]


def _no_facts(item: Object, location: Location) -> Iterator[Row]:
    """Nothing: the tables of the kind say all."""
    return iter(())


FACTS_BY_KIND: Mapping[str, Facts] = {
    "pods": _pod,
    "deployments": _workload,
    "statefulsets": _workload,
    "daemonsets": _workload,
    "replicasets": _workload,
    "jobs": _job,
    "cronjobs": _cronjob,
    "services": _service,
    "ingresses": _ingress,
    "nodes": _node,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "storageclasses": _storage_class,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
    "roles": _no_facts,
    "clusterroles": _no_facts,
    "serviceaccounts": _service_account,
    "poddisruptionbudgets": _disruption_budget,
    "networkpolicies": _network_policy,
    "endpoints": _no_facts,
    "endpointslices": _endpoint_slice,
    "limitranges": _no_facts,
    "customresourcedefinitions": _definition,
    "events": _event,
    "leases": _lease,
    "controllerrevisions": _controller_revision,
    "horizontalpodautoscalers": _autoscaler,
    "configmaps": _keys,
    "secrets": _keys,
    "resourcequotas": _quota,
}


def for_object(item: Object, location: Location) -> list[Row]:
    """The rows of an object's summary."""
    return [
        (title, html.mark_safe(piece))
        for title, piece in FACTS_BY_KIND.get(location.plural, _other)(
            item,
            location,
        )
    ]


def pod_spec(item: Object) -> Mapping[str, Any]:
    """The pod spec inside a pod, a workload or a CronJob; {} for what makes no pods."""
    for path in (
        ("spec", "template", "spec"),
        ("spec", "jobTemplate", "spec", "template", "spec"),
        ("spec",),
    ):
        spec = get(item, *path)
        # A spec without containers belongs to a kind that makes no pods.
        if isinstance(spec, Mapping) and "containers" in spec:
            return spec
    return {}


def containers(item: Object) -> list[dict[str, Any]]:
    """The containers of a pod or of a pod template, init containers first.

    A template has no states: its containers have "" for a word.
    """
    spec = pod_spec(item)
    statuses: dict[Any, Mapping[str, Any]] = {}
    for part in ("containerStatuses", "initContainerStatuses"):
        for status in rows(get(item, "status", part)):
            statuses[status.get("name")] = status
    contexts = []
    for part in ("initContainers", "containers"):
        for container in rows(spec.get(part)):
            status = statuses.get(container.get("name"), {})
            is_init = part == "initContainers"
            contexts.append(_container_context(container, status, is_init=is_init))
    return contexts


def _container_context(
    container: Mapping[str, Any],
    status: Mapping[str, Any],
    *,
    is_init: bool,
) -> dict[str, Any]:
    states: Mapping[str, Any] = status.get("state") or {}
    # A container state has one member: waiting, running or terminated.
    kind = next(iter(states), "")
    state: Mapping[str, Any] = states.get(kind) or {}
    word = str(state.get("reason") or kind.capitalize())
    if word in health.BAD_REASONS:
        severity = "bad"
    elif kind == "running":
        severity = "good" if status.get("ready") else "warn"
    elif kind == "terminated":
        # Init containers and the containers of Jobs are meant to end.
        severity = "idle" if state.get("exitCode") == 0 else "bad"
    else:
        severity = "busy"
    return {
        "name": container.get("name", ""),
        "image": container.get("image", ""),
        "init": is_init,
        "is_running": kind == "running",
        "word": word,
        "severity": severity,
        "message": state.get("message", ""),
        "restarts": status.get("restartCount"),
        "last": get(status, "lastState", "terminated"),
        "ports": [
            f"{port.get('containerPort')}/{port.get('protocol', 'TCP')}"
            for port in rows(container.get("ports"))
        ],
        "requests": _quantities_text(get(container, "resources", "requests")),
        "limits": _quantities_text(get(container, "resources", "limits")),
        "details": list(_container_details(container, status)),
        "env": [
            (
                env.get(
                    "name",
                    "",
                ),
                _env_value(env),
            )
            for env in rows(container.get("env"))
        ],
    }


def _container_details(
    container: Mapping[str, Any],
    status: Mapping[str, Any],
) -> Iterator[tuple[Promise | str, str]]:
    """What `kubectl describe` says besides: command, probes, mounts, the image that runs."""
    for title, field in ((_("Command"), "command"), (_("Arguments"), "args")):
        if words := container.get(field):
            yield title, " ".join(str(word) for word in words)[:500]
    for title, field in (
        (_("Liveness"), "livenessProbe"),
        (_("Readiness"), "readinessProbe"),
        (_("Startup"), "startupProbe"),
    ):
        probe = container.get(field)
        if isinstance(probe, Mapping):
            yield title, _probe_words(probe)
    for mount in rows(container.get("volumeMounts")):
        mode = "ro" if mount.get("readOnly") else "rw"
        yield _("Mount"), f"{mount.get('mountPath')} ← {mount.get('name')} ({mode})"
    if image_id := status.get("imageID"):
        yield _("Image ID"), str(image_id)


def _probe_words(probe: Mapping[str, Any]) -> str:
    """A probe as kubectl describes it."""
    call = ""
    if isinstance(probe.get("httpGet"), Mapping):
        target = probe["httpGet"]
        scheme = str(target.get("scheme", "HTTP")).lower()
        place = f"{target.get('host') or ''}:{target.get('port')}{target.get('path') or '/'}"
        call = f"http-get {scheme}://{place}"
    elif isinstance(probe.get("tcpSocket"), Mapping):
        call = f"tcp-socket :{probe['tcpSocket'].get('port')}"
    elif isinstance(probe.get("exec"), Mapping):
        call = f"exec {' '.join(str(word) for word in probe['exec'].get('command') or ())}"
    elif isinstance(probe.get("grpc"), Mapping):
        call = f"grpc :{probe['grpc'].get('port')}"
    # The API server's defaults stand for what is left out.
    delay = probe.get("initialDelaySeconds", 0)
    timing = f"delay={delay}s timeout={probe.get('timeoutSeconds', 1)}s"
    period = f"period={probe.get('periodSeconds', 10)}s"
    counts = (
        f"#success={probe.get('successThreshold', 1)} #failure={probe.get('failureThreshold', 3)}"
    )
    return f"{call} {timing} {period} {counts}"[:500]


def _quantities_text(quantities: Any) -> str:
    if not isinstance(quantities, Mapping):
        return ""
    return ", ".join(f"{name} {amount}" for name, amount in quantities.items())


def _env_value(env: Mapping[str, Any]) -> str:
    """A value in clear, or where it comes from: values out of Secrets are never here."""
    if "value" in env:
        return str(env["value"])
    for source, label in (
        ("secretKeyRef", _("secret")),
        ("configMapKeyRef", _("config")),
        ("fieldRef", _("field")),
    ):
        reference = get(env, "valueFrom", source)
        if isinstance(reference, Mapping):
            key = reference.get("key") or reference.get("fieldPath") or ""
            return f"{label} {reference.get('name') or ''} {key}".strip()
    return ""
