"""History without what controllers write by themselves, whole objects, and any two versions."""

from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster
from console.views.history import version_context
from tests.alerts.conftest import live, write
from tests.caller import Caller

# A fixture of the tests of alerts, used here as well.
__all__ = ["live"]


def deployment(replicas: int, **members: Any) -> dict[str, Any]:
    """A Deployment's document."""
    metadata = {"name": "noisy", "namespace": "shop", "uid": "u-noisy"}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas, "note": "two\nlines"},
        **members,
    }


@pytest.fixture
def noisy(admin: Caller, live: Cluster) -> Cluster:
    """A cluster with a Deployment: made, scaled by somebody, and written to by a controller."""
    write(deployment(1), cluster=live.name)
    write(deployment(2), cluster=live.name)
    for ready in range(3):
        write(deployment(2, status={"readyReplicas": ready}), cluster=live.name)
    body = {
        "cluster_id": live.pk,
        "content": {
            "metadata": {"name": "noisy", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "a:1"}]},
                },
            },
        },
    }
    assert admin.code("POST", "deployments", body) in (0, 1007)
    return live


@pytest.mark.django_db
def test_controllers_are_left_out_until_somebody_asks(visitor: Client, noisy: Cluster) -> None:
    base = f"/clusters/{noisy.pk}"
    pages = (
        (f"{base}/deployments/shop/noisy/history", {}),
        ("/history", {"cluster_id": noisy.pk, "kind": "deployments", "keyword": "noisy"}),
        (f"{base}/-/timeline", {"namespace": "shop", "lane": "change"}),
    )
    for address, query in pages:
        quiet = visitor.get(address, query).content.decode()
        whole = visitor.get(address, {**query, "all": "1"}).content.decode()
        assert whole.count(">changed<") - quiet.count(">changed<") == 3, address
        assert quiet.count(">changed<") >= 1, address
        assert quiet.count(">added<") >= 1, address


@pytest.mark.django_db
def test_any_version_is_whole_saved_and_compared_with_any_other(
    visitor: Client, admin: Caller, noisy: Cluster
) -> None:
    query = {"cluster_id": noisy.pk, "kind": "deployments", "namespace": "shop", "name": "noisy"}
    versions = admin.data("GET", "history", **query)["items"]
    oldest, scaled, *_ = reversed(versions)
    address = f"/clusters/{noisy.pk}/deployments/shop/noisy/history/at"
    page = visitor.get(address, {"at": oldest["at"], "to": scaled["at"]}).content.decode()
    assert "How the two differ" in page
    assert f'<option value="{scaled["at"]}" selected>' in page
    assert '<td class="mono">spec.replicas</td>' in page
    assert "status" not in page.partition("<details")[0].partition("<h3>")[2]
    saved = visitor.get(address, {"at": oldest["at"], "download": "1"})
    assert 'filename="noisy.yaml"' in saved["Content-Disposition"]
    text = saved.content.decode()
    assert "  replicas: 1\n" in text
    assert "note: |-\n    two\n    lines\n" in text


@pytest.mark.parametrize(
    ("who", "path", "is_noise"),
    [
        ({"source": "managedFields", "manager": "kubectl"}, ["spec", "replicas"], False),
        ({"source": "managedFields", "manager": "kubelet"}, ["metadata", "labels"], True),
        (
            {"manager": "kube-controller-manager", "subresource": "scale"},
            ["spec", "replicas"],
            False,
        ),
        ({"source": "audit", "user": "ann"}, ["status", "phase"], False),
        (None, ["status", "phase"], True),
        (None, ["spec", "replicas"], False),
    ],
)
def test_what_counts_as_noise(who: Any, path: list[str], is_noise: bool) -> None:
    change = {"path": path, "op": "replace", "from": 1, "to": 2}
    entry = {"op": "change", "at": "2026-01-01T00:00:00Z", "who": who, "changes": [change]}
    assert version_context(entry)["is_noise"] is is_noise
    assert not version_context({**entry, "op": "delete"})["is_noise"]
    assert not version_context({**entry, "changes": None})["is_noise"]
