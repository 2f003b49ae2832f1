"""Templates and their versions: making, changing, deleting, and files of them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from clusters.manifests import read
from core.errors import Conflict, Invalid, NotFound
from manifest_templates import semver
from manifest_templates.models import Template, TemplateDeployment, TemplateVersion
from manifest_templates.sandbox import check_body
from manifest_templates.values import check_schema
from tenants.models import Tenant

Object = dict[str, Any]
MAX_DESCRIPTION = 10_000
MAX_NOTES = 20_000
MAX_TAGS = 30
MAX_VERSIONS = 200
WORD = re.compile(r"[^\x00-\x1f\x7f]{0,63}")
FILE_FORMAT = "kubegale.io/template/v1"
FILE_MEMBERS = ("format", "name", "description", "category", "tags", "icon", "versions")
VERSION_MEMBERS = ("version", "body", "schema", "notes")
FIRST_VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class VersionContent:
    """A version that was checked and is not stored."""

    version: str
    body: str
    schema: Object
    notes: str


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """A template that was checked and is not stored; `tenant` None is a template for all."""

    metadata: Mapping[str, Any]
    tenant: Tenant | None
    versions: tuple[VersionContent, ...] = field(default=())


# --- checking -------------------------------------------------------------------------------------
def parse_metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """Those of name, description, category, tags and icon that the body has; Invalid."""
    metadata: dict[str, Any] = {}
    if "name" in body:
        name = body["name"]
        if not isinstance(name, str) or not name.strip() or len(name) > 100 or _has_control(name):
            raise Invalid(
                "name must be a text of 1 to 100 characters",
                field="name",
            )
        metadata["name"] = name.strip()
    if "description" in body:
        metadata["description"] = _long_text(
            body["description"],
            "description",
            MAX_DESCRIPTION,
        )
    for name in ("category", "icon"):
        if name in body:
            metadata[name] = _word(body[name], name)
    if "tags" in body:
        tags = [] if body["tags"] is None else body["tags"]
        if not isinstance(tags, list) or len(tags) > MAX_TAGS:
            raise Invalid(
                f"tags must be a list of at most {MAX_TAGS} texts",
                field="tags",
            )
        words = [
            _word(
                tag,
                f"tags[{place}]",
            )
            for place, tag in enumerate(tags)
        ]
        metadata["tags"] = list(dict.fromkeys(word for word in words if word))
    return metadata


def _has_control(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)


def _word(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or WORD.fullmatch(value) is None:
        raise Invalid(
            f"{name} must be a text of at most 63 characters",
            field=name,
        )
    return value.strip()


def _long_text(value: object, name: str, longest: int) -> str:
    if value is None:
        return ""
    # PostgreSQL stores no NUL character in text.
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        raise Invalid(
            f"{name} must be a text of at most {longest} characters",
            field=name,
        )
    return value


def parse_version(body: Mapping[str, Any]) -> VersionContent:
    """A version out of `version, body, schema, notes`; Invalid with the member as its field."""
    version = body.get("version")
    semver.precedence(version)
    schema = check_schema(body.get("schema"))
    if "\\u0000" in json.dumps(schema):
        raise Invalid("the schema has a null character", field="schema")
    return VersionContent(
        str(version),
        check_body(body.get("body")),
        schema,
        _long_text(body.get("notes"), "notes", MAX_NOTES),
    )


def parse_first_version(body: Mapping[str, Any]) -> tuple[VersionContent, ...]:
    """The version inside a new template: `version` with body, schema and notes beside or in it."""
    value = body.get("version")
    if isinstance(value, dict):
        unknown = [name for name in value if name not in VERSION_MEMBERS]
        if unknown:
            raise Invalid(
                f"unknown member {unknown[0]!r}",
                field=f"version.{unknown[0]}",
            )
        beside = [name for name in ("body", "schema", "notes") if name in body]
        if beside:
            raise Invalid(
                f"{beside[0]} stands beside and inside version",
                field=beside[0],
            )
        return (parse_version({"version": FIRST_VERSION, **value}),)
    if value is None and body.get("body") is None:
        extra = [name for name in ("schema", "notes") if body.get(name)]
        if extra:
            raise Invalid("body is required", field="body")
        return ()
    version = FIRST_VERSION if value is None else value
    return (parse_version({**body, "version": version}),)


# --- reading --------------------------------------------------------------------------------------
def find_version(template: Template, version: object = None) -> TemplateVersion:
    """The version of that text, the default one for None or ""; NotFound, Invalid for no text."""
    if version is None or version == "":
        row = template.default_version()
        if row is None:
            raise NotFound("the template has no version")
        return row
    if not isinstance(version, str) or "\x00" in version:
        raise Invalid("version must be a text", field="version")
    row = template.versions.filter(version=version).first()
    if row is None:
        raise NotFound("the template has no such version")
    return row


def filter_templates(rows: QuerySet[Template], filters: Mapping[str, str]) -> QuerySet[Template]:
    """Templates by category, tag, scope and a part of name or description; Invalid for no scope."""
    for name, value in filters.items():
        if "\x00" in value:
            raise Invalid(f"{name} contains a NUL character", field=name)
    if category := filters.get("category"):
        rows = rows.filter(category__iexact=category)
    if tag := filters.get("tag"):
        rows = rows.filter(tags__contains=[tag])
    if scope := filters.get("scope"):
        if scope not in Template.Scope.values:
            raise Invalid("scope must be all or tenant", field="scope")
        rows = rows.filter(scope=scope)
    if search := filters.get("search") or filters.get("keyword"):
        rows = rows.filter(name__icontains=search) | rows.filter(description__icontains=search)
    return rows


# --- changing -------------------------------------------------------------------------------------
def create(content: TemplateContent, *, by: str) -> Template:
    """A new template with its versions; Conflict when its scope has the name already."""
    if "name" not in content.metadata:
        raise Invalid("name is required", field="name")
    scope = Template.Scope.ALL if content.tenant is None else Template.Scope.TENANT
    try:
        with transaction.atomic():
            template = Template.objects.create(
                scope=scope, tenant=content.tenant, created_by=by, **content.metadata
            )
            for version in content.versions:
                _store_version(template, version, by=by)
    except IntegrityError:
        raise _name_conflict(content.metadata["name"]) from None
    return template


def _name_conflict(name: str) -> Conflict:
    return Conflict(
        f"a template named {name} exists already",
        field="name",
        reason="AlreadyExists",
    )


def require_changeable(template: Template) -> None:
    """Conflict for one that KubeGale brings along."""
    if template.built_in:
        raise Conflict("a built-in template cannot be changed or deleted; make one of your own")


def update(template: Template, metadata: Mapping[str, Any]) -> Template:
    """The template with changed metadata; what is not named stays as it is. Conflict."""
    require_changeable(template)
    for name, value in metadata.items():
        setattr(template, name, value)
    try:
        with transaction.atomic():
            template.save(update_fields=[*metadata, "updated_at"])
    except IntegrityError:
        raise _name_conflict(template.name) from None
    return template


def delete(template: Template) -> None:
    """Delete a template with its versions, and with what is left of undeployed deployments.

    Conflict while a deployment of it is not undeployed.
    """
    require_changeable(template)
    with transaction.atomic():
        Template.objects.select_for_update().get(pk=template.pk)
        undeployed = TemplateDeployment.State.UNDEPLOYED
        if count := template.deployments.exclude(state=undeployed).count():
            raise Conflict(
                f"the template has {count} deployments: undeploy them first",
                reason="InUse",
            )
        template.deployments.all().delete()
        template.delete()


def add_version(
    template: Template,
    content: VersionContent,
    *,
    by: str,
) -> TemplateVersion:
    """A new version; Conflict when the template has it already."""
    require_changeable(template)
    try:
        with transaction.atomic():
            # Counting and adding belong together.
            Template.objects.select_for_update().get(pk=template.pk)
            if template.versions.count() >= MAX_VERSIONS:
                raise Invalid(
                    f"a template has at most {MAX_VERSIONS} versions",
                    field="version",
                )
            row = _store_version(template, content, by=by)
            template.save(update_fields=["updated_at"])
    except IntegrityError:
        raise Conflict(
            f"version {content.version} exists already, and versions never change",
            field="version",
            reason="AlreadyExists",
        ) from None
    return row


def _store_version(
    template: Template,
    content: VersionContent,
    *,
    by: str,
) -> TemplateVersion:
    return TemplateVersion.objects.create(
        template=template,
        version=content.version,
        body=content.body,
        schema=content.schema,
        notes=content.notes,
        created_by=by,
    )


# --- files ----------------------------------------------------------------------------------------
def to_file(template: Template) -> str:
    """The template with all its versions as JSON text, which `parse_file` reads."""
    versions = [
        {"version": row.version, "body": row.body, "schema": row.schema, "notes": row.notes}
        for row in template.versions.order_by("precedence", "id")
    ]
    content = {
        "format": FILE_FORMAT,
        "name": template.name,
        "description": template.description,
        "category": template.category,
        "tags": template.tags,
        "icon": template.icon,
        "versions": versions,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def parse_file(content: object) -> Object:
    """The object of a template's file, JSON or YAML text of at most 1 MiB; Invalid."""
    if isinstance(content, str):
        documents = [each.value for each in read(content) if each.value is not None]
        content = documents[0] if len(documents) == 1 else None
    if not isinstance(content, dict):
        raise Invalid(
            "content must be one file of a template",
            field="content",
        )
    if content.get("format") != FILE_FORMAT:
        raise Invalid(f"format must be {FILE_FORMAT}", field="format")
    unknown = [name for name in content if name not in FILE_MEMBERS]
    if unknown:
        raise Invalid(
            f"unknown member {unknown[0]!r}",
            field=str(unknown[0]),
        )
    return content


def parse_versions(content: Object) -> tuple[VersionContent, ...]:
    """The versions of a file; Invalid with the place of the version in its field."""
    versions = content.get("versions") or []
    if not isinstance(versions, list) or len(versions) > MAX_VERSIONS:
        raise Invalid(
            f"versions must be a list of at most {MAX_VERSIONS} versions", field="versions"
        )
    parsed: list[VersionContent] = []
    for place, each in enumerate(versions):
        where = f"versions[{place}]"
        if not isinstance(each, dict):
            raise Invalid(f"{where} must be an object", field=where)
        unknown = [name for name in each if name not in VERSION_MEMBERS]
        if unknown:
            raise Invalid(
                f"unknown member {unknown[0]!r}",
                field=f"{where}.{unknown[0]}",
            )
        try:
            parsed.append(parse_version(each))
        except Invalid as error:
            inner = error.details.get("field", "version")
            raise Invalid(
                error.message,
                field=f"{where}.{inner}",
            ) from None
    if len({each.version for each in parsed}) < len(parsed):
        raise Invalid("versions has a version twice", field="versions")
    return tuple(parsed)


def import_template(content: TemplateContent, *, by: str) -> Template:
    """The template of a file: a new one, or the one of that name with the versions it lacked.

    Conflict when that has another text under the same version.
    """
    name = content.metadata.get("name", "")
    scope = Template.Scope.ALL if content.tenant is None else Template.Scope.TENANT
    existing = Template.objects.filter(
        name__iexact=name, scope=scope, tenant=content.tenant
    ).first()
    if existing is None:
        return create(content, by=by)
    stored = {row.version: row for row in existing.versions.all()}
    additional: list[VersionContent] = []
    for version in content.versions:
        row = stored.get(version.version)
        if row is None:
            additional.append(version)
        elif (row.body, row.schema) != (version.body, version.schema):
            raise Conflict(
                f"version {version.version} of {existing.name} is another text already",
                field="versions",
                reason="AlreadyExists",
            )
    with transaction.atomic():
        for version in additional:
            add_version(existing, version, by=by)
    return existing


# --- representation -------------------------------------------------------------------------------
def represent(template: Template, versions: Iterable[TemplateVersion]) -> Object:
    """The template for the API; its versions, highest first, without their texts."""
    rows = [
        {
            "version": row.version,
            "notes": row.notes,
            "created_by": row.created_by,
            "created_at": row.created_at,
        }
        for row in versions
    ]
    return {
        "id": template.pk,
        "name": template.name,
        "description": template.description,
        "category": template.category,
        "tags": template.tags,
        "scope": template.scope,
        "tenant": template.tenant.namespace if template.tenant else None,
        "cluster_id": template.tenant.cluster_id if template.tenant else None,
        "icon": template.icon,
        "built_in": template.built_in,
        "version": rows[0]["version"] if rows else None,
        "versions": rows,
        "created_by": template.created_by,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    }


def represent_version(row: TemplateVersion) -> Object:
    """A version with its texts."""
    return {
        "template_id": row.template_id,
        "version": row.version,
        "body": row.body,
        "schema": row.schema,
        "notes": row.notes,
        "created_by": row.created_by,
        "created_at": row.created_at,
    }
