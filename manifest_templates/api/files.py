"""/templates/import, …/export, /from-resources: templates out of files and of running objects."""

from typing import Any
from urllib.parse import quote

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise
from core.api.parsing import json_body
from core.api.schema import (
    ANYTHING,
    INTEGER,
    MANIFEST,
    OBJECT,
    TEXT,
    OperationSchema,
    array,
    nullable,
    record,
)
from core.errors import Forbidden, Invalid
from manifest_templates import services
from manifest_templates.api.base import (
    METADATA_MEMBERS,
    SCOPE_MEMBERS,
    TEMPLATE,
    TemplateView,
    note_change,
    represent_one,
)
from manifest_templates.extraction import MAX_PATH, MAX_PATHS, extract
from workloads.api.manifests.base import ManifestView, kind_in, object_act
from workloads.objects import lists
from workloads.objects.manifests import is_secret

MAX_OBJECTS = 50


class ExportTemplate(TemplateView):
    """GET /templates/{id}/export."""

    operations = {
        "get": OperationSchema(
            "A template with all its versions as a file",
            TEXT,
            answer_types=("application/json",),
        )
    }

    def get(self, request: Request, pk: str) -> Any:
        """JSON text as an attachment."""
        template = self.find(request, pk)
        text = services.to_file(template)
        name = f"{template.name}.template.json"
        plain = "".join(
            each if each.isascii() and each.isalnum() else "-" for each in template.name
        )
        return HttpResponse(
            text.encode(),
            content_type="application/json",
            headers={
                "Content-Disposition": f'attachment; filename="{plain}.template.json"; '
                f"filename*=UTF-8''{quote(name, safe='')}"
            },
        )


class ImportTemplate(TemplateView):
    """POST /templates/import."""

    operations = {
        "post": OperationSchema(
            "Make a template out of an exported file, or add the versions that it lacks",
            TEMPLATE,
            # The file itself may be the body, or its text the member `content`.
            body=record(
                required=(),
                content=MANIFEST,
                **METADATA_MEMBERS,
                **SCOPE_MEMBERS,
                format=TEXT,
                versions=array(ANYTHING),
            ),
            body_name="TemplateFile",
        )
    }

    def post(self, request: Request) -> Any:
        """The template; Conflict when it has another text under a version of the file."""
        tenant = self.tenant_of_body(request, "create")
        body = json_body(request)
        if "content" in body:
            file = services.parse_file(body["content"])
            beside = [name for name in services.FILE_MEMBERS if name in body and name != "name"]
            if beside:
                raise Invalid(
                    f"{beside[0]} stands beside content",
                    field=beside[0],
                )
            if "name" in body:
                file = {**file, "name": body["name"]}
        else:
            file = services.parse_file(
                {name: value for name, value in body.items() if name not in SCOPE_MEMBERS}
            )
        content = services.TemplateContent(
            services.parse_metadata(file), tenant, services.parse_versions(file)
        )
        template = services.import_template(
            content,
            by=request.user.get_username(),
        )
        note_change(
            request,
            template,
            versions=[each.version for each in content.versions],
        )
        return represent_one(template)


class TemplateFromResources(TemplateView, ManifestView):
    """POST /templates/from-resources."""

    operations = {
        "post": OperationSchema(
            "A template out of objects that run already, with chosen values as parameters",
            record(
                required=("body", "schema", "template"),
                body=TEXT,
                schema=OBJECT,
                template=nullable(TEMPLATE),
                id=INTEGER,
            ),
            body=record(
                required=("cluster_id", "objects"),
                objects=array(
                    record(
                        required=("kind", "name"),
                        kind=TEXT,
                        namespace=TEXT,
                        name=TEXT,
                    )
                ),
                parametrise=array(TEXT),
                **METADATA_MEMBERS,
                **SCOPE_MEMBERS,
                version=TEXT,
                notes=TEXT,
            ),
            answer_name="TemplateOfObjects",
            body_name="ObjectsForTemplate",
        )
    }

    def post(self, request: Request) -> Any:
        """The body and schema; with a `name` also the template that was made of them.

        Forbidden for an object that the caller may not read, a Secret without its values too.
        """
        body = json_body(request)
        authorise(
            self,
            request,
            AccessAttributes("preview", "templates"),
        )
        cluster = self.cluster(request, body.get("cluster_id"))
        saves = body.get("name") is not None
        # `cluster_id` is where the objects are; the tenant is one of that cluster.
        tenant = (
            self.tenant_of_body(
                request,
                "create",
            )
            if saves
            else None
        )
        objects = self._read_objects(
            request,
            cluster,
            body.get("objects"),
        )
        text, schema = extract(
            objects,
            _read_paths(body.get("parametrise")),
        )
        draft = {
            "version": body.get("version", services.FIRST_VERSION),
            "body": text,
            "schema": schema,
            "notes": body.get("notes"),
        }
        content = services.parse_version(draft)
        answer: Object = {"body": content.body, "schema": content.schema, "template": None}
        if saves:
            metadata = services.parse_metadata(body)
            template = services.create(
                services.TemplateContent(metadata, tenant, (content,)),
                by=request.user.get_username(),
            )
            note_change(request, template)
            answer |= {"template": represent_one(template), "id": template.pk}
        return answer

    def _read_objects(
        self,
        request: Request,
        cluster: Cluster,
        items: object,
    ) -> list[Object]:
        if not isinstance(items, list) or not items:
            raise Invalid(
                "objects must be a list of {kind, namespace, name}",
                field="objects",
            )
        if len(items) > MAX_OBJECTS:
            raise Invalid(
                f"objects has more than {MAX_OBJECTS} objects",
                field="objects",
            )
        places: list[tuple[Kind, str, str]] = []
        for number, item in enumerate(items):
            places.append(
                self._read_place(
                    request,
                    cluster,
                    item,
                    f"objects[{number}]",
                )
            )
        # Every right was asked for before the first object is read.
        objects: list[Object] = []
        for kind, namespace, name in dict.fromkeys(places):
            raw = lists.get_object(
                cluster,
                kind,
                name,
                namespace=namespace,
            )
            obj = orjson.loads(raw)
            objects.append({"apiVersion": kind.api_version, "kind": kind.name, **obj})
        return objects

    def _read_place(
        self,
        request: Request,
        cluster: Cluster,
        item: object,
        field: str,
    ) -> tuple[Kind, str, str]:
        if not isinstance(item, dict):
            raise Invalid(f"{field} must be an object", field=field)
        for member in ("kind", "namespace", "name"):
            if not isinstance(item.get(member, ""), str):
                raise Invalid(
                    f"{field}.{member} must be a text",
                    field=f"{field}.{member}",
                )
        kind = kind_in(
            cluster,
            item.get("kind", ""),
            field=f"{field}.kind",
        )
        namespace = item.get("namespace", "") if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise Invalid(
                f"{field}.namespace is required",
                field=f"{field}.namespace",
            )
        name = item.get("name", "")
        if not name:
            raise Invalid(
                f"{field}.name is required",
                field=f"{field}.name",
            )
        scope = authorise(
            self,
            request,
            object_act("get", cluster, kind, namespace, name),
        )
        if is_secret(kind) and not scope.reveals:
            raise Forbidden("you may not read the values of secrets here")
        return kind, namespace, name


def _read_paths(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_PATHS:
        raise Invalid(
            f"parametrise must be a list of at most {MAX_PATHS} paths", field="parametrise"
        )
    for place, path in enumerate(value):
        if not isinstance(path, str) or not path or len(path) > MAX_PATH:
            raise Invalid(
                f"parametrise[{place}] must be a path such as spec.replicas",
                field=f"parametrise[{place}]",
            )
    return value
