"""People: making them, and finding them and their groups by name."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from access import grants
from core.errors import Conflict, Invalid, NotFound

# A cluster's own names; impersonating one would be the cluster's own power.
RESERVED = "system:"


def create(
    name: str,
    password: str,
    *,
    role: str,
    cluster: str = "",
    namespace: str = "",
    email: str = "",
    by: str = "",
) -> User:
    """A new user with one grant; Invalid for a bad name or a weak password, Conflict for a taken name, and nothing made."""
    wanted, user = grants.role_of(role), User(username=name, email=email)
    try:
        user.clean_fields(exclude=["password"])
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from None
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
            grants.give(user=user, role=wanted, cluster=cluster, namespace=namespace, by=by)
    except IntegrityError:
        raise Conflict(f"a user named {name!r} exists already") from None
    return user


def change(
    user: User,
    *,
    email: str | None = None,
    password: str | None = None,
    is_active: bool | None = None,
    groups: Iterable[str] | None = None,
) -> None:
    """Change what is given, all of it or nothing; Invalid for a bad address, a weak password or a group's name that can be none.

    A new password, and being switched off, end the person's sessions and JWTs.
    """
    user.email = user.email if email is None else email
    user.is_active = user.is_active if is_active is None else is_active
    try:
        user.clean_fields(exclude=["password"])
        if password is not None:
            validate_password(password, user)
            user.set_password(password)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from None
    with transaction.atomic():
        user.save(update_fields=["email", "is_active", "password"])
        if groups is not None:
            user.groups.set([find_group(name, create=True) for name in groups])


def find(name: str) -> User:
    """A user by name; NotFound when there is none."""
    found = User.objects.filter(username=name).first() if "\x00" not in name else None
    if found is None:
        raise NotFound(f"there is no user {name[:60]!r}")
    return found


def find_group(name: str, *, create: bool = False) -> Group:
    """A group by name, made when asked to; NotFound otherwise, Invalid for a name that belongs to the clusters themselves."""
    if not name or len(name) > 150 or "\x00" in name or name.startswith(RESERVED):
        raise Invalid(
            f"a group's name must be 1 to 150 characters and not begin with {RESERVED}",
            field="group",
        )
    if create:
        return Group.objects.get_or_create(name=name)[0]
    found = Group.objects.filter(name=name).first()
    if found is None:
        raise NotFound(f"there is no group {name[:60]!r}")
    return found


def grant_subject(name: str, *, is_group: bool, create: bool = False) -> dict[str, Any]:
    """{"user": …} or {"group": …}, whichever is meant."""
    return {"group": find_group(name, create=create)} if is_group else {"user": find(name)}
