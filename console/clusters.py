"""All clusters at a glance, and each on its own."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console import navigation
from console.gateway import call
from console.pages import page, signed_in


@require_GET
@signed_in
def overview(request: HttpRequest) -> HttpResponse:
    """Every cluster that the person may see."""
    return page(request, "console/overview.html", {"found": navigation.clusters(request)})


@require_GET
@signed_in
def cluster(request: HttpRequest, cluster: int) -> HttpResponse:
    """One cluster."""
    return page(request, "console/cluster.html", {"cluster_id": cluster, "shown": call(request, "GET", f"clusters/{cluster}").data})
