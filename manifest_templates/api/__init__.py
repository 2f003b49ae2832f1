"""The JSON routes of templates."""

from manifest_templates.api.files import (
    ExportTemplate,
    ImportTemplate,
    TemplateFromResources,
)
from manifest_templates.api.templates import (
    RenderTemplate,
    TemplateDetail,
    TemplateList,
    TemplateVersionDetail,
    TemplateVersions,
)

__all__ = [
    "ExportTemplate",
    "ImportTemplate",
    "RenderTemplate",
    "TemplateDetail",
    "TemplateFromResources",
    "TemplateList",
    "TemplateVersionDetail",
    "TemplateVersions",
]
