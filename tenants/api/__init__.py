"""The JSON routes of tenants, their members and quota plans."""

from tenants.api.own import OwnTenants
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
    "OwnTenants",
    "PlanDetail",
    "Plans",
    "TenantDetail",
    "Tenants",
    "Usage",
]
