"""Ephemeral containers: through their subresource alone, and never changed again."""

from typing import Any

from simcluster.testing import RunningCluster
from simcluster.tests.conftest import Api, Reply

STRATEGIC = "application/strategic-merge-patch+json"


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox:1.37", "command": ["sleep", "3600"], **more}


def pod(**spec: Any) -> dict[str, Any]:
    content = {"containers": [{"name": "app", "image": "nginx:1"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": content}


def test_ephemeral_containers_are_added_and_stay_as_they_are(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    base = f"/api/v1/namespaces/{namespace}/pods"
    path = f"{base}/web/ephemeralcontainers"

    def add(*containers: dict[str, Any], labels: dict[str, str] | None = None) -> Reply:
        body = {"metadata": {"labels": labels or {}}, "spec": {"ephemeralContainers": containers}}
        return api.call("PATCH", path, body, content_type=STRATEGIC)

    def refusal(reply: Reply) -> str:
        assert reply.status == 422, reply.body
        return str(reply.body["message"])

    assert "cannot be set on create" in refusal(
        api.post(base, pod(ephemeralContainers=[entry("early")]))
    )
    assert api.post(base, pod()).status == 201
    sideways = {"spec": {"ephemeralContainers": [entry("sideways")]}}
    assert "may not change fields" in refusal(api.merge(f"{base}/web", sideways))
    added = add(entry("debugger", targetContainerName="app"), labels={"dropped": "yes"})
    assert added.status == 200
    assert "dropped" not in added.body["metadata"].get("labels", {})
    managers = added.body["metadata"]["managedFields"]
    assert "ephemeralcontainers" in [manager.get("subresource") for manager in managers]

    def state() -> Any:
        status = api.get(f"{base}/web").body["status"]
        return (status.get("ephemeralContainerStatuses") or [{}])[0].get("state")

    sim.wait(lambda: "running" in (state() or {}))
    # A second one comes beside it, by its name as the key of the list.
    assert add(entry("second")).status == 200
    assert "may not be changed" in refusal(add(entry("debugger", image="other:1")))
    gone = api.get(f"{base}/web").body
    gone["spec"]["ephemeralContainers"].pop()
    assert "may not be removed" in refusal(api.call("PUT", path, gone))
    wrong = {
        "Not found": entry("third", targetContainerName="nobody"),
        "Duplicate value": entry("app"),
        "cannot be set for an Ephemeral Container": entry("third", ports=[{"containerPort": 1}]),
        "Required value": {"name": "third"},
    }
    for sentence, container in wrong.items():
        assert sentence in refusal(add(container))
    assert len(api.get(f"{base}/web").body["spec"]["ephemeralContainers"]) == 2
