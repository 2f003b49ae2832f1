"""The rows of orders: purchases, deploys, use, costs and webhooks."""

from billing.models.deployments import Deployment, PortClaim
from billing.models.ledger import Entry, Posting, UsageSample
from billing.models.orders import Order, Payment, Plan, new_id
from billing.models.webhooks import Delivery, Webhook

__all__ = [
    "Delivery",
    "Deployment",
    "Entry",
    "Order",
    "Payment",
    "Plan",
    "PortClaim",
    "Posting",
    "UsageSample",
    "Webhook",
    "new_id",
]
