"""Export: chosen objects as YAML that another cluster takes."""

from collections.abc import Mapping, Sequence

from django.http import HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_POST

from console.api_client import call
from console.locations import Location
from console.page import object_view, require_sign_in
from console.views.bulk import chosen_names

YAML = "text/yaml; charset=utf-8"


@require_GET
@require_sign_in
@object_view
def one(request: HttpRequest, location: Location) -> HttpResponse:
    """A file with one object."""
    text = _exported(
        request, location.cluster, location.plural, {location.namespace: [location.name]}
    )
    return text_file(text, f"{location.name}.yaml")


@require_POST
@require_sign_in
def many(request: HttpRequest, cluster: int, plural: str) -> HttpResponse:
    """A file with the objects that were chosen in a table."""
    # No name has a slash; of a custom kind only its rows tell whether it has namespaces.
    namespaced = any("/" in key for key in request.POST.getlist("row"))
    chosen = chosen_names(request, namespaced)
    return text_file(_exported(request, cluster, plural, chosen), f"{plural}.yaml")


@require_GET
@require_sign_in
def namespace(request: HttpRequest, cluster: int) -> HttpResponse:
    """A file with what people made in a namespace; `namespace` of the address names it."""
    name = request.GET.get("namespace", "")
    query = {"cluster_id": cluster, "namespace": name}
    text = call(request, "GET", "manifests/export", query=query).data
    return text_file(text, f"{name or 'objects'}.yaml")


def _exported(
    request: HttpRequest,
    cluster: int,
    plural: str,
    names_by_namespace: Mapping[str, Sequence[str]],
) -> bytes:
    documents = b""
    for namespace, names in names_by_namespace.items():
        query = {
            "cluster_id": cluster,
            "namespace": namespace,
            "kinds": plural,
            "names": ",".join(names),
        }
        documents += call(request, "GET", "manifests/export", query=query).data
    return documents


def text_file(text: bytes, name: str) -> HttpResponse:
    """YAML as a file to save."""
    response = HttpResponse(text, content_type=YAML, headers={"Cache-Control": "no-store"})
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response
