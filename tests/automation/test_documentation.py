"""Every request of docs/automation.md answers as the page says."""

from automation.types import TYPES
from clusters.models import Cluster
from tests.caller import Caller
from tests.documented_requests import DOCS, Page


def test_the_requests_of_the_page_run(admin: Caller, cluster: Cluster, space: str) -> None:
    assert Page("automation.md", cluster, space).run(admin) == 21


def test_the_page_names_every_type() -> None:
    text = (DOCS / "automation.md").read_text()
    assert not [name for name in TYPES if f"`{name}`" not in text]
