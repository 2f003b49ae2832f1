"""Our users as a cluster's RBAC is to know them."""

from django.contrib.auth.models import Group, User

from clusters.identity import ANONYMOUS, Identity
from tenants.grants import Person


def of(user: Person) -> Identity:
    """The user and their groups; the anonymous caller of an open dialect is Kubernetes' own anonymous."""
    if not user.pk:
        return ANONYMOUS
    groups = Group.objects.filter(user=user.pk).order_by("name").values_list("name", flat=True)
    return Identity(user.get_username(), tuple(groups))


def named(username: str) -> Identity | None:
    """The same by name, for work that goes on without its request; a user who is gone is nobody that a cluster knows.

    What is no user's name (`order 7`) is the platform's own work.
    """
    if " " in username:
        return None
    user = User.objects.filter(username=username, is_active=True).first()
    return of(user) if user else ANONYMOUS
