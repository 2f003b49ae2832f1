"""Channels as people write them: reading a body, saving, showing without secrets."""

from collections.abc import Mapping
from typing import Any

import orjson

from alerts.models import Channel
from alerts.notifications import config
from core.errors import Invalid, NotFound
from core.times import rfc3339

MAX_NAME = 200


def apply_body(
    channel: Channel,
    body: Mapping[str, Any],
) -> Channel:
    """The channel with the body's members, not saved; Invalid with `field` for what is wrong.

    Members that the body leaves out stay as they are; so do secrets, unless the kind changes.
    """
    stored = orjson.loads(channel.config) if channel.config else {}
    if "name" in body or not channel.pk:
        channel.name = _name(body.get("name"))
    kind = body.get("kind", channel.kind)
    if kind not in Channel.Kind.values:
        raise Invalid(
            f"kind must be one of {', '.join(Channel.Kind.values)}",
            field="kind",
        )
    if kind != channel.kind:
        stored = {}
    changes = "config" in body or kind != channel.kind
    channel.kind = kind
    if changes:
        parsed = config.parse(
            kind,
            body.get("config", {}),
            stored,
        )
        channel.config = orjson.dumps(parsed).decode()
    if "enabled" in body:
        if not isinstance(body["enabled"], bool):
            raise Invalid(
                "enabled must be true or false",
                field="enabled",
            )
        channel.enabled = body["enabled"]
    return channel


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise Invalid(
            "name is required, as a line of text",
            field="name",
        )
    if len(value) > MAX_NAME:
        raise Invalid(
            f"name must be at most {MAX_NAME} characters",
            field="name",
        )
    return value


def find(pk: str | int) -> Channel:
    """The channel; NotFound."""
    text = str(pk)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    row = Channel.objects.select_related("owner", "tenant").filter(pk=number).first()
    if row is None:
        raise NotFound("there is no such channel")
    return row


def generated_secret(
    channel: Channel,
    body: Mapping[str, Any],
) -> str:
    """The signing key that was made for a new webhook, to be shown this once; else ""."""
    chosen = body.get("config")
    if channel.kind != Channel.Kind.WEBHOOK or (isinstance(chosen, dict) and chosen.get("secret")):
        return ""
    return str(orjson.loads(channel.config)["secret"])


def represent(channel: Channel) -> dict[str, Any]:
    """The channel as JSON data; secrets are masked."""
    return {
        "id": channel.pk,
        "name": channel.name,
        "kind": channel.kind,
        "config": config.represent(channel.kind, orjson.loads(channel.config)),
        "enabled": channel.enabled,
        "tenant_id": channel.tenant_id,
        "owner": channel.owner.get_username(),
        "created_at": rfc3339(channel.created_at),
        "updated_at": rfc3339(channel.updated_at),
    }
