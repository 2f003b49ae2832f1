"""What a person can do next, by the code of a refusal."""

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

HINTS: dict[int, str | Promise] = {
    404: _("Check the address, or start again from the overview."),
    1001: _("Check what was entered and try again; nothing was changed."),
    1002: _("It may have been removed. Choose another cluster, or register it again."),
    1003: _("Choose another namespace; this one may have been deleted."),
    1004: _("It may have been deleted or renamed since. Go back to the list and search for it."),
    1005: _("Ask an administrator for a grant on this cluster or namespace."),
    1006: _(
        "The cluster does not answer. Check its address and that it is running;"
        " KubeGale retries automatically."
    ),
    1007: _(
        "The cluster refused it and nothing was created."
        " Correct what the message names and try again."
    ),
    1008: _(
        "The cluster refused it and nothing was changed."
        " Correct what the message names and try again."
    ),
    1009: _("The cluster refused it and nothing was deleted."),
    1010: _("Confirm it on the object's own page."),
    2001: _("Sign in again."),
    2002: _("Sign in again."),
    5001: _(
        "Try again. If it happens again, give the request id to an administrator:"
        " it finds the log line."
    ),
}
# What may be the cluster's refusal: then the details have its HTTP status.
REFUSALS = frozenset({1007, 1008, 1009})


def for_code(code: int, details: Mapping[str, Any]) -> str:
    """The hint for a code; for a conflict the one that saves work."""
    if details.get("reason") == "Conflict" or details.get("status") == 409:
        return str(
            _(
                "Somebody else has changed it."
                " Look at the newer version, then apply your change again."
            )
        )
    if code == 1005 and details.get("status") == 403:
        # The API server refused the registered credentials: no grant in KubeGale would help.
        return str(
            _(
                "The cluster itself refuses this to the credentials that it was registered with."
                " Choose a namespace that they may read, or give them the permission in the"
                " cluster."
            )
        )
    if code == 1005 and details.get("field") == "path":
        # A path that nobody may touch: no grant would help.
        return ""
    if code in REFUSALS and "status" not in details:
        # What KubeGale refuses by itself: a name that is taken, a second action at once.
        return str(_("Nothing was changed. Correct what the message names and try again."))
    return str(HINTS.get(code, HINTS[5001]))
