"""The files of a container: looked at, changed and carried in and out, by mouse, keyboard and finger."""

import base64
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Locator, Page, expect

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters.models import Cluster
from simcluster.containers import files_of
from simcluster.testing import RunningCluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.console.front import running_front

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# Turns the direction of what follows, and would be a tag if it became HTML.
EVIL = "<img src=x>\u202egnp.exe"


def pod(make: Make, name: str = "web") -> str:
    """A pod that runs on; its name."""
    containers = [{"name": name, "image": "nginx:1"} for name in ("main", "second")]
    make("pods", {"metadata": {"name": name}, "spec": {"containers": containers}}, running=True)
    return name


def at(cluster: Cluster, make: Make, path: str = "/", pod_name: str = "web") -> str:
    """The address of a directory."""
    return f"/clusters/{cluster.pk}/pods/{make.space}/{pod_name}/files?path={path}"


class Script:
    """A script of a user beside the browser: calls the API over the wire."""

    def __init__(self, base: str, token: str, cluster: Cluster, space: str) -> None:
        self._base, self._token = f"{base}/api/v1/kubernetes/pods/web/files", token
        self._place = {"cluster_id": cluster.pk, "namespace": space, "container": "main"}

    def _call(self, method: str, what: str, **values: Any) -> Any:
        values |= self._place
        query = f"?{urlencode(values)}" if method == "GET" else ""
        request = Request(  # noqa: S310
            f"{self._base}{what}{query}",
            None if query else json.dumps(values).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        with urlopen(request) as response:  # noqa: S310
            answer = json.load(response)
        assert answer["code"] == 0, answer
        return answer["data"]

    def write(self, path: str, content: str) -> None:
        """Write a file."""
        self._call("PUT", "/content", path=path, content=content)

    def read(self, path: str) -> str:
        """What is in a file."""
        return str(self._call("GET", "/content", path=path)["content"])

    def names(self, path: str) -> list[str]:
        """What is in a directory."""
        return [item["name"] for item in self._call("GET", "", path=path)["items"]]

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self._call("POST", "/mkdir", path=path)


@pytest.fixture
def script(live_server: Any, person: User, cluster: Cluster, make: Make) -> Script:
    """A script that reads and writes the files of the pod `web`, which runs."""
    pod(make)
    return Script(live_server.url, create_api_token(person, "tests")[1], cluster, make.space)


@pytest.fixture
def desk(walk: Walk, live_server: Any, socket_port: int) -> Iterator[Walk]:
    """The browser of a person who may do everything, at the front."""
    with running_front(live_server.thread.port, socket_port) as address:
        walk.base = address
        yield walk
        # Open connections would make the server wait for them.
        walk.page.goto("about:blank")


def row(page: Page, name: str) -> Locator:
    """The row of an entry."""
    return page.locator("#files-rows [role=row]").filter(has=page.locator(f'.open[title="{name}"]'))


def names(page: Page) -> list[str]:
    """The entries in sight, in their order."""
    return page.locator("#files-rows .open").all_inner_texts()


def press(page: Page, button: str) -> None:
    """Press a button of the bar or of the dialog that is open."""
    page.get_by_role("button", name=button, exact=True).click()


def answer(page: Page, text: str, button: str) -> None:
    """Answer a question that asks for a name."""
    page.locator("#files-ask input").fill(text)
    page.locator("#files-ask").get_by_role("button", name=button).click()


def drop(walk: Walk, paths: list[Path]) -> None:
    """Drop files and directories on the list, as from a file manager."""
    box = walk.page.locator("#files").bounding_box()
    assert box
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "data": data}
    devtools = walk.context.new_cdp_session(walk.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, **place})


def test_files_are_made_changed_renamed_and_deleted(
    desk: Walk, cluster: Cluster, make: Make, script: Script
) -> None:
    page = desk.open(at(cluster, make, "/etc"))
    expect(row(page, "hostname")).to_be_visible()
    # By the keyboard: up, down to another directory, into it, and into a new one.
    page.keyboard.press("Backspace")
    expect(page.locator("#files-rows .active .open")).to_have_text("etc")
    page.locator("#filter").fill("home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#files-trail [aria-current]")).to_have_text("home")
    expect(page.locator("#filter")).to_have_value("")
    press(page, "New directory")
    answer(page, "shop", "Create")
    expect(page.locator("#files-rows .active .open")).to_have_text("shop")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This directory is empty.")).to_be_visible()
    expect(page).to_have_url(re.compile("path=%2Fhome%2Fshop"))
    # A new file, written in the editor.
    press(page, "New file")
    answer(page, "app.conf", "Create")
    page.locator("#files-view .cm-content").fill("level=info")
    page.keyboard.press("Control+s")
    expect(page.locator("#files-view-state")).to_have_text("Saved.")
    assert script.read("/home/shop/app.conf") == "level=info"
    # Another user writes it meanwhile: both are shown, nothing is lost.
    page.locator("#files-view .cm-content").fill("level=debug")
    script.write("/home/shop/app.conf", "level=warn")
    page.keyboard.press("Control+s")
    expect(page.locator("#files-view-notice")).to_contain_text("Somebody else changed the file")
    expect(page.locator("#files-view-body")).to_contain_text("level=warn")
    expect(page.locator("#files-view-body")).to_contain_text("level=debug")
    assert script.read("/home/shop/app.conf") == "level=warn"
    assert desk.axe() == []
    desk.picture("conflict")
    press(page, "Overwrite with mine")
    expect(page.locator("#files-view-state")).to_have_text("Saved.")
    assert script.read("/home/shop/app.conf") == "level=debug"
    page.keyboard.press("Escape")
    expect(page.locator("#files-view")).to_be_hidden()
    # Renamed over what is there, which is asked for; then deleted with everything in it.
    script.write("/home/shop/old.conf", "older")
    press(page, "Reload")
    row(page, "app.conf").locator(".size").click()
    page.keyboard.press("F2")
    answer(page, "old.conf", "Rename")
    page.locator("#files-ask").get_by_role("button", name="Replace").click()
    expect(row(page, "app.conf")).to_have_count(0)
    assert script.read("/home/shop/old.conf") == "level=debug"
    page.keyboard.press("Backspace")
    expect(page.locator("#files-rows .active .open")).to_have_text("shop")
    page.keyboard.press("Delete")
    expect(page.locator("#files-ask")).to_contain_text("deleted with everything in them: shop")
    page.locator("#files-ask").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted: 1")).to_be_visible()
    assert "shop" not in script.names("/home")
    # A refusal of the API is shown in its words.
    page.goto(f"{desk.base}{at(cluster, make, '/proc')}")
    expect(page.get_by_role("alert")).to_contain_text("/proc may not be read or changed here")


def test_files_are_carried_in_and_out(
    desk: Walk, cluster: Cluster, make: Make, script: Script, tmp_path: Path
) -> None:
    script.mkdir("/home/shop")
    script.write("/home/shop/there.txt", "old")
    page = desk.open(at(cluster, make, "/home/shop"))
    expect(row(page, "there.txt")).to_be_visible()
    # Dropped on the list, a directory among them, and a file over what is there: asked first.
    large = bytes(range(256)) * 8192
    (tmp_path / "there.txt").write_text("new")
    (tmp_path / EVIL).write_bytes(PNG)
    (tmp_path / ".large").write_bytes(large)
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "below" / "inner.txt").write_text("deep")
    drop(desk, sorted(tmp_path.iterdir()))
    expect(page.locator("#files-ask")).to_contain_text("Files that are there already: 1")
    page.locator("#files-ask").get_by_role("button", name="Overwrite").click()
    expect(page.locator("#files-transfer-list li", has_text="Uploaded")).to_have_count(4)
    assert script.read("/home/shop/there.txt") == "new"
    assert script.read("/home/shop/folder/below/inner.txt") == "deep"
    assert script.names("/home/shop") == ["folder", ".large", EVIL, "there.txt"]
    # Hidden files are left out until they are asked for; the name is text, its mark is seen.
    expect(page.locator("#files-rows [role=row]")).to_have_count(3)
    assert names(page) == ["folder", "<img src=x>U+202Egnp.exe", "there.txt"]
    assert page.locator("#files img, #files-transfers img").count() == 0
    page.get_by_label("Hidden files").check()
    expect(row(page, ".large").locator(".size")).to_have_text("2.0 MiB")
    # Sizes: the largest first.
    page.get_by_role("button", name="Size").click()
    expect(page.locator("[data-sort=size]")).to_have_attribute("aria-sort", "descending")
    assert names(page) == ["folder", ".large", "<img src=x>U+202Egnp.exe", "there.txt"]
    # A picture by what it is, not by what it is called; closed by Escape.
    page.locator(".open", has_text="gnp.exe").click()
    picture = page.locator("#files-view-body img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
    assert str(picture.get_attribute("src")).startswith("blob:")
    page.keyboard.press("Escape")
    # Out again: a file with progress, a directory as an archive.
    row(page, ".large").locator(".size").click()
    with page.expect_download() as file:
        press(page, "Download")
    assert hashlib.sha256(file.value.path().read_bytes()).digest() == hashlib.sha256(large).digest()
    page.locator("#files").focus()
    page.keyboard.press("Backspace")
    expect(page.locator("#files-rows .active .open")).to_have_text("shop")
    page.keyboard.press("Space")
    with page.expect_download() as archive:
        press(page, "Download")
    assert archive.value.suggested_filename == "shop.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(archive.value.path().read_bytes())) as members:
        archived = {name.rpartition("/")[2] for name in members.getnames()}
    assert {".large", "there.txt", EVIL, "inner.txt"} <= archived
    assert desk.axe() == []
    desk.picture("transfers")


def test_an_upload_that_is_cut_off_leaves_nothing(
    desk: Walk,
    person: User,
    cluster: Cluster,
    make: Make,
    script: Script,
    settings: Any,
    apiserver: RunningCluster,
    tmp_path: Path,
) -> None:
    # Far larger than what the sockets on the way hold, so that there is something to cancel even
    # where the browser does not slow itself down; they take no place on the disk.
    long, huge = (tmp_path / name for name in ("long.bin", "huge.bin"))
    for path, size in ((long, 2**30), (huge, 2**30 + 1)):
        path.touch()
        os.truncate(path, size)
    settings.FILES_UPLOAD_BYTES = 2**30
    script.mkdir("/home/shop")
    page = desk.open(at(cluster, make, "/home/shop"))
    expect(page.get_by_text("This directory is empty.")).to_be_visible()
    network = desk.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 20, "downloadThroughput": -1, "uploadThroughput": 400_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.locator("#files-picker").set_input_files(long)
    line = page.locator("#files-transfer-list li")
    expect(line).to_contain_text(re.compile(r"[1-9].* of 1\.0 GiB"))
    line.get_by_role("button", name="Cancel").click()
    expect(line).to_contain_text("Cancelled")
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    page.locator("#files-picker").set_input_files(
        {"name": "short.txt", "mimeType": "text/plain", "buffer": b"short"}
    )
    expect(page.locator("#files-transfer-list li", has_text="Uploaded")).to_have_count(1)
    # What is too large is not even begun.
    page.locator("#files-picker").set_input_files(huge)
    expect(page.locator("#files-transfer-list li").last).to_contain_text("At most 1.0 GiB")
    apiserver.wait(lambda: script.names("/home/shop") == ["short.txt"])
    # Who is signed out meanwhile does not finish.
    settings.STREAM_REAUTHORISE_SECONDS = 0.1
    network.send("Network.emulateNetworkConditions", slow)
    page.locator("#files-picker").set_input_files(long)
    line = page.locator("#files-transfer-list li").last
    expect(line).to_contain_text(re.compile(r"[1-9].* of 1\.0 GiB"))
    person.is_active = False
    person.save()
    expect(line.locator(".bad")).to_be_visible()
    running = next(one for one in apiserver.list("pods", make.space))
    disk = files_of(apiserver.cluster, running, running["spec"]["containers"][0])
    apiserver.wait(lambda: disk.children("/home/shop") == ["short.txt"])


def test_ten_thousand_entries_fit_a_phone(
    walker: Walker, person: User, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    pod(make)
    running = next(one for one in apiserver.list("pods", make.space))
    disk = files_of(apiserver.cluster, running, running["spec"]["containers"][0])
    disk.make_directory("/big")
    disk.files |= {f"/big/f{number:05}": b"" for number in range(10_001)}
    zone = "Asia/Tokyo"
    walk = walker(person, size=PHONE, timezone_id=zone)
    page = walk.open(at(cluster, make, "/big"))
    expect(page.locator("#files-count")).to_contain_text("more entries than the 10000")
    assert page.locator("#files-rows [role=row]").count() < 60
    page.keyboard.press("End")
    last = page.locator("#files-rows .active")
    expect(last.locator(".open")).to_have_text("f09999")
    expect(last).to_be_in_viewport()
    # In the zone of who looks.
    changed = datetime.fromisoformat(str(last.locator("time").get_attribute("datetime")))
    local = changed.astimezone(ZoneInfo(zone))
    expect(last.locator("time")).to_have_text(f"{local:%Y-%m-%d %H:%M:%S}")
    page.locator("#filter").fill("f0123")
    assert names(page)[:2] == ["f01230", "f01231"]
    assert not walk.is_wider_than_the_window()
    assert walk.axe() == []
    walk.picture("phone")


# --- without a browser ------------------------------------------------------------------------------
def config(client: Client, address: str) -> dict[str, Any]:
    """What a page tells its script."""
    page = client.get(address).content.decode()
    match = re.search(r'<script id="files-config" type="application/json">(.*?)</script>', page)
    assert match, page
    return dict(json.loads(match[1]))


def test_of_a_workload_the_pod_and_the_container_are_chosen(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    template = {
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": name, "image": "nginx:1"} for name in ("main", "second")]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template}
    make("deployments", {"metadata": {"name": "shop"}, "spec": spec}, running=True)
    pods = sorted(one["metadata"]["name"] for one in make.ready("shop"))
    address = f"/clusters/{cluster.pk}/deployments/{make.space}/shop/files"
    page = visitor.get(address).content.decode()
    assert all(f'<option value="{name}"' in page for name in (*pods, "main", "second"))
    chosen = config(visitor, f"{address}?pod={pods[1]}&container=second&path=/etc")
    assert chosen["base"] == f"/clusters/{cluster.pk}/pods/{make.space}/{pods[1]}/files"
    assert (chosen["container"], chosen["path"]) == ("second", "/etc")
    # Where nothing runs there is nothing to read.
    make("deployments", {"metadata": {"name": "idle"}, "spec": {**spec, "replicas": 0}})
    idle = visitor.get(f"/clusters/{cluster.pk}/deployments/{make.space}/idle/files")
    assert "No container runs here" in idle.content.decode()
    assert visitor.get(f"/clusters/{cluster.pk}/nodes/-/any/files").status_code == 404
    # The pictures come from memory, and nothing else may.
    policy = visitor.get(address)["Content-Security-Policy"]
    assert "img-src 'self' data: blob:;" in policy
    assert "script-src 'self';" in policy


def test_who_may_only_look_sees_no_files(visitor: Client, cluster: Cluster, make: Make) -> None:
    pod(make)
    address = f"/clusters/{cluster.pk}/pods/{make.space}/web"
    assert f'href="{address}/files"' in visitor.get(address).content.decode()
    viewer, user = Client(), User.objects.create(username="vic")
    grants.give(user=user, role=Role.VIEWER)
    viewer.force_login(user)
    assert f'href="{address}/files"' not in viewer.get(address).content.decode()
    place = {"container": "main", "path": "/etc"}
    assert config(viewer, f"{address}/files")["may_write"] is False
    assert viewer.get(f"{address}/files/entries", place).status_code == 403
    assert viewer.get(f"{address}/files/content", place).status_code == 403
    for what in ("save", "mkdir", "move", "remove"):
        body = {**place, "from": "/a", "to": "/b", "content": "x"}
        if what == "remove":
            body["recursive"] = True
        answer = viewer.post(f"{address}/files/{what}", body, content_type="application/json")
        assert answer.status_code == 403, what
    assert viewer.get(f"{address}/files/download", place).status_code == 403
    upload = f"{address}/files?container=main&path=/etc&name=x"
    assert viewer.post(upload, b"x", content_type="application/octet-stream").status_code == 403
    assert Client().get(f"{address}/files/entries", place).status_code == 401
    # A link on another site must not reach into a container.
    followed = {"Sec-Fetch-Site": "cross-site"}
    assert visitor.get(f"{address}/files/entries", place, headers=followed).status_code == 403
    assert visitor.get(f"{address}/files/entries", place).status_code == 200


def test_an_upload_needs_the_token_of_the_page(
    visitor: Client, person: User, cluster: Cluster, make: Make
) -> None:
    pod(make)
    stranger = Client(enforce_csrf_checks=True)
    stranger.force_login(person)
    address = f"/clusters/{cluster.pk}/pods/{make.space}/web/files"
    upload = f"{address}?container=main&path=/etc&name=x"
    sent = stranger.post(upload, b"x", content_type="application/octet-stream")
    assert sent.status_code == 403
    # With it the API answers, which is of another mind about where such a request belongs.
    sent = visitor.post(upload, b"x", content_type="application/octet-stream")
    assert sent.json()["details"]["reason"] == "WrongServer"
