"""Words that no database has a text for, and numbers out of its range, at routes that search."""

import pytest
from django.contrib.auth import get_user_model

from access import grants
from access.tokens import create_api_token
from clusters.models import Cluster
from tests.caller import Caller

WORDS = ("\x00", "a\x00b", "\ud800", "(a+)+$", "%", "x" * 3000, "1" * 30, "²", ",,\x00,")
GETS = {
    "auth/tenants": ("cluster_id", "keyword", "writable"),
    "groups/1/members": ("keyword",),
    "multicluster/events": (
        "clusters",
        "namespaces",
        "type",
        "reason",
        "resource_type",
        "resource_name",
        "message",
    ),
    "alerts": ("names", "namespaces", "namespace", "name", "kind", "keyword", "cluster_id"),
    "terminal-recordings": ("text", "name", "user", "container"),
}
BODIES = (
    ("groups", "name"),
    ("groups/1/members", "username"),
    ("clusters/{cluster}/port-links", "namespace"),
    ("clusters/{cluster}/port-links", "resource"),
    ("clusters/{cluster}/port-links", "name"),
    ("clusters/{cluster}/port-links", "port"),
    ("clusters/{cluster}/port-links", "scheme"),
)
POD = {"namespace": "shop", "resource": "pods", "name": "web", "port": "80"}


def _queries() -> list[tuple[str, str]]:
    return [(path, name) for path, names in GETS.items() for name in names]


@pytest.fixture
def root(db: None) -> Caller:
    """An admin of everything."""
    user = get_user_model().objects.create_user("root")
    grants.give(user=user, role=grants.Role.ADMIN)
    return Caller(create_api_token(user, "t")[1])


@pytest.mark.parametrize(("path", "name"), _queries())
def test_no_word_of_a_query_is_a_fault_of_the_server(
    root: Caller, cluster: Cluster, path: str, name: str
) -> None:
    for word in WORDS:
        if "\ud800" in word:
            continue
        place = {"cluster_id": cluster.pk} if path == "terminal-recordings" else {}
        answer = root.raw("GET", path, **place, **{name: word})
        assert answer.status_code < 500, (path, name, word[:20])


@pytest.mark.parametrize(("path", "name"), BODIES)
def test_no_word_of_a_body_is_a_fault_of_the_server(
    root: Caller, cluster: Cluster, path: str, name: str
) -> None:
    facts = POD if "port-links" in path else {}
    for word in (*WORDS, "1" * 5000, ["a"], {"a": 1}, 1.5, True, None):
        answer = root.raw("POST", path.format(cluster=cluster.pk), {**facts, name: word})
        assert answer.status_code < 500, (path, name, str(word)[:20])
