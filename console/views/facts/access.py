"""Facts of roles, bindings and ServiceAccounts."""

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext_lazy as _

from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, rows
from console.views.facts.rows import Facts, Row, link_row, no_facts


def _binding(item: Object, location: Location) -> Iterator[Row]:
    role = item.get("roleRef") or {}
    plural = "clusterroles" if role.get("kind") == "ClusterRole" else "roles"
    target = location.other(plural, str(role.get("name") or ""))
    yield _("Role"), html.link(target.address, f"{role.get('kind')}/{target.name}")


def _service_account(item: Object, location: Location) -> Iterator[Row]:
    for title, field in (
        (_("Mountable secrets"), "secrets"),
        (_("Image pull secrets"), "imagePullSecrets"),
    ):
        for reference in rows(item.get(field)):
            yield from link_row(
                title,
                location.other("secrets", str(reference.get("name") or "")),
            )
    # Tokens are mounted unless it is switched off.
    mounts = item.get("automountServiceAccountToken") is not False
    yield _("Mounts its token"), html.yes_no(mounts)


FACTS: Mapping[str, Facts] = {
    "roles": no_facts,
    "clusterroles": no_facts,
    "rolebindings": _binding,
    "clusterrolebindings": _binding,
    "serviceaccounts": _service_account,
}
