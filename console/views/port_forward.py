"""The commands and links that reach a port of a pod, a workload or a service by the gateway."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_http_methods

from console import permissions
from console.api_client import ApiRefusal, call
from console.locations import Location
from console.page import object_view, render_not_found, render_page, require_sign_in
from console.rendering.health import Object, get, rows
from console.views import objects

# How kubectl names what it forwards to.
RESOURCES: Mapping[str, str] = {
    "pods": "pod",
    "services": "service",
    "deployments": "deployment",
    "statefulsets": "statefulset",
}
# Of the API server's proxy: only these have one.
PROXIED = ("pods", "services")
# Ports below need rights that a person's own machine rarely gives.
FIRST_FREE_PORT = 1024
SHIFT = 8000
# Ports where a web server speaks TLS, most likely.
TLS_PORTS = frozenset({443, 8443, 9443})


@require_http_methods(["GET", "HEAD", "POST"])
@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """A command for each port; POST makes a link to an HTTP port, and leads to it."""
    if location.plural not in RESOURCES:
        return render_not_found(request)
    if request.method == "POST" and location.plural in PROXIED:
        return _open_port(request, location)
    return _render(request, location)


def _open_port(request: HttpRequest, location: Location) -> HttpResponse:
    body = {
        "namespace": location.namespace,
        "resource": location.plural,
        "name": location.name,
        "port": request.POST.get("port", ""),
        "scheme": request.POST.get("scheme", "http"),
    }
    path = f"clusters/{location.cluster}/port-links"
    try:
        link = call(request, "POST", path, body=body).data
    except ApiRefusal as refusal:
        return _render(request, location, problem=refusal.message, status=refusal.status)
    return HttpResponseRedirect(link["path"])


def _render(
    request: HttpRequest, location: Location, *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = objects.head_context(request, location, "forward")
    cluster = call(request, "GET", f"clusters/{location.cluster}").data
    kubeconfig = f"{cluster['name'].replace(' ', '-')}.kubeconfig"
    context |= {
        "problem": problem,
        "kubeconfig": kubeconfig,
        "ports": [
            _describe_port(location, port, kubeconfig)
            for port in _list_ports(location.plural, context["item"])
        ],
    }
    # The proxy needs an admin of the whole cluster.
    context["opens"] = location.plural in PROXIED and permissions.administers(
        request, location.cluster, ""
    )
    return render_page(request, "console/port_forward.html", context, status=status)


def _list_ports(plural: str, item: Object) -> list[dict[str, Any]]:
    """{"number", "name"} of each TCP port, which are all that can be forwarded."""
    if plural == "services":
        ports = [(port.get("port"), port) for port in rows(get(item, "spec", "ports"))]
    else:
        path = ("spec",) if plural == "pods" else ("spec", "template", "spec")
        ports = [
            (port.get("containerPort"), port)
            for container in rows(get(item, *path, "containers"))
            for port in rows(container.get("ports"))
        ]
    return [
        {"number": number, "name": str(port.get("name") or "")}
        for number, port in ports
        if isinstance(number, int) and port.get("protocol", "TCP") == "TCP"
    ]


def _describe_port(location: Location, port: Mapping[str, Any], kubeconfig: str) -> dict[str, Any]:
    number = port["number"]
    local = number if number >= FIRST_FREE_PORT else number + SHIFT
    resource = f"{RESOURCES[location.plural]}/{location.name}"
    flags = f"--kubeconfig {kubeconfig} -n {location.namespace}"
    proxy = ""
    if location.plural in PROXIED:
        proxy = (
            f"http://127.0.0.1:8001/api/v1/namespaces/{location.namespace}/"
            f"{location.plural}/{location.name}:{number}/proxy/"
        )
    return {
        **port,
        "local": local,
        "scheme": "https" if number in TLS_PORTS or port["name"].startswith("https") else "http",
        "command": f"kubectl {flags} port-forward {resource} {local}:{number}",
        "proxy": proxy,
    }
