"""Each page of the console, opened once by an admin and once by a viewer, in both languages."""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import URLPattern, reverse

from access.models import Grant
from access.policy import Role
from automation.models import Run, Task
from automation.types import TYPES
from clusters.models import Cluster
from console.editing.value_forms import field_name
from console.urls import urlpatterns
from operations import lifecycle
from tests.caller import Caller
from tests.console.conftest import Make
from tests.console.test_templates import make_template
from workloads.models import Recording, RecordingChunk

# Nobody reads these as a sentence: they quote programs.
QUOTING = {"script", "style", "pre", "code", "textarea", "template", "kbd", "samp"}
FIELDS = {"input", "select", "textarea"}
UNLABELLED = {"hidden", "submit", "button", "image", "reset"}
LEFTOVER = re.compile(
    r"\{[a-z_]+\}|%\(\w+\)[sd]|\bUndefined\b|\bundefined\b|^None$"
    # What a template shows of a value of Python, and names of the code.
    r"|\bdict_items\(|^\[\{'|\b(?!runbook_url)[a-z]+_[a-z_]+\b"
)
LIMIT_BYTES = 300_000
NOTHING = 999_999
# Addresses that begin something or follow it: no pages, and no answer at once.
OTHERS = {
    "console-signout",
    "console-logs-download",
    "console-logs-ticket",
}


class Reader(HTMLParser):
    """What a page has of headings, ids, fields and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings = 0
        self.ids: Counter[str] = Counter()
        self.labels: set[str] = set()
        self.fields: list[dict[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        values = {name: value or "" for name, value in attrs}
        self.headings += tag == "h1"
        if "id" in values and "template" not in self._open:
            self.ids[values["id"]] += 1
        if tag == "label" and "for" in values:
            self.labels.add(values["for"])
        if tag in FIELDS and values.get("type") not in UNLABELLED:
            values["inside"] = "label" if "label" in self._open else ""
            self.fields.append(values)
        if tag in QUOTING or tag in {"label", "h1"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave the element."""
        if tag in self._open:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        """Note the text that people read."""
        if not QUOTING & set(self._open) and data.strip():
            self.texts.append(data.strip())

    def bare_fields(self) -> list[str]:
        """The fields that say nothing about themselves."""
        naming = ("inside", "aria-label", "aria-labelledby", "title")
        return [
            values.get("name", "?")
            for values in self.fields
            if not any(values.get(name) for name in naming) and values.get("id") not in self.labels
        ]


@pytest.fixture
def places(
    visitor: Client, admin: Caller, cluster: Cluster, make: Make
) -> dict[str, dict[str, Any]]:
    """What the addresses name: the pk by the first word of the route, and the rest."""
    labels = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": "nginx:1"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    make("deployments", {"metadata": {"name": "web"}, "spec": spec}, running=True)
    target = lifecycle.OperationTarget(cluster, "deployments", make.space, "web")
    operation = lifecycle.create("rollout", target, requested_by="ada", parameters={})
    lifecycle.plan(operation, [lifecycle.Step("1", "web")])
    task = {
        "type": "cleanup",
        "name": "tidy",
        "clusters": [str(cluster.pk)],
        "namespaces": make.space,
        "when": "none",
        "enabled": "1",
        field_name(("delete",)): "",
        field_name(("kinds",)): ['"pods"'],
        "act": "save",
    }
    visitor.post("/automation/new", task)
    tidy = Task.objects.get()
    visitor.post(f"/automation/tasks/{tidy.pk}/run")
    recording = Recording.objects.create(
        session="a" * 32, username="ada", cluster=cluster, namespace=make.space, pod="web"
    )
    RecordingChunk.objects.create(recording=recording, number=0, events='[0.1, "o", "a"]\n')
    ids = {
        "operations": operation.pk,
        "automation/tasks": tidy.pk,
        "automation/runs": Run.objects.get().pk if Run.objects.exists() else NOTHING,
        "templates": make_template(admin),
        "clusters": recording.pk,
        "groups": Group.objects.create(name="platform").pk,
    }
    rest = {
        "cluster": cluster.pk,
        "plural": "deployments",
        "namespace": make.space,
        "name": "web",
        "revision": 1,
        "seq": 1,
        "verb": "restart",
        "part": "values",
        "form": "csv",
        "kind": "Pod",
        "resource": "web",
    }
    return {"ids": ids, "rest": rest}


def address(pattern: URLPattern, places: dict[str, dict[str, Any]]) -> str:
    """The address of a route with what stands there."""
    route = str(pattern.pattern)
    values: dict[str, Any] = {}
    starts = [start for start in places["ids"] if route.startswith(f"{start}/")]
    pk = places["ids"][starts[0]] if starts else NOTHING
    if route.startswith("templates/deployments"):
        pk = NOTHING
    for name in pattern.pattern.converters:
        values[name] = pk if name in ("pk", "run") else places["rest"][name]
    if route.startswith("people/"):
        values["name"] = "ada"
    return reverse(pattern.name or "", kwargs=values)


def faults(answer: Any, language: str) -> list[str]:
    """What is wrong with a page; nothing for what is no page."""
    page = answer.content.decode()
    if "<html" not in page:
        return []
    reader = Reader(page)
    lines = [f"{reader.headings} h1"] if reader.headings != 1 else []
    lines += [f"id {name} twice" for name, count in reader.ids.items() if count > 1]
    lines += [f"no label: {name}" for name in reader.bare_fields()]
    lines += [f"left: {text}" for text in reader.texts if LEFTOVER.search(text)]
    if len(answer.content) > LIMIT_BYTES:
        lines.append(f"{len(answer.content)} bytes")
    # A page's own values could stand in the place of the frame's.
    if 'id="nav"' in page and 'href="/operations"' not in page:
        lines.append("no menu")
    if f'lang="{language}"' not in page:
        lines.append("another language")
    return lines


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_every_page_opens_without_a_fault(
    visitor: Client, places: dict[str, dict[str, Any]], role: str
) -> None:
    client = visitor
    if role == "viewer":
        rest = places["rest"]
        user = get_user_model().objects.create_user("vera")
        Grant.objects.create(
            user=user,
            role=Role.VIEWER,
            cluster_id=rest["cluster"],
            namespace=rest["namespace"],
        )
        client = Client()
        client.force_login(user)
    report: dict[str, list[str]] = {}
    opened = 0
    pages = [address(pattern, places) for pattern in urlpatterns if pattern.name not in OTHERS]
    pages += [f"/automation/new?type={name}" for name in TYPES]
    for place in pages:
        for language, tag in (("en", "en"), ("zh-hans", "zh-hans")):
            client.cookies["language"] = language
            answer = client.get(place)
            allowed = {200, 302, 400, 403, 404, 405, 409}
            lines = [] if answer.status_code in allowed else [str(answer.status_code)]
            if answer.streaming:
                # Read to its end: a cursor that stays open keeps VACUUM from old rows.
                b"".join(answer.streaming_content)
            else:
                lines += faults(answer, tag)
            opened += answer.status_code == 200
            if lines:
                report[f"{language} {place}"] = lines
    assert opened > (120 if role == "admin" else 60)
    assert report == {}
