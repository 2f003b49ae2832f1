"""How the evaluation hands alerts to notifications: rows, and no call.

A change of an alert marks its groups as due, in the transaction of the change. The dispatcher takes
`NotificationGroup` rows whose `due_at` has come (FOR UPDATE SKIP LOCKED), reads the group's alerts
by rule and group_key, and writes deliveries.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import connection

from alerts.models import Alert

# One statement for any number of alerts: a burst of a thousand marks its group once.
_MARK_DUE = """
INSERT INTO alerts_notificationgroup
  (rule_id, group_key, labels, channel_id, due_at, notified_alerts, sequence)
SELECT DISTINCT ON (a.rule_id, a.group_key, rc.channel_id)
  a.rule_id, a.group_key,
  (SELECT coalesce(jsonb_object_agg(g.name, a.labels -> g.name), '{}')
   FROM jsonb_array_elements_text(r.group_by) AS g(name) WHERE a.labels ? g.name),
  rc.channel_id, %s, '[]', 0
FROM alerts_alert a
JOIN alerts_rule r ON r.id = a.rule_id
JOIN alerts_rule_channels rc ON rc.rule_id = a.rule_id
WHERE a.id = ANY (%s) AND a.fired_at IS NOT NULL
ORDER BY a.rule_id, a.group_key, rc.channel_id
ON CONFLICT (rule_id, group_key, channel_id)
DO UPDATE SET due_at = least(alerts_notificationgroup.due_at, excluded.due_at)
"""
# An alert that says that a cluster cannot be asked is not what the rule looks for.
_START_TASKS = """
INSERT INTO alerts_tasktrigger (rule_id, alert_id, task_id, created_at)
SELECT a.rule_id, a.id, t.task_id::bigint, %s
FROM alerts_alert a
JOIN alerts_rule r ON r.id = a.rule_id
CROSS JOIN LATERAL jsonb_array_elements_text(r.tasks) AS t(task_id)
WHERE a.id = ANY (%s) AND a.subject NOT LIKE 'no-data/%%'
ORDER BY a.id, t.task_id
ON CONFLICT (alert_id, task_id) DO NOTHING
"""


def hand_over_fired(ids: Sequence[int], now: datetime) -> None:
    """Make the groups of alerts that began to fire due, and note the tasks that they start.

    Call it in the transaction in which they begin to fire.
    """
    mark_groups_due(ids, now)
    if ids:
        with connection.cursor() as cursor:
            cursor.execute(_START_TASKS, [now, list(ids)])


def mark_groups_due(alerts: Iterable[Alert | int], now: datetime) -> None:
    """Make the groups of these alerts due; call it in the transaction that changed them.

    Alerts that never fired, and rules without channels, have nothing to tell.
    """
    ids = [alert if isinstance(alert, int) else alert.pk for alert in alerts]
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(_MARK_DUE, [now, ids])
