"""The names and groups under which a cluster's RBAC knows our users."""

from django.conf import settings
from django.contrib.auth.models import Group, User

from access.grants import Person
from access.models import ExternalIdentity
from clusters.impersonation import ANONYMOUS, Identity


def identity_of(user: Person) -> Identity:
    """The user and their groups; the anonymous caller of an open dialect is `system:anonymous`.

    Users of an OpenID Connect provider get OIDC_USERNAME_PREFIX, so that the provider cannot name a
    local user: a local user's name has no colon and cannot begin with the prefix. The provider's
    groups have their prefix already.
    """
    if not user.pk:
        return ANONYMOUS
    groups = Group.objects.filter(user=user.pk).order_by("name").values_list("name", flat=True)
    name = user.get_username()
    if ExternalIdentity.objects.filter(user=user.pk).exists():
        name = settings.OIDC_USERNAME_PREFIX + name
    return Identity(name, tuple(groups))


def identity_by_id(user: int) -> Identity:
    """The identity of a user by id; ANONYMOUS for 0 and for deleted or deactivated users."""
    row = User.objects.filter(pk=user, is_active=True).first() if user else None
    return identity_of(row) if row else ANONYMOUS


def identity_by_name(username: str) -> Identity | None:
    """The identity of a user by name, for work that goes on after its request.

    ANONYMOUS for a user who was deleted or deactivated. None for the platform's own work, which is
    not done for a user (`order 7`).
    """
    if " " in username:  # no username has a space
        return None
    user = User.objects.filter(username=username, is_active=True).first()
    return identity_of(user) if user else ANONYMOUS
