"""Groups over JSON: for admins of everything. A group lends its grants to its members."""

from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Count, Prefetch, QuerySet
from rest_framework.request import Request

from access import grants, users
from access.api.people import require_password_session
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import integer, json_body
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    array,
    record,
)
from core.errors import Invalid, NotFound

GROUP = record(id=INTEGER, name=TEXT, members=INTEGER, grants=array(OBJECT))
MEMBER = record(username=TEXT, email=TEXT, is_active=BOOLEAN)


def groups_with_grants() -> QuerySet[Group]:
    """Every group, by name, with the number of its members as `size` and its grants."""
    rows = grants.on_registered_clusters().select_related("user", "group", "cluster")
    sizes = Group.objects.annotate(size=Count("user")).order_by("name")
    return sizes.prefetch_related(Prefetch("grants", queryset=rows))


def represent_group(group: Group) -> dict[str, Any]:
    """A group of `groups_with_grants` in the shape of GROUP."""
    return {
        "id": group.pk,
        "name": group.name,
        "members": group.size,  # type: ignore[attr-defined]
        "grants": [grants.represent(row) for row in group.grants.all()],
    }


def represent_member(user: User) -> dict[str, Any]:
    """A user as a member of a group, in the shape of MEMBER."""
    return {
        "username": user.get_username(),
        "email": user.email,
        "is_active": user.is_active,
    }


def find_group(pk: str) -> Group:
    """A group of `groups_with_grants` by its id; Invalid for no number, NotFound."""
    number = integer(pk, "id", minimum=0, maximum=2**31 - 1)
    group = groups_with_grants().filter(pk=number).first()
    if group is None:
        raise NotFound("there is no such group")
    return group


class Groups(DialectView):
    """GET and POST /groups."""

    operations = {
        "get": OperationSchema("Groups, by name", GROUP, paged=True),
        "post": OperationSchema("Make a group", GROUP, body=record(required=("name",), name=TEXT)),
    }

    def get(self, request: Request) -> Any:
        """All of them."""
        authorise(self, request, AccessAttributes("list", "groups"))
        items = [represent_group(group) for group in groups_with_grants()]
        # All on one page: groups are few.
        return Page(items, len(items), 1, max(len(items), 1))

    def post(self, request: Request) -> Any:
        """The group, new or existing."""
        body = json_body(request)
        authorise(self, request, AccessAttributes("create", "groups"))
        require_password_session(request)
        name = body.get("name")
        if not isinstance(name, str):
            raise Invalid("name must be text", field="name")
        group = users.find_group(name, create=True)
        annotate(request, name=group.name)
        return represent_group(find_group(str(group.pk)))


class GroupDetail(DialectView):
    """GET and DELETE /groups/{id}."""

    operations = {
        "get": OperationSchema("One group", GROUP),
        "delete": OperationSchema("Delete a group: its grants end at once", OBJECT),
    }

    def get(self, request: Request, pk: str) -> Any:
        """The group."""
        authorise(self, request, AccessAttributes("get", "groups", name=pk))
        return represent_group(find_group(pk))

    def delete(self, request: Request, pk: str) -> Any:
        """{}: the members stay people, without the group's grants."""
        authorise(self, request, AccessAttributes("delete", "groups", name=pk))
        require_password_session(request)
        group = find_group(pk)
        facts = represent_group(group)
        roles = [grant["role"] for grant in facts["grants"]]
        annotate(
            request,
            name=group.name,
            details={"members": facts["members"], "grants": roles},
        )
        group.delete()
        return {}


class GroupMembers(DialectView):
    """GET and POST /groups/{id}/members."""

    operations = {
        "get": OperationSchema("Members of a group, by name", MEMBER, query=PAGING, paged=True),
        "post": OperationSchema(
            "Put somebody into a group",
            MEMBER,
            body=record(required=("username",), username=TEXT),
        ),
    }

    def get(self, request: Request, pk: str) -> Any:
        """One page."""
        authorise(self, request, AccessAttributes("get", "groups", name=pk))
        group = find_group(pk)
        page = page_request(request.query_params)
        keyword = request.query_params.get("keyword", "").replace("\x00", "")
        members = User.objects.filter(groups=group, username__icontains=keyword)
        rows = members.order_by("username")[page.offset : page.offset + page.size]
        items = [represent_member(user) for user in rows]
        return Page(items, members.count(), page.page, page.size)

    def post(self, request: Request, pk: str) -> Any:
        """The member, new or existing."""
        body = json_body(request)
        authorise(self, request, AccessAttributes("update", "groups", name=pk))
        require_password_session(request)
        group = find_group(pk)
        name = body.get("username")
        if not isinstance(name, str):
            raise Invalid("username must be text", field="username")
        user = users.find(name)
        annotate(request, name=group.name, details={"member": name})
        user.groups.add(group)
        return represent_member(user)


class GroupMemberDetail(DialectView):
    """DELETE /groups/{id}/members/{username}."""

    operations = {"delete": OperationSchema("Take somebody out of a group", OBJECT)}

    def delete(self, request: Request, pk: str, username: str) -> Any:
        """{}: what the group lent ends at once. NotFound for who is no member."""
        authorise(self, request, AccessAttributes("update", "groups", name=pk))
        require_password_session(request)
        group = find_group(pk)
        user = users.find(username)
        if not user.groups.filter(pk=group.pk).exists():
            raise NotFound(f"{username[:60]!r} is not a member")
        annotate(request, name=group.name, details={"member": username})
        user.groups.remove(group)
        return {}
