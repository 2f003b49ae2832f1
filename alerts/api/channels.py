"""Channels and deliveries over JSON: /alerts/channels, their tests, /alerts/deliveries."""

from typing import Any

from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from alerts import rules
from alerts.api import rights
from alerts.models import Channel, Delivery
from alerts.notifications import channels, deliveries
from core import outbox
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
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Forbidden, Invalid, NotFound

KIND = {"type": "string", "enum": Channel.Kind.values}
LANGUAGE = {"type": "string", "enum": ["en", "zh"]}
CONFIG = record(
    required=(),
    url=TEXT,
    secret=TEXT,
    to=array(TEXT),
    language=LANGUAGE,
)
CHANNEL = record(
    id=INTEGER,
    name=TEXT,
    kind=KIND,
    config=CONFIG,
    enabled=BOOLEAN,
    tenant_id=nullable(INTEGER),
    owner=TEXT,
    created_at=TEXT,
    updated_at=TEXT,
)
NEW_CHANNEL = {
    **CHANNEL,
    "properties": {
        **CHANNEL["properties"],
        "secret": {
            "type": "string",
            "description": "The signing key that was made for a webhook, shown this once.",
        },
    },
}
# The members of `config` are checked by kind, which says more than a list of all of them.
BODY = record(
    required=("name", "kind", "config"),
    name=TEXT,
    kind=KIND,
    config=OBJECT,
    enabled=BOOLEAN,
    tenant_id=nullable(INTEGER),
)
CHANGE = {name: part for name, part in BODY.items() if name != "required"}
READ_ONLY = ("id", "owner", "created_at", "updated_at")
ATTEMPT = record(
    at=TEXT,
    status=nullable(INTEGER),
    error=TEXT,
)
STATE = {"type": "string", "enum": outbox.State.values}
DELIVERY = record(
    id=INTEGER,
    channel_id=INTEGER,
    channel=TEXT,
    kind=KIND,
    rule_id=nullable(INTEGER),
    group_key=TEXT,
    idempotency_key=TEXT,
    test=BOOLEAN,
    state=STATE,
    status=nullable(INTEGER),
    error=TEXT,
    attempts=INTEGER,
    log=array(ATTEMPT),
    created_at=TEXT,
    next_try=nullable(TEXT),
    finished_at=nullable(TEXT),
)
TEST = record(
    delivered=BOOLEAN,
    status=nullable(INTEGER),
    error=TEXT,
    delivery_id=INTEGER,
)


class ChannelViewSet(ViewSetMixin, DialectView):
    """Channels: those of their maker and of the maker's tenants; admins see all."""

    aliases = {"tenant": "tenant_id"}
    operations = {
        "list": OperationSchema(
            "Channels that you may use",
            CHANNEL,
            query=(QueryParameter("kind", KIND), *PAGING),
            paged=True,
            answer_name="AlertChannel",
        ),
        "create": OperationSchema(
            "Make a channel",
            NEW_CHANNEL,
            body=BODY,
            answer_name="NewAlertChannel",
        ),
        "retrieve": OperationSchema("One channel", CHANNEL, answer_name="AlertChannel"),
        "update": OperationSchema(
            "Change a channel; secrets that are left out stay",
            CHANNEL,
            body=CHANGE,
            also_body=READ_ONLY,
            answer_name="AlertChannel",
        ),
        "destroy": OperationSchema("Delete a channel and its deliveries", OBJECT),
        "test": OperationSchema("Send a test notification now, once", TEST),
    }

    def list(self, request: Request) -> Any:
        """One page, oldest first."""
        viewer = rights.viewer_of(self, request)
        query = request.query_params
        page = page_request(query)
        rows = Channel.objects.filter(rights.usable_channels(viewer))
        if kind := query.get("kind", ""):
            rows = rows.filter(kind=kind)
        if keyword := query.get("keyword", ""):
            rows = rows.filter(name__icontains=keyword)
        selected = rows.select_related("owner").order_by("pk")
        items = [channels.represent(row) for row in selected[page.offset : page.offset + page.size]]
        return Page(items, rows.count(), page.page, page.size)

    def create(self, request: Request) -> Any:
        """The channel; with `secret` when a signing key was made for it."""
        rights.refuse_token_of_clusters(request, "channels")
        authorise(self, request, AccessAttributes("create", "alertchannels"))
        body = self._body(request)
        annotate(
            request,
            name=str(body.get("name") or "")[:200],
        )
        owner: Any = request.user
        channel = Channel(owner=owner)
        self._set_tenant(request, channel, body)
        channels.apply_body(channel, body)
        channel.save()
        answer = channels.represent(channel)
        if secret := channels.generated_secret(channel, body):
            answer["secret"] = secret
        return answer

    def retrieve(self, request: Request, pk: str) -> Any:
        """One channel."""
        return channels.represent(self._visible(request, pk))

    def update(self, request: Request, pk: str) -> Any:
        """The channel with the members of the body."""
        channel = self._changeable(request, pk, "update")
        viewer = rights.viewer_of(self, request)
        body = self._body(request)
        if "id" in body and body["id"] != channel.pk:
            raise Invalid("id cannot be changed", field="id")
        if "tenant_id" in body and body["tenant_id"] != channel.tenant_id:
            if body["tenant_id"] is None and not viewer.owns(channel.owner_id):
                raise Forbidden("only its owner may take a channel out of its tenant")
            self._set_tenant(request, channel, body)
        channels.apply_body(channel, body)
        channel.save()
        return channels.represent(channel)

    def destroy(self, request: Request, pk: str) -> Any:
        """{}: rules that named it no longer do."""
        channel = self._changeable(request, pk, "delete")
        annotate(request, name=channel.name)
        channel.delete()
        return {}

    def test(self, request: Request, pk: str) -> Any:
        """{"delivered", "status", "error", "delivery_id"}: what the receiver said just now."""
        channel = self._changeable(request, pk, "test")
        annotate(request, name=channel.name)
        row = deliveries.send_test(channel)
        shown = deliveries.represent(row)
        return {
            "delivered": row.state == outbox.State.DELIVERED,
            "status": shown["status"],
            "error": shown["error"],
            "delivery_id": row.pk,
        }

    def _body(self, request: Request) -> dict[str, Any]:
        body = json_body(request)
        if "tenant" in body:
            body["tenant_id"] = body.pop("tenant")
        return body

    def _set_tenant(self, request: Request, channel: Channel, body: dict[str, Any]) -> None:
        """Invalid for an unknown tenant, Forbidden for one in which the caller may not write."""
        value = body.get("tenant_id")
        channel.tenant = None if value is None else rules.find_tenant(value)
        self._require_write(request, channel, "create")

    def _visible(self, request: Request, pk: str) -> Channel:
        usable = rights.usable_channels(rights.viewer_of(self, request))
        channel = channels.find(pk)
        if not Channel.objects.filter(usable, pk=channel.pk).exists():
            raise NotFound("there is no such channel")
        return channel

    def _changeable(self, request: Request, pk: str, verb: str) -> Channel:
        authorise(self, request, AccessAttributes(verb, "alertchannels", name=pk[:100]))
        viewer = rights.viewer_of(self, request)
        channel = self._visible(request, pk)
        if not viewer.owns(channel.owner_id):
            self._require_write(request, channel, verb)
        return channel

    def _require_write(self, request: Request, channel: Channel, verb: str) -> None:
        """Forbidden unless the caller may change alerts in the channel's tenant."""
        tenant = channel.tenant
        if tenant is not None:
            act = AccessAttributes(
                verb,
                "alerts",
                cluster=str(tenant.cluster_id),
                namespace=tenant.namespace,
            )
            authorise(self, request, act)


class Deliveries(DialectView):
    """GET /alerts/deliveries."""

    operations = {
        "get": OperationSchema(
            "Notifications and their attempts, newest first",
            DELIVERY,
            query=(
                QueryParameter("channel_id", INTEGER),
                QueryParameter("rule_id", INTEGER),
                QueryParameter("state", STATE),
                *PAGING[:2],
            ),
            paged=True,
            answer_name="AlertDelivery",
        )
    }

    def get(self, request: Request) -> Any:
        """One page of the deliveries of channels that the caller may use."""
        viewer = rights.viewer_of(self, request)
        query = request.query_params
        page = page_request(query)
        usable = Channel.objects.filter(rights.usable_channels(viewer))
        rows = Delivery.objects.filter(channel__in=usable.values("pk"))
        if state := query.get("state", ""):
            if state not in outbox.State.values:
                raise Invalid(
                    "state must be pending, delivered or failed",
                    field="state",
                )
            rows = rows.filter(state=state)
        for name, column in (("channel_id", "channel"), ("rule_id", "group__rule")):
            if value := query.get(name, ""):
                rows = rows.filter(**{column: integer(value, name, minimum=0, maximum=2**63 - 1)})
        selected = rows.select_related("channel", "group")[page.offset : page.offset + page.size]
        items = [deliveries.represent(row) for row in selected]
        return Page(items, rows.count(), page.page, page.size)
