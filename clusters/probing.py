"""Trying a connection: what an API server answers to credentials, what a kubeconfig says."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from django.utils import timezone

from clusters import credentials, dns_names, kubeconfig
from clusters.client import ClusterClient
from clusters.kinds import KINDS
from core.errors import ClusterUnavailable, DomainError, Forbidden

UID = re.compile(r"[-A-Za-z0-9._]{1,64}\Z")
SELF_REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "list", "resource": "namespaces"}},
}


def probe(trial_client: ClusterClient) -> str:
    """The server's version, read with the credentials; ClusterUnavailable names the cause.

    The version is "" where only administrators may read it.
    """
    try:
        return _probe(trial_client)
    except ClusterUnavailable as error:
        if not _may_be_credentials(error):
            raise
        # A server does not say that credentials have expired, so the kubeconfig is looked at.
        expiry = credentials.expiry(trial_client.access)
        if expiry and expiry <= timezone.now():
            raise ClusterUnavailable(
                f"the kubeconfig's credentials expired on {expiry:%Y-%m-%d at %H:%M} UTC",
                reason="credential_invalid",
                expired_at=f"{expiry:%Y-%m-%dT%H:%M:%SZ}",
            ) from error
        beginning = credentials.validity_start(trial_client.access)
        if beginning and beginning > timezone.now():
            raise ClusterUnavailable(
                f"the kubeconfig's credentials are valid from {beginning:%Y-%m-%d at %H:%M} UTC on",
                reason="credential_invalid",
            ) from error
        raise


def _may_be_credentials(error: ClusterUnavailable) -> bool:
    """Whether the server refused the credentials, or hung up.

    In TLS 1.3 its alert about our certificate may be lost when it hangs up.
    """
    details = error.details
    return details.get("cause") in ("credentials", "broken") or details.get("tls") == "handshake"


def _probe(trial_client: ClusterClient) -> str:
    version = ""
    refusal: Forbidden | None = None
    try:
        version = trial_client.version()
    except Forbidden as error:
        # Hardened clusters show it to administrators only; the review below decides.
        refusal = error
    try:
        # /version answers anyone on most clusters; a review only those with good credentials.
        trial_client.request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body=SELF_REVIEW,
        )
    except Forbidden as error:
        raise _without_rights(error) from error
    except DomainError as error:
        if refusal:
            raise _without_rights(refusal) from error
        if isinstance(error, ClusterUnavailable):
            raise
    return version


def _without_rights(refusal: Forbidden) -> ClusterUnavailable:
    """The error for credentials that may not even ask what they may do."""
    if "system:anonymous" in refusal.message:
        return ClusterUnavailable(
            "the cluster takes the caller for system:anonymous:"
            " the kubeconfig has no credentials that it knows",
            reason="credential_invalid",
        )
    return ClusterUnavailable(
        "the cluster knows these credentials but allows them nothing",
        reason="forbidden",
    )


def kubeconfig_facts(trial_client: ClusterClient, text: str) -> dict[str, Any]:
    """Columns of a cluster that come from its kubeconfig, none of them secret.

    {"context","contexts","credentials_expire_at","system_uid"}.
    """
    config = kubeconfig.parse(text)
    return {
        "context": kubeconfig.context_name(config)[:500],
        "contexts": kubeconfig.contexts(config)[: kubeconfig.MAX_CONTEXTS],
        "credentials_expire_at": credentials.expiry(trial_client.access),
        "system_uid": system_uid(trial_client),
    }


def own_namespaces(trial_client: ClusterClient, text: str) -> list[str]:
    """The namespaces to read with credentials that may not list all of them.

    That is the context's namespace, if they may list something in it.
    """
    namespace = kubeconfig.context_namespace(kubeconfig.parse(text))
    if not dns_names.LABEL.match(namespace):
        return []
    try:
        if _review(trial_client, "selfsubjectaccessreviews", SELF_REVIEW).get("allowed"):
            return []
        spec = {"namespace": namespace}
        rules = _review(trial_client, "selfsubjectrulesreviews", {"spec": spec})
    except (DomainError, orjson.JSONDecodeError):
        return []
    verbs: set[str] = set()
    for rule in rules.get("resourceRules") or []:
        verbs.update(rule.get("verbs") or [])
    return [namespace] if verbs & {"list", "*"} else []


def _review(
    trial_client: ClusterClient,
    plural: str,
    body: Mapping[str, Any],
) -> Mapping[str, Any]:
    """The status of a review of the credentials' own rights."""
    path = f"/apis/authorization.k8s.io/v1/{plural}"
    review = orjson.loads(trial_client.request("POST", path, body=body))
    status = review.get("status") if isinstance(review, dict) else None
    return status if isinstance(status, dict) else {}


def system_uid(trial_client: ClusterClient) -> str:
    """The uid of the namespace kube-system, "" when it may not be read.

    It identifies an API server under any of its addresses.
    """
    try:
        namespace = orjson.loads(trial_client.get(KINDS["namespaces"], "kube-system"))
        uid = str(namespace["metadata"]["uid"])
        return uid if UID.match(uid) else ""
    except (DomainError, orjson.JSONDecodeError, KeyError, TypeError):
        return ""
