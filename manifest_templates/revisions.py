"""A version with values, rendered: what a deployment's next revision is made of."""

from core.errors import Invalid
from manifest_templates import rendering
from manifest_templates.deployments import PreparedRevision
from manifest_templates.models import TemplateVersion
from manifest_templates.secret_values import secret_texts
from manifest_templates.values import check_values


def prepare_revision(version: TemplateVersion, values: object) -> PreparedRevision:
    """The rendered version; Invalid, with the value's path as field, where a value is missing."""
    values = {} if values is None else values
    check_values(version.schema, values)
    rendered = rendering.render(version, values)
    if rendered.missing:
        path = rendered.missing[0]
        raise Invalid(f"the value {path} is required", field=path)
    assert isinstance(values, dict)  # noqa: S101  # check_values refuses anything else
    return PreparedRevision(
        version,
        values,
        rendered.text,
        secret_texts(version.schema, values),
    )
