"""Small things in which the simulator is like a real API server."""

import copy
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from simcluster.testing import RunningCluster
from simcluster.tests.conftest import DEPLOYMENT, Api

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def test_a_date_column_that_is_no_date_is_invalid(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    group = "dates.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    column = {"name": "When", "type": "date", "jsonPath": ".when"}
    version: dict[str, Any] = {"name": "v1", "served": True, "storage": True}
    version |= {"schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": [column]}
    names = {"plural": "notes", "singular": "note", "kind": "Note"}
    api.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"notes.{group}"},
            "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
        },
    )
    path = f"/apis/{group}/v1/namespaces/{namespace}/notes"
    for at, when in enumerate(("soon", "2026-01-01", 5, "")):
        note = {"apiVersion": f"{group}/v1", "kind": "Note", "metadata": {"name": f"n{at}"}}
        assert api.post(path, {**note, "when": when}).status == 201
    rows = api.get(path, accept=TABLE).body["rows"]
    assert [row["cells"][1] for row in rows] == ["<invalid>"] * 3 + ["<unknown>"]


def test_a_null_in_a_map_of_texts_is_empty(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"metadata": {"name": "nulls", "labels": {"a": None}}, "data": {"a": None, "b": "1"}}
    made = api.post(path, body).body
    assert made["data"] == {"a": "", "b": "1"}
    assert made["metadata"]["labels"] == {"a": ""}
    patched = api.merge(f"{path}/nulls", {"data": {"b": None}}).body
    assert patched["data"] == {"a": ""}


@pytest.mark.parametrize(
    ("schedule", "status"),
    [("@every 1h30m", 201), ("@every 90s", 201), ("@every soon", 422), ("@every -1h", 422)],
)
def test_schedules_of_a_span(api: Api, namespace: str, schedule: str, status: int) -> None:
    template = copy.deepcopy(DEPLOYMENT["spec"]["template"])
    template["spec"]["restartPolicy"] = "Never"
    job = {"spec": {"template": template}}
    path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs"
    spec = {"schedule": schedule, "jobTemplate": job}
    assert api.post(path, {"metadata": {"name": "again"}, "spec": spec}).status == status


def test_a_span_starts_jobs(api: Api, sim: RunningCluster, namespace: str) -> None:
    template = copy.deepcopy(DEPLOYMENT["spec"]["template"])
    template["spec"]["restartPolicy"] = "Never"
    spec = {"schedule": "@every 20s", "jobTemplate": {"spec": {"template": template}}}
    path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs"
    assert api.post(path, {"metadata": {"name": "again"}, "spec": spec}).status == 201
    sim.wait(lambda: sim.list("jobs.batch", namespace), seconds=30)


def test_revisions_carry_the_annotations_of_their_owner(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    notes = {"kubernetes.io/change-cause": "a new image"}
    body = {
        "metadata": {"name": "db", "annotations": notes},
        "spec": {**DEPLOYMENT["spec"], "serviceName": "db"},
    }
    assert api.post(path, body).status == 201
    (found,) = sim.wait(lambda: sim.list("controllerrevisions.apps", namespace))
    assert found["metadata"]["annotations"] == notes


def test_logs_are_split_at_line_feeds_only(api: Api, sim: RunningCluster, namespace: str) -> None:
    command = ["printf", "a\\rb\u2028c\\nd\\n"]
    container = {"name": "c", "image": "busybox", "command": command}
    spec = {"containers": [container], "restartPolicy": "Never"}
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert api.post(path, {"metadata": {"name": "odd"}, "spec": spec}).status == 201
    sim.wait(lambda: api.get(f"{path}/odd").body["status"].get("phase") == "Succeeded")
    assert api.get(f"{path}/odd/log").raw.decode() == "a\rb\u2028c\nd\n"
    assert api.get(f"{path}/odd/log?sinceSeconds={2**63 - 1}").raw.endswith(b"d\n")


def test_a_large_paste_into_a_terminal_keeps_nobody_waiting(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"]}
    assert api.post(path, {"metadata": {"name": "box"}, "spec": {"containers": [container]}})
    sim.wait(lambda: api.get(f"{path}/box").body["status"].get("phase") == "Running")
    url = api.url.replace("https://", "wss://")
    headers = {"Authorization": f"Bearer {api.token}"}
    lines = b"".join(b"%079d\n" % number for number in range(12_500))
    with connect(
        f"{url}{path}/box/exec?command=cat&stdin=1&stdout=1&tty=1",
        ssl=api.context,
        additional_headers=headers,
        subprotocols=[Subprotocol("v4.channel.k8s.io")],
        max_size=None,
        proxy=None,
        # A megabyte echoed on a busy machine leaves no room for the client's own pings.
        ping_interval=None,
    ) as socket:
        socket.send(b"\0" + b"x" * 1_000_000 + b"\n")
        socket.send(b"\0" + lines + b"the end\n")
        assert api.get(f"{path}/box").status == 200
        output = b""
        while output.count(b"the end\r\n") < 2:
            frame = socket.recv(timeout=90)
            output += frame[1:] if isinstance(frame, bytes) else frame[1:].encode()
    # Once as it was typed, once as cat writes it; a line has room for 4095 bytes.
    assert output.count(b"x") == 2 * 4095
    assert output.count(b"0012499\r\n") == 2


def conditions_of(namespace: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        one["type"]: (one["status"], one["reason"], one["message"])
        for one in namespace["status"].get("conditions") or ()
    }


def test_a_namespace_says_what_holds_it(api: Api, sim: RunningCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold", "example.com/too"]}}
    assert api.post(f"{path}/configmaps", held).status == 201
    held["metadata"]["finalizers"] = ["example.com/hold"]
    assert api.post(f"{path}/secrets", held).status == 201
    assert "conditions" not in api.get(path).body["status"]
    answer = api.call("DELETE", path).body
    assert answer["status"]["phase"] == "Terminating"
    assert "deletionGracePeriodSeconds" not in answer["metadata"]
    sim.wait(lambda: "NamespaceContentRemaining" in conditions_of(api.get(path).body))
    finalizers = "example.com/hold in 2 resource instances, example.com/too in 1 resource instances"
    assert conditions_of(api.get(path).body) == {
        "NamespaceDeletionDiscoveryFailure": (
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps. has 1 resource instances, "
            "secrets. has 1 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {finalizers}",
        ),
    }
    # A second deletion changes nothing, and the namespace takes nothing new.
    assert api.call("DELETE", path).status == 200
    assert api.post(f"{path}/configmaps", {"metadata": {"name": "new"}}).status == 403
    for kind in ("configmaps", "secrets"):
        assert api.merge(f"{path}/{kind}/held", {"metadata": {"finalizers": None}}).status == 200
    sim.wait(lambda: api.get(path).status == 404)


def test_other_finalizers_of_a_namespace_outlast_its_content(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    body = {"spec": {"finalizers": ["example.com/mine"]}}
    named = {**body, "metadata": {"name": f"{namespace}-more"}}
    made = api.post("/api/v1/namespaces", named).body
    path = f"/api/v1/namespaces/{namespace}-more"
    assert made["spec"]["finalizers"] == ["example.com/mine", "kubernetes"]
    # The object's own paths do not change them.
    assert api.merge(path, {"spec": {"finalizers": []}}).body["spec"] == made["spec"]
    assert api.call("DELETE", path).status == 200
    sim.wait(lambda: api.get(path).body["spec"]["finalizers"] == ["example.com/mine"])
    reached = conditions_of(api.get(path).body)["NamespaceContentRemaining"]
    assert reached == ("False", "ContentRemoved", "All content successfully removed")
    stale = api.call("PUT", f"{path}/finalize", {**made, "spec": {}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    bare = api.call("PUT", f"{path}/finalize", {"spec": {"finalizers": ["mine"]}})
    assert bare.status == 422
    assert "name is neither a standard finalizer name" in bare.body["message"]
    ended = api.call("PUT", f"{path}/finalize", {"metadata": {"name": named["metadata"]["name"]}})
    assert (ended.status, ended.body["spec"]) == (200, {})
    assert api.get(path).status == 404


def test_pods_of_a_namespace_go_first(api: Api, sim: RunningCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    pod = {"metadata": {"name": "p", "finalizers": ["example.com/hold"]}}
    container = {"name": "c", "image": "nginx"}
    assert api.post(f"{path}/pods", {**pod, "spec": {"containers": [container]}}).status == 201
    assert api.post(f"{path}/configmaps", {"metadata": {"name": "later"}}).status == 201
    api.call("DELETE", path)
    sim.wait(lambda: "NamespaceContentRemaining" in conditions_of(api.get(path).body))
    remaining = conditions_of(api.get(path).body)["NamespaceContentRemaining"][2]
    assert remaining == "Some resources are remaining: pods. has 1 resource instances"
    assert api.get(f"{path}/configmaps/later").status == 200
    api.merge(f"{path}/pods/p", {"metadata": {"finalizers": None}})
    sim.wait(lambda: api.get(path).status == 404, seconds=30)


def test_the_scheduler_tells_by_events_of_the_new_kind(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "900"}}}
    path = f"/api/v1/namespaces/{namespace}"
    assert (
        api.post(
            f"{path}/pods", {"metadata": {"name": "big"}, "spec": {"containers": [container]}}
        ).status
        == 201
    )

    def repeated() -> Any:
        items = api.get(f"{path}/events").body["items"]
        return next((one for one in items if one.get("series")), None)

    event = sim.wait(repeated)
    assert (event["reason"], event["action"]) == ("FailedScheduling", "Scheduling")
    assert (event["firstTimestamp"], event["lastTimestamp"]) == (None, None)
    assert "count" not in event
    assert event["series"]["count"] >= 2
    assert event["eventTime"] < event["series"]["lastObservedTime"]
    rows = api.get(f"{path}/events", accept=TABLE).body["rows"]
    assert rows[0]["cells"][8] >= 2
    name = event["metadata"]["name"]
    served = api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}").body
    assert served["deprecatedFirstTimestamp"] is None
    assert served["series"]["count"] >= 2


def test_what_is_not_set_is_null_where_go_writes_it(api: Api, namespace: str) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"
    assert api.post(rbac, {"metadata": {"name": "none"}}).body["rules"] is None
    again = api.merge(f"{rbac}/none", {"metadata": {"labels": {"a": "b"}}}).body
    assert again["rules"] is None
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    made = api.post(slices, {"metadata": {"name": "none"}, "addressType": "IPv4"}).body
    assert (made["endpoints"], made["ports"]) == (None, None)
    about = {"kind": "Pod", "name": "p", "namespace": namespace}
    event = {"metadata": {"name": "bare"}, "involvedObject": about}
    made = api.post(f"/api/v1/namespaces/{namespace}/events", event).body
    times = (made["firstTimestamp"], made["lastTimestamp"], made["eventTime"])
    assert (times, made["source"]) == ((None, None, None), {})
