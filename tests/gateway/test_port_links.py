"""A port of a pod or service in a browser, by a link through the gateway."""

import asyncio
import contextlib
import http.client
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from access.models import ApiToken, AuditEntry, Grant
from clusters import registry
from clusters.models import Cluster
from core.errors import Conflict
from gateway import port_links
from gateway.port_pages import PortPage
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.gateway.running import RawServer, Running, eventually, new_token
from tests.gateway.test_passing import answer_ok, keep_silent

POD = {"namespace": "default", "resource": "pods", "name": "site", "port": "80"}


def _fetch(
    running: Running, path: str, method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    """(status, headers, body) as a browser gets them, who has no token."""
    context = ssl.create_default_context(cafile=str(running.folder / "gateway" / "ca.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=context, timeout=30)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body or None, names)
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, text
    finally:
        connection.close()


@pytest.fixture
def site(simulated: Cluster, apiserver: RunningCluster) -> Cluster:
    """The cluster with a running pod `site` that a service selects."""
    pod = {
        "metadata": {"name": "site", "labels": {"app": "site"}},
        "spec": {
            "containers": [
                {"name": "web", "image": "nginx", "ports": [{"containerPort": 80, "name": "http"}]}
            ]
        },
    }
    service = {
        "metadata": {"name": "site"},
        "spec": {
            "selector": {"app": "site"},
            "ports": [{"name": "http", "port": 8080, "targetPort": "http"}],
        },
    }
    client = registry.client(simulated)
    for kind, body in (("pods", pod), ("services", service)):
        # The server is shared by the tests of this file.
        with contextlib.suppress(Conflict):
            client.request("POST", f"/api/v1/namespaces/default/{kind}", body=orjson.dumps(body))
    apiserver.wait(lambda: _is_served(apiserver))
    return simulated


def _is_served(apiserver: RunningCluster) -> bool:
    pod: Any = apiserver.get("pods", "site", "default") or {}
    endpoints: Any = apiserver.get("endpoints", "site", "default") or {}
    is_running = pod.get("status", {}).get("phase") == "Running"
    return is_running and any("addresses" in part for part in endpoints.get("subsets") or ())


@pytest.fixture
def admin(site: Cluster) -> Caller:
    """An admin of the cluster."""
    return Caller(new_token("anna", "admin", cluster=site))


def test_a_browser_opens_a_port_by_its_link(
    running: Running, site: Cluster, admin: Caller, apiserver: RunningCluster
) -> None:
    link = admin.data("POST", f"clusters/{site.pk}/port-links", POD)
    assert set(link) == {"path", "expires_at"}
    status, headers, page = _fetch(running, link["path"], Accept_Encoding="gzip")
    assert status == 200
    assert "<h1>site</h1>" in page
    # A link of the page that the API server has put below its proxy leads below ours.
    mount = link["path"]
    assert f'href="{mount}about"' in page
    assert "/api/v1/namespaces" not in page
    # The page has no origin, no cookie, and tells nobody its address.
    assert headers["content-security-policy"].startswith("sandbox ")
    assert "allow-same-origin" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers
    status, headers, text = _fetch(
        running,
        f"{link['path']}a/data.json?q=1",
        "POST",
        "{}",
        Cookie="sessionid=x",
        Authorization="Bearer y",
        Referer=link["path"],
        Origin="null",
        Content_Type="application/json",
    )
    assert headers["access-control-allow-origin"] == "null"
    reached = json.loads(text)
    assert (reached["method"], reached["path"]) == ("POST", "/a/data.json")
    secret = mount.split("/")[3]
    assert not {"cookie", "authorization", "referer", "origin"} & set(reached["headers"])
    assert secret not in text
    assert apiserver.requests[-1].query == {"q": "1"}
    # Both ends of the act are in the trail, without the secret.
    entries = list(AuditEntry.objects.filter(verb="proxy", kind="pods", username="anna"))
    assert entries
    assert secret not in str([(entry.name, entry.details) for entry in entries])


def test_a_service_is_opened_by_its_port(running: Running, site: Cluster, admin: Caller) -> None:
    place = {"namespace": "default", "resource": "services", "name": "site", "port": "8080"}
    link = admin.data("POST", f"clusters/{site.pk}/port-links", place)
    assert "Port 80, path /" in _fetch(running, link["path"])[2]
    place["port"] = "9"
    link = admin.data("POST", f"clusters/{site.pk}/port-links", place)
    status, _, text = _fetch(running, link["path"])
    assert status == 503
    assert 'no service port \\"9\\" found' in text


def test_a_page_may_ask_before_it_sends(running: Running, site: Cluster, admin: Caller) -> None:
    url = admin.data("POST", f"clusters/{site.pk}/port-links", POD)["path"]
    asked = {"Origin": "null", "Access_Control_Request_Headers": "content-type"}
    status, headers, _ = _fetch(running, url, "OPTIONS", "", **asked)
    assert status == 204
    assert headers["access-control-allow-headers"] == "content-type"
    status, headers, _ = _fetch(running, url.rstrip("/"))
    assert (status, headers["location"]) == (308, url)


def test_a_link_ends_with_its_makers_right_and_reaches_one_port(
    running: Running, site: Cluster, admin: Caller
) -> None:
    url = admin.data("POST", f"clusters/{site.pk}/port-links", POD)["path"]
    assert _fetch(running, url)[0] == 200
    for path in ("../..", "%2e%2e/x", "a//b", "..%2fx"):
        assert _fetch(running, url + path)[0] == 400, path
    assert _fetch(running, url.replace("@port/", "@port/x"))[0] == 404
    Grant.objects.filter(user__username="anna").update(role="viewer")
    Grant.objects.get(user__username="anna").save()
    assert _fetch(running, url)[0] == 403
    ApiToken.objects.get(user__username="anna").delete()
    assert _fetch(running, url)[0] == 401


def test_the_gateways_own_answers_are_as_isolated_as_the_pages(
    running: Running, site: Cluster, admin: Caller
) -> None:
    url = admin.data("POST", f"clusters/{site.pk}/port-links", POD)["path"]
    refused = {"Connection": "Upgrade", "Upgrade": "<b>"}
    answers = {
        404: _fetch(running, "/kube/@port/x/"),
        308: _fetch(running, url.rstrip("/")),
        204: _fetch(running, url, "OPTIONS"),
        400: _fetch(running, url + "%2e%2e/", **refused),
    }
    for expected, (status, headers, _) in answers.items():
        assert status == expected
        assert headers["content-security-policy"].startswith("sandbox ")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_the_console_takes_no_scripts_from_a_port(
    running: Running, site: Cluster, admin: Caller
) -> None:
    url = admin.data("POST", f"clusters/{site.pk}/port-links", POD)["path"]
    for mode in ("no-cors", "cors", "same-origin"):
        sent = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": mode}
        assert _fetch(running, url, **sent)[0] == 403, mode
    for site_of_page, mode in (("same-origin", "navigate"), ("cross-site", "no-cors")):
        sent = {"Sec_Fetch_Site": site_of_page, "Sec_Fetch_Mode": mode}
        assert _fetch(running, url, **sent)[0] == 200, mode


def test_the_console_takes_no_scripts_from_a_port_over_plain_http_either(
    running: Running, site: Cluster, admin: Caller
) -> None:
    # There a browser sends no Sec-Fetch-*.
    url = admin.data("POST", f"clusters/{site.pk}/port-links", POD)["path"]
    origin = f"http://127.0.0.1:{running.port}"
    page = f"{origin}/clusters/1/pods/default/site/forward"
    script, document = "*/*", "text/html,application/xhtml+xml,*/*;q=0.8"
    assert _fetch(running, url, Referer=page, Accept=script)[0] == 403
    assert _fetch(running, url, Origin=origin, Accept=script)[0] == 403
    # The link itself is opened from the console, and the port's own pages send no address.
    assert _fetch(running, url, Referer=page, Accept=document)[0] == 200
    assert _fetch(running, url, Origin="null", Accept=script)[0] == 200
    assert _fetch(running, url, Referer="http://[", Accept=script)[0] == 200


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/api/v1/namespaces/d/pods/p:80/proxy/a?b", "/kube/@port/s/a?b"),
        ("a/b", "a/b"),
        ("?x=1:2", ""),
        ("//evil.example/", ""),
        ("\\\\evil.example/", ""),
        ("\\/evil.example/", ""),
        ("https://evil.example/", ""),
        ("javascript:alert(1)", ""),
        ("/console", ""),
    ],
)
def test_redirects_stay_at_the_port(address: str, path: str) -> None:
    link = port_links.PortLink({}, "c", "d", "pods", "p", "80")
    page = PortPage(link, "s")
    assert page.location(address) == path
    headers = dict(
        page.answer_headers(
            [("clear-site-data", "*"), ("secure-session-registration", "x"), ("accept-ch", "x")]
        )
    )
    assert not {"clear-site-data", "secure-session-registration", "accept-ch"} & set(headers)


def test_a_page_that_asks_without_end_takes_little_of_its_cluster(
    running: Running, raw: RawServer, raw_cluster: Cluster, settings: Any, admin_token: str
) -> None:
    settings.PORT_LINK_REQUESTS_PER_USER = 2
    settings.GATEWAY_ANSWER_SECONDS = 5.0
    raw.answer = keep_silent
    caller = Caller(admin_token)
    url = caller.data("POST", f"clusters/{raw_cluster.pk}/port-links", POD)["path"]
    with ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(_fetch, running, url) for _ in range(2)]
        eventually(lambda: len(raw.heads) == 2)
        assert _fetch(running, url)[0] == 429
        assert [answer.result()[0] for answer in pending] == [504, 504]
    # The pod was slow, not the cluster.
    raw.answer = answer_ok
    assert running.status("/kube/raw/api/v1/pods", admin_token) == 200
    assert _fetch(running, url)[0] == 200


def test_an_admin_of_a_namespace_makes_no_links(site: Cluster) -> None:
    caller = Caller(new_token("nora", "admin", cluster=site, namespace="default"))
    path = f"clusters/{site.pk}/port-links"
    # As with the gateway's own proxy, which needs an admin of the cluster.
    for namespace in ("default", "kube-system", "", "default/../kube-system"):
        assert caller.code("POST", path, {**POD, "namespace": namespace}) == 1005, namespace


@pytest.mark.parametrize("role", ["viewer", "operator", ""])
def test_only_admins_make_links(site: Cluster, role: str) -> None:
    caller = Caller(new_token("olga", role, cluster=site))
    assert caller.code("POST", f"clusters/{site.pk}/port-links", POD) in {1003, 1005}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("namespace", "../kube-system"),
        ("namespace", "a.b"),
        ("name", "site:80/proxy/x"),
        ("name", ""),
        ("port", "70000"),
        ("port", "80/x"),
        ("port", "0"),
        ("port", "\N{SUPERSCRIPT TWO}"),
        ("port", "9" * 5000),
        ("resource", "nodes"),
        ("scheme", "file"),
    ],
)
def test_unclear_places_are_refused(site: Cluster, admin: Caller, field: str, value: str) -> None:
    answer = admin("POST", f"clusters/{site.pk}/port-links", {**POD, field: value})
    assert answer["code"] != 0
    assert field in answer["msg"]


def test_the_oldest_of_too_many_links_ends(
    running: Running, site: Cluster, admin: Caller, settings: Any
) -> None:
    settings.PORT_LINKS_PER_USER = 2
    urls = [admin.data("POST", f"clusters/{site.pk}/port-links", POD)["path"] for _ in range(3)]
    assert [_fetch(running, url)[0] for url in urls] == [404, 200, 200]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_links_are_rewritten_wherever_a_page_is_cut(size: int) -> None:
    link = port_links.PortLink({}, "c", "d", "pods", "p", "80")
    page = f'<a href="{link.path}a">{link.path[:-1]}<i>{link.path}</i>{link.path[:9]}'.encode()

    async def parts() -> Any:
        for start in range(0, len(page), size):
            yield page[start : start + size]

    async def read() -> bytes:
        return b"".join([part async for part in PortPage(link, "s").rewrite(parts())])

    # In a thread of its own: the browser of other tests has a loop in this one.
    with ThreadPoolExecutor() as pool:
        text = pool.submit(lambda: asyncio.run(read())).result()
    assert text == page.replace(link.path.encode(), b"/kube/@port/s/")
