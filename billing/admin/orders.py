"""Plans, orders, deploys, the ledger and its evidence."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from billing.admin.pages import secret_page
from billing.models import Deployment, Entry, Order, Payment, Plan, PortClaim, Posting, UsageSample
from billing.models.orders import UNITS
from billing.services import deployments, expiry, ledger, orders
from core.api.admin import ModelAdmin, ModelForm, ReadOnly, TabularInline
from core.errors import DomainError


class PlanForm(ModelForm[Plan]):
    """Sizes and regions that make sense."""

    class Meta:
        model = Plan
        fields = ("name", "price", "units", "regions", "active")

    def clean_units(self) -> list[int]:
        """Some of the sizes that the document knows."""
        units = self.cleaned_data["units"]
        if (
            not isinstance(units, list)
            or not units
            or not set(map(str, units)) <= set(map(str, UNITS))
        ):
            raise forms.ValidationError(f"a list of some of {', '.join(map(str, UNITS))}")
        return sorted(int(unit) for unit in units)

    def clean_regions(self) -> list[str]:
        """Names."""
        regions = self.cleaned_data["regions"] or []
        if not isinstance(regions, list) or not all(
            isinstance(region, str) and region for region in regions
        ):
            raise forms.ValidationError("a list of names; empty is everywhere")
        return regions


@admin.register(Plan)
class PlanAdmin(ModelAdmin[Plan]):
    """Plans."""

    form = PlanForm
    list_display = ("name", "price", "units", "regions", "active")
    search_fields = ("name",)
    list_filter = ("active",)


class PaymentInline(ReadOnly, TabularInline[Payment, Order]):
    """An order's payments and refunds."""

    model = Payment
    fields = ("at", "amount", "reference", "by")
    extra = 0


class DeploymentInline(ReadOnly, TabularInline[Deployment, Order]):
    """An order's deploys."""

    model = Deployment
    fields = (
        "created_at",
        "cluster",
        "region",
        "state",
        "memory_bytes",
        "ready_at",
        "removed_at",
        "error",
    )
    extra = 0


class OrderForm(ModelForm[Order]):
    """What an operator decides of a new order; price and amount follow from the plan."""

    class Meta:
        model = Order
        fields = ("plan", "owner", "units", "duration", "region", "ports", "address", "public_key")

    def clean(self) -> dict[str, Any]:
        """Refuse what buying by command refuses, in the same words."""
        values = super().clean() or self.cleaned_data
        # What was bought is read-only then: only owner and address can change.
        if self.instance.pk and not self.instance._state.adding:
            return values
        if not self.errors:
            try:
                orders.check(self.purchase(), values["plan"])
            except DomainError as error:
                raise forms.ValidationError(error.message) from None
        return values

    def purchase(self) -> orders.PurchaseRequest:
        """The form as a request to buy."""
        values = self.cleaned_data
        return orders.PurchaseRequest(
            units=values["units"],
            duration=values["duration"],
            region=values["region"],
            random_ports=values["ports"] == Order.Ports.RANDOM,
            plan=values["plan"].name,
            address=values["address"],
            public_key=values["public_key"],
        )


@admin.register(Order)
class OrderAdmin(ModelAdmin[Order]):
    """Orders."""

    form = OrderForm
    list_display = (
        "id",
        "plan",
        "owner",
        "units",
        "region",
        "amount",
        "amount_paid",
        "status",
        "service",
        "expires_at",
    )
    list_filter = ("status", "service", "plan", "region")
    search_fields = ("id", "region", "address", "owner__username")
    list_select_related = ("plan", "owner")
    inlines = (PaymentInline, DeploymentInline)
    actions = ("pay", "rotate_secret", "refund", "expire")
    bought = ("plan", "units", "duration", "region", "ports", "public_key")
    facts = (
        *(
            "price",
            "amount",
            "amount_paid",
            "charged",
            "balance",
            "status",
            "service",
            "service_name",
            "secret_issued_at",
        ),
        *("created_at", "updated_at", "activated_at", "expires_at", "closed_at"),
    )

    def get_fields(self, request: HttpRequest, obj: Order | None = None) -> Any:
        """A new order has only what is asked for."""
        return (*OrderForm.Meta.fields, *(self.facts if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Order | None = None) -> Any:
        """What was bought does not change afterwards."""
        return (*self.bought, *self.facts) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The books name every order."""
        return False

    @admin.display(description=_("charged"))
    def charged(self, obj: Order) -> str:
        """What the use of the order has cost so far."""
        return f"{ledger.charged_amount(obj):f}"

    @admin.display(description=_("balance"))
    def balance(self, obj: Order) -> str:
        """What the order has paid and not used."""
        return f"{ledger.balance(obj):f}"

    def save_model(
        self,
        request: HttpRequest,
        obj: Order,
        form: Any,
        change: bool,
    ) -> None:
        """A new order is made as everywhere else; of an old one only owner and address change."""
        if change:
            orders.annotate(obj, owner=obj.owner, address=obj.address)
            return
        order = orders.create(form.purchase(), owner=form.cleaned_data["owner"])
        # The admin goes on with its own instance, for example to log the addition.
        obj.__dict__.update(order.__dict__)

    @admin.action(
        description=_("Record the whole payment and show the secret"), permissions=["change"]
    )
    def pay(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Record the whole payment of each order and show its secret."""
        by = request.user.get_username()
        return self._secrets(request, queryset, lambda order: orders.pay(order, by=by)[1] or "")

    @admin.action(description=_("Issue a new secret and show it"), permissions=["change"])
    def rotate_secret(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Issue new secrets; the old ones are void."""
        return self._secrets(request, queryset, orders.rotate_secret)

    def _secrets(
        self,
        request: HttpRequest,
        queryset: QuerySet[Order],
        act: Callable[[Order], str],
    ) -> HttpResponse | None:
        rows: list[tuple[object, str]] = []
        self._each(request, queryset, lambda order: rows.append((order.pk, act(order))))
        # Every order was refused, and the messages say why.
        if not rows:
            return None
        return secret_page(
            request,
            title="Secrets",
            subject="order",
            what="secret",
            rows=rows,
            model=Order,
        )

    @admin.action(description=_("Refund what was not used, and end it"), permissions=["change"])
    def refund(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Refund each order and show how much is paid back."""
        by = request.user.get_username()
        self._each(
            request,
            queryset,
            lambda order: messages.success(
                request, f"{order}: {expiry.refund(order, by=by):f} goes back"
            ),
        )

    @admin.action(description=_("End it if its time is over"), permissions=["change"])
    def expire(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Do now what the periodic task does."""
        self._each(
            request,
            queryset,
            lambda order: messages.info(request, f"{order}: {self._expired(order)}"),
        )

    @staticmethod
    def _expired(order: Order) -> str:
        has_ended = expiry.expire(order)
        # Also for an order that ended before: its removal may have failed then.
        deployments.remove_pending(order)
        return "ended" if has_ended else "its time is not over, or it ended before"

    @staticmethod
    def _each(
        request: HttpRequest, queryset: QuerySet[Order], act: Callable[[Order], object]
    ) -> None:
        """One refusal does not stop the rest."""
        for order in queryset:
            try:
                act(order)
            except DomainError as error:
                messages.error(request, f"{order}: {error.message}")


@admin.register(Deployment)
class DeploymentAdmin(ReadOnly, ModelAdmin[Deployment]):
    """Deploys."""

    list_display = (
        "order",
        "cluster",
        "region",
        "name",
        "state",
        "created_at",
        "ready_at",
        "removed_at",
        "error",
    )
    list_filter = ("state", "region", "cluster")
    search_fields = ("order__id", "name")
    list_select_related = ("order", "cluster")


class EntryInline(ReadOnly, TabularInline[Entry, Posting]):
    """The sides of a posting."""

    model = Entry
    fields = ("account", "amount")
    extra = 0


@admin.register(Posting)
class PostingAdmin(ReadOnly, ModelAdmin[Posting]):
    """The ledger."""

    list_display = ("id", "order", "kind", "at", "first_sample", "last_sample")
    list_filter = ("kind",)
    search_fields = ("order__id", "key")
    list_select_related = ("order",)
    inlines = (EntryInline,)


@admin.register(UsageSample)
class UsageSampleAdmin(ReadOnly, ModelAdmin[UsageSample]):
    """Evidence of use."""

    list_display = (
        "id",
        "order",
        "cluster",
        "pod_name",
        "at",
        "since",
        "memory_bytes",
        "running_ms",
    )
    search_fields = ("order__id", "pod_name")
    list_select_related = ("order", "cluster")


@admin.register(Payment)
class PaymentAdmin(ReadOnly, ModelAdmin[Payment]):
    """Money in and out; noted on an order's page."""

    list_display = ("at", "order", "amount", "reference", "by")
    search_fields = ("order__id", "reference")
    list_select_related = ("order",)


@admin.register(Entry)
class EntryAdmin(ReadOnly, ModelAdmin[Entry]):
    """The ledger, side by side."""

    list_display = ("id", "posting", "account", "amount")
    search_fields = ("account",)
    list_select_related = ("posting",)


@admin.register(PortClaim)
class PortClaimAdmin(ReadOnly, ModelAdmin[PortClaim]):
    """Host ports that are held."""

    list_display = ("port", "protocol", "region", "cluster", "deployment", "container_port")
    search_fields = ("region", "protocol")
    list_filter = ("region", "cluster")
    list_select_related = ("cluster", "deployment")
