"""Every streamed answer of the product is one that is known here, and passes the guard."""

import ast
from pathlib import Path

from core.api.dialect import DialectView

ROOT = Path(__file__).parents[2]
APPS = (
    "access",
    "agents",
    "alerts",
    "automation",
    "billing",
    "clusters",
    "console",
    "core",
    "dialects",
    "insights",
    "kubegale",
    "manifest_templates",
    "operations",
    "storage_api",
    "tenants",
    "workloads",
)
# Made by views of dialects, whose `finalize_response` puts every streamed answer under the guard.
GUARDED = {
    "billing/api/vkube.py",
    "core/api/csv_answers.py",
    "storage_api/api/base.py",
    "storage_api/api/feeds.py",
    "storage_api/api/watching.py",
    "access/api/audit.py",
    "workloads/api/pods.py",
    "workloads/api/recordings.py",
}
# Put together out of guarded answers.
COMPOSED = {"console/views/logs.py"}


def makers() -> set[str]:
    """The files that make a streamed answer."""
    files = set()
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                called = node.func if isinstance(node, ast.Call) else None
                name = getattr(called, "id", getattr(called, "attr", ""))
                if name in {"StreamingHttpResponse", "FileResponse"}:
                    files.add(path.relative_to(ROOT).as_posix())
    return files


def test_nothing_streams_beside_the_guard() -> None:
    assert makers() == GUARDED | COMPOSED, "guard it (core.api.long_lived), then name it here"


def test_no_view_of_a_dialect_gets_around_the_guard() -> None:
    """Whoever answers otherwise has to call what puts the guard there."""
    views = [DialectView]
    for view in views:
        views += [each for each in view.__subclasses__() if each not in views]
    assert len(views) > 50
    for view in views:
        own = vars(view).get("finalize_response")
        if own is not None and view is not DialectView:
            assert "super" in own.__code__.co_names, view
