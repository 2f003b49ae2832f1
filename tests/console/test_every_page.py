"""Each page of the console, opened by an admin in both languages, and by a viewer."""

import gzip
import json
import posixpath
import re
from collections import Counter
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client

from access.models import Grant
from access.policy import Role
from automation.types import TYPES
from clusters.models import Cluster
from console.urls import urlpatterns
from tests.alerts.conftest import live
from tests.caller import Caller
from tests.console.conftest import Make
from tests.console.page_examples import ACTS, Examples, apiserver, make_examples

# Fixtures of other modules, used here as well.
__all__ = ["apiserver", "live"]

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
LOADED = re.compile(r'(?:src|href)="/static/([^"]+\.(?:js|css))"')
IMPORT = re.compile(r'^(?:import|export)\b[^;"\']*["\'](\./[^"\']+)["\']', re.MULTILINE)
# The editor and the terminal, which few pages have.
LARGE = ("vendor/xterm", "vendor/codemirror")
# Two words in a row are a sentence, not a name.
WORDS = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
# What clusters and people say, and names of kinds before those of objects.
KINDS = "ClusterRole|ConfigMap|Cluster|Deployment|Node|Pod|ReplicaSet|nodes|task|templates"
MESSAGES = "Container|Created pod|Scaled up|Successfully|no matches for kind|get, list, watch"
DATA = re.compile(
    rf"^(({KINDS}|alertchannels) [\w/-]+$|{MESSAGES})|checkout restarts|Read its log"
    "|Name of the objects|Upgrade complete|minimum availability|successfully progressed"
    "|User Specified Service Port"
)

TASK_FORMS = [("console-task-new", f"/automation/new?type={name}") for name in TYPES]


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
def examples(vkube: None, person: User, admin: Caller, live: Cluster, make: Make) -> Examples:
    """An address of each page, with what it shows; the cluster is collected."""
    return make_examples(person, admin, live, make)


def faults(page: str, language: str) -> list[str]:
    """What is wrong with a page; nothing for what is no page."""
    if "<html" not in page:
        return []
    reader = Reader(page)
    lines = [f"{reader.headings} h1"] if reader.headings != 1 else []
    lines += [f"id {name} twice" for name, count in reader.ids.items() if count > 1]
    lines += [f"no label: {name}" for name in reader.bare_fields()]
    lines += [f"left: {text}" for text in reader.texts if LEFTOVER.search(text)]
    # A page's own values could stand in the place of the frame's.
    if 'id="nav"' in page and 'href="/operations"' not in page:
        lines.append("no menu")
    if f'lang="{language}"' not in page:
        lines.append("another language")
    return lines


@lru_cache
def packed_files(path: str) -> dict[str, int]:
    """Compressed bytes by path of a script or style, and of the modules that it imports."""
    file = finders.find(path)
    assert file, path
    content = Path(file).read_bytes()
    sizes = {path: len(gzip.compress(content))}
    for name in IMPORT.findall(content.decode()) if path.endswith(".js") else ():
        sizes |= packed_files(posixpath.normpath(posixpath.join(posixpath.dirname(path), name)))
    return sizes


def weight(page: str) -> int:
    """Bytes that a browser gets of a page, its scripts and styles, from a server that compresses."""
    sizes: dict[str, int] = {}
    for path in LOADED.findall(page):
        if not path.startswith(LARGE):
            sizes |= packed_files(path)
    return len(gzip.compress(page.encode())) + sum(sizes.values())


def untranslated(english: str, chinese: str) -> list[str]:
    """Sentences that are the same in both languages, and not of a cluster."""
    same = set(Reader(english).texts) & set(Reader(chinese).texts)
    return sorted(text for text in same if WORDS.search(text) and not DATA.search(text))


def read(answer: Any) -> str:
    """What was answered; of what is streamed nothing.

    Read to its end all the same: a cursor that stays open keeps VACUUM from old rows.
    """
    if not answer.streaming:
        return str(answer.content.decode())
    b"".join(answer.streaming_content)
    return ""


@pytest.mark.django_db
def test_every_page_opens_without_a_fault(visitor: Client, examples: Examples) -> None:
    """In both languages, to somebody who may do everything."""
    report: dict[str, list[str]] = {}
    for name, place in (*examples.pages(), *TASK_FORMS):
        pages: list[str] = []
        for language in ("en", "zh-hans"):
            visitor.cookies["language"] = language
            answer = visitor.get(place)
            if answer.status_code != 200:
                report[f"{language} {name} {place}"] = [str(answer.status_code)]
            pages.append(read(answer))
            if lines := faults(pages[-1], language):
                report[f"{language} {name} {place}"] = lines
        if "<html" in pages[0]:
            lines = [f"left in English: {text}" for text in untranslated(*pages)]
            total = weight(pages[0])
            lines += [f"weighs {total} bytes"] if total > LIMIT_BYTES else []
            if lines:
                report[f"{name} {place}"] = lines
    assert not report, json.dumps(report, ensure_ascii=False, indent=1)


@pytest.mark.django_db
def test_what_is_only_sent_to_is_no_page(visitor: Client, examples: Examples) -> None:
    names = {pattern.name for pattern in urlpatterns}
    assert names >= ACTS
    for pattern in urlpatterns:
        if pattern.name in ACTS:
            assert visitor.get(examples.address(pattern)).status_code == 405, pattern.name


@pytest.mark.django_db
def test_every_page_answers_a_viewer_of_one_namespace(examples: Examples) -> None:
    user = get_user_model().objects.create_user("vera")
    place = {"cluster_id": examples.values["cluster"], "namespace": examples.values["namespace"]}
    Grant.objects.create(user=user, role=Role.VIEWER, **place)
    client = Client()
    client.force_login(user)
    report: dict[str, list[str]] = {}
    opened = 0
    for name, place in examples.pages():
        answer = client.get(place)
        lines = faults(read(answer), "en")
        if answer.status_code not in {200, 302, 400, 403, 404, 409}:
            lines.append(str(answer.status_code))
        opened += answer.status_code == 200
        if lines:
            report[f"{name} {place}"] = lines
    assert opened > 60
    assert not report, json.dumps(report, ensure_ascii=False, indent=1)
