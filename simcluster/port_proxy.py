"""HTTP through the API server to a port of a pod or service: `.../{name}:{port}/proxy/...`.

Every port that a pod names is a web server, which answers HTML, and where the path ends with
`.json` what reached it. As the real proxy does, links of HTML that begin with a slash are put below
the path of the proxy.
"""

import html
import re

import orjson
from aiohttp import web

from simcluster.cluster import Cluster
from simcluster.errors import ApiError, bad_request
from simcluster.port_forward import ports_of
from simcluster.requests import Target
from simcluster.resources import Object

_LINK = re.compile(r'((?:href|src|action)=")/(?!/)')
_NAME = re.compile(r"(?:(https?):)?([^:]+)(?::([^:]*))?")
# What the real proxy keeps from the service behind it.
_OWN_HEADERS = frozenset({"authorization", "connection", "host"})
_PAGE = """<!doctype html>
<html><head><title>{name}</title></head><body><h1>{name}</h1><p>Port {port}, path {path}</p>
<p><a href="/about">About</a> <a href="news">News</a></p></body></html>
"""


async def answer(cluster: Cluster, request: web.Request, target: Target) -> web.Response:
    """The answer of the port, or of the proxy where nothing listens."""
    match = _NAME.fullmatch(target.name)
    if match is None:
        raise bad_request(f'invalid {target.resource.plural} request "{target.name}"')
    obj = cluster.registry.read(target.resource, target.namespace, match[2])
    path = request.rel_url.raw_path
    if path.endswith("/proxy"):
        return web.Response(status=301, headers={"Location": f"{path}/"})
    if target.resource.plural == "services":
        pod, port = _behind_service(cluster, obj, match[3] or "")
    else:
        pod = obj
        port = int(match[3] or min(ports_of(pod), default=80))
    status = pod.get("status", {})
    if port not in ports_of(pod) or status.get("phase") != "Running":
        address = f"{status.get('podIP', '')}:{port}"
        raise _unavailable(
            f"error trying to reach service: dial tcp {address}: connect: connection refused"
        )
    prefix, _, below = path.partition("/proxy/")
    return _serve(request, pod, port, path=f"/{below}", prefix=f"{prefix}/proxy/")


def _serve(request: web.Request, pod: Object, port: int, *, path: str, prefix: str) -> web.Response:
    """What the web server in the pod answers."""
    name = pod["metadata"]["name"]
    cookie = {"Set-Cookie": "session=of-the-pod; Path=/"}
    if path.endswith(".json"):
        headers = {
            key.lower(): value
            for key, value in request.headers.items()
            if key.lower() not in _OWN_HEADERS
        }
        reached = {"pod": name, "method": request.method, "path": path, "headers": headers}
        return web.Response(
            body=orjson.dumps(reached), content_type="application/json", headers=cookie
        )
    text = _PAGE.format(name=html.escape(name), port=port, path=html.escape(path))
    page = _LINK.sub(rf"\g<1>{prefix}", text)
    return web.Response(text=page, content_type="text/html", headers=cookie)


def _behind_service(cluster: Cluster, service: Object, port: str) -> tuple[Object, int]:
    """(a ready pod of the service, the number of its port)."""
    meta = service["metadata"]
    ports = service["spec"].get("ports") or []
    chosen = next(
        (entry for entry in ports if port in {"", str(entry["port"]), entry.get("name")}), None
    )
    if chosen is None:
        raise _unavailable(f'no service port "{port}" found for service "{meta["name"]}"')
    endpoints = next(
        (
            record.obj
            for record in cluster.store.list("endpoints", meta["namespace"])
            if record.obj["metadata"]["name"] == meta["name"]
        ),
        {},
    )
    for subset in endpoints.get("subsets") or ():
        numbers = [
            entry["port"]
            for entry in subset.get("ports") or ()
            if entry.get("name") == chosen.get("name")
        ]
        addresses = subset.get("addresses") or ()
        for record in cluster.store.list("pods", meta["namespace"]):
            names = {address["targetRef"]["name"] for address in addresses}
            if numbers and record.obj["metadata"]["name"] in names:
                return record.obj, numbers[0]
    raise _unavailable(f'no endpoints available for service "{meta["name"]}"')


def _unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)
