"""Kubeconfigs for the gateway: a context for each cluster, and an API token that expires."""

import base64
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import yaml
from django.contrib.auth.models import AbstractBaseUser

from access import tokens
from access.models import ApiToken
from clusters import dns_names
from clusters.cluster_fields import FLEET
from clusters.models import Cluster
from core.errors import Invalid
from gateway import certificates

DEFAULT_LIFETIME = "720h"
LONGEST_LIFETIME = timedelta(days=36500)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?[dhms])+")
_PART = re.compile(r"([0-9.]+)([dhms])")


def parse_lifetime(value: object) -> timedelta:
    """A duration as Go writes it (`720h`, `1h30m`), also in days (`30d`); Invalid otherwise."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise Invalid("expires_in must be a duration such as 720h or 30m", field="expires_in")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    if not 1 <= seconds <= LONGEST_LIFETIME.total_seconds():
        raise Invalid("expires_in must be from 1s to 876000h", field="expires_in")
    return timedelta(seconds=seconds)


def check_namespace(value: object) -> str:
    """The namespace of the contexts, "" for the cluster's default; Invalid for what is no name."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or not dns_names.LABEL.match(value):
        raise Invalid("namespace must be the name of a namespace", field="namespace")
    return value


def issue(
    user: AbstractBaseUser,
    clusters: Sequence[Cluster],
    base_url: str,
    *,
    lifetime: timedelta,
    scopes: Sequence[str] = (),
    namespace: str = "",
    with_fleet: bool = False,
) -> tuple[ApiToken, str]:
    """(the token's row, the kubeconfig as YAML). The token is in it, and nowhere else.

    `base_url` is where clients reach the gateway. A token for one cluster is bound to it; one with
    the fleet is for every cluster that its user may see.
    """
    names = [cluster.name for cluster in clusters]
    bound = [] if with_fleet else names
    label = "kubeconfig" if with_fleet else f"kubeconfig {', '.join(names)}"
    row, raw = tokens.create_api_token(
        user,
        label[:100],
        lifetime=lifetime,
        scopes=scopes,
        clusters=bound,
    )
    contexts = [*names, FLEET] if with_fleet else names
    username = f"kubegale-{user.get_username()}"
    document = _document(contexts, base_url, username, raw, namespace)
    return row, yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _document(
    contexts: Sequence[str], base_url: str, username: str, token: str, namespace: str
) -> dict[str, Any]:
    authority = certificates.authority()
    trust = {"certificate-authority-data": _base64(authority)} if authority else {}
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": f"{base_url}/kube/{quote(name, safe='')}", **trust},
            }
            for name in contexts
        ],
        "users": [{"name": username, "user": {"token": token}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": username, **place}}
            for name in contexts
        ],
        "current-context": contexts[0],
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
