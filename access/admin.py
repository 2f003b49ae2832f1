"""Users, groups, grants, tokens and the audit trail in the admin."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from access import grants, tokens
from access.models import ApiToken, AuditEntry, ExternalIdentity, Grant, Preferences
from core.api.admin import ModelAdmin, ModelForm, ReadOnly, TabularInline
from core.errors import DomainError

admin.site.unregister(User)
admin.site.unregister(Group)
# Sign-ins are ended by signing out or by a new password, and their rows say nothing to people.
admin.site.unregister(OutstandingToken)
admin.site.unregister(BlacklistedToken)


class GrantInline(TabularInline[Grant, Any]):
    """The grants of a user or a group."""

    model = Grant
    extra = 0
    fields = ("role", "cluster", "namespace", "namespace_uid", "tenant", "created_by")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Grants are added on their own page, which checks them."""
        return False


@admin.register(User)
# Both bases are generic over the same model.
class UserAdmin(DjangoUserAdmin, ModelAdmin[User]):  # type: ignore[type-arg]
    """Users; deactivating one ends their tokens and sessions at once."""

    list_display = ("username", "email", "is_active", "is_superuser", "last_login")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Access"), {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        (_("Times"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    inlines = (GrantInline,)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin[Group]):
    """Groups lend their grants to their members."""

    fields = ("name",)
    inlines = (GrantInline,)


class GrantForm(ModelForm[Grant]):
    """Refuses what the commands refuse, in the same words."""

    class Meta:
        model = Grant
        fields = ("user", "group", "role", "cluster", "namespace")

    def clean(self) -> dict[str, Any]:
        """One subject, and a namespace only with its cluster."""
        values = super().clean() or self.cleaned_data
        if bool(values.get("user")) == bool(values.get("group")):
            self.add_error("user", "give either a user or a group")
        try:
            grants.resolve_scope(
                str(values["cluster"].pk) if values.get("cluster") else "",
                values.get("namespace") or "",
            )
        except DomainError as error:
            self.add_error("namespace", error.message)
        return values


@admin.register(Grant)
class GrantAdmin(ModelAdmin[Grant]):
    """Who may do what, where. A grant does not change: it is deleted and another one added."""

    form = GrantForm
    list_display = (
        "__str__",
        "role",
        "user",
        "group",
        "cluster",
        "namespace",
        "tenant",
        "created_at",
        "created_by",
    )
    list_filter = ("role", "cluster")
    search_fields = ("user__username", "group__name", "namespace")
    raw_id_fields = ("user", "group")
    list_select_related = ("user", "group", "cluster", "tenant__cluster")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: Grant,
        form: Any,
        change: bool,
    ) -> None:
        """Grant the role as the commands do."""
        cluster = str(obj.cluster.pk) if obj.cluster else ""
        grant = grants.give(
            role=grants.role_of(obj.role),
            user=obj.user,
            group=obj.group,
            cluster=cluster,
            namespace=obj.namespace,
            by=request.user.get_username(),
        )
        # The row may have existed: the admin then shows that one.
        obj.pk = grant.pk

    def delete_model(self, request: HttpRequest, obj: Grant) -> None:
        """Withdraw it as the commands do."""
        grants.withdraw(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Grant]) -> None:
        """Withdraw them as the commands do."""
        for grant in queryset:
            grants.withdraw(grant)


class TokenForm(ModelForm[ApiToken]):
    """Refuses what the API refuses."""

    class Meta:
        model = ApiToken
        fields = ("user", "name", "scopes", "clusters", "wire", "expires_at")

    def clean(self) -> dict[str, Any]:
        """Known scopes, plausible clusters."""
        values = super().clean() or self.cleaned_data
        for field, check in (
            ("name", tokens.check_name),
            ("scopes", tokens.check_scopes),
            ("clusters", tokens.check_clusters),
        ):
            try:
                # The form's field left empty is a list of none: no limit, as before.
                values[field] = check(values.get(field) or None)
            except DomainError as error:
                self.add_error(field, error.message)
        return values


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin[ApiToken]):
    """API tokens: shown once after creation, then only their first characters."""

    form = TokenForm
    list_display = (
        "name",
        "hint",
        "user",
        "scopes",
        "clusters",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = ("user",)
    search_fields = ("name", "user__username")
    raw_id_fields = ("user",)
    actions = ("revoke_now",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is revoked, not changed; the list's actions still need the right to see it."""
        return obj is None and super().has_change_permission(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The default expiry (settings: API_TOKEN_DAYS; 0 is none)."""
        initial: dict[str, Any] = dict(super().get_changeform_initial_data(request))
        if settings.API_TOKEN_DAYS:
            initial["expires_at"] = timezone.now() + timedelta(days=settings.API_TOKEN_DAYS)
        return initial

    def save_model(
        self,
        request: HttpRequest,
        obj: ApiToken,
        form: Any,
        change: bool,
    ) -> None:
        """Create the token and show it, this once."""
        lifetime = obj.expires_at - timezone.now() if obj.expires_at else None
        row, raw = tokens.create_api_token(
            obj.user,
            obj.name,
            lifetime=lifetime,
            scopes=obj.scopes,
            clusters=obj.clusters,
            wire=obj.wire,
        )
        obj.pk = row.pk
        obj.hint = row.hint
        messages.warning(request, f"The token is {raw} and is never shown again.")

    @admin.action(description=_("Revoke now"))
    def revoke_now(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke the selected tokens."""
        for token in queryset:
            tokens.revoke(token.user, token.pk)
            self.log_change(request, token, [{"changed": {"fields": ["revoked_at"]}}])


@admin.register(AuditEntry)
class AuditAdmin(ReadOnly, ModelAdmin[AuditEntry]):
    """The audit trail, newest first."""

    list_display = (
        "at",
        "username",
        "verb",
        "kind",
        "cluster",
        "namespace",
        "name",
        "result",
        "address",
        "dialect",
    )
    list_filter = ("result", "dialect", "verb", "kind", "cluster")
    # Whole words, which indexes answer: there may be millions of rows.
    search_fields = ("username__exact", "name__exact", "request_id__exact")


@admin.register(ExternalIdentity)
class ExternalIdentityAdmin(ModelAdmin[ExternalIdentity]):
    """The subject of a user at the sign-in provider.

    After deletion the provider's username can be bound to another user.
    """

    list_display = ("subject", "issuer", "user", "created_at")
    search_fields = ("subject", "user__username")
    list_select_related = ("user",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Created by signing in only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never by hand."""
        return False


@admin.register(Preferences)
class PreferencesAdmin(ReadOnly, ModelAdmin[Preferences]):
    """How users arranged the console."""

    list_display = ("user", "updated_at")
    search_fields = ("user__username",)
