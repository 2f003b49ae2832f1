"""Whether anything has changed that a decision of the policy was made of: one query."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

# Each row's xmin is the transaction that wrote it last; a deleted or expired row gives null. Of a
# token, whose row notes its use, what it allows is read itself.
_VERSIONS = """
SELECT json_build_array(
  (SELECT xmin::text FROM auth_user WHERE id = %(user)s AND is_active),
  (SELECT count(*)::text FROM token_blacklist_blacklistedtoken b
    JOIN token_blacklist_outstandingtoken o ON o.id = b.token_id
    WHERE o.jti = ANY(%(sessions)s)),
  (SELECT string_agg(id || ':' || xmin, ',' ORDER BY id) FROM access_grant
    WHERE user_id = %(user)s
      OR group_id IN (SELECT group_id FROM auth_user_groups WHERE user_id = %(user)s)),
  (SELECT xmin::text FROM clusters_cluster WHERE id = %(cluster)s AND deleted_at IS NULL),
  (SELECT scopes::text || clusters::text FROM access_apitoken
    WHERE id = %(token)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))
)
"""


def read_versions(credential: Mapping[str, Any], cluster: int) -> str:
    """A text that changes whenever the user, their token, grants, groups or the cluster do.

    `credential` is what `access.streams.credential` gives, `cluster` an id. The expiry of a JWT is
    in the credential itself.
    """
    sessions = [text for text in (credential.get("jti"), credential.get("session")) if text]
    parameters = {
        "user": credential["user"],
        "token": credential.get("api_token", 0),
        "sessions": sessions,
        "cluster": cluster,
    }
    with connection.cursor() as cursor:
        cursor.execute(_VERSIONS, parameters)
        row = cursor.fetchone()
    return str(row[0])
