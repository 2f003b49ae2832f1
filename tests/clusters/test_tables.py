"""Tables have the columns and cells of a real API server (recorded), and its rules where none was recorded."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clusters import tables
from clusters.kinds import KINDS, Kind
from clusters.tables import jsonpath
from clusters.tables.custom import columns_of_definition
from clusters.tables.values import format_duration

# What a real API server (1.36) has answered; the simulator is held to the same.
RECORDINGS = Path(__file__).parents[2] / "simcluster" / "tests" / "recordings"
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def recorded(name: str) -> Any:
    """The body of a recorded answer."""
    return json.loads((RECORDINGS / f"{name}.json").read_text())["response"]["body"]


def cells(plural: str, obj: dict[str, Any], *, group: str = "") -> dict[str, Any]:
    """Column -> cell of an object."""
    kind = KINDS.get(plural) or Kind("X", plural, group)
    columns = tables.built_in_columns(kind)
    row = tables.cells(obj, columns, NOW)
    return {column.name: cell for column, cell in zip(columns, row, strict=True)}


@pytest.mark.parametrize("plural", ["pods", "deployments", "nodes"])
def test_columns_are_those_of_a_real_api_server(plural: str) -> None:
    table = recorded(f"{plural}-list-table")
    columns = [column.definition for column in tables.built_in_columns(KINDS[plural])]
    for mine, theirs in zip(columns, table["columnDefinitions"], strict=True):
        said = mine.pop("description")
        assert said in ("", theirs["description"])
        assert mine == {key: theirs[key] for key in mine}


# An object and a table that has its row, recorded while nothing that is shown changed.
RECORDED = [
    ("pods", "pod-get-running"),
    ("nodes", "node-get"),
    ("deployments", "deployment-get-rolled-out"),
]


@pytest.mark.parametrize(("plural", "name"), RECORDED)
def test_cells_of_recorded_objects_are_those_of_the_recorded_table(plural: str, name: str) -> None:
    obj = recorded(name)
    rows = recorded(f"{plural}-list-table")["rows"]
    [row] = [row for row in rows if row["object"]["metadata"]["uid"] == obj["metadata"]["uid"]]
    names = [column.name for column in tables.built_in_columns(KINDS[plural])]
    theirs = dict(zip(names, row["cells"], strict=True))
    # Ages differ by the time between the two.
    assert {**cells(plural, obj), "Age": ""} == {**theirs, "Age": ""}


def container(state: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """A container's status."""
    return {"name": rest.pop("name", "c"), "state": state, "restartCount": 0, **rest}


PODS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {
            "spec": {"containers": [{"name": "c"}, {"name": "d"}], "nodeName": "n1"},
            "status": {
                "phase": "Running",
                "podIPs": [{"ip": "10.0.0.1"}],
                "containerStatuses": [
                    container({"running": {}}, ready=True, restartCount=3, lastState={
                        "terminated": {"finishedAt": "2026-11-28T11:55:00Z"}}),
                    container({"waiting": {"reason": "CrashLoopBackOff"}}),
                ],
            },
        },
        ["1/2", "CrashLoopBackOff", "3 (5m ago)", "10.0.0.1", "n1"],
    ),
    (
        {
            "spec": {"containers": [{}], "initContainers": [{"name": "i"}, {"name": "j"}]},
            "status": {
                "phase": "Pending",
                "initContainerStatuses": [
                    container({"terminated": {"exitCode": 0}}, name="i"),
                    container({"running": {}}, name="j"),
                ],
                "containerStatuses": [container({"waiting": {"reason": "PodInitializing"}})],
            },
        },
        ["0/1", "Init:1/2", "0", "<none>", "<none>"],
    ),
    (
        {
            "spec": {"containers": [{}], "initContainers": [{"name": "i"}]},
            "status": {
                "phase": "Pending",
                "initContainerStatuses": [
                    container({"terminated": {"exitCode": 2}}, name="i", restartCount=4)
                ],
            },
        },
        ["0/1", "Init:ExitCode:2", "4", "<none>", "<none>"],
    ),
    (
        # A sidecar counts as a container once it has started.
        {
            "spec": {
                "containers": [{}],
                "initContainers": [{"name": "side", "restartPolicy": "Always"}],
            },
            "status": {
                "phase": "Running",
                "initContainerStatuses": [
                    container({"running": {}}, name="side", started=True, ready=True)
                ],
                "containerStatuses": [container({"running": {}}, ready=True)],
            },
        },
        ["2/2", "Running", "0", "<none>", "<none>"],
    ),
    (
        {
            "metadata": {"deletionTimestamp": "2026-11-28T11:59:00Z"},
            "spec": {"containers": [{}]},
            "status": {"phase": "Running", "containerStatuses": [
                container({"running": {}}, ready=True)]},
        },
        ["1/1", "Terminating", "0", "<none>", "<none>"],
    ),
    (
        {
            "spec": {"containers": [{}], "schedulingGates": [{"name": "g"}]},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
        },
        ["0/1", "SchedulingGated", "0", "<none>", "<none>"],
    ),
    (
        {
            "spec": {"containers": [{}]},
            "status": {"phase": "Failed", "reason": "Evicted"},
        },
        ["0/1", "Evicted", "0", "<none>", "<none>"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "expected"), PODS)
def test_pods_are_summarized_as_the_api_server_does(
    pod: dict[str, Any], expected: list[str]
) -> None:
    row = cells("pods", {"metadata": {"name": "p"}, **pod})
    assert [row[name] for name in ("Ready", "Status", "Restarts", "IP", "Node")] == expected


def test_pods_that_have_ended_say_so_in_their_row() -> None:
    pod = {"status": {"phase": "Succeeded"}}
    assert tables.conditions_of_row(KINDS["pods"], pod)[0]["type"] == "Completed"
    assert tables.conditions_of_row(KINDS["pods"], {"status": {"phase": "Running"}}) == []


OTHERS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "nodes", "",
        {"metadata": {"labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}},
         "spec": {"unschedulable": True},
         "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        {"Status": "NotReady,SchedulingDisabled", "Roles": "a,b", "OS-Image": "<unknown>"},
    ),
    (
        "horizontalpodautoscalers", "",
        {"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 9,
                  "metrics": [
                      {"type": "Resource", "resource": {
                          "name": "cpu", "target": {"averageUtilization": 60}}},
                      {"type": "Pods", "pods": {"target": {"averageValue": "1k"}}},
                      {"type": "External", "external": {"target": {"value": "5"}}}]},
         "status": {"currentMetrics": [
             {"type": "Resource", "resource": {"current": {"averageUtilization": 43}}}]}},
        {"Reference": "Deployment/web", "MinPods": "<unset>", "MaxPods": 9,
         "Targets": "cpu: 43%/60%, <unknown>/1k + 1 more..."},
    ),
    (
        "services", "",
        {"spec": {"type": "LoadBalancer", "externalIPs": ["9.9.9.9"],
                  "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53}]},
         "status": {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "1.example"}]}}},
        {"External-IP": "1.example,2.2.2.2,9.9.9.9", "Port(s)": "80:30080/TCP,53/TCP",
         "Cluster-IP": "<none>", "Selector": "<none>"},
    ),
    (
        "endpoints", "",
        {"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
                      "ports": [{"port": 80}, {"port": 81}]}]},
        {"Endpoints": "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more..."},
    ),
    (
        "jobs", "",
        {"spec": {"parallelism": 3}, "status": {"succeeded": 1, "startTime":
         "2026-11-28T11:00:00Z", "completionTime": "2026-11-28T11:02:05Z",
         "conditions": [{"type": "Complete", "status": "True"}]}},
        {"Status": "Complete", "Completions": "1/1 of 3", "Duration": "2m5s"},
    ),
    (
        "cronjobs", "",
        {"spec": {"schedule": "@daily", "suspend": False}},
        {"Suspend": "False", "Last Schedule": "<none>", "Timezone": "<none>", "Active": 0},
    ),
    (
        "persistentvolumeclaims", "",
        {"spec": {"volumeName": "v", "storageClassName": "fast"},
         "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}},
        {"Access Modes": "RWO,RWX", "Capacity": "1Gi", "VolumeMode": "<unset>"},
    ),
    (
        "events", "",
        {"involvedObject": {"kind": "Pod", "name": "p"}, "eventTime": "2026-11-28T11:00:00Z",
         "series": {"count": 7, "lastObservedTime": "2026-11-28T11:59:00Z"},
         "reportingComponent": "kubelet", "reportingInstance": "n1"},
        {"Last Seen": "60s", "First Seen": "60m", "Count": 7, "Object": "pod/p",
         "Source": "kubelet, n1"},
    ),
    (
        "rolebindings", "",
        {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "s",
             "namespace": "x"}]},
        {"Role": "Role/r", "Users": "ann", "ServiceAccounts": "x/s", "Groups": ""},
    ),
    (
        "networkpolicies", "",
        {"spec": {"podSelector": {"matchLabels": {"b": "1"}, "matchExpressions": [
            {"key": "a", "operator": "NotIn", "values": ["y", "x"]}]}}},
        {"Pod-Selector": "a notin (x,y),b=1"},
    ),
    (
        "apiservices", "apiregistration.k8s.io",
        {"spec": {"service": {"namespace": "ks", "name": "m"}}, "status": {"conditions": [
            {"type": "Available", "status": "False", "reason": "MissingEndpoints"}]}},
        {"Service": "ks/m", "Available": "False (MissingEndpoints)"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("plural", "group", "obj", "expected"), OTHERS)
def test_other_kinds_are_printed_as_the_api_server_does(
    plural: str, group: str, obj: dict[str, Any], expected: dict[str, Any]
) -> None:
    row = cells(plural, {"metadata": {}, **obj}, group=group)
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (119, "119s"), (125, "2m5s"), (180, "3m"), (3600, "60m"),
        (4 * 3600 + 60, "4h1m"), (9 * 3600, "9h"), (50 * 3600, "2d2h"), (20 * 86400, "20d"),
        (800 * 86400, "2y70d"), (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_durations(seconds: int, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


def test_a_document_of_another_shape_spoils_its_own_cells_only() -> None:
    row = cells("pods", {"metadata": {"name": "odd"}, "spec": {"containers": 3}, "status": []})
    assert row["Name"] == "odd"
    assert row["Ready"] == "<invalid>"


DEFINITION = {
    "spec": {
        "versions": [
            {
                "name": "v1",
                "additionalPrinterColumns": [
                    {"name": "Ready", "type": "string",
                     "jsonPath": ".status.conditions[?(@.type=='Ready')].status"},
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
                    {"name": "Due", "type": "date", "jsonPath": ".spec.due"},
                    {"name": "App", "type": "string",
                     "jsonPath": ".metadata.labels.app\\.kubernetes\\.io/name"},
                    {"name": "Last", "type": "string", "jsonPath": ".spec.hosts[-1]"},
                    {"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"},
                ],
            }
        ]
    }
}  # fmt: skip


def test_custom_kinds_have_the_columns_of_their_definition() -> None:
    columns = columns_of_definition(DEFINITION, "v1")
    obj = {
        "metadata": {"name": "w", "labels": {"app.kubernetes.io/name": "shop"}},
        "spec": {"size": 3, "due": "2026-11-28T11:00:00Z", "hosts": ["a", "b"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert [column.name for column in columns] == [
        "Name", "Ready", "Size", "Due", "App", "Last", "Hosts",
    ]  # fmt: skip
    assert tables.cells(obj, columns, NOW) == ["w", "True", 3, "60m", "shop", "b", '["a","b"]']
    empty = tables.cells({"metadata": {"name": "w"}, "spec": {"due": "soon"}}, columns, NOW)
    assert empty == ["w", None, None, "<invalid>", None, None, None]
    assert [column.name for column in columns_of_definition(DEFINITION, "v2")] == ["Name", "Age"]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("{.a.b}", [1]), ("$.a['b']", [1]), (".l[*].n", [1, 2, 3]), (".l[0:2].n", [1, 2]),
        (".l[?(@.n>1)].n", [2, 3]), (".l[?(@.m)].n", [3]), ("..m", [True]), (".l[9]", []),
        (".l[?(@.n", []), ("(((", []),
    ],
)  # fmt: skip
def test_jsonpath(path: str, values: list[Any]) -> None:
    obj = {"a": {"b": 1}, "l": [{"n": 1}, {"n": 2}, {"n": 3, "m": True}]}
    assert jsonpath.find(obj, path) == values
