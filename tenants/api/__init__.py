"""The JSON routes of tenants, their members and quota plans."""

from tenants.api.tenants import (
    MemberDetail,
    Members,
    PlanDetail,
    Plans,
    TenantDetail,
    Tenants,
    Usage,
)

__all__ = [
    "MemberDetail",
    "Members",
    "PlanDetail",
    "Plans",
    "TenantDetail",
    "Tenants",
    "Usage",
]
