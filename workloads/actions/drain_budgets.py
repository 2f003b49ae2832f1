"""What PodDisruptionBudgets would answer to the evictions of a drain, told before any is sent."""

from collections.abc import Iterable, Mapping
from typing import Any

from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from storage_api.query.selectors import parse_labels
from workloads.objects.selectors import selector_text

BUDGETS = KINDS["poddisruptionbudgets"]
# Pods in these phases are evicted without a look at any budget, as the API server does it.
UNGUARDED_PHASES = frozenset({"Pending", "Succeeded", "Failed"})


def refused_evictions(client: ClusterClient, pods: Iterable[Object]) -> dict[str, str]:
    """uid -> why the eviction of the pod would be refused now, when they are evicted in this order.

    Reads the budgets of the pods' namespaces, as the cluster counts them now. Raises what the
    cluster refuses, as Forbidden to credentials that may not list budgets.
    """
    pods = list(pods)
    namespaces = {pod["metadata"]["namespace"] for pod in pods}
    budgets = {
        namespace: [_Budget(budget) for budget in list_all(client, BUDGETS, namespace)]
        for namespace in sorted(namespaces)
    }
    refusals = {}
    for pod in pods:
        if refusal := _refusal(pod, budgets[pod["metadata"]["namespace"]]):
            refusals[pod["metadata"]["uid"]] = refusal
    return refusals


class _Budget:
    """A PodDisruptionBudget, and how many disruptions it still allows in this preview."""

    def __init__(self, item: Object) -> None:
        self._spec: Mapping[str, Any] = item.get("spec") or {}
        self._status: Mapping[str, Any] = item.get("status") or {}
        self._generation = item["metadata"].get("generation", 0)
        self.name = str(item["metadata"]["name"])
        self._left = int(self._status.get("disruptionsAllowed") or 0)
        selector = self._spec.get("selector")
        # Without a selector a budget is about no pod, with an empty one about all of them.
        self._terms = None if selector is None else parse_labels(selector_text(selector))

    def covers(self, pod: Object) -> bool:
        """Whether the budget is about the pod."""
        if self._terms is None:
            return False
        labels = pod["metadata"].get("labels") or {}
        return all(term.matches(labels.get(term.key)) for term in self._terms)

    def refusal_for(self, pod: Object) -> str:
        """Why the pod may not be evicted now; "" when it may, which uses the budget up by one."""
        if not _is_ready(pod):
            healthy = int(self._status.get("currentHealthy") or 0)
            desired = int(self._status.get("desiredHealthy") or 0)
            always = self._spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
            # An unhealthy pod takes nothing from a budget that is met.
            if always or healthy >= desired > 0:
                return ""
        if int(self._status.get("observedGeneration") or 0) < self._generation:
            return f"PodDisruptionBudget {self.name} is new: its pods are still being counted"
        if self._left <= 0:
            allowed = int(self._status.get("disruptionsAllowed") or 0)
            if allowed == 1:
                return f"waits: PodDisruptionBudget {self.name} allows 1 disruption now"
            return f"waits: PodDisruptionBudget {self.name} allows {allowed} disruptions now"
        self._left -= 1
        return ""


def _refusal(pod: Object, budgets: list[_Budget]) -> str:
    phase = (pod.get("status") or {}).get("phase")
    if phase in UNGUARDED_PHASES or pod["metadata"].get("deletionTimestamp"):
        return ""
    covering = [budget for budget in budgets if budget.covers(pod)]
    if len(covering) > 1:
        # The API server answers such evictions with an error, however much the budgets allow.
        names = ", ".join(budget.name for budget in covering)
        return f"cannot be evicted: several PodDisruptionBudgets cover it ({names})"
    return covering[0].refusal_for(pod) if covering else ""


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in conditions
    )
