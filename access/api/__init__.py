"""The JSON routes of sign-in, tokens, grants, people and the audit trail."""

from access.api.audit import Audit, AuditExport
from access.api.grants import Grants, OneGrant
from access.api.people import Groups, OnePerson, People
from access.api.sign_in import Login, Logout, Me, Password, Refresh
from access.api.tokens import OneToken, Tokens

__all__ = [
    "Audit",
    "AuditExport",
    "Grants",
    "Groups",
    "Login",
    "Logout",
    "Me",
    "OneGrant",
    "OnePerson",
    "OneToken",
    "Password",
    "People",
    "Refresh",
    "Tokens",
]
