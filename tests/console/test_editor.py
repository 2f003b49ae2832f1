"""YAML in the editor: complaints at their lines, the difference before anything is written, conflicts, new objects."""

import json
import re
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.vkube import eventually
from tests.workloads.conftest import workload


def address(cluster: Cluster, make: Make, name: str = "web") -> str:
    """The editor of a Deployment that is there."""
    make("deployments", workload(name))
    return f"/clusters/{cluster.pk}/deployments/{make.space}/{name}/edit"


def replace(page: Page, old: str, new: str) -> None:
    """Change the text as a person would who searches and types."""
    found = page.evaluate(
        """([old]) => { const view = document.getElementById("editor").view; const at = view.state.doc.toString().indexOf(old);
        if (at >= 0) { view.dispatch({selection: {anchor: at, head: at + old.length}}); view.focus(); } return at; }""",
        [old],
    )
    assert found >= 0, old
    page.keyboard.insert_text(new)


def check(page: Page) -> None:
    page.get_by_role("button", name="Check and compare").click()


def state(page: Page) -> Any:
    return page.locator("#editor-state")


def test_a_change_is_checked_compared_and_applied(
    walk: Walk, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    page = walk.open(address(cluster, make))
    replace(page, "replicas: 2", "replicas: 3")
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()
    check(page)
    expect(state(page)).to_have_text("The cluster accepts this.")
    expect(page.locator("#editor-diff")).to_contain_text("replicas: 3")
    assert (apiserver.get("deployments.apps", "web", make.space) or {})["spec"]["replicas"] == 2
    assert walk.axe() == []
    walk.page.emulate_media(color_scheme="dark")
    # The editor hears of the scheme after the page has its colours.
    eventually(lambda: not walk.axe())
    walk.picture("compared", full=True)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("web was changed.")).to_be_visible()
    assert (apiserver.get("deployments.apps", "web", make.space) or {})["spec"]["replicas"] == 3


def test_complaints_stand_at_their_lines(walk: Walk, cluster: Cluster, make: Make) -> None:
    page = walk.open(address(cluster, make))
    replace(page, "replicas: 2", "replicas: two\n  replikas: 2")
    check(page)
    expect(page.locator("#editor-problems")).to_contain_text("spec.replicas")
    replace(page, "replicas: two", "replicas: 2")
    check(page)
    expect(page.locator("#editor-problems")).to_contain_text("Unknown field spec.replikas.")
    line = page.evaluate(
        """document.getElementById("editor").view.state.doc.toString().split("\\n").indexOf("  replikas: 2") + 1"""
    )
    expect(page.locator("#editor-problems button")).to_contain_text(f"Line {line}:")
    expect(page.locator(".cm-lintRange-error")).to_have_text("replikas")
    walk.picture("problems")
    replace(page, "  replikas: 2\n", "")
    replace(page, "image: nginx:1", 'image: ""')
    check(page)
    expect(page.locator("#editor-problems")).to_contain_text(
        "spec.template.spec.containers[0].image"
    )
    replace(page, 'image: ""', "image: [nginx")
    check(page)
    expect(state(page)).to_have_text("There is something to correct.")
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()


def test_the_clusters_own_schema_is_minded_while_one_writes(
    walk: Walk, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    page = walk.open(address(cluster, make))
    apiserver.requests.clear()
    replace(page, "replicas: 2", "replicas: two\n  replikas: 2")
    expect(page.locator("#editor-problems")).to_contain_text("spec.replicas must be a whole number")
    expect(page.locator("#editor-problems")).to_contain_text("Unknown field spec.replikas.")
    replace(page, "replicas: two\n  replikas: 2", "replicas: 2")
    replace(page, "- name: main", "- nome: main")
    expect(page.locator("#editor-problems")).to_contain_text(
        "spec.template.spec.containers[0].name is required"
    )
    assert not [
        one
        for one in apiserver.requests
        if one.method not in ("GET", "POST") or ("deployments" in one.path and one.method != "GET")
    ]
    expect(page.locator(".cm-lintRange-error").first).to_be_visible()


def test_a_conflict_loses_nobodys_change(
    walk: Walk, cluster: Cluster, make: Make, apiserver: RunningCluster, admin: Caller
) -> None:
    page = walk.open(address(cluster, make))
    replace(page, "replicas: 2", "replicas: 3")
    check(page)
    expect(state(page)).to_have_text("The cluster accepts this.")
    expect(page.get_by_role("button", name="Apply")).to_be_in_viewport()
    somebody_else(
        admin,
        cluster,
        make,
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}}},
    )
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "Somebody else changed it meanwhile. Nothing was written."
    )
    expect(page.locator("#editor-diff")).to_contain_text("nginx:2")
    walk.picture("conflict", full=True)
    page.get_by_role("button", name="Put both changes together").click()
    check(page)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("web was changed.")).to_be_visible()
    found = (apiserver.get("deployments.apps", "web", make.space) or {})["spec"]
    assert (found["replicas"], found["template"]["spec"]["containers"][0]["image"]) == (
        3,
        "nginx:2",
    )


def somebody_else(admin: Caller, cluster: Cluster, make: Make, patch: dict[str, Any]) -> None:
    """A change from elsewhere."""
    kind = "application/strategic-merge-patch+json"
    admin.data(
        "PATCH",
        "deployments/web",
        json.dumps(patch),
        content_type=kind,
        cluster_id=cluster.pk,
        namespace=make.space,
    )


def test_what_both_changed_is_named_and_stays_mine(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster, admin: Caller
) -> None:
    where = address(cluster, make)
    page = visitor.get(where).content.decode()
    config = json.loads(
        re.search(r'id="editor-config" type="application/json">(.*?)</script>', page)[1]
    )  # type: ignore[index]
    somebody_else(
        admin, cluster, make, {"spec": {"replicas": 5}, "metadata": {"labels": {"theirs": "yes"}}}
    )
    mine = config["text"].replace("replicas: 2", "replicas: 7")
    body = {"text": mine, "base": config["text"], "version": config["live"]}
    conflict = visitor.post(config["apply"], body, content_type="application/json").json()[
        "conflict"
    ]
    assert conflict["clashes"] == ["spec.replicas"]
    assert "replicas: 7" in conflict["merged"]
    assert "theirs: 'yes'" in conflict["merged"]
    assert (apiserver.get("deployments.apps", "web", make.space) or {})["spec"]["replicas"] == 5


def test_changes_of_both_inside_one_list_come_together(
    visitor: Client, cluster: Cluster, make: Make, admin: Caller
) -> None:
    where = address(cluster, make)
    page = visitor.get(where).content.decode()
    config = json.loads(
        re.search(r'id="editor-config" type="application/json">(.*?)</script>', page)[1]
    )  # type: ignore[index]
    theirs = {"name": "main", "image": "nginx:2"}
    added = {"name": "theirs", "image": "busybox:1"}
    somebody_else(
        admin, cluster, make, {"spec": {"template": {"spec": {"containers": [theirs, added]}}}}
    )
    document = yaml.safe_load(config["text"])
    containers = document["spec"]["template"]["spec"]["containers"]
    containers[0]["env"] = [{"name": "MINE", "value": "1"}]
    containers.append({"name": "mine", "image": "busybox:2"})
    body = {
        "text": yaml.safe_dump(document, sort_keys=False),
        "base": config["text"],
        "version": config["live"],
    }
    conflict = visitor.post(config["apply"], body, content_type="application/json").json()[
        "conflict"
    ]
    assert conflict["clashes"] == []
    merged = yaml.safe_load(conflict["merged"])["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in merged] == ["main", "mine", "theirs"]
    assert merged[0]["image"] == "nginx:2"
    assert merged[0]["env"] == [{"name": "MINE", "value": "1"}]


def test_what_controllers_write_meanwhile_is_no_conflict(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    where = address(cluster, make)
    page = visitor.get(where).content.decode()
    config = json.loads(
        re.search(r'id="editor-config" type="application/json">(.*?)</script>', page)[1]
    )  # type: ignore[index]
    live = apiserver.get("deployments.apps", "web", make.space) or {}
    status = {**(live.get("status") or {}), "collisionCount": 1}
    annotations = {"deployment.kubernetes.io/revision": "1"}
    metadata = {**live["metadata"], "annotations": annotations}
    written = {**live, "metadata": metadata, "status": status}
    apiserver.call(apiserver.store.put, "deployments.apps", written)
    body = {
        "text": config["text"].replace("replicas: 2", "replicas: 3"),
        "base": config["text"],
        "version": config["live"],
    }
    answer = visitor.post(config["apply"], body, content_type="application/json").json()
    assert "address" in answer, answer
    deployment = apiserver.get("deployments.apps", "web", make.space) or {}
    assert deployment["spec"]["replicas"] == 3
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"


def test_new_objects_are_created_together_or_the_first_fault_is_named(
    walk: Walk, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    page = walk.open(f"/clusters/{cluster.pk}/-/create?kind=deployments&namespace={make.space}")
    check(page)
    expect(state(page)).to_have_text("The cluster accepts this.")
    assert walk.axe() == []
    first = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: first\n  namespace: {make.space}\n---\n"
    replace(page, "apiVersion: apps/v1", f"{first}apiVersion: apps/v1")
    replace(page, "kind: Deployment", "kind: Deploymint")
    check(page)
    expect(page.locator("#editor-problems button")).to_contain_text("Line 8: ")
    replace(page, "kind: Deploymint", "kind: Deployment")
    check(page)
    expect(state(page)).to_have_text("The cluster accepts this.")
    walk.picture("create", full=True)
    page.get_by_role("button", name="Create", exact=True).click()
    expect(
        page.get_by_text("2 objects were created: ConfigMap first, Deployment web")
    ).to_be_visible()
    assert apiserver.get("configmaps", "first", make.space)
    assert apiserver.get("deployments.apps", "web", make.space)


def test_the_editor_fits_a_phone(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    walk = walker(person, size=PHONE)
    page = walk.open(address(cluster, make))
    replace(page, "replicas: 2", "replicas: 3")
    check(page)
    expect(page.locator("#editor-diff")).to_contain_text("replicas: 3")
    assert not walk.is_wider_than_the_window()
    walk.picture("phone", full=True)


def test_what_kubectl_applied_last_is_kept_and_not_shown(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": '{"a":1}\n'}
    data = {
        "odd": "1e3",
        "older": "0o7",
        "markup": "</script><script>alert(1)</script><!--",
        "escape": "\x1b]0;x\x07",
    }
    make("configmaps", {"metadata": {"name": "settings", "annotations": applied}, "data": data})
    page = visitor.get(
        f"/clusters/{cluster.pk}/configmaps/{make.space}/settings/edit"
    ).content.decode()
    config = json.loads(
        re.search(r'id="editor-config" type="application/json">(.*?)</script>', page)[1]
    )  # type: ignore[index]
    assert "last-applied" not in config["text"]
    body = {"text": config["text"] + "\n", "base": config["text"], "version": config["live"]}
    assert "address" in visitor.post(config["apply"], body, content_type="application/json").json()
    found = apiserver.get("configmaps", "settings", make.space) or {}
    assert found["metadata"]["annotations"] == applied
    assert found["data"] == data
    assert "<script>alert" not in page


def test_a_custom_kind_is_created_minded_and_edited_like_any_other(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    group = f"{make.space}.example.com"
    size = {"type": "object", "properties": {"size": {"type": "integer"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": size, "status": size}}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    make("customresourcedefinitions", {"metadata": {"name": f"widgets.{group}"}, "spec": spec})
    text = f"apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: w\n  namespace: {make.space}\nspec:\n  size: 1\nstatus:\n  size: 1\n"

    def said(path: str, **body: str) -> dict[str, Any]:
        return dict(
            visitor.post(
                f"/clusters/{cluster.pk}/{path}", body, content_type="application/json"
            ).json()
        )

    problems = said("-/lint", text=text.replace("size: 1", "size: one", 1))["problems"]
    assert [(one["line"], one["message"]) for one in problems] == [
        (7, "spec.size must be a whole number")
    ]
    assert (
        said("-/create/apply", text=text)["address"]
        == f"/clusters/{cluster.pk}/widgets.v1.{group}/{make.space}/w"
    )
    page = visitor.get(
        f"/clusters/{cluster.pk}/widgets.v1.{group}/{make.space}/w/edit"
    ).content.decode()
    config = json.loads(
        re.search(r'id="editor-config" type="application/json">(.*?)</script>', page)[1]
    )  # type: ignore[index]
    # Without a status of its own, such a kind would lose what is not sent.
    changed = config["text"].replace("spec:\n  size: 1", "spec:\n  size: 2")
    where = f"widgets.v1.{group}/{make.space}/w/edit"
    assert "address" in said(
        f"{where}/apply", text=changed, base=config["text"], version=config["live"]
    )
    found = apiserver.get(f"widgets.{group}", "w", make.space) or {}
    assert (found["spec"], found["status"]) == ({"size": 2}, {"size": 1})
    wrong = said("-/create/check", text=text.replace("kind: Widget", "kind: Gadget"))["problems"]
    assert (wrong[0]["line"], "has no Gadget" in wrong[0]["message"]) == (2, True)


def post(client: Client, address: str, text: str) -> Any:
    answer = client.post(address, json.dumps({"text": text}), content_type="application/json")
    return answer.status_code, answer.json()


def test_nobody_has_a_text_read_without_a_right_to_the_cluster(cluster: Cluster, db: None) -> None:
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger", password="not-a-word-of-it"))
    bomb = "a: " + "{a: " * 30_000
    for door in ("lint", "create/check", "create/apply"):
        _status, said = post(stranger, f"/clusters/{cluster.pk}/-/{door}", bomb)
        assert said["code"] == 1005, said


def test_texts_that_blow_up_are_problems_and_lists_are_their_objects(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    lint = f"/clusters/{cluster.pk}/-/lint"
    _status, said = post(visitor, lint, "a: " + "{a: " * 30_000)
    assert "nests deeper" in said["problems"][0]["message"]
    status, said = post(visitor, lint, "a: 1\n---\n" * 400_000)
    assert (status, said["code"]) == (400, 1001)
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": make.space}}
    objects = [
        {**one, "metadata": {**one["metadata"], "name": f"c{number}"}} for number in range(4)
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects[:2]})
    # A byte order mark, a directive, nothing, a List, and JSON objects in a row.
    text = (
        "\ufeff# all of them\n%YAML 1.2\n---\nnull\n---\n"
        + listed
        + "\n---\n"
        + json.dumps(objects[2])
        + "\n"
        + json.dumps(objects[3])
    )
    status, said = post(visitor, f"/clusters/{cluster.pk}/-/create/apply", text)
    assert (status, list(said)) == (200, ["address"]), said
    for number in range(4):
        address = f"/clusters/{cluster.pk}/configmaps/{make.space}/c{number}"
        assert visitor.get(address).status_code == 200


AS_YAML = '---\n{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y1"}, "data": {a: "=",},}\n# end'


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # What kubectl makes of each of these.
        (
            "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: t1}}, {metadata: {name: t2}}]",
            ["t1", "t2"],
        ),
        (AS_YAML, ["y1"]),
        ('{"apiVersion": "v1", "kind": "List", "items": null}', []),
    ],
)
def test_lists_and_json_behind_a_separator_are_read_as_kubectl_reads_them(
    visitor: Client, cluster: Cluster, text: str, names: list[str]
) -> None:
    _status, said = post(visitor, f"/clusters/{cluster.pk}/-/create/check", text)
    assert re.findall(r"name: (\w+)", said.get("after", "")) == names, said


def test_what_is_wrong_with_json_is_said_at_its_line(visitor: Client, cluster: Cluster) -> None:
    text = '{"apiVersion": "v1",\n "kind": "ConfigMap",\n "metadata": {"name": "x"},}'
    _status, said = post(visitor, f"/clusters/{cluster.pk}/-/lint", text)
    (problem,) = said["problems"]
    assert (problem["line"], problem["message"][:26]) == (3, "the text is not valid JSON")
    status, said = post(visitor, f"/clusters/{cluster.pk}/-/lint", "a: \ud800")
    assert (status, "half of a surrogate pair" in said["message"]) == (400, True)
