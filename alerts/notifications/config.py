"""The settings of a channel by its kind: read, checked, and shown without secrets."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from alerts.models import Channel
from clusters.manifests import MASK
from clusters.outbound import check_url, mask_query
from core import standard_webhooks
from core.errors import Invalid

Kind = Channel.Kind
LANGUAGES = {
    "en": "en",
    "zh": "zh",
    "zh-cn": "zh",
    "zh-hans": "zh",
}
LONGEST_URL = 2000
LONGEST_SECRET = 500
MOST_RECIPIENTS = 50


@dataclass(frozen=True, slots=True)
class KindRule:
    """What the settings of a kind hold besides `language`."""

    has_url: bool = True
    # Whether the address itself is a secret, as with robots whose address holds their key.
    hides_url: bool = True
    has_secret: bool = False
    has_recipients: bool = False
    # Attempts in any minute.
    rate: int = field(default=60)


RULES: Mapping[str, KindRule] = {
    Kind.WEBHOOK: KindRule(hides_url=False, has_secret=True),
    Kind.SLACK: KindRule(),
    Kind.MAIL: KindRule(has_url=False, has_recipients=True, rate=30),
    # Their robots take 20 messages a minute.
    Kind.DINGTALK: KindRule(has_secret=True, rate=20),
    Kind.FEISHU: KindRule(has_secret=True),
    Kind.WECOM: KindRule(rate=20),
}


def parse(
    kind: str,
    config: object,
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The settings as they are stored: {"url"?, "secret"?, "to"?, "language"}.

    What is secret and absent, or stands as it was shown, stays as `stored` has it. A webhook
    without a secret gets a new signing key. Invalid, with the member's path as `field`.
    """
    if not isinstance(config, dict):
        raise Invalid(
            "config must be an object",
            field="config",
        )
    rule = RULES[kind]
    known = {
        "language": True,
        "url": rule.has_url,
        "secret": rule.has_secret,
        "to": rule.has_recipients,
    }
    for name in config:
        if not known.get(name):
            raise Invalid(
                f"a {kind} channel has no config.{name}"[:200],
                field=f"config.{name}",
            )
    stored = stored or {}
    parsed: dict[str, Any] = {"language": _parse_language(config.get("language", "en"))}
    if rule.has_url:
        parsed["url"] = _parse_url(
            kind,
            config.get("url"),
            stored,
        )
    if rule.has_recipients:
        parsed["to"] = _parse_recipients(config.get("to"))
    if rule.has_secret:
        parsed["secret"] = _parse_secret(
            kind,
            config.get("secret"),
            stored,
        )
    return parsed


def represent(
    kind: str,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings for a reader: secrets and the secret parts of addresses are masked."""
    shown: dict[str, Any] = {"language": config.get("language", "en")}
    if "url" in config:
        shown["url"] = _mask_url(kind, config["url"])
    if "to" in config:
        shown["to"] = config["to"]
    if RULES[kind].has_secret:
        shown["secret"] = MASK if config.get("secret") else ""
    return shown


def _mask_url(kind: str, url: str) -> str:
    if RULES[kind].hides_url:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}/{MASK}"
    # A query of a webhook often holds a token.
    return mask_query(url)


def _parse_language(value: object) -> str:
    language = LANGUAGES.get(value.lower()) if isinstance(value, str) else None
    if language is None:
        raise Invalid(
            "config.language must be en or zh",
            field="config.language",
        )
    return language


def _parse_url(
    kind: str,
    value: object,
    stored: Mapping[str, Any],
) -> str:
    before = str(stored.get("url", ""))
    if before and value in (None, _mask_url(kind, before)):
        # Checked again: what is allowed may have changed since.
        value = before
    if not isinstance(value, str) or not value:
        raise Invalid(
            "config.url is required",
            field="config.url",
        )
    if len(value) > LONGEST_URL or not value.isprintable() or " " in value:
        raise Invalid(
            "config.url is not a valid address",
            field="config.url",
        )
    check_url(
        value,
        settings.WEBHOOK_ADDRESS_POLICY,
        field="config.url",
    )
    return value


def _parse_secret(
    kind: str,
    value: object,
    stored: Mapping[str, Any],
) -> str:
    if value in (None, MASK):
        before = str(stored.get("secret", ""))
        if before or kind != Kind.WEBHOOK:
            return before
        return standard_webhooks.new_key()
    if not isinstance(value, str) or len(value) > LONGEST_SECRET or not value.isprintable():
        raise Invalid(
            "config.secret must be a text",
            field="config.secret",
        )
    if kind != Kind.WEBHOOK:
        return value
    if not value:
        raise Invalid(
            "a webhook is signed: config.secret must not be empty",
            field="config.secret",
        )
    is_meant_as_key = value.startswith(standard_webhooks.KEY_PREFIX)
    if is_meant_as_key and not standard_webhooks.is_key(value):
        raise Invalid(
            "config.secret must be whsec_ and the base64 of 24 to 64 bytes",
            field="config.secret",
        )
    return value


def signing_key(secret: str) -> str:
    """A webhook's secret as the key of Standard Webhooks.

    A secret that is no such key is used by its bytes.
    """
    if standard_webhooks.is_key(secret):
        return secret
    return standard_webhooks.KEY_PREFIX + base64.b64encode(secret.encode()).decode()


def _parse_recipients(value: object) -> list[str]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not 0 < len(value) <= MOST_RECIPIENTS:
        raise Invalid(
            f"config.to must be a list of 1 to {MOST_RECIPIENTS} addresses",
            field="config.to",
        )
    for address in value:
        try:
            validate_email(address)
        except ValidationError:
            raise Invalid(
                "config.to holds something that is no e-mail address",
                field="config.to",
            ) from None
    return value
