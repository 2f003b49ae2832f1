"""Orders in the admin: amounts and states to read, actions for their life cycle.

Secrets are shown once and never again.
"""

from billing.admin.orders import OrderAdmin, PlanAdmin
from billing.admin.webhooks import WebhookAdmin

__all__ = ["OrderAdmin", "PlanAdmin", "WebhookAdmin"]
