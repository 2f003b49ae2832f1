"""A client's certificate as a proxy describes it in a header, and the rules that admit it."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

# How the header is written: nginx, HAProxy and AWS hand on the subject alone, Envoy a record,
# Traefik and nginx the certificate.
FORMATS = ("dn", "xfcc", "pem")
# What the proxies' "verified" headers hold for a good certificate: nginx and Apache; HAProxy's
# ssl_c_verify.
VERIFIED = frozenset({"SUCCESS", "0"})
LONGEST = 8190
_NAMES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "C": NameOID.COUNTRY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
# `key=value` or `key="value"` of an XFCC element, and what ends it.
_MEMBER = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(;|$)', re.DOTALL)
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a header says of a certificate.

    `subject` is sorted (OID, value), `sha256` 64 hexadecimal digits in lower case; alternative
    names are split into URIs and DNS names.
    """

    subject: tuple[tuple[str, str], ...] = ()
    uris: frozenset[str] = frozenset()
    dns_names: frozenset[str] = frozenset()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a certificate has to say to be admitted; an empty rule admits every certificate.

    An attribute of the subject fits only when the certificate has no other value of it, so that no
    second CN passes for the first.
    """

    subject: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    uris: frozenset[str] = frozenset()
    dns_names: frozenset[str] = frozenset()
    sha256: str = ""

    def admits(self, certificate: Certificate) -> bool:
        """Whether the certificate fits all parts of the rule."""
        types = {oid for oid, _ in self.subject}
        same_types = [pair for pair in certificate.subject if pair[0] in types]
        return (
            certificate != Certificate()
            and sorted(same_types) == sorted(self.subject)
            and self.uris <= certificate.uris
            and self.dns_names <= certificate.dns_names
            and self.sha256 in ("", certificate.sha256)
        )


def parse_rule(text: str, form: str) -> Rule:
    """A rule from its text in the settings; ValueError with a sentence for anything else.

    `CN=payments`, several parts joined by `+`, or `*` for any certificate; `%XX` stands for a
    character that would end the value. A part that headers of this form never contain is refused.
    """
    if text == "*":
        return Rule()
    subject = set[tuple[str, str]]()
    uris = set[str]()
    dns_names = set[str]()
    sha256 = ""
    for part in text.split("+"):
        name, _, value = part.partition("=")
        name = name.strip()
        value = unquote(value, errors="strict").strip()
        if not value:
            raise ValueError(f"{part.strip()!r} is not of the form NAME=value")
        if name in ("URI", "DNS", "Hash") and form == "dn":
            raise ValueError(f"{name} is not part of a subject: CLIENT_CERT_FORMAT is dn")
        if name in _NAMES:
            subject.add((_NAMES[name].dotted_string, value))
        elif name == "URI":
            uris.add(value)
        elif name == "DNS":
            dns_names.add(value.lower())
        elif name == "Hash":
            if sha256 or not re.fullmatch("[0-9A-Fa-f]{64}", value):
                raise ValueError("Hash must be one SHA-256 of 64 hexadecimal digits")
            sha256 = value.lower()
        else:
            raise ValueError(f"{name!r} is none of {', '.join(_NAMES)}, URI, DNS, Hash")
    return Rule(
        frozenset(subject),
        frozenset(uris),
        frozenset(dns_names),
        sha256,
    )


def read_header(text: str, form: str) -> Certificate | None:
    """The certificate that a header's value describes; None when it is none, or ambiguous."""
    if not 0 < len(text) <= LONGEST:
        return None
    try:
        # Headers come as Latin-1; what proxies write is UTF-8.
        text = text.encode("latin-1").decode("utf-8")
        if form == "xfcc":
            return _from_xfcc(text)
        if form == "pem":
            return _from_pem(text)
        return Certificate(subject=_subject(_parse_name(text)))
    except (ValueError, x509.DuplicateExtension):
        return None


def _parse_name(text: str) -> x509.Name:
    """RFC 4514 only: OpenSSL's older `/O=…/CN=…` does not say where a value ends."""
    return x509.Name.from_rfc4514_string(text, _NAMES)


def _subject(name: x509.Name) -> tuple[tuple[str, str], ...]:
    pairs = [(attribute.oid.dotted_string, str(attribute.value)) for attribute in name]
    return tuple(sorted(pairs))


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of one XFCC element as (name, value).

    ValueError for several elements, since each hop may have written one.
    """
    end = 0
    while end < len(text):
        match = _MEMBER.match(text, end)
        if match is None:
            raise ValueError("not one element")
        name = match[1]
        value = match[3]
        quoted = match[2]
        if quoted is not None:
            value = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        yield name.lower(), value
        end = match.end()


def _from_xfcc(text: str) -> Certificate:
    values: dict[str, list[str]] = {}
    for name, value in _members(text):
        values.setdefault(name, []).append(value)
    if any(len(values.get(name, [])) > 1 for name in ("subject", "hash", "cert")):
        raise ValueError("a member occurs twice")
    try:
        subject = _subject(_parse_name(values.get("subject", [""])[0]))
    except ValueError:
        # A subject with an attribute that we have no name for: the other members still say who it
        # is.
        subject = ()
    return Certificate(
        subject=subject,
        uris=frozenset(uri for uri in values.get("uri", []) if uri),
        dns_names=frozenset(name.lower() for name in values.get("dns", []) if name),
        sha256=values.get("hash", [""])[0].lower(),
    )


def _from_pem(text: str) -> Certificate:
    """A certificate from URL-escaped PEM, base64 of DER, or RFC 9440's `:base64:`.

    Of a chain it is the first certificate, which is the client's own.
    """
    if "%" in text:
        # nginx: $ssl_client_escaped_cert.
        text = unquote(text, errors="strict")
    first = text.partition(",")[0].strip()
    match = _PEM.match(first)
    encoded = "".join(match[1].split()) if match else first
    if encoded.startswith(":") and encoded.endswith(":"):
        encoded = encoded[1:-1]
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        raise ValueError("not base64") from error
    return Certificate(
        _subject(certificate.subject),
        *_alternative_names(certificate),
        certificate.fingerprint(SHA256()).hex(),
    )


def _alternative_names(
    certificate: x509.Certificate,
) -> tuple[frozenset[str], frozenset[str]]:
    """(URIs, DNS names)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset(), frozenset()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    dns_names = names.get_values_for_type(x509.DNSName)
    return frozenset(uris), frozenset(name.lower() for name in dns_names)
