"""The JSON routes of sign-in, tokens, grants, people and the audit trail."""

from access.api.audit import Audit, AuditExport
from access.api.grants import GrantDetail, Grants
from access.api.groups import GroupDetail, GroupMemberDetail, GroupMembers, Groups
from access.api.people import People, PersonDetail
from access.api.preferences import OwnPreferences
from access.api.sign_in import Login, Logout, Me, Password, Refresh
from access.api.tokens import TokenDetail, Tokens

__all__ = [
    "Audit",
    "AuditExport",
    "GrantDetail",
    "Grants",
    "GroupDetail",
    "GroupMemberDetail",
    "GroupMembers",
    "Groups",
    "Login",
    "Logout",
    "Me",
    "OwnPreferences",
    "Password",
    "People",
    "PersonDetail",
    "Refresh",
    "TokenDetail",
    "Tokens",
]
