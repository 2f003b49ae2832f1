"""Subresources that take or give objects: status, scale, eviction, binding, finalize, token."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from simcluster import clock, crds, decoding, deletion
from simcluster.authentication import User
from simcluster.binding import bind
from simcluster.cluster import Cluster
from simcluster.errors import (
    ApiError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    stale,
    success,
)
from simcluster.objects import get_phase, has_condition, is_terminating
from simcluster.patching import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
)
from simcluster.requests import Target, parse_body
from simcluster.resources import Object
from simcluster.schema import ANY
from simcluster.selectors import selector_test, selector_text
from simcluster.validation.causes import Cause, bad_value
from simcluster.validation.metadata import finalizer_causes
from simcluster.write_options import WriteOptions

_PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


@dataclass(frozen=True)
class Call:
    """One request to a subresource."""

    cluster: Cluster
    target: Target
    verb: str
    body: bytes
    content_type: str
    query: Mapping[str, str]
    options: WriteOptions
    user: User

    @property
    def current(self) -> Object:
        """The object itself; 404 when it is not there."""
        return self.cluster.registry.read(
            self.target.resource, self.target.namespace, self.target.name
        )

    def parsed(self) -> Any:
        """The body; 400 when broken, 415 for a patch of an unknown type."""
        if self.verb == "patch" and self.content_type not in _PATCHES:
            raise ApiError(
                415,
                "UnsupportedMediaType",
                "415: Unsupported Media Type",
                details={},
            )
        return parse_body(self.body, self.content_type)


def answer(call: Call) -> tuple[int, Object]:
    """HTTP status and body."""
    name = call.target.subresource.partition("/")[0]
    handler = _HANDLERS.get(name)
    if handler is None:
        raise method_not_allowed()
    return handler(call)


def _state(call: Call) -> tuple[int, Object]:
    registry = call.cluster.registry
    target = call.target
    if call.verb == "get":
        return 200, call.current
    if call.verb == "patch":
        obj, _ = registry.patch(
            target.resource,
            target.namespace,
            target.name,
            call.parsed(),
            content_type=call.content_type,
            options=call.options,
        )
        return 200, obj
    return 200, registry.replace(
        target.resource,
        target.namespace,
        target.name,
        call.parsed(),
        call.options,
    )


def _main(call: Call) -> tuple[int, Object]:
    call.options.subresource = ""
    return _state(call)


def scale_of(call: Call, obj: Object) -> Object:
    """The `Scale` of an object."""
    version = crds.version_of(call.cluster.registry, call.target.resource)
    paths = (version.get("subresources") or {}).get("scale") or {}
    selector: Any = None
    # A custom kind says in its definition where its replicas are.
    if paths:
        spec = _value_at(obj, paths["specReplicasPath"])
        status = _value_at(obj, paths["statusReplicasPath"])
        if paths.get("labelSelectorPath"):
            selector = _value_at(obj, paths["labelSelectorPath"])
    else:
        spec = obj["spec"].get("replicas", 1)
        status = obj.get("status", {}).get("replicas", 0)
        raw = obj["spec"].get("selector") or {}
        if "matchLabels" not in raw and "matchExpressions" not in raw:
            # A ReplicationController's selector is a plain map of labels.
            raw = {"matchLabels": raw}
        selector = selector_text(raw)
    meta = {
        key: obj["metadata"][key]
        for key in (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        )
        if key in obj["metadata"]
    }
    body: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        # Go's omitempty: zero replicas are not written.
        "spec": {"replicas": spec} if spec else {},
    }
    body["status"] = {
        "replicas": status or 0,
        **({"selector": selector} if selector else {}),
    }
    return body


def _value_at(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _scale(call: Call) -> tuple[int, Object]:
    obj = call.current
    scale = scale_of(call, obj)
    if call.verb == "get":
        return 200, scale
    scale_body = call.parsed()
    if call.verb == "patch":
        kind = (
            MERGE_PATCH
            # Scale has no lists, for which alone a strategic patch differs from a merge patch.
            if call.content_type in (STRATEGIC_PATCH, APPLY_PATCH)
            else call.content_type
        )
        scale_body = call.cluster.registry.patched(scale, scale_body, content_type=kind, node=ANY)
    replicas = (
        (scale_body.get("spec") or {}).get("replicas", 0) if isinstance(scale_body, dict) else None
    )
    kind_of_scale = dataclasses.replace(
        call.target.resource, group="autoscaling", version="v1", kind="Scale"
    )
    decoder = decoding.Decoder(kind_of_scale, call.body)
    replicas = decoder.integer(replicas, "ScaleSpec", "spec.replicas")
    if replicas < 0:
        raise invalid(
            "Scale",
            call.target.name,
            [
                bad_value(
                    "spec.replicas",
                    replicas,
                    "must be greater than or equal to 0",
                )
            ],
            group="autoscaling",
        )
    version = (scale_body.get("metadata") or {}).get("resourceVersion")
    # Without a version the writer does not care what was there before.
    if version and version != obj["metadata"]["resourceVersion"]:
        raise stale(call.target.resource, call.target.name)
    changed = {
        **obj,
        "spec": {**obj["spec"], "replicas": replicas},
        "metadata": dict(obj["metadata"]),
    }
    return 200, scale_of(
        call,
        call.cluster.registry.rewrite(call.target.resource, obj, changed, call.options),
    )


def _eviction(call: Call) -> tuple[int, Object]:
    body = call.parsed()
    body_name = body.get("metadata", {}).get("name") if isinstance(body, dict) else None
    pod = call.current
    if body_name and body_name != call.target.name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = body.get("deleteOptions") or {}
    if get_phase(pod) not in (
        "Succeeded",
        "Failed",
        # A pod that does not run cannot lower a budget's healthy count.
        "Pending",
    ) and not is_terminating(pod):
        _spend_budget(call, pod)
    call.options.dry_run = call.options.dry_run or "All" in (options.get("dryRun") or ())
    call.options.subresource = ""
    call.cluster.registry.delete(
        call.target.resource,
        call.target.namespace,
        call.target.name,
        options,
        call.options,
    )
    return 201, success(code=201)


def _spend_budget(call: Call, pod: Object) -> None:
    labels = pod["metadata"].get("labels") or {}
    matching = []
    for record in call.cluster.store.list("poddisruptionbudgets.policy", call.target.namespace):
        budget = record.obj
        if selector_test((budget.get("spec") or {}).get("selector"))(labels):
            matching.append(budget)
    # The real server refuses as well: it could not spend two budgets at once.
    if len(matching) > 1:
        raise ApiError(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, "
            "which the eviction subresource does not support.",
        )
    for budget in matching:
        _check_budget(call, budget, pod)


def _check_budget(call: Call, budget: Object, pod: Object) -> None:
    status = budget["status"]
    name = budget["metadata"]["name"]
    ready = has_condition(pod, "Ready")
    if (
        not ready
        # unhealthyPodEvictionPolicy IfHealthyBudget: a pod that is not ready costs the budget
        # nothing.
        and status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0)
        and status.get("desiredHealthy", 0) > 0
    ):
        return
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    # The counts are those of an older spec until the controller has caught up.
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        cause = {
            "reason": "DisruptionBudget",
            "message": f"The disruption budget {name} is still being processed by the server.",
        }
        raise ApiError(
            429,
            "TooManyRequests",
            message,
            details={"causes": [cause], "retryAfterSeconds": 10},
            headers={"Retry-After": "10"},
        )
    if status["disruptionsAllowed"] <= 0:
        text = (
            f"The disruption budget {name} needs {status['desiredHealthy']} healthy pods "
            f"and has {status['currentHealthy']} currently"
        )
        raise ApiError(
            429,
            "TooManyRequests",
            message,
            details={"causes": [{"reason": "DisruptionBudget", "message": text}]},
        )
    if call.options.dry_run:
        return
    status["disruptionsAllowed"] -= 1
    # The controller counts the pod as gone before its deletion shows.
    status.setdefault("disruptedPods", {})[pod["metadata"]["name"]] = clock.timestamp()
    call.cluster.store.put("poddisruptionbudgets.policy", budget)


def _binding(call: Call) -> tuple[int, Object]:
    node = ((call.parsed() or {}).get("target") or {}).get("name", "")
    pod = call.current
    if not node:
        raise invalid(
            "Binding",
            call.target.name,
            [Cause("FieldValueRequired", "Required value", "target.name")],
        )
    if pod["spec"].get("nodeName"):
        raise conflict(
            call.target.resource,
            call.target.name,
            f'pod {call.target.name} is already assigned to node "{pod["spec"]["nodeName"]}"',
        )
    if not call.options.dry_run:
        bind(call.cluster.store, pod, node)
    return 201, success(code=201)


def _finalize(call: Call) -> tuple[int, Object]:
    body = call.parsed()
    namespace = call.current
    if (
        not isinstance(body, dict)
        or (body.get("metadata") or {}).get("name", call.target.name) != call.target.name
    ):
        raise bad_request("the name of the object does not match the name on the URL")
    meta = namespace["metadata"]
    version = (body.get("metadata") or {}).get("resourceVersion")
    if version and version != meta["resourceVersion"]:
        raise stale(call.target.resource, call.target.name)
    finalizers = (body.get("spec") or {}).get("finalizers") or []
    if not isinstance(finalizers, list) or not all(isinstance(name, str) for name in finalizers):
        raise bad_request("spec.finalizers must be a list of texts")
    causes = [*finalizer_causes("spec.finalizers", finalizers)]
    if causes:
        raise invalid("Namespace", call.target.name, causes)
    if call.options.dry_run:
        namespace["spec"] = {"finalizers": finalizers} if finalizers else {}
    else:
        deletion.set_finalizers(call.cluster.store, namespace, finalizers)
    return 200, namespace


def _token(call: Call) -> tuple[int, Object]:
    body = call.parsed() if call.body else {}
    account = call.current
    seconds = int((body.get("spec") or {}).get("expirationSeconds") or 3600)
    # The limit of the real TokenRequest.
    if seconds < 600:
        raise invalid(
            "TokenRequest",
            "",
            [
                bad_value(
                    "spec.expirationSeconds",
                    seconds,
                    "may not specify a duration less than 10 minutes",
                )
            ],
            group="authentication.k8s.io",
        )
    namespace = call.target.namespace
    name = call.target.name
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    )
    token = call.cluster.tokens.issue(
        User(
            f"system:serviceaccount:{namespace}:{name}",
            groups,
            account["metadata"]["uid"],
        )
    )
    expires = clock.timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
    spec = {
        "audiences": (body.get("spec") or {}).get("audiences")
        or ["https://kubernetes.default.svc"],
        "expirationSeconds": seconds,
    }
    status = {"token": token, "expirationTimestamp": expires}
    meta = {
        "name": name,
        "namespace": namespace,
        "creationTimestamp": clock.timestamp(),
    }
    return 201, {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": meta,
        "spec": spec,
        "status": status,
    }


_HANDLERS: dict[str, Callable[[Call], tuple[int, Object]]] = {
    "status": _state,
    "scale": _scale,
    "eviction": _eviction,
    "binding": _binding,
    "finalize": _finalize,
    "token": _token,
    "approval": _state,
    "ephemeralcontainers": _state,
    "resize": _main,
}
