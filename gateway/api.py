"""Kubeconfigs for the gateway, and links that open ports through it, over JSON."""

from collections.abc import Sequence
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from rest_framework.request import Request

from access import tokens
from access.models import ApiToken
from clusters import registry
from clusters.models import Cluster
from core.api.audit import annotate
from core.api.audit import record as record_act
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.long_lived import stream_policy
from core.api.parsing import json_body
from core.api.schema import INTEGER, TEXT, OperationSchema, array, nullable, record
from core.errors import Forbidden
from core.times import rfc3339
from gateway import kubeconfigs, port_links
from gateway.rights import ADMINISTER

BODY = record(
    expires_in={
        "type": "string",
        "description": "How long its token is valid, e.g. 720h (the default) or 30m.",
    },
    namespace=nullable({"type": "string", "description": "The namespace of its contexts."}),
    scopes=nullable(array(TEXT)),
)
ANSWER = record(
    kubeconfig={"type": "string", "description": "YAML with the token, which is shown this once."},
    token_id={**INTEGER, "description": "Of the token, which DELETE /auth/tokens/{id} revokes."},
    expires_at=TEXT,
)
LINK_BODY = record(
    namespace=TEXT,
    resource={"type": "string", "enum": list(port_links.RESOURCES)},
    name=TEXT,
    port={"type": "string", "description": "A number, or the name of a port of a Service."},
    scheme={"type": "string", "enum": list(port_links.SCHEMES), "description": "http if absent."},
    required=("namespace", "resource", "name", "port"),
)
LINK = record(
    path={
        "type": "string",
        "description": "What a browser opens, on the host of this API; the secret is in it.",
    },
    expires_at=TEXT,
)


def _require_person(request: Request) -> AbstractBaseUser:
    """The user, for a caller who signed in; Forbidden for one with an API token.

    A token makes no tokens: a narrow one could make a wide one.
    """
    event = record_act(request, AccessAttributes("create", "tokens"))
    if isinstance(request.auth, ApiToken):
        event.allowed = False
        raise Forbidden("an API token cannot make a kubeconfig: sign in with your password")
    return cast(AbstractBaseUser, request.user)


def base_url(request: Request) -> str:
    """Where clients reach the gateway: GATEWAY_URL, else where this request came to."""
    return settings.GATEWAY_URL or f"{request.scheme}://{request.get_host()}"


def _issue(
    request: Request,
    user: AbstractBaseUser,
    clusters: Sequence[Cluster],
    *,
    with_fleet: bool,
) -> dict[str, Any]:
    body = json_body(request)
    lifetime = kubeconfigs.parse_lifetime(body.get("expires_in", kubeconfigs.DEFAULT_LIFETIME))
    namespace = kubeconfigs.check_namespace(body.get("namespace"))
    scopes = tokens.check_scopes(body.get("scopes"))
    row, text = kubeconfigs.issue(
        user,
        clusters,
        base_url(request),
        lifetime=lifetime,
        scopes=scopes,
        namespace=namespace,
        with_fleet=with_fleet,
    )
    annotate(
        request,
        name=row.name,
        details={"hint": row.hint, "scopes": row.scopes, "clusters": row.clusters},
    )
    return {"kubeconfig": text, "token_id": row.pk, "expires_at": rfc3339(row.expires_at)}


class ClusterKubeconfig(DialectView):
    """POST /clusters/{id}/kubeconfig."""

    operations = {
        "post": OperationSchema(
            "Make a kubeconfig for one cluster, through the gateway",
            ANSWER,
            body=BODY,
            answer_name="Kubeconfig",
        ),
    }

    def post(self, request: Request, pk: str) -> Any:
        """The kubeconfig with a new API token that is bound to the cluster."""
        authorise(self, request, AccessAttributes("get", "clusters", cluster=pk))
        user = _require_person(request)
        self.check_input(request)
        return _issue(request, user, [registry.find(pk)], with_fleet=False)


class FleetKubeconfig(DialectView):
    """POST /kubeconfig."""

    operations = {
        "post": OperationSchema(
            "Make a kubeconfig for every cluster that you may see, through the gateway",
            ANSWER,
            body=BODY,
            answer_name="Kubeconfig",
        ),
    }

    def post(self, request: Request) -> Any:
        """The kubeconfig with a context for each cluster and one for the fleet."""
        scope = authorise(self, request, AccessAttributes("list", "clusters"))
        user = _require_person(request)
        self.check_input(request)
        rows = registry.clusters().defer("kubeconfig").order_by("name")
        if scope.clusters is not None:
            rows = rows.filter(pk__in=scope.clusters)
        return _issue(request, user, list(rows), with_fleet=True)


class ClusterPortLinks(DialectView):
    """POST /clusters/{id}/port-links."""

    operations = {
        "post": OperationSchema(
            "Make a link that opens a port of a pod or service in a browser, through the gateway",
            LINK,
            body=LINK_BODY,
            answer_name="PortLink",
        ),
    }

    def post(self, request: Request, pk: str) -> Any:
        """The path; it works for an hour, with the rights that the caller has by then."""
        body = json_body(request)
        words = {name: str(body.get(name) or "") for name in ("resource", "namespace", "name")}
        act = AccessAttributes(
            ADMINISTER,
            words["resource"],
            cluster=pk,
            namespace=words["namespace"],
            name=words["name"],
        )
        # The right comes before what is wrong with the rest of the body.
        authorise(self, request, act)
        place = port_links.check_place(body)
        link = port_links.PortLink(
            credential=stream_policy().credential(request),
            cluster=registry.find(pk).name,
            **place,
        )
        issued = port_links.issue(link)
        annotate(request, details={"port": link.port})
        return {"path": issued.path, "expires_at": rfc3339(issued.expires_at)}
