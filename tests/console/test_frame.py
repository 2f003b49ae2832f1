"""What holds for every page: its policy, no inline script or style, the frame around it, finding things, all clusters."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import URLPattern

from clusters.models import Cluster
from console.urls import urlpatterns
from simcluster.testing import RunningCluster

INLINE = re.compile(
    r"<script(?![^>]*\b(?:src=|type=\"application/json\"))|\sstyle\s*=|<[^>]+\son[a-z]+\s*=|javascript:",
    re.IGNORECASE,
)


def addresses(cluster: Cluster) -> Iterator[str]:
    """Every page that can be asked for, with names that exist where there are some."""
    known = {
        "cluster": str(cluster.pk),
        "plural": "namespaces",
        "namespace": "-",
        "name": "default",
    }
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        yield "/" + re.sub(
            r"<(?:\w+:)?(\w+)>", lambda found: known.get(found[1], "1"), str(pattern.pattern)
        )


def test_no_page_has_inline_script_or_style_and_all_forbid_it(
    visitor: Client, cluster: Cluster
) -> None:
    seen = 0
    for address in addresses(cluster):
        answer = visitor.get(address)
        if not answer["Content-Type"].startswith("text/html") or answer.status_code in (302, 405):
            continue
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy, address
        assert "script-src 'self';" in policy, address
        assert "frame-ancestors 'none'" in policy, address
        assert "unsafe" not in policy.replace("style-src-attr 'unsafe-inline'", ""), address
        found = INLINE.search(answer.content.decode())
        assert found is None, (address, found)
        assert answer["Cache-Control"] == "no-store", address
        seen += 1
    assert seen >= 15


def test_the_overview_of_nothing_says_how_to_begin(visitor: Client) -> None:
    page = visitor.get("/").content.decode()
    assert "No clusters yet" in page
    assert 'href="/clusters/register"' in page


def test_a_cluster_is_tried_before_it_is_saved_and_its_kubeconfig_never_comes_back(
    visitor: Client, apiserver: RunningCluster
) -> None:
    given = {
        "name": "east",
        "description": "by hand",
        "kubeconfig": apiserver.kubeconfig_yaml,
        "act": "try",
    }
    tried = visitor.post("/clusters/register", given).content.decode()
    assert "The credentials are valid. Nothing is saved yet." in tried
    assert "certificate-authority-data" not in tried
    assert not Cluster.objects.exists()
    wrong = visitor.post(
        "/clusters/register",
        {**given, "kubeconfig": "users: [{user: {exec: {command: sh}}}]", "act": "save"},
    )
    assert wrong.status_code == 400
    assert "Nothing was saved." in wrong.content.decode()
    assert not Cluster.objects.exists()
    made = visitor.post("/clusters/register", {**given, "act": "save"})
    cluster = Cluster.objects.get(name="east")
    assert made["Location"] == f"/clusters/{cluster.pk}"
    page = visitor.get(made["Location"]).content.decode()
    assert "east is registered." in page
    assert apiserver.url in page


def test_a_context_is_chosen_where_a_kubeconfig_has_several(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster
) -> None:
    config = yaml.safe_load(apiserver.kubeconfig_yaml)
    config["contexts"] = [{**config["contexts"][0], "name": name} for name in ("生产", "dev")]
    config["current-context"] = ""
    given = {"name": "east", "kubeconfig": yaml.safe_dump(config), "act": "try"}
    refused = visitor.post("/clusters/register", given).content.decode()
    assert '<option value="生产">' in refused
    tried = visitor.post("/clusters/register", {**given, "context": "dev"}).content.decode()
    assert '<option value="dev" selected>' in tried
    assert f"is registered as {cluster.name}" in tried
    made = visitor.post("/clusters/register", {**given, "context": "dev", "act": "save"})
    page = visitor.get(made["Location"]).content.decode()
    assert "<dt>Context</dt><dd>dev</dd>" in page
    assert "the same API server is registered" in page
    assert "the same API server is registered" in visitor.get("/").content.decode()
    change = f"{made['Location']}/-/change"
    assert '<option value="dev" selected>' in visitor.get(change).content.decode()
    visitor.post(change, {"name": "east", "context": "生产"})
    assert Cluster.objects.get(name="east").context == "生产"
    # A new kubeconfig brings contexts of its own, from which to choose.
    config["contexts"] = [{**config["contexts"][0], "name": name} for name in ("red", "blue")]
    given = {"name": "east", "kubeconfig": yaml.safe_dump(config), "context": "生产"}
    refused = visitor.post(change, given).content.decode()
    assert '<option value="red">' in refused
    assert "生产" not in refused
    visitor.post(change, {**given, "context": "blue"})
    assert Cluster.objects.get(name="east").context == "blue"


def test_a_context_beyond_those_that_are_listed_stays_the_one_in_use(
    visitor: Client, apiserver: RunningCluster
) -> None:
    config = yaml.safe_load(apiserver.kubeconfig_yaml)
    config["contexts"] = [{**config["contexts"][0], "name": f"c{index}"} for index in range(300)]
    given = {"name": "many", "kubeconfig": yaml.safe_dump(config), "context": "c299"}
    tried = visitor.post("/clusters/register", {**given, "act": "try"}).content.decode()
    assert '<option value="c299" selected>' in tried
    made = visitor.post("/clusters/register", {**given, "act": "save"})
    page = visitor.get(f"{made['Location']}/-/change").content.decode()
    assert '<option value="c299" selected>' in page


def test_a_cluster_is_changed_and_removed_only_by_its_name(
    visitor: Client, cluster: Cluster
) -> None:
    base = f"/clusters/{cluster.pk}/-"
    made = visitor.post(
        f"{base}/change",
        {"name": "renamed", "description": "new", "protected": "on", "prometheus": ""},
    )
    assert made["Location"] == f"/clusters/{cluster.pk}"
    cluster.refresh_from_db()
    assert (cluster.name, cluster.description, cluster.protected) == ("renamed", "new", True)
    assert (
        "Nothing inside the cluster is touched." in visitor.get(f"{base}/remove").content.decode()
    )
    assert (
        "That is not its name"
        in visitor.post(f"{base}/remove", {"confirm": "simulated"}).content.decode()
    )
    assert visitor.get(f"/clusters/{cluster.pk}").status_code == 200
    assert visitor.post(f"{base}/remove", {"confirm": "renamed"})["Location"] == "/"
    assert visitor.get(f"/clusters/{cluster.pk}").status_code == 404


def test_a_person_without_rights_sees_an_empty_house(cluster: Cluster) -> None:
    client = Client()
    client.force_login(User.objects.create_user("nobody"))
    for address in ("/", f"/clusters/{cluster.pk}", "/search?q=a"):
        answer = client.get(address)
        assert answer.status_code in (200, 403), address
        assert cluster.name not in answer.content.decode(), address
    assert (
        client.post(
            "/clusters/register", {"name": "x", "kubeconfig": "y", "act": "save"}
        ).status_code
        == 403
    )


def test_pages_weigh_less_than_300_kilobytes_compressed(visitor: Client, cluster: Cluster) -> None:
    for address in addresses(cluster):
        answer = visitor.get(address)
        if not answer["Content-Type"].startswith("text/html") or address.endswith(
            ("/terminal", "/create", "/edit")
        ):
            continue
        page = answer.content.decode()
        wanted = {*re.findall(r'(?:src|href)="/static/([^"]+)"', page)}
        while more := {found for name in wanted for found in imported(name)} - wanted:
            wanted |= more
        weight = sum(
            len(gzip.compress(content))
            for content in [answer.content, *(static(name) for name in wanted)]
        )
        assert weight < 300_000, (address, weight, wanted)


def static(name: str) -> bytes:
    """A static file as it is served."""
    path = finders.find(name)
    assert isinstance(path, str), name
    return Path(path).read_bytes()


def imported(name: str) -> set[str]:
    """The modules that a script of ours loads."""
    if not name.startswith("console/js/"):
        return set()
    return {
        f"console/js/{found}" for found in re.findall(r'from "\./([^"]+)"', static(name).decode())
    }


def test_a_cluster_whose_copy_is_not_fresh_is_not_said_to_be_well(
    visitor: Client, cluster: Cluster
) -> None:
    page = visitor.get("/troubles").content.decode()
    assert f"This may be out of date for {cluster.name}" in page
    assert "Nothing fails" not in page
