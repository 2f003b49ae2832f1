"""What a notification says: Alertmanager's payload, and texts for people in two languages.

Labels and annotations come from clusters, so whoever may name a pod writes them: in a text for a
chat they can make neither links nor mentions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings

from alerts.models import Alert, Channel, NotificationGroup
from core.times import rfc3339

# Alerts in one payload, and lines in one text for people.
MOST_ALERTS = 500
MOST_LINES = 10
LONGEST_VALUE = 300
# What WeCom takes, in bytes; the others take more.
LONGEST_TEXT = 4000
# Alertmanager's word for a time that has not come.
NOT_ENDED = "0001-01-01T00:00:00Z"
ZERO_WIDTH_SPACE = "\u200b"
# Characters with a meaning in Markdown, and what looks like them and has none.
_LOOK_ALIKE = str.maketrans(
    {
        "<": "＜",
        ">": "＞",
        "[": "［",
        "]": "］",
        "(": "（",
        ")": "）",
        "*": "∗",
        "`": "ˋ",
        "\\": "＼",
        "|": "｜",
        "#": "＃",
    }
)
TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "firing": "FIRING",
        "resolved": "RESOLVED",
        "info": "info",
        "warning": "warning",
        "critical": "critical",
        "severity": "Severity",
        "cluster": "Cluster",
        "object": "Object",
        "since": "since",
        "ended": "ended",
        "value": "value",
        "more": "… and {count} more",
        "open": "Open in KubeGale",
        "test": "This is a test of the channel {name}.",
    },
    "zh": {
        "firing": "告警",
        "resolved": "已恢复",
        "info": "提示",
        "warning": "警告",
        "critical": "严重",
        "severity": "级别",
        "cluster": "集群",
        "object": "对象",
        "since": "开始于",
        "ended": "结束于",
        "value": "当前值",
        "more": "… 还有 {count} 条",
        "open": "在 KubeGale 中查看",
        "test": "这是通知渠道 {name} 的测试消息。",
    },
}


@dataclass(frozen=True, slots=True)
class Notification:
    """What a channel is told of one group: firing alerts first, then those that ended."""

    key: str
    rule_name: str
    group_labels: Mapping[str, str]
    firing: Sequence[Alert]
    resolved: Sequence[Alert]
    link: str
    is_test: bool = False

    @property
    def status(self) -> str:
        """`firing` while any alert of it fires, as Alertmanager has it."""
        return "firing" if self.firing else "resolved"


def of_group(
    group: NotificationGroup,
    firing: Sequence[Alert],
    resolved: Sequence[Alert],
) -> Notification:
    """The notification of a group."""
    first = [*firing, *resolved][0]
    name = group.rule.name if group.rule else first.rule_name
    return Notification(
        key=f"{{}}/{{rule={group.rule_id or 0}}}:{group.group_key}",
        rule_name=name,
        group_labels={"alertname": name, **group.labels},
        firing=firing,
        resolved=resolved,
        link=group_link(group, first),
    )


def console_link(path: str) -> str:
    """An address in the console."""
    return f"{settings.CONSOLE_URL}{path}"


def group_link(group: NotificationGroup, alert: Alert) -> str:
    """Where the console shows the alerts of a group's rule, or the one that is left of it."""
    if group.rule_id is None:
        return alert_link(alert)
    return console_link(f"/alerts?rule={group.rule_id}")


def alert_link(alert: Alert) -> str:
    """Where the console shows an alert."""
    return console_link(f"/alerts/{alert.pk}" if alert.pk else "/alerts")


def write(
    channel_kind: str,
    channel_name: str,
    language: str,
    notification: Notification,
) -> str:
    """The text of a delivery: the exact body of a webhook or robot; for mail JSON of its parts."""
    if channel_kind == Channel.Kind.WEBHOOK:
        return orjson.dumps(payload(channel_name, notification)).decode()
    return orjson.dumps(_WRITERS[channel_kind](notification, language)).decode()


# --- Alertmanager's payload -----------------------------------------------------------------------
def payload(
    receiver: str,
    notification: Notification,
) -> dict[str, Any]:
    """Alertmanager's webhook payload, version 4."""
    alerts = [*notification.firing, *notification.resolved]
    link = notification.link
    shown = [_payload_alert(alert, link) for alert in alerts[:MOST_ALERTS]]
    return {
        "version": "4",
        "groupKey": notification.key,
        "truncatedAlerts": max(len(alerts) - MOST_ALERTS, 0),
        "status": notification.status,
        "receiver": receiver,
        "groupLabels": dict(notification.group_labels),
        "commonLabels": _common([item["labels"] for item in shown]),
        "commonAnnotations": _common([item["annotations"] for item in shown]),
        "externalURL": notification.link,
        "alerts": shown,
    }


def _payload_alert(alert: Alert, link: str) -> dict[str, Any]:
    labels = {"alertname": alert.rule_name, **_texts(alert.labels)}
    labels.setdefault("severity", alert.severity)
    is_over = alert.state == Alert.State.RESOLVED
    return {
        "status": "resolved" if is_over else "firing",
        "labels": labels,
        "annotations": _texts(alert.annotations),
        "startsAt": rfc3339(alert.started_at, digits=3),
        "endsAt": rfc3339(alert.resolved_at, digits=3) if is_over else NOT_ENDED,
        # A run of a task has no page among the alerts.
        "generatorURL": alert_link(alert) if alert.pk else link,
        "fingerprint": alert.fingerprint,
    }


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()}


def _common(
    maps: Sequence[Mapping[str, str]],
) -> dict[str, str]:
    """What all of them have in common."""
    if not maps:
        return {}
    return {
        name: value
        for name, value in maps[0].items()
        if all(other.get(name) == value for other in maps)
    }


# --- texts for people -----------------------------------------------------------------------------
def inert(value: object, limit: int = LONGEST_VALUE) -> str:
    """A value as plain text in one line: nothing in it is a link, a mention or Markdown."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[:limit])
    text = text.translate(_LOOK_ALIKE).replace(
        "@",
        f"@{ZERO_WIDTH_SPACE}",
    )
    # What begins like an address would become a link by itself.
    text = text.replace("://", f":{ZERO_WIDTH_SPACE}//")
    return text.replace("www.", f"www{ZERO_WIDTH_SPACE}.")


def _title(notification: Notification, language: str) -> str:
    words = TEXTS[language]
    count = len(notification.firing) or len(notification.resolved)
    return f"[{words[notification.status]}:{count}] {inert(notification.rule_name, 100)}"


def _lines(
    notification: Notification,
    language: str,
) -> list[str]:
    """A line for each alert, as many as people read."""
    words = TEXTS[language]
    if notification.is_test:
        return [words["test"].format(name=inert(notification.rule_name, 100))]
    alerts = [*notification.firing, *notification.resolved]
    lines = [_line(alert, words) for alert in alerts[:MOST_LINES]]
    if len(alerts) > MOST_LINES:
        lines.append(words["more"].format(count=len(alerts) - MOST_LINES))
    return lines


def _line(alert: Alert, words: Mapping[str, str]) -> str:
    parts = [f"{words[alert.state]} · {words.get(alert.severity, inert(alert.severity))}"]
    if alert.cluster:
        parts.append(f"{words['cluster']} {inert(alert.cluster.name)}")
    target = "/".join(part for part in (alert.namespace, alert.name) if part)
    if target:
        parts.append(f"{inert(alert.kind) or words['object']} {inert(target)}")
    text = alert.annotations.get("summary") or alert.annotations.get("description")
    if text:
        parts.append(inert(text))
    if alert.value is not None:
        parts.append(f"{words['value']} {alert.value:g}")
    parts.append(f"{words['since']} {rfc3339(alert.started_at)}")
    if alert.resolved_at is not None:
        parts.append(f"{words['ended']} {rfc3339(alert.resolved_at)}")
    return " · ".join(parts)


def _cut(text: str) -> str:
    """As much of a text as every service takes."""
    raw = text.encode()
    if len(raw) <= LONGEST_TEXT:
        return text
    return raw[:LONGEST_TEXT].decode(errors="ignore") + "…"


def _markdown(
    notification: Notification,
    language: str,
) -> str:
    """A title, a list and the link in the Markdown that DingTalk and WeCom share."""
    body = "\n".join(f"- {line}" for line in _lines(notification, language))
    link = f"[{TEXTS[language]['open']}]({notification.link})"
    return f"### {_title(notification, language)}\n{_cut(body)}\n\n{link}"


def _slack(
    notification: Notification,
    language: str,
) -> dict[str, Any]:
    title = _title(notification, language)
    body = _cut("\n".join(f"• {line}" for line in _lines(notification, language)))
    # Slack's own escapes, for what has a meaning in its texts.
    body = body.replace("&", "&amp;")[:2900]
    link = f"<{notification.link}|{TEXTS[language]['open']}>"
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": title[:150], "emoji": False}},
        *(
            # Verbatim: names of channels and addresses in it stay text.
            {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
            for text in (body, link)
        ),
    ]
    return {"text": title.replace("&", "&amp;"), "blocks": blocks}


def _dingtalk(
    notification: Notification,
    language: str,
) -> dict[str, Any]:
    return {
        "msgtype": "markdown",
        "markdown": {
            "title": _title(notification, language),
            "text": _markdown(notification, language),
        },
        "at": {"isAtAll": False},
    }


def _wecom(
    notification: Notification,
    language: str,
) -> dict[str, Any]:
    return {"msgtype": "markdown", "markdown": {"content": _markdown(notification, language)}}


def _feishu(
    notification: Notification,
    language: str,
) -> dict[str, Any]:
    """A post: its parts of the tag `text` are plain."""
    lines = [[{"tag": "text", "text": line}] for line in _lines(notification, language)]
    link = {"tag": "a", "text": TEXTS[language]["open"], "href": notification.link}
    post = {"title": _title(notification, language), "content": [*lines, [link]]}
    locale = "zh_cn" if language == "zh" else "en_us"
    return {"msg_type": "post", "content": {"post": {locale: post}}}


def _mail(
    notification: Notification,
    language: str,
) -> dict[str, Any]:
    lines = _lines(notification, language)
    link = f"{TEXTS[language]['open']}: {notification.link}"
    return {
        "subject": _title(notification, language),
        "text": "\n".join([*lines, "", link, ""]),
    }


_WRITERS: Mapping[str, Callable[[Notification, str], dict[str, Any]]] = {
    Channel.Kind.SLACK: _slack,
    Channel.Kind.DINGTALK: _dingtalk,
    Channel.Kind.WECOM: _wecom,
    Channel.Kind.FEISHU: _feishu,
    Channel.Kind.MAIL: _mail,
}


def test_notification(
    channel: Channel,
    now: datetime,
) -> Notification:
    """What the test of a channel says, in the form of a real notification."""
    alert = Alert(
        rule_name="KubeGaleTest",
        fingerprint="0" * 16,
        state=Alert.State.FIRING,
        severity="info",
        labels={"alertname": "KubeGaleTest", "severity": "info"},
        annotations={"summary": TEXTS["en"]["test"].format(name=channel.name)},
        started_at=now,
    )
    return Notification(
        key="{}/{test}:",
        rule_name=channel.name,
        group_labels={"alertname": "KubeGaleTest"},
        firing=[alert],
        resolved=[],
        link=console_link("/alerts"),
        is_test=True,
    )
