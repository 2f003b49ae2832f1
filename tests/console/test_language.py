"""Every text of the console has its Chinese."""

import ast
import gettext
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.utils.translation import gettext as translate
from django.utils.translation import override, templatize

from automation.inspection.catalogue import CHECKS
from automation.types import TYPES
from clusters.models import Cluster
from console.messages import OPTION_MESSAGES, translate_message
from console.rendering.state_labels import CONDITIONS, translate_condition
from insights import causes, harm

ROOT = Path(__file__).resolve().parents[2]
MARKS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "gettext_noop"}
ADMIN_PAGES = (
    *(ROOT / "templates" / "admin").glob("*.html"),
    *(ROOT / "templates" / "admin" / "billing").glob("*.html"),
)
MARKED = re.compile(r"""\b(?:_|gettext|ngettext)\(\s*u?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")


def texts_of_code(path: Path) -> Iterator[str]:
    """The texts that a module marks for translation."""
    for node in ast.walk(ast.parse(path.read_text())):
        name = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        if (
            name in MARKS
            and isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value


def texts_of_template(path: Path) -> Iterator[str]:
    """The texts that a template marks for translation."""
    for found in MARKED.finditer(templatize(path.read_text())):
        yield ast.literal_eval(found[1])


def texts() -> set[str]:
    """All of them."""
    code = {text for path in (ROOT / "console").rglob("*.py") for text in texts_of_code(path)}
    return code | {
        text
        for path in (*(ROOT / "templates" / "console").rglob("*.html"), *ADMIN_PAGES)
        for text in texts_of_template(path)
    }


def test_every_text_has_its_chinese() -> None:
    with (ROOT / "locale/zh_Hans/LC_MESSAGES/django.mo").open("rb") as file:
        catalog = gettext.GNUTranslations(file)
    found = texts()
    assert len(found) > 500
    kept = {
        key[0] if isinstance(key, tuple) else key
        for key, value in catalog._catalog.items()
        if value
    }  # type: ignore[attr-defined]
    assert not sorted(found - kept)


def test_places_for_values_are_the_same_in_both_languages() -> None:
    with (ROOT / "locale/zh_Hans/LC_MESSAGES/django.mo").open("rb") as file:
        catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    place = re.compile(r"%\(\w+\)s|\{\w+\}")
    for key, chinese in catalog.items():
        english = key[0] if isinstance(key, tuple) else key
        if english and not isinstance(key, tuple):
            assert set(place.findall(english)) == set(place.findall(chinese)), english


@pytest.mark.parametrize(
    ("address", "words"),
    [("/", "注册集群"), ("/search", "搜索所有集群"), ("/clusters/{}/pods", "容器组")],
)
def test_pages_speak_the_language_of_the_cookie_or_the_browser(
    visitor: Client, cluster: Cluster, address: str, words: str
) -> None:
    assert (
        words
        in visitor.get(
            address.format(cluster.pk), headers={"Accept-Language": "zh-CN,zh;q=0.9"}
        ).content.decode()
    )
    assert words not in visitor.get(address.format(cluster.pk)).content.decode()
    visitor.cookies["language"] = "zh-hans"
    assert words in visitor.get(address.format(cluster.pk)).content.decode()


# Modules whose steps and reasons people read on the pages of operations and drains.
SPEAKING = ("drain", "drain_filters", "drain_budgets", "bulk", "rollouts", "restarts")
# Calls whose texts become messages of steps.
SAYING = {"move", "Step", "RolloutStatus"}


def said_texts(path: Path) -> Iterator[str]:
    """The messages that a module of operations can say, with 7 for every value inside."""
    for node in ast.walk(ast.parse(path.read_text())):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = name or (node.func.id if isinstance(node.func, ast.Name) else "")
            parts = list(node.args) if name in SAYING else []
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            parts = [node.value] if node.targets[0].id == "message" else []
        elif isinstance(node, ast.Return) and node.value is not None:
            parts = list(node.value.elts) if isinstance(node.value, ast.Tuple) else [node.value]
        for part in parts:
            text = text_of(part)
            if " " in text and text != "7 7":
                yield text


def text_of(node: ast.expr) -> str:
    """The text of a literal; "" for any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            text_of(part) if isinstance(part, ast.Constant) else "7" for part in node.values
        )
    return ""


TASK_MODULES = ("types", "cleanup", "inspection")
# Parts of longer messages, and such as are made of several parts: SPOKEN has their whole.
PARTS = {
    "7 7 7/7: 7",
    "7 7 is called7",
    "7 7: 7",
    "7 has 7",
    "7 may not 7 7 77",
    "7 privileged",
    "7 with runAsUser 0",
    "7 without 7",
    "7 without runAsNonRoot and runAsUser",
    "7scaled from 7 to 7",
    "becomes 7",
    "being drained: 7",
    "has 7 already",
    "inspect 7: 7",
    "is 7 already",
}


def said_by_tasks(path: Path) -> Iterator[str]:
    """The messages that steps, refusals and findings of a module have, with 7 for every value."""
    saying = {"Step", "StepResult", "Again", "Hit", "replace", "move", "Conflict", "Forbidden"}
    saying |= {"Rejected", "_fail", "_close"}
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = name or (node.func.id if isinstance(node.func, ast.Name) else "")
        if name not in saying:
            continue
        for part in (*node.args, *(keyword.value for keyword in node.keywords)):
            for text in texts_inside(part):
                if " " in text.strip() and text.strip("7 :;"):
                    yield text


def texts_inside(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be: of a conditional one both."""
    if isinstance(node, ast.IfExp):
        yield from texts_inside(node.body)
        yield from texts_inside(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for part in node.values:
            yield from texts_inside(part)
    else:
        yield text_of(node)


def test_what_tasks_say_has_its_chinese() -> None:
    folder = ROOT / "automation"
    paths = [path for name in TASK_MODULES for path in (folder / name).glob("*.py")]
    said = set()
    for path in (*paths, folder / "runner.py", folder / "runs.py", folder / "context.py"):
        said |= set(said_by_tasks(path))
    assert len(said) > 70
    for kind in TYPES.values():
        said |= {kind.title, kind.description}
        for schema in kind.params_schema["properties"].values():
            said |= {schema[name] for name in ("title", "description") if name in schema}
    for check in CHECKS.values():
        said |= {check.title, check.fix}
    with override("zh-hans"):
        assert sorted(text for text in said - PARTS if translate_message(text) == text) == []


def test_a_diagnosis_and_the_list_of_changes_have_their_chinese() -> None:
    rules = [rule for kind in harm._RULES.values() for rule in kind]
    said = {*causes.ADVICE.values(), *(rule.reason for rule in rules)}
    waits = "container web waits in CrashLoopBackOff: back-off 10s"
    ended = "container web ended with exit code 1 (Error), 4 restarts"
    said |= {waits, ended, "it was scaled from 3 to 5", "spec.x changed"}
    with override("zh-hans"):
        assert sorted(text for text in said if translate_message(text) == text) == []


# Whole messages as steps and runs have them, each with what must be left of it in English.
SPOKEN = {
    "create Deployment web; configure ConfigMap old; 3 unchanged": "Deployment web",
    "2 created, 1 unchanged": "",
    "scaled from 2 to 0 replicas; HorizontalPodAutoscaler web rests meanwhile": "web",
    "attempt 1 failed, again in 5 s: being drained: 1 of 3 pods": "",
    "delete Pod shop/old: evicted since 2026-01-01T00:00:00Z": "shop/old",
    "evicted since 2026-01-01T00:00:00Z: would be deleted with delete: true": "",
    "1 of 2 steps failed. not done: a step before it failed": "",
    "120 objects, 1 critical, 2 warning, 3 info, not read: nodes": "nodes",
    "back up namespace shop of prod (what people make in it, no Secrets) and keep the last 7": "",
    "is in the protected cluster prod: name it in the targets to include it": "prod",
    "missed: it was due at 1 and found at 2, later than its deadline of 600 s allows": "600",
    "POST https://example.com/ is called": "https://example.com/",
    "system:anonymous has view": "view",
    "olga may not scale deployments in namespace shop of prod": "olga",
    "containers web, db privileged": "web, db",
    "container web with runAsUser 0": "web",
    "container web without a readinessProbe": "web",
    "minReplicas of web: scaled from 2 to 1 replica": "web",
    "becomes cordoned": "",
    "has 1 replica already": "1",
    "inspect prod: all namespaces": "prod",
    "is schedulable already": "",
    "POST https://example.com/ is called with a body of 7 bytes": "https://example.com/",
    "cannot be drained: web: no controller would recreate it (force deletes it)": "",
}


@pytest.mark.parametrize("text", sorted(SPOKEN))
def test_messages_of_tasks_are_translated_with_their_parts(text: str) -> None:
    with override("zh-hans"):
        chinese = translate_message(text)
    assert chinese != text
    assert SPOKEN[text] in chinese
    assert not re.search(r"\b(the|was|is|are|failed|since|unchanged)\b", chinese), chinese
    with override("en"):
        assert translate_message(text) == text


@pytest.mark.parametrize("module", SPEAKING)
def test_what_operations_say_has_its_chinese(module: str) -> None:
    said = set(said_texts(ROOT / "workloads" / "actions" / f"{module}.py"))
    # Two parts of longer messages, which only their whole translates, and a Pod's own id.
    said -= {"uid 7", "7 (force deletes it)", "7, waiting for it to terminate"}
    assert said or module == "restarts"
    with override("zh-hans"):
        assert sorted(text for text in said if translate_message(text) == text) == []
        joined = translate_message("its emptyDir data will be lost; no controller will recreate it")
    assert joined == "其 emptyDir 数据将丢失; 没有控制器会重建它"
    assert translate_message("an API server's own words") == "an API server's own words"


def test_a_drain_names_the_boxes_of_its_page_and_no_options_of_the_api() -> None:
    page = (ROOT / "templates" / "console" / "drain.html").read_text()
    for text, message in OPTION_MESSAGES.items():
        assert text in set(said_texts(ROOT / "workloads" / "actions" / "drain_filters.py"))
        assert translate_message(text) == str(message)
        label = str(message).partition("“")[2].partition("”")[0]
        assert f'{{% trans "{label}" %}}' in page
        with override("zh-hans"):
            assert translate(label) in translate_message(text)


# Messages of each application that have no Chinese yet, as they are seldom met on a page. A new
# message needs its Chinese; the numbers only go down.
LEFT = {
    "access": 0,
    "operations": 0,
    "tenants": 0,
    "clusters": 0,
    "manifest_templates": 0,
    "workloads": 0,
    "billing": 0,
    "alerts": 0,
    "automation": 2,
}


def refusal_names() -> set[str]:
    """The classes of refusals."""
    tree = ast.parse((ROOT / "core" / "errors.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def refusals(application: str) -> set[str]:
    """The messages of the refusals that an application raises, with 7 for every value inside."""
    names = refusal_names()
    texts: set[str] = set()
    for path in (ROOT / application).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            if getattr(function, "id", name) in names:
                texts.add(text_of(node.args[0]))
    # Without a word of its own a message is only what somebody else said.
    return {text for text in texts if re.search("[a-z]", text)}


@pytest.mark.parametrize("application", LEFT)
def test_refusals_have_their_chinese(application: str) -> None:
    texts = refusals(application)
    assert texts
    with override("zh-hans"):
        left = sorted(text for text in texts if translate_message(text) == text)
    assert len(left) <= LEFT[application], left


def test_a_refusal_is_said_in_the_viewers_language(visitor: Client, cluster: Cluster) -> None:
    visitor.cookies["language"] = "zh-hans"
    page = visitor.get("/operations/999").content.decode()
    assert "<strong>操作 999 不存在</strong>" in page
    page = visitor.get(f"/clusters/{cluster.pk}/deployments/no-such-space/nothing").content.decode()
    assert "<strong>未找到 namespaces &quot;no-such-space&quot;</strong>" in page
    with override("en"):
        assert translate_message("name is required") == "name is required"
    with override("zh-hans"):
        said = translate_message("kubeconfig: no context named a; it has b")
        assert said == "kubeconfig：没有名为 a 的上下文；它有 b"


# Names that are the same in both languages.
SAME_NAMES = {"CPU", "ID", "IP", "Prometheus", "UID", "URL", "Webhook", "kubeconfig"}


def test_the_names_of_the_admin_site_have_their_chinese() -> None:
    import_module("kubegale.urls")
    names: set[str] = set()
    pages = admin.site._registry
    inside = {inline.model for page in pages.values() for inline in page.inlines}
    with override("zh-hans"):
        for model in {*pages, *inside}:
            options = model._meta
            application = apps.get_app_config(options.app_label)
            # The schedules bring their own translations.
            if application.name.startswith("django"):
                continue
            names |= {str(options.verbose_name), str(options.verbose_name_plural)}
            names.add(str(application.verbose_name))
            for field in options.concrete_fields:
                names |= {str(field.verbose_name), str(field.help_text)}
            page = pages.get(model)
            for name in (*page.actions, *page.list_display) if page else ():
                method = getattr(page, str(name), None)
                names.add(str(getattr(method, "short_description", "")))
    assert len(names) > 200
    english = {name for name in names if name and name.isascii()}
    assert sorted(english - SAME_NAMES) == []


def test_conditions_have_their_chinese() -> None:
    with override("zh-hans"):
        labels = {kind: translate_condition(kind) for kind in CONDITIONS}
        # Of custom kinds nobody knows the words.
        assert translate_condition("Reconciled") == "Reconciled"
    assert {kind for kind, label in labels.items() if label.isascii()} == set()
    with override("en"):
        assert translate_condition("PodScheduled") == "PodScheduled"
