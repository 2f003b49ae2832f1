"""Users and groups: creating, changing and finding them by name."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from access import grants
from core.errors import Conflict, Invalid, NotFound

# Kubernetes' own groups (system:masters …): impersonating one would give its rights.
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
    """A new user with one grant.

    Invalid for a bad name or a weak password, Conflict when the name exists; then nothing is
    created.
    """
    granted_role = grants.role_of(role)
    user = User(username=name, email=email)
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as error:
        raise _refusal(error) from None
    check_password(password, user)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
            grants.give(
                user=user,
                role=granted_role,
                cluster=cluster,
                namespace=namespace,
                by=by,
            )
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
    """Change every argument that is not None, all of them or none.

    Invalid for a bad address, a weak password or an impossible group name. A new password and
    deactivation end the user's sessions and JWTs.
    """
    if email is not None:
        user.email = email
    if is_active is not None:
        user.is_active = is_active
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as error:
        raise _refusal(error) from None
    if password is not None:
        check_password(password, user)
        user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["email", "is_active", "password"])
        if groups is not None:
            user.groups.set([find_group(name, create=True) for name in groups])


def check_password(password: str, user: User) -> None:
    """Invalid, with its field, for a password that is too weak for the user."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), field="password") from None


def _refusal(error: ValidationError) -> Invalid:
    """What is wrong with a user's own fields, with the first of them."""
    return Invalid(" ".join(error.messages), field=next(iter(error.message_dict)))


def find(name: str) -> User:
    """A user by name; NotFound when there is none."""
    # PostgreSQL refuses NUL characters in parameters.
    user = User.objects.filter(username=name).first() if "\x00" not in name else None
    if user is None:
        raise NotFound(f"there is no user {name[:60]!r}")
    return user


def find_group(name: str, *, create: bool = False) -> Group:
    """A group by name; with `create` a missing one is created.

    NotFound when there is none, Invalid for names of Kubernetes' own groups.
    """
    if not name or len(name) > 150 or "\x00" in name or name.startswith(RESERVED):
        raise Invalid(
            f"a group's name must be 1 to 150 characters and not begin with {RESERVED}",
            field="group",
        )
    if create:
        return Group.objects.get_or_create(name=name)[0]
    group = Group.objects.filter(name=name).first()
    if group is None:
        raise NotFound(f"there is no group {name[:60]!r}")
    return group


def grant_subject(name: str, *, is_group: bool, create: bool = False) -> dict[str, Any]:
    """The subject of a grant as keyword arguments: {"user": …} or {"group": …}; NotFound."""
    if is_group:
        return {"group": find_group(name, create=create)}
    return {"user": find(name)}
