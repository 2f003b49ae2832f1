"""What a cluster's credentials may do in its accessible namespaces, as its API server says itself: only to notice when it changes."""

from collections.abc import Iterable

import orjson

from clusters.streams import StreamClient
from core.errors import ClusterUnavailable

RULES_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


async def changed_namespaces(
    client: StreamClient, namespaces: Iterable[str], known: dict[str, bytes]
) -> set[str]:
    """The namespaces in which the rules differ from those that are known, which are brought up to date; ClusterUnavailable or another
    domain error when the cluster cannot say."""
    changed = set[str]()
    for namespace in namespaces:
        rules = await _rules(client, namespace)
        if known.get(namespace, rules) != rules:
            changed.add(namespace)
        known[namespace] = rules
    return changed


async def _rules(client: StreamClient, namespace: str) -> bytes:
    """The rules in one text that is the same for the same rules in any order."""
    review = await client.json("POST", RULES_REVIEW, body={"spec": {"namespace": namespace}})
    status = review.get("status") if isinstance(review, dict) else None
    rules = status.get("resourceRules") if isinstance(status, dict) else None
    if not isinstance(rules, list | None):
        raise ClusterUnavailable("the cluster's answer is no review of rules", reason="bad_answer")
    return b"\n".join(
        sorted(orjson.dumps(rule, option=orjson.OPT_SORT_KEYS) for rule in rules or [])
    )
