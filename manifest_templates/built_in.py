"""The templates that KubeGale brings along, as files of `starters/`."""

from pathlib import Path
from typing import Any

from manifest_templates.semver import precedence
from manifest_templates.services import parse_file, parse_metadata, parse_versions

FOLDER = Path(__file__).parent / "starters"
AUTHOR = "kubegale"


def install(templates: Any, versions: Any) -> None:
    """Store the starters that are not there, and the versions that one lacks.

    Takes the managers of the two models: a migration has them in an earlier state. A template of
    somebody else with a starter's name is left alone, and the starter out.
    """
    for path in sorted(FOLDER.glob("*.yaml")):
        content = parse_file(path.read_text())
        metadata = parse_metadata(content)
        row = templates.filter(
            scope="all",
            name__iexact=metadata["name"],
        ).first()
        if row is None:
            row = templates.create(
                scope="all",
                built_in=True,
                created_by=AUTHOR,
                **metadata,
            )
        elif not row.built_in:
            continue
        for version in parse_versions(content):
            if versions.filter(
                template_id=row.pk,
                version=version.version,
            ).exists():
                continue
            versions.create(
                template_id=row.pk,
                version=version.version,
                precedence=precedence(version.version),
                body=version.body,
                schema=version.schema,
                notes=version.notes,
                created_by=AUTHOR,
            )
