"""Tenants, quota plans and usage in the admin."""

from django.contrib import admin

from core.api.admin import ModelAdmin, ModelForm, ReadOnly
from core.errors import DomainError
from tenants import plans
from tenants.models import QuotaPlan, Tenant, UsageSample


@admin.register(Tenant)
class TenantAdmin(ReadOnly, ModelAdmin[Tenant]):
    """Tenants.

    They are created, changed and deleted together with their namespace: in the API or the console.
    """

    list_display = ("namespace", "cluster", "contact", "created_at", "created_by")
    list_filter = ("cluster",)
    search_fields = ("namespace", "contact")


class QuotaPlanForm(ModelForm[QuotaPlan]):
    """Refuses what the API refuses."""

    class Meta:
        model = QuotaPlan
        fields = ("name", "description", "hard")

    def clean_hard(self) -> dict[str, str]:
        """Quantities under the names of quotas."""
        try:
            return plans.check_hard(self.cleaned_data["hard"])
        except DomainError as error:
            self.add_error("hard", error.message)
            return {}


@admin.register(QuotaPlan)
class QuotaPlanAdmin(ModelAdmin[QuotaPlan]):
    """Templates of quotas."""

    form = QuotaPlanForm
    list_display = ("name", "description", "hard")
    search_fields = ("name", "description")


@admin.register(UsageSample)
class TenantUsageAdmin(ReadOnly, ModelAdmin[UsageSample]):
    """Samples of what tenants used of their quotas."""

    list_display = ("tenant", "at", "used", "hard")
    search_fields = ("tenant__namespace",)
    list_filter = ("tenant__cluster",)
    list_select_related = ("tenant", "tenant__cluster")
