"""The tables of alerts: rules and what they find; channels and what is sent to them."""

from alerts.models.notifications import Channel, Delivery, NotificationGroup
from alerts.models.rules import Alert, Evaluation, Rule, Severity, Silence, TaskTrigger

__all__ = [
    "Alert",
    "Channel",
    "Delivery",
    "Evaluation",
    "NotificationGroup",
    "Rule",
    "Severity",
    "Silence",
    "TaskTrigger",
]
