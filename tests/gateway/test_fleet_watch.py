"""The fleet's watch: Kubernetes' watch over the log of changes, resumable and shared."""

import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from access.models import ApiToken, Grant
from storage_api.models import Change
from tests.gateway.conftest import KUBECTLS
from tests.gateway.running import Kubectl, Running, new_token, write_kubeconfig
from tests.gateway.stored import TABLE, StoreClient, StoredCluster, describe
from tests.gateway.test_store import RUNNING, client, east, emptied, moment, west

__all__ = ["client", "east", "emptied", "west"]
WATCH = "fleet/api/v1/pods?watch=1"


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Looks at the log more often than in earnest."""
    settings.STORAGE_WATCH_POLL = 0.05


def version_of(client: StoreClient, path: str = "fleet/api/v1/pods") -> str:
    """The resourceVersion of a list."""
    return str(client.get(path).json["metadata"]["resourceVersion"])


def test_a_watch_begins_with_what_there_is_and_goes_on(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    state = ["ADDED east/only-east", "ADDED east/web-1", "ADDED east/web-2", "ADDED west/web-1"]
    with client.watch(WATCH) as events:
        assert events.take(4) == state
        east.write("pods", "new", "shop", **RUNNING)
        added = events.next()
        assert describe(added) == "ADDED east/new"
        assert added["object"]["apiVersion"] == "v1"
        west.delete("pods", "web-1", "shop")
        gone = events.next()
        assert describe(gone) == "DELETED west/web-1"
        assert int(gone["object"]["metadata"]["resourceVersion"]) > int(
            added["object"]["metadata"]["resourceVersion"]
        )
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    with client.watch(f"{WATCH}&{query}&labelSelector=app%3Dweb") as events:
        assert events.take(1) == ["ADDED east/web-2"]
        mark = events.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_objects_enter_and_leave_a_selection(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    version = version_of(client)
    labels = {"labels": {"app": "web"}}
    east.write("pods", "web-2", "shop", **RUNNING)
    east.write("pods", "web-1", "shop", metadata=labels, status={"phase": "Failed"})
    west.write("pods", "web-1", "shop", metadata=labels, status={"phase": "Failed"})
    west.write("pods", "web-1", "shop", **RUNNING)
    expected = {
        "labelSelector=app%3Dweb": [
            "DELETED east/web-2", "ADDED east/web-1", "MODIFIED west/web-1", "DELETED west/web-1",
        ],
        "fieldSelector=status.phase%3DFailed": [
            "ADDED east/web-1", "ADDED west/web-1", "DELETED west/web-1",
        ],
        "labelSelector=kubegale.io/cluster%3Deast&fieldSelector=metadata.name%3Dweb-1": [
            "MODIFIED east/web-1",
        ],
    }  # fmt: skip
    for query, lines in expected.items():
        url = f"{WATCH}&resourceVersion={version}&timeoutSeconds=2&{query}"
        with client.watch(url) as events:
            assert events.take(len(lines)) == lines, query
            assert events.next() is None


def test_a_watch_tells_every_version_in_order_and_resumes_without_gap_or_double(
    client: StoreClient, running: Running, east: StoredCluster, west: StoredCluster
) -> None:
    version = version_of(client)
    phases = [f"phase-{number}" for number in range(250)]
    for phase in phases[:120]:
        east.write("pods", "web-1", "shop", status={"phase": phase})
    seen = []
    with client.watch(f"{WATCH}&resourceVersion={version}") as events:
        while len(seen) < 77:
            obj = events.next()["object"]
            seen.append(obj["status"]["phase"])
            version = obj["metadata"]["resourceVersion"]
    # Everything is restarted; what happens meanwhile is in the log.
    running.do(running.gateway.stop())
    for phase in phases[120:]:
        east.write("pods", "web-1", "shop", status={"phase": phase})
    running.do(running.start())
    with client.watch(f"{WATCH}&resourceVersion={version}") as events:
        while len(seen) < 250:
            seen.append(events.next()["object"]["status"]["phase"])
    assert seen == phases


def test_a_change_that_commits_late_is_not_lost(
    client: StoreClient, east: StoredCluster, west: StoredCluster
) -> None:
    version = version_of(client)
    written = threading.Event()
    may_commit = threading.Event()

    def write_slowly() -> None:
        with transaction.atomic():
            east.write("pods", "late", "shop", **RUNNING)
            written.set()
            may_commit.wait(20)
        connection.close()

    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert written.wait(20)
    with client.watch(f"{WATCH}&resourceVersion={version}") as events:
        west.write("pods", "early", "shop", **RUNNING)
        # A list of now is of before both, and says so by its version.
        listed = client.get("fleet/api/v1/pods")
        assert not {"east/late", "west/early"} & set(listed.names)
        may_commit.set()
        thread.join(20)
        assert events.take(2) == ["ADDED east/late", "ADDED west/early"]
    with client.watch(
        f"{WATCH}&resourceVersion={listed.json['metadata']['resourceVersion']}"
    ) as events:
        assert events.take(2) == ["ADDED east/late", "ADDED west/early"]


def test_positions_that_are_gone_or_unknown_are_expired(
    client: StoreClient, east: StoredCluster
) -> None:
    Change.objects.filter(resource_name="only-east").delete()
    first = Change.objects.order_by("seq").values_list("seq", flat=True)[0]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM storage_change WHERE seq < %s", [first + 3])
    for version in ("1", "99999999999"):
        with client.watch(f"{WATCH}&resourceVersion={version}") as events:
            error = events.next()
            assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
            assert error["object"]["reason"] == "Expired"
            assert events.next() is None


def test_bookmarks_and_tables(client: StoreClient, east: StoredCluster, settings: Any) -> None:
    settings.STORAGE_WATCH_HEARTBEAT = 0.1
    version = version_of(client)
    # Another kind moves the log on; the bookmark tells how far.
    east.write("configmaps", "c", "shop", data={})
    with client.watch(f"{WATCH}&resourceVersion={version}&allowWatchBookmarks=true") as events:
        mark = events.next()
        while int(mark["object"]["metadata"]["resourceVersion"]) <= int(version):
            mark = events.next()
        assert (mark["type"], mark["object"]["kind"]) == ("BOOKMARK", "Pod")
    with client.watch(f"{WATCH}&resourceVersion={version}", TABLE) as events:
        east.write("pods", "web-1", "shop", status={"phase": "Failed"})
        table = events.next()["object"]
        assert table["kind"] == "Table"
        assert table["rows"][0]["cells"][:2] == ["east", "web-1"]
        assert table["rows"][0]["object"]["metadata"]["namespace"] == "shop"
        assert table["columnDefinitions"][0]["name"] == "Cluster"


def test_rights_are_asked_again(
    running: Running, east: StoredCluster, west: StoredCluster, settings: Any
) -> None:
    settings.STREAM_REAUTHORISE_SECONDS = 0.2
    token = new_token("vera", "viewer", cluster=west.row)
    viewer = StoreClient(running, token)
    with viewer.watch(f"{WATCH}&resourceVersion={version_of(viewer)}") as events:
        east.write("pods", "hidden", "shop", **RUNNING)
        west.write("pods", "shown", "shop", **RUNNING)
        assert events.take(1) == ["ADDED west/shown"]
        # Of a cluster that one may see from now on the log does not tell what was there before.
        Grant.objects.create(user=ApiToken.objects.get().user, role="viewer", cluster=east.row)
        assert events.next()["object"]["code"] == 410
    with viewer.watch(f"{WATCH}&resourceVersion={version_of(viewer)}") as events:
        Grant.objects.all().delete()
        assert events.next()["object"]["code"] == 403
        assert events.next() is None


def test_watches_that_show_the_same_share_their_reads(
    client: StoreClient, running: Running, east: StoredCluster
) -> None:
    url = f"{WATCH}&resourceVersion={version_of(client)}"
    watches = [client.watch(url) for _ in range(40)]
    opened = [watch.__enter__() for watch in watches]
    try:
        east.write("pods", "web-1", "shop", status={"phase": "Failed"})
        lines = [events.take(1) for events in opened]
        assert lines == [["MODIFIED east/web-1"]] * 40
        # However many there are, no thread waits for them.
        assert sum("store" in thread.name for thread in threading.enumerate()) <= 4
    finally:
        for watch in watches:
            watch.__exit__(None, None, None)


# --- kubectl --------------------------------------------------------------------------------------
def kubectl_at(running: Running, folder: Path, target: str, token: str, program: str) -> Kubectl:
    """kubectl at an address of the gateway."""
    name = f"{target.replace('/', '-')}-{Path(program).name}"
    return Kubectl(program, write_kubeconfig(folder / name, running, target, token))


@pytest.fixture(params=sorted({KUBECTLS[0], KUBECTLS[-1]}) if KUBECTLS else [""])
def program(request: pytest.FixtureRequest) -> str:
    """The oldest and the newest kubectl of this machine."""
    if not request.param:
        pytest.skip("kubectl is not installed")
    return str(request.param)


@pytest.mark.slow
def test_kubectl_reads_the_fleet_and_the_past(
    running: Running,
    admin_token: str,
    east: StoredCluster,
    west: StoredCluster,
    tmp_path: Path,
    program: str,
) -> None:
    fleet = kubectl_at(running, tmp_path, "fleet", admin_token, program)
    lines = fleet("get", "pods", "-A").splitlines()
    assert lines[0].split() == [
        "NAMESPACE",
        "CLUSTER",
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
    ]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["other", "east", "only-east"],
        ["shop", "east", "web-1"],
        ["shop", "east", "web-2"],
        ["shop", "west", "web-1"],
    ]
    assert fleet("get", "po,wd", "-A", "-l", "kubegale.io/cluster=west", "-o", "name").split() == [
        "pod/web-1"
    ]
    assert "east, west" in fleet.refused("get", "pod", "web-1", "-n", "shop")
    assert "read-only" in fleet.refused("delete", "pod", "web-2", "-n", "shop", "--wait=false")
    described = fleet("describe", "pod", "only-east", "-n", "other")
    assert "kubegale.io/cluster: east" in described
    before = moment()
    east.delete("pods", "only-east", "other")
    assert "NotFound" in fleet.refused("get", "pod", "only-east", "-n", "other")
    past = kubectl_at(running, tmp_path, f"east@{before}", admin_token, program)
    assert past("get", "pods", "-n", "other", "-o", "name").split() == ["pod/only-east"]
    assert "Pending" in past("describe", "pod", "only-east", "-n", "other")
    with fleet.started("get", "pods", "-A", "-w") as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        west.write("pods", "fresh", "shop", **RUNNING)
        assert process.stdout.readline().split()[:3] == ["shop", "west", "fresh"]
