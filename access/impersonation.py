"""Our users as a cluster's RBAC is to know them."""

from django.conf import settings
from django.contrib.auth.models import Group, User

from access.grants import Person
from access.models import ExternalIdentity
from clusters.impersonation import ANONYMOUS, Identity


def identity_of(user: Person) -> Identity:
    """The user and their groups; the anonymous caller of an open dialect is Kubernetes' own anonymous.

    Whoever comes from an OpenID Connect provider bears OIDC_USERNAME_PREFIX, so that the provider cannot name a local user; a local
    user's name has no colon and cannot begin with it. The provider's groups bear their prefix already.
    """
    if not user.pk:
        return ANONYMOUS
    groups = Group.objects.filter(user=user.pk).order_by("name").values_list("name", flat=True)
    name = user.get_username()
    if ExternalIdentity.objects.filter(user=user.pk).exists():
        name = settings.OIDC_USERNAME_PREFIX + name
    return Identity(name, tuple(groups))


def by_id(user: int) -> Identity:
    """The same by id; a user who is gone or switched off is nobody that a cluster knows."""
    found = User.objects.filter(pk=user, is_active=True).first() if user else None
    return identity_of(found) if found else ANONYMOUS


def named(username: str) -> Identity | None:
    """The same by name, for work that goes on without its request; a user who is gone is nobody that a cluster knows.

    What is no user's name (`order 7`) is the platform's own work.
    """
    if " " in username:
        return None
    user = User.objects.filter(username=username, is_active=True).first()
    return identity_of(user) if user else ANONYMOUS
