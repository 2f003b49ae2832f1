"""The JSON routes of sign-in, tokens, grants, the audit trail and tenants."""

from tenants.api.audit import Audit, AuditExport
from tenants.api.grants import Grants, OneGrant
from tenants.api.people import Groups, OnePerson, People
from tenants.api.sign_in import Login, Logout, Me, Password, Refresh
from tenants.api.tenants import Members, OneMember, OnePlan, OneTenant, Plans, Tenants, Usage
from tenants.api.tokens import OneToken, Tokens

__all__ = [
    "Audit",
    "AuditExport",
    "Grants",
    "Groups",
    "Login",
    "Logout",
    "Me",
    "Members",
    "OneGrant",
    "OneMember",
    "OnePerson",
    "OnePlan",
    "OneTenant",
    "OneToken",
    "Password",
    "People",
    "Plans",
    "Refresh",
    "Tenants",
    "Tokens",
    "Usage",
]
