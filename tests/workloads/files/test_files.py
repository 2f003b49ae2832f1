"""Browsing, reading, editing and changing files in a container."""

import hashlib

import pytest

from access.models import AuditEntry
from simcluster.testing import RunningCluster
from tests.workloads.files.conftest import Files, MakePod

ODD_NAMES = ["sp ace", "-dash", "qu'ote\"s $(id)", "ünï☃", "%41"]


def test_a_directory_is_listed_with_directories_first(files: Files) -> None:
    for name in ["b", "B", *ODD_NAMES]:
        files.write(f"/tmp/{name}", name)
    files.data("POST", "/mkdir", {"path": "/tmp/z"})
    data = files.data("GET", "", path="/tmp/../tmp/")
    assert data["path"] == "/tmp"
    assert (data["container"], data["via"], data["truncated"]) == ("main", "tar", False)
    assert [item["name"] for item in data["items"]] == ["z", *sorted(["b", "B", *ODD_NAMES])]
    entry = next(item for item in data["items"] if item["name"] == "-dash")
    assert entry | {"mtime": ""} == {
        "name": "-dash",
        "path": "/tmp/-dash",
        "type": "file",
        "size": 5,
        "mode": "0644",
        "uid": 0,
        "gid": 0,
        "mtime": "",
    }


def test_a_file_is_written_read_moved_and_deleted(files: Files) -> None:
    for name in ODD_NAMES:
        path = f"/tmp/{name}"
        digest = hashlib.sha256("Grüße\n".encode()).hexdigest()
        written = files.write(path, "Grüße\n", sha256="", mode="0600")
        assert (written["path"], written["size"], written["sha256"]) == (path, 8, digest)
        shown = files.read(path)
        assert (shown["content"], shown["encoding"], shown["mode"]) == ("Grüße\n", "utf-8", "0600")
        assert (shown["sha256"], shown["size"], shown["truncated"]) == (digest, 8, False)
        moved = files.data("POST", "/move", {"from": path, "to": "/tmp/moved"})
        assert (moved["from"], moved["to"]) == (path, "/tmp/moved")
        assert files.data("DELETE", "", path="/tmp/moved")["removed"] == 1
        assert "moved" not in files.names("/tmp")


def test_a_directory_is_not_moved_into_itself_and_names_have_limits(files: Files) -> None:
    files.data("POST", "/mkdir", {"path": "/tmp/outer/inner", "parents": True})
    body = {"from": "/tmp/outer", "to": "/tmp/outer/inner/outer"}
    answer = files.envelope("POST", "/move", body)
    assert (answer["code"], answer["data"]["field"]) == (1001, "to")
    assert files.names("/tmp/outer") == ["inner"]
    long = {"path": f"/tmp/{'x' * 256}", "content": ""}
    answer = files.envelope("PUT", "/content", long)
    assert (answer["code"], answer["data"]["field"]) == (1001, "path")
    decimal = {"path": "/tmp/a", "content": "", "mode": 420}
    answer = files.envelope("PUT", "/content", decimal)
    assert (answer["code"], answer["data"]["field"]) == (1001, "mode")
    answer = files.envelope("GET", "/content", path="/tmp/a", max_bytes=-1)
    assert (answer["code"], answer["data"]["field"]) == (1001, "max_bytes")


def test_a_precondition_that_fails_is_a_conflict(files: Files) -> None:
    first = files.write("/tmp/a", "one")
    for digest in ("", "0" * 64):
        body = {"path": "/tmp/a", "content": "x", "sha256": digest}
        answer = files.envelope("PUT", "/content", body)
        assert (answer["code"], answer["data"]["reason"]) == (1008, "Conflict")
    body = {"path": "/tmp/none", "content": "x", "sha256": "0" * 64}
    assert files.envelope("PUT", "/content", body)["data"]["reason"] == "Conflict"
    files.write("/tmp/a", "two", sha256=first["sha256"])
    assert files.read("/tmp/a")["content"] == "two"


def test_a_part_of_a_file_and_bytes_that_are_no_text(files: Files) -> None:
    files.write("/tmp/a", "0123456789")
    part = files.read("/tmp/a", max_bytes=3)
    assert (part["content"], part["truncated"], part["size"]) == ("012", True, 10)
    assert part["sha256"] == hashlib.sha256(b"0123456789").hexdigest()
    assert files.read("/tmp/a", max_bytes=3, tail="true")["content"] == "789"
    files.write("/tmp/b", "/wAB", encoding="base64")
    shown = files.read("/tmp/b")
    assert (shown["encoding"], shown["content"], shown["size"]) == ("base64", "/wAB", 3)


def test_what_is_not_there_is_told_apart(files: Files) -> None:
    files.write("/tmp/a", "x")
    files.data("POST", "/mkdir", {"path": "/tmp/d/e", "parents": True})

    def outcome(
        method: str, route: str, body: object = None, /, **query: object
    ) -> tuple[int, str]:
        answer = files.envelope(method, route, body, **query)
        return answer["code"], answer["data"]["reason"]

    assert outcome("GET", "", path="/none") == (1004, "NotFound")
    assert outcome("GET", "", path="/tmp/a") == (1001, "NotDirectory")
    assert outcome("GET", "/content", path="/tmp") == (1001, "IsDirectory")
    assert outcome("POST", "/mkdir", {"path": "/tmp/d"}) == (1007, "Conflict")
    assert outcome("POST", "/mkdir", {"path": "/tmp/x/y"}) == (1004, "NotFound")
    assert outcome("POST", "/move", {"from": "/tmp/a", "to": "/tmp/d/e"}) == (1008, "Conflict")
    assert outcome("DELETE", "", path="/tmp/d") == (1009, "NotEmpty")
    assert files.data("DELETE", "", path="/tmp/d", recursive="true")["removed"] == 2


def test_a_path_that_is_none_is_refused(files: Files) -> None:
    for path in ("", "tmp", "/tmp/a\nb", "/tmp/a\0b", "/" + "a" * 5000, "/a" * 65):
        answer = files.envelope("GET", "", path=path)
        assert (answer["code"], answer["data"]["field"]) == (1001, "path")


def test_denied_paths_are_refused(files: Files) -> None:
    for path in (
        "/proc",
        "/proc/1/environ",
        "/etc/../sys/kernel",
        "/dev/null",
        "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
    ):
        assert files.envelope("GET", "", path=path)["code"] == 1005
        assert files.envelope("GET", "/content", path=path)["code"] == 1005
        assert files.envelope("PUT", "/content", {"path": path, "content": ""})["code"] == 1005
        assert files.envelope("DELETE", "", path=path, recursive="true")["code"] == 1005
        assert files.download(path).json()["code"] == 1005


def test_top_level_directories_are_never_removed_or_moved(files: Files) -> None:
    for path in ("/", "/tmp", "/etc", "/var/run", "/etc/"):
        assert files.envelope("DELETE", "", recursive="true", path=path)["code"] in {1005, 1009}
        body = {"from": path, "to": "/tmp/gone", "overwrite": True}
        assert files.envelope("POST", "/move", body)["code"] in {1005, 1008}
    assert files.names("/etc")


def test_links_are_followed_here_and_judged_by_where_they_lead(make_pod: MakePod) -> None:
    files = make_pod(traits="links")
    items = {item["name"]: item for item in files.data("GET", "", path="/tmp/hostile")["items"]}
    assert items["processes"]["type"] == "link"
    assert items["processes"]["target"] == "/proc"
    assert "two\nlines" in items
    assert files.envelope("GET", "", path="/tmp/hostile/processes")["code"] == 1005
    assert files.envelope("GET", "", path="/tmp/hostile/account")["code"] == 1005
    assert files.envelope("GET", "/content", path="/tmp/hostile/root/proc/version")["code"] == 1005
    loop = files.envelope("GET", "/content", path="/tmp/hostile/loop")
    assert loop["data"]["reason"] == "TooManyLinks"
    # A link is removed as itself, with a slash behind it what it leads to.
    assert files.envelope("DELETE", "", path="/tmp/hostile/root/", recursive="true")["code"] == 1009
    assert files.data("DELETE", "", path="/tmp/hostile/root")["removed"] == 1
    files.write("/tmp/-rf", "written through nothing")
    assert files.data("DELETE", "", path="/tmp/hostile", recursive="true")["removed"] > 3


def test_a_container_without_tar_has_its_shell(make_pod: MakePod) -> None:
    files = make_pod(traits="no-tar,no-dd,no-sha256sum")
    assert files.write("/tmp/a", "shell")["via"] == "shell"
    assert files.read("/tmp/a")["sha256"] == hashlib.sha256(b"shell").hexdigest()
    assert files.upload("/tmp", body=b"x" * 200_000, name="up")["data"]["via"] == "shell"
    assert files.download("/tmp/up").content == b"x" * 200_000


def test_a_container_without_a_shell_is_reached_from_beside_it(make_pod: MakePod) -> None:
    files = make_pod("registry.example/distroless/static:1")
    assert files.write("/tmp/a", "beside")["via"] == "debug"
    assert files.read("/tmp/a")["content"] == "beside"
    listed = files.data("GET", "", path="/tmp")
    assert ([item["path"] for item in listed["items"]], listed["via"]) == (["/tmp/a"], "debug")
    assert files.envelope("GET", "", path="/proc/1")["code"] == 1005
    pod = files.caller.data("GET", f"pods/{files.pod}", **files.place)
    debuggers = pod["spec"]["ephemeralContainers"]
    assert [entry["targetContainerName"] for entry in debuggers] == ["main"]


@pytest.mark.parametrize(
    ("traits", "path", "reason"),
    [
        ("read-only", "/tmp/a", "ReadOnlyFileSystem"),
        ("full", "/tmp/a", "NoSpace"),
        ("locked", "/var/locked/a", "PermissionDenied"),
    ],
)
def test_what_the_file_system_refuses_is_told_apart(
    make_pod: MakePod, traits: str, path: str, reason: str
) -> None:
    files = make_pod(traits=traits)
    body = {"path": path, "content": "x" * 100_000}
    answer = files.envelope("PUT", "/content", body)
    assert (answer["code"], answer["data"]["reason"]) == (1008, reason)
    folder = path.rpartition("/")[0]
    answer = files.upload(folder, body=b"x" * 100_000, name="a")
    assert (answer["code"], answer["data"]["reason"]) == (1007, reason)
    if reason != "PermissionDenied":
        assert files.names(folder) == []


def test_a_container_that_the_pod_does_not_have_is_refused(files: Files) -> None:
    answer = files.envelope("GET", "", path="/", container="other")
    assert (answer["code"], answer["data"]["field"]) == (1001, "container")


def test_every_call_is_audited_with_path_bytes_and_digest(files: Files) -> None:
    digest = files.write("/tmp/a", "seen")["sha256"]
    files.envelope("GET", "", path="/proc")
    entries = AuditEntry.objects.filter(verb__startswith="files").order_by("pk")
    details = entries[0].details
    assert (entries[0].verb, entries[0].name) == ("files.write", files.pod)
    assert details["path"] == "/tmp/a"
    assert (details["bytes"], details["sha256"], details["via"]) == (4, digest, "tar")
    refused = entries[1]
    assert (refused.verb, refused.details["path"]) == ("files.read", "/proc")
    assert refused.result != "ok"


def test_ten_thousand_entries_are_one_exec(files: Files, apiserver: RunningCluster) -> None:
    files.write("/tmp/last", "")
    pod = files.caller.data("GET", f"pods/{files.pod}", **files.place)
    disk = apiserver.cluster.file_systems[(pod["metadata"]["uid"], "main")]
    disk.files |= {f"/tmp/{number:05d}": b"" for number in range(10_000)}
    apiserver.requests.clear()
    data = files.data("GET", "", path="/tmp")
    assert (len(data["items"]), data["truncated"]) == (10_000, True)
    assert data["items"][0]["name"] == "00000"
    assert len([request for request in apiserver.requests if "/exec" in request.path]) == 1
