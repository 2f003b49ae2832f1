"""The JSON routes of tenants, their members and quota plans."""

from tenants.api.tenants import (
    Members,
    OneMember,
    OnePlan,
    OneTenant,
    Plans,
    Tenants,
    Usage,
)

__all__ = [
    "Members",
    "OneMember",
    "OnePlan",
    "OneTenant",
    "Plans",
    "Tenants",
    "Usage",
]
