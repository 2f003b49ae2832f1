"""/templates: templates, their versions, and what they render."""

from typing import Any

from rest_framework.request import Request

from core.api.auth import AccessAttributes, authorise
from core.api.dialect import Page
from core.api.pagination import page_request
from core.api.parsing import json_body
from core.api.schema import (
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
    with_title,
)
from core.errors import Invalid
from manifest_templates import services
from manifest_templates.api.base import (
    METADATA_MEMBERS,
    SCOPE,
    SCOPE_MEMBERS,
    TEMPLATE,
    VERSION,
    VERSION_MEMBERS,
    TemplateView,
    note_change,
    represent_all,
    represent_one,
    with_versions,
)
from manifest_templates.rendering import render

FILTERS = ("category", "tag", "scope", "search", "keyword")


class TemplateList(TemplateView):
    """GET and POST /templates."""

    operations = {
        "get": OperationSchema(
            "Templates that the caller may see",
            TEMPLATE,
            query=(
                QueryParameter("category", TEXT),
                QueryParameter("tag", TEXT),
                QueryParameter("scope", SCOPE),
                QueryParameter(
                    "search",
                    TEXT,
                    description="A part of the name or description.",
                ),
                *PAGING,
            ),
            also_query=("keyword",),
            paged=True,
        ),
        "post": OperationSchema(
            "Make a template, with a first version if one is given",
            TEMPLATE,
            body=record(
                required=("name",),
                **METADATA_MEMBERS,
                **SCOPE_MEMBERS,
                version={
                    "oneOf": [
                        TEXT,
                        with_title(
                            "TemplateVersionContent",
                            record(
                                required=("body",),
                                version=TEXT,
                                **VERSION_MEMBERS,
                            ),
                        ),
                    ]
                },
                **VERSION_MEMBERS,
            ),
        ),
    }

    def get(self, request: Request) -> Any:
        """One page, by name."""
        rows = self.visible(request)
        page = page_request(request.query_params)
        filters = {
            name: request.query_params.get(
                name,
                "",
            )
            for name in FILTERS
        }
        rows = services.filter_templates(rows, filters)
        selected = with_versions(rows)[page.offset : page.offset + page.size]
        return Page(
            represent_all(selected),
            rows.count(),
            page.page,
            page.size,
        )

    def post(self, request: Request) -> Any:
        """The new template; Conflict when its scope has one of that name."""
        tenant = self.tenant_of_body(request, "create")
        body = json_body(request)
        content = services.TemplateContent(
            services.parse_metadata(body), tenant, services.parse_first_version(body)
        )
        template = services.create(
            content,
            by=request.user.get_username(),
        )
        note_change(request, template)
        return represent_one(template)


class TemplateDetail(TemplateView):
    """GET, PUT and DELETE /templates/{id}."""

    operations = {
        "get": OperationSchema("One template", TEMPLATE),
        "put": OperationSchema(
            "Change what describes a template; its versions never change",
            TEMPLATE,
            body=record(required=(), **METADATA_MEMBERS),
            also_body=("scope", "tenant", "cluster_id"),
        ),
        "delete": OperationSchema(
            "Delete a template without deployments",
            OBJECT,
        ),
    }

    def get(self, request: Request, pk: str) -> Any:
        """The template; NotFound."""
        return represent_one(self.find(request, pk))

    def put(self, request: Request, pk: str) -> Any:
        """The changed template; members that are left out stay as they are."""
        template = self.find_to_change(request, "update", pk)
        body = json_body(request)
        # What was read may be sent back whole, as long as it says the same.
        current = represent_one(template)
        for name in ("scope", "tenant", "cluster_id"):
            if name in body and body[name] != current[name]:
                raise Invalid(f"{name} cannot be changed", field=name)
        metadata = services.parse_metadata(body)
        template = services.update(template, metadata)
        note_change(request, template, fields=sorted(metadata))
        return represent_one(template)

    def delete(self, request: Request, pk: str) -> Any:
        """{}; Conflict while there are deployments of it."""
        template = self.find_to_change(request, "delete", pk)
        note_change(request, template)
        services.delete(template)
        return {}


class TemplateVersions(TemplateView):
    """GET and POST /templates/{id}/versions."""

    operations = {
        "get": OperationSchema(
            "Versions of a template, the highest first", VERSION, query=PAGING, paged=True
        ),
        "post": OperationSchema(
            "Add a version, which never changes",
            VERSION,
            body=record(
                required=("version", "body"),
                version=TEXT,
                **VERSION_MEMBERS,
            ),
        ),
    }

    def get(self, request: Request, pk: str) -> Any:
        """One page."""
        template = self.find(request, pk)
        page = page_request(request.query_params)
        rows = template.versions.order_by("-precedence", "-id")
        selected = rows[page.offset : page.offset + page.size]
        items = [services.represent_version(row) for row in selected]
        return Page(items, rows.count(), page.page, page.size)

    def post(self, request: Request, pk: str) -> Any:
        """The version; Conflict when the template has it already."""
        template = self.find_to_change(request, "update", pk)
        content = services.parse_version(json_body(request))
        note_change(request, template, version=content.version)
        row = services.add_version(
            template,
            content,
            by=request.user.get_username(),
        )
        return services.represent_version(row)


class TemplateVersionDetail(TemplateView):
    """GET /templates/{id}/versions/{version}."""

    operations = {
        "get": OperationSchema(
            "One version with its body and schema",
            VERSION,
        )
    }

    def get(self, request: Request, pk: str, version: str) -> Any:
        """The version; NotFound."""
        return services.represent_version(
            services.find_version(
                self.find(request, pk),
                version,
            )
        )


class RenderTemplate(TemplateView):
    """POST /templates/{id}/render."""

    operations = {
        "post": OperationSchema(
            "The manifests that a template gives with values; nothing is sent to a cluster",
            record(
                manifests=TEXT,
                missing=array(TEXT),
                unused=array(TEXT),
            ),
            body=record(required=(), version=TEXT, values=OBJECT),
            answer_name="RenderedTemplate",
            body_name="ValuesOfTemplate",
        )
    }

    def post(self, request: Request, pk: str) -> Any:
        """{"manifests","missing","unused"}; Invalid with the path of a value that cannot be."""
        template = self.find(request, pk)
        authorise(
            self,
            request,
            AccessAttributes("preview", "templates", name=template.name),
        )
        body = json_body(request)
        version = services.find_version(template, body.get("version"))
        rendering = render(version, body.get("values"))
        return {
            "manifests": rendering.text,
            "missing": rendering.missing,
            "unused": rendering.unused,
        }
