"""Which form an answer takes: what the Accept header asks for, as an API server reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Form(StrEnum):
    """The forms that the store's answers have."""

    OBJECT = "object"
    TABLE = "table"
    METADATA = "metadata"
    DISCOVERY = "discovery"


class NotAcceptable(Exception):
    """None of the media types that the client takes can be given."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """What to answer with: the form, whether as YAML, and the Content-Type.

    `version` is that of a Table, of metadata alone or of aggregated discovery.
    """

    form: Form = Form.OBJECT
    version: str = ""
    is_yaml: bool = False
    content_type: str = "application/json"


JSON = MediaType()
YAML = MediaType(is_yaml=True, content_type="application/yaml")
_JSON_RANGES = frozenset({"application/json", "application/*", "*/*"})
_META_VERSIONS = frozenset({"v1", "v1beta1"})
_DISCOVERY_VERSIONS = frozenset({"v2", "v2beta1"})
MAX_CLAUSES = 64


@dataclass(frozen=True, slots=True)
class _Clause:
    media_range: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0


def choose_media_type(
    accept: str,
    forms: frozenset[Form],
    *,
    stream: bool = False,
) -> MediaType:
    """The first acceptable media type in the client's order of preference.

    `forms` are those that the answer has; a `stream` of events has no YAML. NotAcceptable when
    there is none.
    """
    if not accept.strip():
        return JSON
    for clause in _parse_accept(accept):
        chosen = _media_type(clause, forms)
        if chosen is not None and not (stream and chosen.is_yaml):
            return chosen
    raise NotAcceptable


def _parse_accept(accept: str) -> list[_Clause]:
    clauses = []
    for text in accept.split(",")[:MAX_CLAUSES]:
        media_range, *pairs = [part.strip() for part in text.split(";")]
        parameters = dict(pair.partition("=")[::2] for pair in pairs)
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            weight = 1.0
        if weight > 0:
            clauses.append(
                _Clause(
                    media_range.lower(),
                    parameters,
                    weight,
                )
            )
    # Sorting is stable: clauses of equal weight stay in the client's order.
    return sorted(clauses, key=lambda clause: -clause.weight)


def _media_type(
    clause: _Clause,
    forms: frozenset[Form],
) -> MediaType | None:
    parameters = clause.parameters
    group = parameters.get("g", "")
    version = parameters.get("v", "")
    form_name = parameters.get("as", "")
    if clause.media_range in ("application/yaml", "application/x-yaml") and not form_name:
        return YAML
    if clause.media_range not in _JSON_RANGES:
        return None
    if not form_name:
        return JSON
    if group == "meta.k8s.io" and version in _META_VERSIONS:
        if form_name == "Table" and Form.TABLE in forms:
            return MediaType(Form.TABLE, version)
        if form_name in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return (
                MediaType(
                    Form.METADATA,
                    version,
                )
                if Form.METADATA in forms
                else None
            )
    is_discovery = group == "apidiscovery.k8s.io" and form_name == "APIGroupDiscoveryList"
    if is_discovery and version in _DISCOVERY_VERSIONS and Form.DISCOVERY in forms:
        content_type = f"application/json;g={group};v={version};as={form_name}"
        return MediaType(
            Form.DISCOVERY,
            version,
            content_type=content_type,
        )
    return None
