"""Every text of the console has its Chinese."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation import templatize

from clusters.models import Cluster

ROOT = Path(__file__).resolve().parents[2]
MARKS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "gettext_noop"}
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
        for path in (ROOT / "templates" / "console").rglob("*.html")
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
