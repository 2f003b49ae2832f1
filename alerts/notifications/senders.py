"""Sending one delivery over its channel: HTTP past the guard of webhooks, or mail."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import orjson
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from alerts.models import Channel
from alerts.notifications.config import signing_key
from clusters.outbound import OutboundError, OutboundResponse, post, post_signed, problem_of

# Where robots say that they refused a message with HTTP 200.
_ERROR_CODES = ("errcode", "code", "StatusCode")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: the HTTP status, None without an answer; "" when it was accepted."""

    status: int | None
    problem: str


def send(
    kind: str,
    config: Mapping[str, Any],
    body: str,
    key: str,
) -> Outcome:
    """Send a delivery; `key` is the same in each attempt. Never raises for what lies outside."""
    if kind == Channel.Kind.MAIL:
        return _send_mail(config, body, key)
    try:
        answer = _post(kind, config, body, key)
    except OutboundError as error:
        return Outcome(None, str(error)[:200])
    return Outcome(
        answer.status,
        problem_of(answer) or _refusal(kind, answer),
    )


def _post(
    kind: str,
    config: Mapping[str, Any],
    body: str,
    key: str,
) -> OutboundResponse:
    policy = settings.WEBHOOK_ADDRESS_POLICY
    timeout = settings.WEBHOOK_TIMEOUT
    url = config["url"]
    secret = config.get("secret") or ""
    if kind == Channel.Kind.WEBHOOK:
        return post_signed(
            url,
            body.encode(),
            key=signing_key(secret),
            delivery=key,
            policy=policy,
            timeout=timeout,
        )
    if kind == Channel.Kind.DINGTALK and secret:
        url = _sign_dingtalk(url, secret)
    if kind == Channel.Kind.FEISHU and secret:
        body = _sign_feishu(body, secret)
    return post(url, body.encode(), headers={}, policy=policy, timeout=timeout)


def _sign_dingtalk(url: str, secret: str) -> str:
    """The address with the time in milliseconds and its signature, as DingTalk's robots want."""
    timestamp = str(round(time.time() * 1000))
    mac = hmac.digest(
        secret.encode(),
        f"{timestamp}\n{secret}".encode(),
        hashlib.sha256,
    )
    sign = quote_plus(base64.b64encode(mac))
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}timestamp={timestamp}&sign={sign}"


def _sign_feishu(body: str, secret: str) -> str:
    """The body with the time in seconds and its signature, as Feishu's robots want."""
    timestamp = str(int(time.time()))
    # Time and secret are the key, and the message is empty.
    mac = hmac.digest(
        f"{timestamp}\n{secret}".encode(),
        b"",
        hashlib.sha256,
    )
    sign = base64.b64encode(mac).decode()
    return orjson.dumps({"timestamp": timestamp, "sign": sign, **orjson.loads(body)}).decode()


def _refusal(kind: str, answer: OutboundResponse) -> str:
    """What a robot said in an answer with HTTP 200, by its number alone."""
    if kind in {Channel.Kind.WEBHOOK, Channel.Kind.SLACK}:
        return ""
    try:
        data = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return ""
    for name in _ERROR_CODES:
        code = data.get(name) if isinstance(data, dict) else None
        if isinstance(code, int) and code:
            return f"the robot refused the message: {name} {code}"
    return ""


def _send_mail(
    config: Mapping[str, Any],
    body: str,
    key: str,
) -> Outcome:
    if not settings.EMAIL_HOST:
        return Outcome(None, "EMAIL_HOST is not set")
    parts = orjson.loads(body)
    message = EmailMessage(
        subject=parts["subject"],
        body=parts["text"],
        to=config["to"],
        # Mail programs show a message that came twice once.
        headers={"Message-ID": f"<{key}@kubegale>", "Auto-Submitted": "auto-generated"},
        connection=get_connection(timeout=settings.WEBHOOK_TIMEOUT),
    )
    try:
        message.send()
    # smtplib's errors are OSErrors; a refusal may hold addresses, so only its class is told.
    except OSError as error:
        return Outcome(
            None,
            f"the mail server did not take it: {type(error).__name__}",
        )
    return Outcome(None, "")
