"""The form beside the YAML of a new object: two views of one manifest."""

from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from clusters.models import Cluster
from console.editing.manifest_forms import FORMS, form_of, merge_form, show_form
from console.editing.starters import STARTERS
from simcluster.testing import RunningCluster
from tests.console.browser import PHONE
from tests.console.conftest import Make, Walker
from tests.vkube import eventually


def entries(manifest: dict[str, Any], **changes: str) -> dict[str, list[str]]:
    """What a browser would send of a form as it stands, with some inputs changed."""
    form = form_of(manifest)
    assert form
    sent: dict[str, list[str]] = {}
    for section in show_form(form, manifest):
        for shown in section["fields"]:
            name = shown["name"]
            if "rows" in shown:
                for row in shown["rows"]:
                    sent.setdefault(f"{name}[].origin", []).append(str(row["origin"]))
                    for cell in row["cells"]:
                        sent.setdefault(cell["name"], []).append(cell["text"])
            elif shown["field"].control == "checks":
                sent[name] = [option for option, chosen in shown["choices"] if chosen]
            else:
                sent[name] = [shown["text"]]
    return sent | {name: [text] for name, text in changes.items()}


@pytest.mark.parametrize("plural", FORMS)
def test_every_form_shows_its_starter_and_leaves_it_as_it_is(plural: str) -> None:
    manifest = yaml.safe_load(STARTERS[plural]("team"))
    form = form_of(manifest)
    assert form is FORMS[plural]
    assert merge_form(form, manifest, entries(manifest)) == (manifest, [])
    changed, problems = merge_form(form, manifest, entries(manifest, **{"metadata.name": "other"}))
    assert not problems
    assert changed == manifest | {"metadata": {**manifest["metadata"], "name": "other"}}
    _same, problems = merge_form(form, manifest, entries(manifest, **{"metadata.name": "Not so"}))
    assert [name for name, _message in problems] == ["metadata.name"]


WEB = """\
# Why it is here.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  paused: true
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: setup, image: busybox}]
      containers:
      - name: web
        image: nginx:1
        resources: {limits: {cpu: '1'}}
        env:
        - {name: MODE, value: slow}
        - {name: KEY, valueFrom: {secretKeyRef: {name: credentials, key: password}}}
        volumeMounts: [{name: data, mountPath: /data}]
      - {name: proxy, image: proxy:1}
      volumes: [{name: data, emptyDir: {}}]
"""
FIRST = "spec.template.spec.containers[0]"


def test_what_the_form_does_not_show_stays_and_faults_are_named_by_field(
    visitor: Client, cluster: Cluster
) -> None:
    base = f"/clusters/{cluster.pk}/-/create"

    def send(action: str, **body: Any) -> dict[str, Any]:
        answer = visitor.post(f"{base}/{action}", body, content_type="application/json")
        return dict(answer.json())

    html = send("form", text=WEB)["html"]
    assert "secretKeyRef credentials/password" in html
    assert 'value="proxy:1"' in html
    assert "Init container setup" in html
    manifest = yaml.safe_load(WEB)
    same = entries(manifest)

    def merge(**changes: Any) -> dict[str, Any]:
        fields = [(name, text) for name, texts in (same | changes).items() for text in texts]
        return send("merge", text=WEB, fields=fields)

    assert merge()["text"] == WEB
    env = f"{FIRST}.env[]"
    merged = merge(
        **{
            f"{FIRST}.image": ["nginx:2"],
            f"{FIRST}.resources.limits.cpu": [""],
            f"{env}.origin": ["1", ""],
            f"{env}.name": ["KEY", "NEW"],
            f"{env}.value": ["", "a\nb"],
            "spec.replicas": ["3"],
        }
    )
    after = yaml.safe_load(merged["text"])
    first, second = manifest["spec"]["template"]["spec"]["containers"]
    first |= {"image": "nginx:2", "env": [first["env"][1], {"name": "NEW", "value": "a\nb"}]}
    del first["resources"]
    manifest["spec"]["replicas"] = 3
    assert after == manifest
    assert second in after["spec"]["template"]["spec"]["containers"]
    wrong = merge(
        **{
            "spec.replicas": ["many"],
            f"{FIRST}.image": [""],
            f"{FIRST}.resources.limits.cpu": ["much"],
            "spec.template.metadata.labels": ["app"],
        }
    )
    marked = {row["name"] for row in wrong["fields"]}
    assert marked == {
        "spec.replicas",
        f"{FIRST}.image",
        f"{FIRST}.resources.limits.cpu",
        "spec.template.metadata.labels",
    }
    (apart,) = merge(**{"spec.template.metadata.labels": ["app=other"]})["fields"]
    assert "app=web" in apart["message"]
    lists = "spec.template.spec.initContainers"
    same_containers = {
        "spec.template.spec.containers[].place": ["0", "1"],
        "spec.template.spec.containers[].origin": ["0", "1"],
        f"{lists}[].place": ["0"],
        f"{lists}[].origin": ["0"],
    }
    unmoved = merge(**same_containers)
    assert (unmoved["text"], unmoved["renumbered"]) == (WEB, False)
    # The first container was taken away, another was added; so was a second one that runs first.
    moved = same_containers | {
        "spec.template.spec.containers[].place": ["1", "2"],
        "spec.template.spec.containers[].origin": ["1", ""],
        "spec.template.spec.containers[2].name": ["cache"],
        "spec.template.spec.containers[2].image": ["redis:7"],
        f"{lists}[].place": ["0", "1"],
        f"{lists}[].origin": ["0", ""],
        f"{lists}[1].name": ["wait"],
        f"{lists}[1].image": ["busybox"],
        f"{lists}[1].command": ["sh\n-c\ndate"],
    }
    answer = merge(**moved)
    assert answer["renumbered"] is True
    spec = yaml.safe_load(answer["text"])["spec"]["template"]["spec"]
    assert spec["containers"] == [
        {"name": "proxy", "image": "proxy:1"},
        {"name": "cache", "image": "redis:7"},
    ]
    wait = {"name": "wait", "image": "busybox", "command": ["sh", "-c", "date"]}
    assert spec["initContainers"] == [{"name": "setup", "image": "busybox"}, wait]
    (nameless,) = merge(**moved | {f"{lists}[1].image": [""]})["fields"]
    assert nameless["name"] == f"{lists}[1].image"
    assert "problems" in send("form", text=f"{WEB}---\n{WEB}")
    assert "problems" in send("form", text="apiVersion: v1\nkind: Node\nmetadata: {name: x}")
    stranger = Client().post(f"{base}/merge", {"text": WEB}, content_type="application/json")
    assert stranger.status_code == 401


def test_an_object_is_made_with_the_form_on_a_phone_without_a_mouse(
    walker: Walker, person: User, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    walk = walker(person, size=PHONE)
    page = walk.open(
        f"/clusters/{cluster.pk}/-/create?view=form&kind=configmaps&namespace={make.space}"
    )
    form = page.locator("#manifest-form")
    name = form.get_by_label("Name (required)")
    expect(name).to_have_value("settings")
    assert not walk.is_wider_than_the_window()
    assert walk.axe() == []
    name.fill("No Name")
    page.get_by_role("button", name="Check and compare").press("Enter")
    expect(form.locator(".field-error")).to_contain_text("Lower case letters")
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    assert walk.axe() == []
    name.fill("entries")
    form.get_by_role("button", name="Add: Data").press("Enter")
    page.keyboard.insert_text("second")
    page.keyboard.press("Tab")
    page.keyboard.insert_text("two\nlines")
    # The button of the view that is open takes nothing back.
    page.get_by_role("button", name="Form", exact=True).press("Enter")
    page.get_by_role("button", name="YAML").press("Enter")
    expect(page.locator(".cm-content")).to_contain_text("name: entries")
    page.get_by_role("button", name="Form", exact=True).press("Enter")
    expect(form.get_by_label("Key").nth(1)).to_have_value("second")
    page.get_by_role("button", name="Check and compare").press("Enter")
    expect(page.locator("#editor-state")).to_have_text("The cluster accepts this.")
    page.emulate_media(color_scheme="dark")
    eventually(lambda: not walk.axe())
    walk.picture("form", full=True)
    page.get_by_role("button", name="Create", exact=True).press("Enter")
    expect(page.get_by_text("entries was created.")).to_be_visible()
    item = apiserver.get("configmaps", "entries", make.space) or {}
    assert item["data"] == {"key": "value", "second": "two\nlines"}
    # What only the cluster can tell is said at the field too.
    page = walk.open(
        f"/clusters/{cluster.pk}/-/create?view=form&kind=services&namespace={make.space}"
    )
    form.get_by_label("Type").select_option("LoadBalancer")
    form.get_by_label("Node port").fill("80")
    page.get_by_role("button", name="Check and compare").press("Enter")
    expect(form.locator("[data-field='spec.ports'] .field-error")).to_contain_text("80")


def test_containers_are_added_and_taken_away(
    walker: Walker, person: User, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    walk = walker(person)
    page = walk.open(
        f"/clusters/{cluster.pk}/-/create?view=form&kind=deployments&namespace={make.space}"
    )
    form = page.locator("#manifest-form")
    sections = form.locator("[data-sections] > [data-container]")
    expect(sections).to_have_count(1)
    expect(form.get_by_role("button", name="Remove this container")).to_be_hidden()
    form.get_by_role("button", name="Add an init container").press("Enter")
    page.keyboard.insert_text("wait")
    sections.last.get_by_label("Image (required)").fill("busybox:1.36")
    form.get_by_role("button", name="Add a container").press("Enter")
    added = form.locator('[data-list$=".containers"] > [data-container]').last
    added.get_by_label("Name (required)").fill("side")
    page.get_by_role("button", name="Check and compare").press("Enter")
    expect(form.locator(".field-error")).to_contain_text("is required")
    expect(added.get_by_label("Image (required)")).to_be_focused()
    added.get_by_label("Image (required)").fill("proxy:1")
    expect(sections).to_have_count(3)
    assert walk.axe() == []
    walk.picture("containers", full=True)
    page.get_by_role("button", name="YAML").press("Enter")
    expect(page.locator(".editor-frame")).to_be_visible()
    page.get_by_role("button", name="Form", exact=True).press("Enter")
    expect(form).to_be_visible()
    expect(sections).to_have_count(3)
    sections.first.get_by_role("button", name="Remove this container").press("Enter")
    form.locator("[data-field='spec.template.metadata.labels'] textarea").fill("app=web")
    page.get_by_role("button", name="YAML").press("Enter")
    expect(page.locator(".cm-content")).to_contain_text("name: side")
    page.get_by_role("button", name="Check and compare").press("Enter")
    expect(page.locator("#editor-state")).to_have_text("The cluster accepts this.")
    page.get_by_role("button", name="Create", exact=True).press("Enter")
    expect(page.get_by_text("web was created.")).to_be_visible()
    item = apiserver.get("deployments.apps", "web", make.space) or {}
    pod = item["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["containers"]] == ["side"]
    assert [container["name"] for container in pod["initContainers"]] == ["wait"]


def test_an_object_is_made_without_scripts(
    visitor: Client, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    address = f"/clusters/{cluster.pk}/-/create"
    page = visitor.get(f"{address}?kind=pods&namespace={make.space}").content.decode()
    text = STARTERS["pods"](make.space)
    assert text.strip() in page.partition("<noscript>")[2].replace("&quot;", '"')
    wrong = visitor.post(address, {"text": text.replace("name: once", "name: Not so")})
    assert wrong.status_code == 400
    assert "Line 4: " in wrong.content.decode()
    assert "name: Not so" in wrong.content.decode()
    done = visitor.post(address, {"text": text})
    assert done["Location"] == f"/clusters/{cluster.pk}/pods/{make.space}/once"
    assert apiserver.get("pods", "once", make.space)
