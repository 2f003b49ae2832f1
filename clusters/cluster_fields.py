"""The fields of a registered cluster as callers send them: what each may hold."""

import re
from typing import Any

from django.conf import settings

from clusters import dns_names
from clusters.address_policy import check_prometheus
from core.errors import Invalid

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_. ]{0,98}[A-Za-z0-9])?\Z")
FLEET = "fleet"
EDITABLE = (
    "description",
    "labels",
    "protected",
    "maintenance",
    "impersonate",
    "prometheus",
    "namespaces",
)
MAX_NAMESPACES = 200
FLAGS = {"protected", "maintenance", "impersonate"}


def check_name_form(name: object) -> str:
    """The name; Invalid when it is malformed, whoever has it."""
    if not isinstance(name, str) or not NAME.match(name):
        raise Invalid(
            "name must be 1 to 100 letters, digits, spaces, '-', '_' or '.'",
            field="name",
        )
    if name.isdigit():
        raise Invalid("name must not be a number: it could be taken for an id", field="name")
    # `/kube/fleet` is all clusters together.
    if name.lower() == FLEET:
        raise Invalid(f"name must not be {FLEET}, which stands for all clusters", field="name")
    return name


def check_text(value: object, field: str) -> str:
    """The value; Invalid when it is no text that a column takes."""
    if not isinstance(value, str) or "\x00" in value:
        raise Invalid(f"{field} must be text", field=field)
    return value


def check_labels(value: object) -> dict[str, str]:
    """The labels as they may be saved; Invalid when they do not map text to text."""
    if not isinstance(value, dict):
        raise Invalid("labels must map text to text", field="labels")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise Invalid("labels must map text to text", field="labels")
    return dict(value)


def _check_namespaces(value: object) -> list[str]:
    if (
        not isinstance(value, list)
        or len(value) > MAX_NAMESPACES
        or not all(isinstance(name, str) and dns_names.LABEL.match(name) for name in value)
    ):
        raise Invalid(
            f"namespaces must be a list of at most {MAX_NAMESPACES} names of namespaces",
            field="namespaces",
        )
    return sorted(set(value))


def check_field(field: str, value: object) -> Any:
    """The value of one of the EDITABLE fields as it may be saved; Invalid when it may not."""
    if field == "labels":
        return check_labels(value)
    if field == "namespaces":
        return _check_namespaces(value)
    if field == "prometheus":
        return check_prometheus(check_text(value, field), settings.CLUSTER_ADDRESS_POLICY)
    if field not in FLAGS:
        return check_text(value, field)
    if not isinstance(value, bool):
        raise Invalid(f"{field} must be true or false", field=field)
    return value
