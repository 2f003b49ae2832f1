"""Rows for pages of the admin site: any model, filled in out of what its columns allow."""

import itertools
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection, models

from storage_api.models import Resource
from storage_api.protection import DocumentPlace, seal_secrets

_counter = itertools.count(1)
# Stands for every secret: no page may show it.
SECRET = "c2VjcmV0LXZhbHVl"
_DOCUMENT = {
    "kind": "Secret",
    "apiVersion": "v1",
    "metadata": {"name": "web"},
    "data": {"password": SECRET},
}


# Models whose columns the database compares with each other, and the values that it takes.
FIXED: dict[str, Callable[[int], dict[str, Any]]] = {
    "billing.Entry": lambda number: {"amount": Decimal(0)},
    "django_celery_beat.SolarSchedule": lambda number: {"latitude": Decimal(number % 90)},
}


def make_row(model: type[models.Model]) -> models.Model:
    """A new row of a model with rows for its foreign keys."""
    if model is Resource:
        return _make_resource()
    fixed = FIXED.get(model._meta.label)
    values = fixed(next(_counter)) if fixed else {}
    for field in model._meta.concrete_fields:
        if field.name in values or not _is_needed(field):
            continue
        values[field.name] = _value(field)
    row = model(**values)
    models.Model.save(row, force_insert=True)
    return row


def _sealed_document() -> Any:
    """A Secret as the store writes it."""
    place = DocumentPlace("demo", "Secret", "shop", "web")
    return json.loads(seal_secrets(place, json.dumps(_DOCUMENT).encode()))


def _make_resource() -> models.Model:
    """A row of the store, whose other columns the database computes."""
    number = next(_counter)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO storage_resource (object_id, cluster_id, resource_type, namespace,"
            " resource_name, data, create_time, update_time, change_time)"
            " VALUES (%s, %s, 'Secret', 'shop', %s, %s, now(), now(), now()) RETURNING id",
            [f"id-{number}", "demo", f"web-{number}", json.dumps(_sealed_document())],
        )
        return Resource.objects.get(pk=cursor.fetchone()[0])


def _is_needed(field: Any) -> bool:
    if isinstance(field, (models.AutoField, models.GeneratedField)):
        return False
    if isinstance(field, models.ForeignKey):
        # Some rows belong to a user or a group, never to both.
        return not field.null or field.name in ("user", "owner", "cluster")
    return not field.null


def _value(field: Any) -> Any:
    number = next(_counter)
    if isinstance(field, models.ForeignKey):
        return make_row(field.related_model)
    if field.choices:
        return field.flatchoices[0][0]
    for kind, value in _values(field, number):
        if isinstance(field, kind):
            return value
    return field.get_default()


def _values(field: Any, number: int) -> list[tuple[Any, Any]]:
    default = field.get_default() if field.has_default() else None
    moment = datetime.now(UTC) + timedelta(seconds=number)
    limit = getattr(field, "max_length", None) or 40
    return [
        (models.JSONField, default or _sealed_document()),
        (ArrayField, []),
        (models.UUIDField, uuid.uuid4()),
        (models.BooleanField, False),
        (models.DateTimeField, moment),
        (models.DateField, moment.date()),
        (models.DecimalField, Decimal(1)),
        (models.IntegerField, number),
        (models.FloatField, 1.0),
        (models.BinaryField, SECRET.encode()),
        (models.GenericIPAddressField, "127.0.0.1"),
        (models.DurationField, timedelta(1)),
        ((models.CharField, models.TextField), f"{field.name[:8]}-{number}"[-limit:]),
    ]
