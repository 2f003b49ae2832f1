"""The forms of names in Kubernetes, as RFC 1123 has them."""

import re

# Of namespaces, and of what becomes a label or a part of a host's name.
LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")
# Of most objects: labels with dots between them, which are not looked at one by one.
SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\Z")
