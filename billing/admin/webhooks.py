"""Webhooks and their deliveries."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from billing.admin.pages import secret_page
from billing.models import Delivery, Webhook
from billing.services import webhooks
from core import clock, outbox
from core.api.admin import ModelAdmin, ModelForm, ReadOnly
from core.errors import DomainError


class WebhookForm(ModelForm[Webhook]):
    """An address that may be called, and events that exist."""

    url = forms.CharField(max_length=500, widget=AdminTextInputWidget())

    class Meta:
        model = Webhook
        fields = ("url", "events", "active")

    def clean(self) -> dict[str, Any]:
        """Refuse what the command refuses, in the same words."""
        values = super().clean() or self.cleaned_data
        try:
            webhooks.check(values.get("url", ""), values.get("events") or [])
        except DomainError as error:
            raise forms.ValidationError(error.message) from None
        return values


@admin.register(Webhook)
class WebhookAdmin(ModelAdmin[Webhook]):
    """Receivers of events."""

    form = WebhookForm
    list_display = ("url", "events", "active", "created_at")
    search_fields = ("url",)

    def save_model(
        self,
        request: HttpRequest,
        obj: Webhook,
        form: Any,
        change: bool,
    ) -> None:
        """A new one gets its signing key."""
        if change:
            super().save_model(request, obj, form, change)
            return
        webhook, _ = webhooks.create(obj.url, obj.events or [])
        # The admin goes on with its own instance, whose key the next page shows.
        obj.__dict__.update(webhook.__dict__)

    def response_add(
        self,
        request: HttpRequest,
        obj: Webhook,
        post_url_continue: str | None = None,
    ) -> HttpResponse:
        """The signing key, once."""
        return secret_page(
            request,
            title="Signing key",
            subject="webhook",
            what="key",
            rows=[(obj.url, obj.key)],
            model=Webhook,
        )


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, ModelAdmin[Delivery]):
    """Events that were sent, and the receivers' answers."""

    list_display = (
        "event",
        "order",
        "webhook",
        "state",
        "attempts",
        "created_at",
        "due_at",
        "answer",
    )
    list_filter = ("state", "event")
    search_fields = ("order__id",)
    list_select_related = ("order", "webhook")
    actions = ("send_again",)

    @admin.action(description=_("Send again"), permissions=["view"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Make the selected deliveries due now, with all their attempts left."""
        count = queryset.update(
            state=outbox.State.PENDING,
            attempts=0,
            due_at=clock.now(),
            finished_at=None,
        )
        messages.success(request, f"{count} will be sent again")
