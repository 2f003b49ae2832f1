"""Apply, compare and export: texts of many objects in the console, for one and for many clusters."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from clusters import registry
from clusters.models import Cluster
from console.rendering.side_by_side import compared_rows, differing
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.turning import finish
from tests.workloads.conftest import workload

SECRET_VALUE = "correct-horse-battery"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: info}\n"
SECRET = (
    f"apiVersion: v1\nkind: Secret\nmetadata: {{name: door}}\nstringData: {{key: {SECRET_VALUE}}}\n"
)
WEB = yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", **workload("web")})


@pytest.fixture
def twin(cluster: Cluster, apiserver: RunningCluster) -> Cluster:
    """The same API server, registered once more."""
    return registry.register(name="twin", kubeconfig_text=apiserver.kubeconfig_yaml)


def post(client: Client, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
    """(status, answer) of what the page's script asks."""
    answer = client.post(f"/apply/{verb}", json.dumps(body), content_type="application/json")
    return answer.status_code, answer.json()


class Script:
    """What the script of the page sends for one cluster and namespace."""

    def __init__(self, client: Client, cluster: Cluster, namespace: str) -> None:
        self.client = client
        self.source = {"cluster_id": cluster.pk, "namespace": namespace}
        self.target = {"cluster_id": cluster.pk, "namespaces": ""}

    def __call__(self, verb: str, text: str, **members: Any) -> Any:
        members = {"targets": [self.target], **members} if verb == "run" else members
        status, said = post(self.client, verb, {**self.source, "text": text, **members})
        assert status == 200, said
        return said


@pytest.fixture
def script(visitor: Client, cluster: Cluster, make: Make) -> Script:
    return Script(visitor, cluster, make.space)


# --- apply ----------------------------------------------------------------------------------------
def test_problems_stand_at_their_lines_and_differences_beside_their_objects(
    script: Script, make: Make
) -> None:
    wrong = f"{CONFIG}---\n{WEB.replace('replicas: 2', 'replicas: two')}"
    (problem,) = script("validate", wrong)["problems"]
    line = wrong.splitlines()[problem["line"] - 1]
    assert line[problem["column"] :] == "replicas: two"
    assert "spec.replicas" in problem["message"]
    text = f"{CONFIG}---\n{SECRET}"
    assert script("validate", text) == {"problems": []}
    assert {row["word"] for row in script("diff", text)["documents"]} == {"would be created"}
    applied = script("run", text)["documents"]
    assert [(row["title"], row["word"], row["message"]) for row in applied] == [
        (f"ConfigMap {make.space}/settings", "created", ""),
        (f"Secret {make.space}/door", "created", ""),
    ]
    assert script.client.get(applied[0]["address"]).status_code == 200
    changed = script("diff", text.replace("info", "debug"))["documents"]
    assert [row["word"] for row in changed] == ["would be changed", "unchanged"]
    assert ["+  level: debug", "added"] in changed[0]["lines"]
    status, said = post(script.client, "run", {**script.source, "text": CONFIG})
    assert (status, said["message"]) == (400, "Choose at least one cluster.")


def test_nobody_has_a_text_read_without_a_right_to_the_cluster(script: Script) -> None:
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger", password=None))
    for verb in ("validate", "diff", "run"):
        body = {**script.source, "text": "a: [", "targets": [script.target]}
        assert post(stranger, verb, body)[1]["code"] == 1005
        assert post(Client(), verb, body)[0] == 401


def test_pruning_names_what_goes_and_wants_the_selector_typed(
    script: Script, make: Make, apiserver: RunningCluster
) -> None:
    def config(name: str) -> str:
        metadata = {"name": name, "labels": {"part": "shop"}}
        return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    def exists(name: str) -> bool:
        return apiserver.get("configmaps", name, make.space) is not None

    script("run", f"{config('old')}---\n{config('new')}")
    options = {"prune_selector": "part=shop"}
    asked = script("run", config("new"), **options)["confirm"]
    assert asked["objects"] == [f"simulated: ConfigMap {make.space}/old"]
    body = {**script.source, "text": config("new"), "targets": [script.target], **options}
    status, said = post(script.client, "run", {**body, "typed": "part=sho"})
    assert (status, "part=shop" in said["message"]) == (400, True)
    assert exists("old")
    done = script("run", config("new"), **options, typed="part=shop")["documents"]
    assert [row["word"] for row in done] == ["unchanged", "deleted"]
    assert not exists("old")


def test_an_operation_says_what_became_of_each_object_even_when_it_failed(
    script: Script, twin: Cluster, make: Make
) -> None:
    targets = [script.target, {"cluster_id": twin.pk, "namespaces": "no-such-namespace"}]
    address = script("run", CONFIG, targets=targets)["address"]
    operation = finish(int(address.rpartition("/")[2]))
    assert operation.state == "failed"
    page = script.client.get(address).content.decode()
    assert f"simulated/{make.space}" in page
    assert f"ConfigMap {make.space}/settings" in page
    assert "ConfigMap no-such-namespace/settings" in page
    assert f"/configmaps/{make.space}/settings" in page


def state(page: Page) -> Any:
    return page.locator("#editor-state")


def replace(page: Page, old: str, new: str) -> None:
    page.evaluate(
        """([old, replacement]) => { const { view } = document.getElementById("editor"); const from = view.state.doc.toString().indexOf(old);
        view.dispatch({ changes: { from, to: from + old.length, insert: replacement } }); }""",
        [old, new],
    )


def test_files_are_checked_while_one_writes_compared_and_applied_to_two_clusters(
    walk: Walk, cluster: Cluster, twin: Cluster, make: Make, tmp_path: Path
) -> None:
    page = walk.open(f"/apply?cluster_id={cluster.pk}&namespace={make.space}")
    files = [tmp_path / "web.yaml", tmp_path / "settings.yml"]
    files[0].write_text(WEB.replace("replicas: 2", "replicas: two"))
    files[1].write_text(CONFIG)
    page.locator("#apply-files").set_input_files([str(path) for path in files])
    expect(page.locator("#editor-problems")).to_contain_text("spec.replicas")
    expect(page.locator(".cm-lintRange-error")).to_have_text("replicas: two")
    expect(page.get_by_role("button", name="Apply", exact=True)).to_be_disabled()
    replace(page, "two", "2")
    expect(state(page)).to_have_text("Valid in this cluster.")
    page.get_by_role("button", name="Compare").click()
    expect(state(page)).to_have_text("Objects: 2. This is what would change.")
    expect(page.locator("#apply-documents")).to_contain_text("+  level: info")
    assert walk.axe() == []
    walk.picture("compared", full=True)
    page.get_by_label("Other namespaces in twin, separated by commas").fill(make.space)
    page.get_by_role("button", name="Choose all").click()
    page.get_by_label("Go on after a failure").check()
    page.get_by_role("button", name="Apply", exact=True).click()
    page.wait_for_url("**/operations/*")
    expect(page.locator("#operation")).to_contain_text(f"twin/{make.space}")
    operation = Operation.objects.get(pk=int(page.url.rpartition("/")[2]))
    assert finish(operation.pk).state == "succeeded"
    expect(page.locator("#operation .head")).to_contain_text("succeeded")
    page.locator("summary").get_by_text(f"twin/{make.space}").click()
    expect(page.get_by_role("link", name=f"ConfigMap {make.space}/settings")).to_be_visible()
    assert walk.axe() == []
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert not walk.is_wider_than_the_window()


# --- compare and export ---------------------------------------------------------------------------
def change(path: str, before: object, after: object) -> dict[str, Any]:
    return {"path": path, "before": before, "after": after}


def test_clusters_stand_side_by_side_even_where_they_differ_at_different_depths() -> None:
    clusters: list[dict[str, Any]] = [
        {"cluster_id": 1, "found": True, "changes": []},
        {"cluster_id": 2, "found": False, "changes": []},
        {"cluster_id": 3, "found": True, "changes": [change("spec.strategy", {"type": "A"}, None)]},
        {
            "cluster_id": 4,
            "found": True,
            "changes": [change("spec.strategy.type", "A", "B"), change("spec.replicas", 1, 2)],
        },
    ]
    rows = compared_rows(clusters, 1)
    part = "differs in part: see the other rows"
    assert [(row.path, [cell.text for cell in row.cells]) for row in rows] == [
        ("spec.replicas", ["1", "1", "2"]),
        ("spec.strategy", ["type: A", "–", part]),
        ("spec.strategy.type", ["A", part, "B"]),
    ]
    assert [differing(rows, column) for column in range(3)] == [0, 2, 3]


def test_a_comparison_that_cannot_be_made_keeps_what_was_entered(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    nothing = visitor.get("/compare").content.decode()
    assert 'name="kind"' in nothing
    answer = visitor.get("/compare", {"kind": "wonders", "name": "web", "namespace": make.space})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "kind must name a kind" in page
    assert 'value="wonders"' in page
    query = {"kind": "deploy", "name": "web", "namespace": make.space}
    assert "None of these clusters has it" in visitor.get("/compare", query).content.decode()


def test_chosen_rows_are_exported_as_another_cluster_takes_them(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    make("deployments", workload("web"), running=True)
    make("configmaps", {"metadata": {"name": "settings"}, "data": {"level": "info"}})
    table = f"/clusters/{cluster.pk}/configmaps"
    rows = {"row": [f"{make.space}/settings", f"{make.space}/kube-root-ca.crt"]}
    answer = visitor.post(f"{table}/-/_export", rows)
    assert answer["Content-Type"].startswith("text/yaml")
    assert answer["Content-Disposition"] == 'attachment; filename="configmaps.yaml"'
    names = [obj["metadata"]["name"] for obj in yaml.safe_load_all(answer.content)]
    assert names == ["kube-root-ca.crt", "settings"]
    (pod, _other) = make.ready("web")
    name = pod["metadata"]["name"]
    owned = visitor.get(f"/clusters/{cluster.pk}/pods/{make.space}/{name}/export")
    (document,) = yaml.safe_load_all(owned.content)
    assert document["metadata"]["name"] == name
    assert "ownerReferences" not in document["metadata"]
    assert "status" not in document
    whole = visitor.get(f"/clusters/{cluster.pk}/-/export", {"namespace": make.space})
    kinds = [obj["kind"] for obj in yaml.safe_load_all(whole.content)]
    assert kinds == ["ConfigMap", "Deployment"]
    gone = visitor.post(f"{table}/-/_export", {"row": f"{make.space}/gone"})
    assert gone.status_code == 404
    assert visitor.post(f"{table}/-/_export").status_code == 400


def test_an_object_is_compared_and_chosen_rows_downloaded(
    walker: Walker, person: User, cluster: Cluster, twin: Cluster, make: Make
) -> None:
    make("deployments", workload("web"))
    make("deployments", workload("api"))
    walk = walker(person)
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{make.space}/web")
    page.get_by_role("link", name="Compare with other clusters").click()
    expect(page.get_by_text("The same in every cluster that has it:")).to_be_visible()
    assert walk.axe() == []
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert not walk.is_wider_than_the_window()
    walk.open(f"/clusters/{cluster.pk}/deployments?namespace={make.space}")
    page.get_by_label("Select all on this page").check()
    # Twice, as a download leaves the page as it is.
    for _time in range(2):
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Export").click()
        objects = yaml.safe_load_all(Path(waiting.value.path()).read_text())
        assert [obj["metadata"]["name"] for obj in objects] == ["api", "web"]
