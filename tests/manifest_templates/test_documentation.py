"""Every request of docs/templates.md answers as the page says."""

import pytest

from clusters.models import Cluster
from manifest_templates import built_in
from manifest_templates.models import Template, TemplateVersion
from tests.caller import Caller
from tests.documented_requests import DOCS, Page

pytestmark = pytest.mark.django_db


def test_the_requests_of_the_page_run(admin: Caller, cluster: Cluster, space: str) -> None:
    assert Page("templates.md", cluster, space).run(admin) == 11


def test_the_page_names_what_there_is(admin: Caller) -> None:
    text = (DOCS / "templates.md").read_text()
    built_in.install(Template.objects, TemplateVersion.objects)
    listed = admin.data("GET", "templates", pageSize=100)["items"]
    names = [template["name"] for template in listed if template["built_in"]]
    assert len(names) == 10
    assert not [name for name in names if name not in text]
