"""Notices when the rights of a cluster's credentials change in its accessible namespaces.

The API server itself is asked, by SelfSubjectRulesReview.
"""

from collections.abc import Iterable

import orjson

from clusters.streams import StreamClient
from core.errors import ClusterUnavailable

RULES_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


async def changed_namespaces(
    client: StreamClient,
    namespaces: Iterable[str],
    rules_by_namespace: dict[str, bytes],
) -> set[str]:
    """The namespaces whose rules differ from those in `rules_by_namespace`.

    `rules_by_namespace` is brought up to date; a namespace that is new to it has not changed.
    ClusterUnavailable, or another domain error, when the cluster cannot answer.
    """
    changed = set[str]()
    for namespace in namespaces:
        rules = await _fetch_rules(client, namespace)
        if rules_by_namespace.get(namespace, rules) != rules:
            changed.add(namespace)
        rules_by_namespace[namespace] = rules
    return changed


async def _fetch_rules(client: StreamClient, namespace: str) -> bytes:
    """The rules as one text, the same for the same rules in any order."""
    review = await client.json(
        "POST",
        RULES_REVIEW,
        body={"spec": {"namespace": namespace}},
    )
    status = review.get("status") if isinstance(review, dict) else None
    rules = status.get("resourceRules") if isinstance(status, dict) else None
    if not isinstance(rules, list | None):
        raise ClusterUnavailable(
            "the cluster's answer is not a review of rules",
            reason="bad_answer",
        )
    # The API server promises no order of rules.
    texts = [orjson.dumps(rule, option=orjson.OPT_SORT_KEYS) for rule in rules or []]
    return b"\n".join(sorted(texts))
